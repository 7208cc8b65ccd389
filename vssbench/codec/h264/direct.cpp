// Direct prediction of B macroblocks (8.4.1.2).
#include <algorithm>
#include <cstdlib>

#include "slice_decoder.hpp"

namespace vssbench::h264 {
namespace {

// (8-197), (8-201), (8-202)
int scale_factor(int64_t current, int64_t poc0, int64_t poc1) {
  const int tb = static_cast<int>(std::clamp<int64_t>(current - poc0, -128, 127));
  const int td = static_cast<int>(std::clamp<int64_t>(poc1 - poc0, -128, 127));
  const int tx = (16384 + std::abs(td / 2)) / td;
  return std::clamp((tb * tx + 32) >> 6, -1024, 1023);
}

int16_t scale(int factor, int16_t value) {
  return static_cast<int16_t>((factor * value + 128) >> 8);
}

}  // namespace

void PictureDecoder::prepare_direct(const SliceSegment& segment) {
  const Reference& first = segment.lists[1].front();
  colocated_ = first.picture;
  if (colocated_ &&
      (colocated_->non_existing || colocated_->sps->width != sps_->width || colocated_->sps->height != sps_->height))
    colocated_.reset();
  if (colocated_ && colocated_.get() != picture_ &&
      (picture_->sources.empty() || picture_->sources.back() != colocated_))
    picture_->sources.push_back(colocated_);
  col_short_term_ = !first.long_term;
  const int32_t* own = segment.field_poc;
  const int32_t frame_poc = std::min(own[0], own[1]);
  if (colocated_ && !field_picture_) {
    // 8.4.1.2.1: the field nearer in output order
    const int64_t top = std::abs(int64_t{first.field_poc[0]} - frame_poc);
    const int64_t bottom = std::abs(int64_t{first.field_poc[1]} - frame_poc);
    col_nearer_ = top < bottom ? kTopField : kBottomField;
  }
  if (header_->direct_spatial) return;
  const auto prepare = [&](DirectReference& target, const Reference& ref0, int64_t current, int64_t poc0,
                           int64_t poc1) {
    target.copies = ref0.long_term || poc0 == poc1;
    target.scale = target.copies ? 0 : scale_factor(current, poc0, poc1);
  };
  for (size_t i = 0; i < segment.lists[0].size(); ++i) {
    const Reference& ref = segment.lists[0][i];
    if (field_picture_) {
      const auto poc = [](const Reference& r) { return r.parity == kFrame ? r.poc : r.field_poc[r.parity - 1]; };
      prepare(direct_[0][i], ref, own[header_->structure - 1], poc(ref), poc(first));
      continue;
    }
    prepare(direct_[0][i], ref, frame_poc, ref.poc, first.poc);
    for (unsigned parity = 0; mbaff_ && parity < 2; ++parity) {
      for (unsigned other = 0; other < 2; ++other)
        prepare(direct_[1 + parity][2 * i + other], ref, own[parity], ref.field_poc[parity ^ other],
                first.field_poc[parity]);
    }
  }
}

void PictureDecoder::direct_blocks(unsigned blocks) {
  if (header_->direct_spatial) {
    const SpatialDirect motion = spatial_direct();
    set_spatial(motion, blocks, motion.looks ? still_blocks(blocks) : 0);
  } else {
    direct_temporal(blocks);
  }
}

// A whole macroblock: mostly one motion
void PictureDecoder::direct_macroblock() {
  if (!header_->direct_spatial) {
    direct_temporal(15);
    return store_motion();
  }
  const SpatialDirect motion = spatial_direct();
  const unsigned still = motion.looks ? still_blocks(15) : 0;
  if (still == 0) return store_uniform(motion.refs, motion.vectors);
  set_spatial(motion, 15, still);
  store_motion();
}

// 8.4.1.2.1, Table 8-6 and Table 8-8. Rows of field macroblocks lie as described with MotionStore.
PictureDecoder::Colocated PictureDecoder::colocated() const {
  Colocated col{colocated_.get(), {mb_y_, mb_y_}, kSame};
  if (!col.picture || !col.picture->motion) return {nullptr, {0, 0}, kSame};
  const int pair = mb_y_ & ~1;
  const MotionStore& store = *col.picture->motion;
  const bool col_fields = col.picture->fields;
  const bool col_field_mb = store.mb_field[static_cast<size_t>(pair * width_ + mb_x_)];
  if (field_picture_) {
    if (col_fields) {
      col.row[0] = col.row[1] = pair + (segment_->lists[1].front().parity == kBottomField);
    } else if (col_field_mb) {
      col.row[0] = col.row[1] = pair + (header_->structure == kBottomField);
    } else {
      col = {col.picture, {pair, pair + 1}, kFrameToField};
    }
  } else if (field_mb_) {
    if (!col_field_mb) col = {col.picture, {pair, pair + 1}, kFrameToField};
  } else if (col_field_mb) {
    const int row = pair + (col_nearer_ == kBottomField);
    col = {col.picture, {row, row}, kFieldToFrame};
  }
  return col;
}

// The co-located block of block (x, y); false if it is intra. `at`: its place in the store
bool PictureDecoder::colocated_block(const Colocated& col, int x, int y, int& list, int& ref, Vector& vector,
                                     size_t& at) const {
  if (sps_->direct_8x8_inference) {
    x = x < 2 ? 0 : 3;
    y = y < 2 ? 0 : 3;
  }
  const int half = y >= 2;
  if (col.scale == kFrameToField) y = half * 2;
  if (col.scale == kFieldToFrame) y = 2 * (mb_y_ & 1) + half;
  const MotionStore& store = *col.picture->motion;
  at = static_cast<size_t>(4 * col.row[half] + y) * static_cast<size_t>(store.columns) +
       static_cast<size_t>(4 * mb_x_ + x);
  const RefPair refs = store.refs[at];
  list = refs.list[0] >= 0 ? 0 : 1;
  ref = refs.list[list];
  if (ref < 0) return false;
  vector = store.vectors[at].list[list];
  return true;
}

// 8.4.1.2.2 without colZeroFlag
PictureDecoder::SpatialDirect PictureDecoder::spatial_direct() const {
  SpatialDirect motion{};
  Corners near[2];
  const auto smaller = [](int a, int b) {  // MinPositive
    return static_cast<int>(std::min(static_cast<unsigned>(a), static_cast<unsigned>(b)));
  };
  int refs[2];
  for (unsigned list = 0; list < 2; ++list) {
    near[list] = corners(list);
    refs[list] = smaller(smaller(near[list].left.ref, near[list].above.ref), near[list].diagonal.ref);
  }
  if (refs[0] < 0 && refs[1] < 0) return {{{0, 0}}, {}, false};
  for (unsigned list = 0; list < 2; ++list) {
    motion.refs.list[list] = static_cast<int8_t>(std::max<int>(refs[list], kUnused));
    if (refs[list] < 0) continue;
    motion.vectors.list[list] = predict_from(refs[list], near[list].left, near[list].above, near[list].diagonal);
  }
  const auto moves = [&](unsigned list) { return refs[list] == 0 && !(motion.vectors.list[list] == Vector{}); };
  motion.looks = col_short_term_ && (moves(0) || moves(1));
  return motion;
}

// colZeroFlag of 4x4 blocks, one bit each in raster order
unsigned PictureDecoder::still_blocks(unsigned blocks) {
  const Colocated col = colocated();
  if (col.picture == nullptr) {
    used_missing_ = true;
    return 0;
  }
  const int step = sps_->direct_8x8_inference ? 2 : 1;
  unsigned still = 0;
  for (int y = 0; y < 4; y += step) {
    for (int x = 0; x < 4; x += step) {
      int list, ref;
      size_t at;
      Vector vector;
      if (!(blocks >> ((y & 2) | x >> 1) & 1) || !colocated_block(col, x, y, list, ref, vector, at)) continue;
      const bool zero = ref == 0 && std::abs(vector.x) <= 1 && std::abs(vector.y) <= 1;
      if (zero) still |= (step == 2 ? 0x33u : 1u) << (4 * y + x);
    }
  }
  return still;
}

void PictureDecoder::set_spatial(const SpatialDirect& motion, unsigned blocks, unsigned still) {
  const int step = sps_->direct_8x8_inference ? 2 : 1;
  for (int y = 0; y < 4; y += step) {
    for (int x = 0; x < 4; x += step) {
      if (!(blocks >> ((y & 2) | x >> 1) & 1)) continue;
      for (unsigned list = 0; list < 2; ++list) {
        const bool zero = (still >> (4 * y + x) & 1) && motion.refs.list[list] == 0;
        set_motion(list, x, y, step, step, motion.refs.list[list], zero ? Vector{} : motion.vectors.list[list]);
      }
    }
  }
}

// Index in list 0 of what the co-located block refers to; -1 if it is not there
int PictureDecoder::map_reference(const Colocated& col, size_t at, int list, int ref) const {
  const MotionStore& store = *col.picture->motion;
  const size_t row = at / static_cast<size_t>(store.columns) / 4, column = at % static_cast<size_t>(store.columns) / 4;
  const size_t mb = row * static_cast<size_t>(store.mb_columns) + column;
  const SliceReferences& slice = store.slices[store.mb_slice[mb]];
  const bool field_of_frame = store.mb_field[mb] && !col.picture->fields;
  const uint32_t key = slice.key[list][field_of_frame ? ref >> 1 : ref], number = key / 4;
  uint32_t parity = key % 4;
  if (field_of_frame) parity = 1 + ((static_cast<uint32_t>(ref) ^ static_cast<uint32_t>(row)) & 1);
  const uint32_t own = field_picture_ ? uint32_t{header_->structure} : 1 + (static_cast<uint32_t>(mb_y_) & 1);
  if (col.scale == kFrameToField) parity = own;
  const SliceReferences& current = store_->slices[slice_ - 1];
  for (unsigned i = 0; i < header_->refs[0]; ++i) {
    const uint32_t entry = current.key[0][i];
    if (entry / 4 != number) continue;
    if (field_mb_) return static_cast<int>(2 * i + (parity != own));
    if (!field_picture_ || entry % 4 == parity) return static_cast<int>(i);
  }
  return -1;
}

// 8.4.1.2.3
void PictureDecoder::direct_temporal(unsigned blocks) {
  const Colocated col = colocated();
  if (col.picture == nullptr) used_missing_ = true;
  const DirectReference* table = direct_[field_mb_ ? 1 + (mb_y_ & 1) : 0];
  const int step = sps_->direct_8x8_inference ? 2 : 1;
  for (int y = 0; y < 4; y += step) {
    for (int x = 0; x < 4; x += step) {
      if (!(blocks >> ((y & 2) | x >> 1) & 1)) continue;
      int list, ref, ref0 = 0;
      size_t at;
      Vector vectors[2], vector;
      if (col.picture != nullptr && colocated_block(col, x, y, list, ref, vector, at)) {
        ref0 = map_reference(col, at, list, ref);
        if (ref0 < 0) {
          used_missing_ = true;
          ref0 = 0;
        }
        if (col.scale == kFrameToField) vector.y = static_cast<int16_t>(vector.y / 2);
        if (col.scale == kFieldToFrame) vector.y = static_cast<int16_t>(vector.y * 2);
        const DirectReference& reference = table[ref0];
        vectors[0] = vector;
        if (!reference.copies) {
          vectors[0] = {scale(reference.scale, vector.x), scale(reference.scale, vector.y)};
          vectors[1] = {static_cast<int16_t>(vectors[0].x - vector.x), static_cast<int16_t>(vectors[0].y - vector.y)};
        }
      }
      set_motion(0, x, y, step, step, ref0, vectors[0]);
      set_motion(1, x, y, step, step, 0, vectors[1]);
    }
  }
}

}  // namespace vssbench::h264
