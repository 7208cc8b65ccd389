#include "coding_tree.hpp"

#include <algorithm>
#include <exception>
#include <string>

namespace vssbench::hevc {

void PictureDecoder::decode(Picture& picture) {
  picture_ = &picture;
  try {
    sps_ = picture.sps.get();
    pps_ = picture.pps.get();
    layout_ = picture.layout.get();
    picture.motion = stores_.take(sps_->width, sps_->height, picture.with_details);
    store_ = picture.motion.get();
    details_ = picture.with_details;
    ctb_mask_ = (1 << sps_->log2_ctb) - 1;
    range_extension_ = sps_->transform_skip_context || sps_->implicit_rdpcm || sps_->explicit_rdpcm ||
                       sps_->extended_precision || sps_->persistent_rice || sps_->bypass_alignment;
    predictor_.begin_picture(store_, sps_->width, sps_->height, sps_->log2_ctb);
    const size_t units = static_cast<size_t>(layout_->width_in_ctbs) * 8;
    above_depth_.assign(units, 0);
    above_skip_.assign(units, 0);
    slice_address_.assign(static_cast<size_t>(layout_->count()), -1);
    picture.parsed.assign(static_cast<size_t>(layout_->count()), 0);
    contiguous_ = 0;
    next_ts_ = 0;
    decode_segments();
    conceal_missing();
  } catch (const std::exception& error) {
    // out of memory: the picture has no motion, references to it count as intra
    picture.motion.reset();
    picture.issues.push_back({picture.offset, picture.nal_type, error.what()});
  }
  picture.segments.clear();
  collocated_.reset();
  picture.finish();
}

void PictureDecoder::decode_segments() {
  bool broken = false;
  for (const auto& segment : picture_->segments) {
    if (segment->header.dependent && broken) continue;  // continues a segment that could not be read
    broken = false;
    const int32_t begins = layout_->rs_to_ts[static_cast<size_t>(segment->header.address)];
    const auto complain = [&](const std::string& message) {
      picture_->issues.push_back({segment->payload.offset, segment->payload.nal_type, message});
    };
    if (segment->header.dependent && begins != next_ts_) {
      broken = true;
      complain("a dependent slice segment does not begin where the one before it ends");
      continue;
    }
    if (begins < next_ts_) complain("a slice segment begins inside the one before it");
    try {
      begin_slice(*segment);
      decode_segment(*segment);
    } catch (const SyntaxError& error) {
      broken = true;
      complain(error.what());
    }
  }
}

void PictureDecoder::begin_slice(const SliceSegment& segment) {
  const SliceHeader& header = segment.header;
  header_ = &header;
  collocated_.reset();
  SliceMotion& motion = predictor_.slice();
  motion = SliceMotion{};
  motion.poc = picture_->poc;
  motion.log2_parallel_merge = pps_->log2_parallel_merge;
  if (header.type == kSliceI) return;
  motion.bidirectional = header.type == kSliceB;
  motion.max_merge = header.max_merge;
  motion.collocated_from_l0 = header.collocated_from_l0;
  motion.no_backward = true;
  for (unsigned list = 0; list < 2; ++list) {
    motion.refs[list] = header.refs[list];
    for (unsigned i = 0; i < header.refs[list]; ++i) {
      const Reference& reference = segment.lists[list][i];
      motion.ref_poc[list][i] = reference.poc;
      motion.ref_code[list][i] = static_cast<int8_t>(i | (reference.long_term ? kLongTermBit : 0));
      motion.no_backward = motion.no_backward && reference.poc <= picture_->poc;
    }
  }
  if (!header.temporal_mvp) return;
  collocated_ = segment.lists[header.collocated_from_l0 ? 0 : 1][header.collocated_ref].picture;
  if (!collocated_ || collocated_->sps->width != sps_->width || collocated_->sps->height != sps_->height) {
    collocated_.reset();  // missing: no temporal candidates
    picture_->unreliable = true;
    return;
  }
  // with tiles the order of decoding differs between the pictures; otherwise see begin_ctb()
  collocated_->wait_for_rows(pps_->tiles ? layout_->height_in_ctbs : 1);
  auto& sources = picture_->sources;
  if (std::find(sources.begin(), sources.end(), collocated_) == sources.end()) sources.push_back(collocated_);
  motion.collocated = collocated_->motion.get();
  motion.collocated_poc = collocated_->poc;
}

// 6.4.1 for a whole coding tree block
bool PictureDecoder::same_slice_and_tile(int rs) const {
  return slice_address_[static_cast<size_t>(rs)] == header_->slice_address;
}

void PictureDecoder::begin_ctb(int rs, bool first_in_segment) {
  const int width = layout_->width_in_ctbs;
  const int x = rs % width, y = rs / width;
  synchronise(rs, first_in_segment);
  slice_address_[static_cast<size_t>(rs)] = header_->slice_address;
  const auto available = [&](int dx, int dy) {
    if (x + dx < 0 || x + dx >= width || y + dy < 0) return false;
    const int other = rs + dy * width + dx;
    return slice_address_[static_cast<size_t>(other)] == header_->slice_address &&
           layout_->tile_id[static_cast<size_t>(other)] == layout_->tile_id[static_cast<size_t>(rs)];
  };
  const bool left = available(-1, 0), up = available(0, -1);
  predictor_.begin_ctb(x, y, left, up, available(-1, -1), available(1, -1));
  const size_t units = static_cast<size_t>(ctb_mask_ + 1) >> 3;
  if (!up) {
    std::fill_n(above_depth_.begin() + static_cast<std::ptrdiff_t>(units) * x, units, uint8_t{0});
    std::fill_n(above_skip_.begin() + static_cast<std::ptrdiff_t>(units) * x, units, uint8_t{0});
  }
  if (!left) {
    std::fill_n(left_depth_, 8, uint8_t{0});
    std::fill_n(left_skip_, 8, uint8_t{0});
    std::fill_n(left_mode_, 16, uint8_t{1});
  }
  std::fill_n(above_mode_, 16, uint8_t{1});  // the row above counts as DC (8.4.2)
  if (collocated_ && !pps_->tiles) collocated_->wait_for_rows(y + 1);
  if (header_->sao_luma || header_->sao_chroma) {
    if (left && bin(kSaoMerge)) return;
    if (up && bin(kSaoMerge)) return;
    sao(rs);
  }
}

// 9.3.1: which context variables a coding tree block begins with, if it begins a sub-stream
void PictureDecoder::synchronise(int rs, bool first_in_segment) {
  const int width = layout_->width_in_ctbs;
  const int x = rs % width;
  const size_t at = static_cast<size_t>(rs);
  const int32_t ts = layout_->rs_to_ts[at];
  const bool tile_start =
      ts == 0 ||
      layout_->tile_id[at] != layout_->tile_id[static_cast<size_t>(layout_->ts_to_rs[static_cast<size_t>(ts - 1)])];
  const bool row_start = pps_->wavefront && layout_->first_in_tile_row[static_cast<size_t>(x)];
  if (!first_in_segment && !tile_start && !row_start) return;
  if (tile_start || row_start || !header_->dependent) last_qp_ = header_->qp;
  if (!tile_start && row_start) {
    const int above_right = rs - width + 1;
    const bool usable = above_right >= 0 && x + 1 < width && same_slice_and_tile(above_right) &&
                        layout_->tile_id[static_cast<size_t>(above_right)] == layout_->tile_id[at];
    if (usable) {
      state_ = wavefront_state_;
      return;
    }
  } else if (!tile_start && first_in_segment && header_->dependent) {
    state_ = segment_end_state_;
    return;
  }
  unsigned init_type = 0;
  if (header_->type == kSliceP) init_type = header_->cabac_init ? 2 : 1;
  if (header_->type == kSliceB) init_type = header_->cabac_init ? 1 : 2;
  state_.initialise(init_type, header_->qp);
}

// The next sub-stream begins at its entry point where the header gives one, else where this one ended. `escaped` is the
// position of the current one with emulation prevention bytes, which entry points count (7.4.7.1).
void PictureDecoder::next_substream(const SliceSegment& segment, size_t index, uint64_t& escaped) {
  const size_t here = cabac_.next_byte();
  const auto& sizes = segment.header.entry_points;
  if (index >= sizes.size()) {
    if (!sizes.empty()) throw SyntaxError("the slice header has too few entry points");
    cabac_.start(here);
    return;
  }
  const auto& removed = segment.payload.removed;
  escaped += sizes[index];
  const size_t before =
      static_cast<size_t>(std::lower_bound(removed.begin(), removed.end(), escaped) - removed.begin());
  const uint64_t position = escaped - before;
  if (position < here || position >= segment.payload.size) {
    throw SyntaxError("an entry point does not lie at the end of its sub-stream");
  }
  cabac_.start(static_cast<size_t>(position));
}

void PictureDecoder::decode_segment(const SliceSegment& segment) {
  cabac_ = Cabac(segment.payload.bytes.data(), segment.payload.size);
  cabac_.start(segment.header.data_begin);
  const int width = layout_->width_in_ctbs;
  const int log2_ctb = static_cast<int>(sps_->log2_ctb);
  int32_t ts = layout_->rs_to_ts[static_cast<size_t>(segment.header.address)];
  size_t substream = 0;
  uint64_t escaped = segment.header.data_begin;
  for (size_t i = 0; i < segment.payload.removed.size() && segment.payload.removed[i] <= escaped; ++i) ++escaped;
  for (bool first = true;; first = false) {
    const int rs = layout_->ts_to_rs[static_cast<size_t>(ts)];
    const int x = rs % width, y = rs / width;
    begin_ctb(rs, first);
    quadtree(x << log2_ctb, y << log2_ctb, sps_->log2_ctb, 0);
    if (pps_->wavefront && x > 0 && layout_->first_in_tile_row[static_cast<size_t>(x - 1)]) wavefront_state_ = state_;
    const bool end = cabac_.terminate();
    if (cabac_.overrun()) throw SyntaxError("the slice data ends in coding tree block " + std::to_string(rs));
    picture_->parsed[static_cast<size_t>(rs)] = 1;
    if (rs == contiguous_) {
      ++contiguous_;
      if (x + 1 == width && !pps_->tiles) picture_->publish_rows(y + 1);
    }
    next_ts_ = ++ts;
    if (end) break;
    if (ts >= layout_->count()) throw SyntaxError("the slice data go on after the last coding tree block");
    const int next = layout_->ts_to_rs[static_cast<size_t>(ts)];
    const bool new_tile = layout_->tile_id[static_cast<size_t>(next)] != layout_->tile_id[static_cast<size_t>(rs)];
    if (new_tile || (pps_->wavefront && layout_->first_in_tile_row[static_cast<size_t>(next % width)])) {
      if (!cabac_.terminate())
        throw SyntaxError("end_of_subset_one_bit is 0 after coding tree block " + std::to_string(rs));
      next_substream(segment, substream++, escaped);
    }
    if (slice_address_[static_cast<size_t>(next)] >= 0) {
      throw SyntaxError("the slice data run into coding tree block " + std::to_string(next) + " of another slice");
    }
  }
  if (pps_->dependent_slices) segment_end_state_ = state_;
}

// Blocks that no slice delivered count as intra; `lost` tells them from real ones.
void PictureDecoder::conceal_missing() {
  const auto& parsed = picture_->parsed;
  if (std::find(parsed.begin(), parsed.end(), 0) == parsed.end()) return;
  const size_t blocks = static_cast<size_t>(store_->columns) * static_cast<size_t>(store_->rows);
  store_->lost.reset(new uint8_t[blocks]());
  const int size = ctb_mask_ + 1;
  for (int rs = 0; rs < layout_->count(); ++rs) {
    if (parsed[static_cast<size_t>(rs)]) continue;
    const int x = rs % layout_->width_in_ctbs * size, y = rs / layout_->width_in_ctbs * size;
    store_->clear(x, y, size, size);
    const int right = std::min((x + size) >> 2, store_->columns), bottom = std::min((y + size) >> 2, store_->rows);
    for (int row = y >> 2; row < bottom; ++row) {
      uint8_t* line = store_->lost.get() + static_cast<size_t>(row) * static_cast<size_t>(store_->columns);
      std::fill(line + (x >> 2), line + right, uint8_t{1});
    }
  }
}

// 7.3.8.3 without the merge flags
void PictureDecoder::sao(int) {
  if (header_->sao_luma) sao_component(0);
  if (header_->sao_chroma) {
    sao_component(1);
  }
}

void PictureDecoder::sao_component(unsigned component) {
  if (!bin(kSaoType)) return;
  const bool edge = cabac_.bypass();
  const unsigned depth = component == 0 ? sps_->bit_depth_luma : sps_->bit_depth_chroma;
  const unsigned largest = (1u << (std::min(depth, 10u) - 5)) - 1;
  for (unsigned repeat = 0; repeat < (component == 0 ? 1u : 2u); ++repeat) {  // Cb and Cr share type and class
    unsigned nonzero = 0;
    for (int i = 0; i < 4; ++i) {
      unsigned value = 0;
      while (value < largest && cabac_.bypass()) ++value;
      nonzero += value != 0;
    }
    if (!edge) {
      cabac_.bypass_bits(nonzero);  // signs
      cabac_.bypass_bits(5);        // band position
    } else if (repeat == 0) {
      cabac_.bypass_bits(2);  // class
    }
  }
}

// 7.3.8.4
void PictureDecoder::quadtree(int x, int y, unsigned log2_size, unsigned depth) {
  const int size = 1 << log2_size;
  bool split;
  if (x + size <= sps_->width && y + size <= sps_->height && log2_size > sps_->log2_min_cb) {
    const unsigned deeper =
        (left_depth_[(y & ctb_mask_) >> 3] > depth) + (above_depth_[static_cast<size_t>(x >> 3)] > depth);
    split = bin(kSplitCu + deeper);
  } else {
    split = log2_size > sps_->log2_min_cb;
  }
  if (log2_size >= sps_->log2_ctb - pps_->cu_qp_delta_depth) {
    qp_delta_coded_ = false;
    qp_delta_ = 0;
    group_x_ = x;
    group_y_ = y;
    group_previous_qp_ = last_qp_;
  }
  if (header_->chroma_qp_offsets && log2_size >= sps_->log2_ctb - pps_->chroma_qp_offset_depth)
    chroma_offset_coded_ = false;
  if (!split) {
    coding_unit(x, y, log2_size, depth);
    return;
  }
  const int half = size >> 1;
  quadtree(x, y, log2_size - 1, depth + 1);
  if (x + half < sps_->width) quadtree(x + half, y, log2_size - 1, depth + 1);
  if (y + half < sps_->height) quadtree(x, y + half, log2_size - 1, depth + 1);
  if (x + half < sps_->width && y + half < sps_->height) quadtree(x + half, y + half, log2_size - 1, depth + 1);
}

}  // namespace vssbench::hevc
