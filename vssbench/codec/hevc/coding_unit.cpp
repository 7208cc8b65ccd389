// Coding units, prediction units and intra modes (7.3.8.5 to 7.3.8.9, 8.4.2, 8.4.3).
#include <algorithm>
#include <string>

#include "coding_tree.hpp"

namespace vssbench::hevc {
namespace {

constexpr uint8_t kPlanar = 0, kDc = 1, kHorizontal = 10, kVertical = 26;

// Table 8-3: modeIdc to IntraPredModeC for ChromaArrayType 2
constexpr uint8_t kChroma422[35] = {0,  1,  2,  2,  2,  2,  3,  5,  7,  8,  10, 11, 13, 15, 16, 18, 19, 20,
                                    21, 22, 23, 23, 24, 24, 25, 25, 26, 27, 27, 28, 28, 29, 29, 30, 31};

struct PartShape {
  uint8_t x, y, width, height;  ///< in quarters of the coding block
};
// PartMode -> partitions (Table 7-10)
constexpr PartShape kParts[8][4] = {
    {{0, 0, 4, 4}},
    {{0, 0, 4, 2}, {0, 2, 4, 2}},
    {{0, 0, 2, 4}, {2, 0, 2, 4}},
    {{0, 0, 2, 2}, {2, 0, 2, 2}, {0, 2, 2, 2}, {2, 2, 2, 2}},
    {{0, 0, 4, 1}, {0, 1, 4, 3}},
    {{0, 0, 4, 3}, {0, 3, 4, 1}},
    {{0, 0, 1, 4}, {1, 0, 3, 4}},
    {{0, 0, 3, 4}, {3, 0, 1, 4}},
};
constexpr unsigned kPartCount[8] = {1, 2, 2, 4, 2, 2, 2, 2};

}  // namespace

void PictureDecoder::coding_unit(int x, int y, unsigned log2_size, unsigned depth) {
  CodingUnit cu;
  cu.x = x;
  cu.y = y;
  cu.log2_size = log2_size;
  cu.mode = kIntra;
  cu.part_mode = 0;
  cu.intra_nxn = false;
  const size_t first_bit = details_ ? cabac_.consumed_bits() : 0;
  cu.bypass = pps_->transquant_bypass && bin(kTransquantBypass);
  const bool intra_slice = header_->type == kSliceI;
  bool merged = false;
  if (!intra_slice) {
    const unsigned skipped = left_skip_[(y & ctb_mask_) >> 3] + above_skip_[static_cast<size_t>(x >> 3)];
    if (bin(kCuSkip + skipped)) cu.mode = kSkip;
  }
  bool pcm = false;
  if (cu.mode == kSkip) {
    prediction_units(cu, depth, merged);
  } else {
    if (!intra_slice && !bin(kPredMode)) cu.mode = kInter;
    if (cu.mode == kInter || log2_size == sps_->log2_min_cb) cu.part_mode = part_mode(cu);
    if (cu.mode == kIntra) {
      cu.intra_nxn = cu.part_mode != 0;
      pcm = !cu.intra_nxn && sps_->pcm && log2_size >= sps_->log2_min_pcm && log2_size <= sps_->log2_max_pcm &&
            cabac_.terminate();
      if (pcm) {
        pcm_samples(cu);
      } else {
        intra_modes(cu);
      }
    } else {
      prediction_units(cu, depth, merged);
    }
    if (!pcm) {
      const bool coded = cu.mode == kIntra || (cu.part_mode == 0 && merged) || bin(kRqtRootCbf);
      if (coded) {
        cu.inter_split = cu.mode == kInter && sps_->max_transform_depth_inter == 0 && cu.part_mode != 0;
        cu.max_depth =
            cu.mode == kIntra ? sps_->max_transform_depth_intra + cu.intra_nxn : sps_->max_transform_depth_inter;
        transform_tree(cu, {x, y, x, y, log2_size, 0, 0, 0, 0});
      }
    }
  }
  if (cu.mode != kIntra || pcm) {
    const size_t blocks = size_t{1} << (log2_size - 2);
    std::fill_n(left_mode_ + ((y & ctb_mask_) >> 2), blocks, kDc);
    std::fill_n(above_mode_ + ((x & ctb_mask_) >> 2), blocks, kDc);
  }
  finish_coding_unit(cu, depth, first_bit);
}

void PictureDecoder::finish_coding_unit(const CodingUnit& cu, unsigned depth, size_t first_bit) {
  const int size = 1 << cu.log2_size;
  const size_t units = static_cast<size_t>(size >> 3);
  const size_t left = static_cast<size_t>(cu.y & ctb_mask_) >> 3, above = static_cast<size_t>(cu.x >> 3);
  std::fill_n(left_depth_ + left, units, static_cast<uint8_t>(depth));
  std::fill_n(above_depth_.data() + above, units, static_cast<uint8_t>(depth));
  if (header_->type != kSliceI) {
    const uint8_t skipped = cu.mode == kSkip;
    std::fill_n(left_skip_ + left, units, skipped);
    std::fill_n(above_skip_.data() + above, units, skipped);
  }
  if (cu.mode == kIntra) store_->clear(cu.x, cu.y, size, size);
  const size_t blocks = static_cast<size_t>(size >> 2), stride = static_cast<size_t>(store_->columns);
  const size_t begin = store_->at(cu.x, cu.y);
  if (cu.mode != kIntra) fill_block(&store_->mode[begin], stride, blocks, blocks, static_cast<uint8_t>(cu.mode));
  if (!details_) return;
  const int range = 52 + 6 * (static_cast<int>(sps_->bit_depth_luma) - 8);
  const int offset = range - 52;
  last_qp_ = (predicted_qp() + qp_delta_ + 52 + 2 * offset) % range - offset;  // (8-283)
  fill_block(&store_->cu_log2[begin], stride, blocks, blocks, static_cast<uint8_t>(cu.log2_size));
  fill_block(&store_->part_mode[begin], stride, blocks, blocks, cu.part_mode);
  fill_block(&store_->qp[begin], stride, blocks, blocks, static_cast<int8_t>(last_qp_));
  store_->coded_bits[begin] = static_cast<uint32_t>(cabac_.consumed_bits() - first_bit);
}

// 8.6.1: qPY_PRED. Neighbours of the quantisation group count inside the same coding tree block only.
int PictureDecoder::predicted_qp() const {
  const int left = group_x_ & ctb_mask_ ? store_->qp[store_->at(group_x_ - 1, group_y_)] : group_previous_qp_;
  const int above = group_y_ & ctb_mask_ ? store_->qp[store_->at(group_x_, group_y_ - 1)] : group_previous_qp_;
  return (left + above + 1) >> 1;
}

// 9.3.3.7
uint8_t PictureDecoder::part_mode(const CodingUnit& cu) {
  if (bin(kPartMode)) return 0;
  if (cu.mode == kIntra) return 3;
  const bool rows = bin(kPartMode + 1) != 0;
  if (cu.log2_size == sps_->log2_min_cb) {
    if (rows) return 1;
    if (cu.log2_size == 3) return 2;
    return bin(kPartMode + 2) ? 2 : 3;
  }
  if (!sps_->amp) return rows ? 1 : 2;
  if (bin(kPartMode + 3)) return rows ? 1 : 2;
  return static_cast<uint8_t>((rows ? 4 : 6) + cabac_.bypass());
}

void PictureDecoder::prediction_units(const CodingUnit& cu, unsigned depth, bool& merged) {
  PredictionBlock block;
  block.cb_x = cu.x;
  block.cb_y = cu.y;
  block.cb_size = 1 << cu.log2_size;
  block.part_mode = cu.part_mode;
  const int quarter = block.cb_size >> 2;
  for (unsigned part = 0; part < kPartCount[cu.part_mode]; ++part) {
    const PartShape& shape = kParts[cu.part_mode][part];
    block.x = cu.x + shape.x * quarter;
    block.y = cu.y + shape.y * quarter;
    block.width = shape.width * quarter;
    block.height = shape.height * quarter;
    block.part = part;
    merged = prediction_unit(cu, block, depth);
  }
}

// 7.3.8.6; true if merged
bool PictureDecoder::prediction_unit(const CodingUnit& cu, const PredictionBlock& block, unsigned depth) {
  if (cu.mode == kSkip || bin(kMergeFlag)) {
    predictor_.store(block, predictor_.merge(block, merge_index()));
    return true;
  }
  predictor_.store(block, explicit_motion(block, depth));
  return false;
}

unsigned PictureDecoder::merge_index() {
  const unsigned largest = predictor_.slice().max_merge - 1;
  if (largest == 0 || !bin(kMergeIdx)) return 0;
  unsigned index = 1;
  while (index < largest && cabac_.bypass()) ++index;
  return index;
}

unsigned PictureDecoder::reference_index(unsigned count) {
  unsigned index = 0;
  while (index + 1 < count && index < 2) {
    if (!bin(kRefIdx + index)) return index;
    ++index;
  }
  while (index + 1 < count && cabac_.bypass()) ++index;
  return index;
}

// 7.3.8.9; wraps like (8-94)
Vector PictureDecoder::mvd() {
  const bool x = bin(kMvdGreater0) != 0, y = bin(kMvdGreater0) != 0;
  const bool more_x = x && bin(kMvdGreater1), more_y = y && bin(kMvdGreater1);
  const auto component = [this](bool nonzero, bool more) -> int16_t {
    if (!nonzero) return 0;
    const uint32_t magnitude = more ? 2 + cabac_.exp_golomb(1) : 1;
    return static_cast<int16_t>(static_cast<uint16_t>(cabac_.bypass() ? 0u - magnitude : magnitude));
  };
  Vector difference;
  difference.x = component(x, more_x);
  difference.y = component(y, more_y);
  return difference;
}

BlockMotion PictureDecoder::explicit_motion(const PredictionBlock& block, unsigned depth) {
  const SliceMotion& slice = predictor_.slice();
  bool use[2] = {true, false};
  if (slice.bidirectional) {
    // inter_pred_idc (9.3.3.9)
    if (block.width + block.height != 12 && bin(kInterPredIdc + depth)) {
      use[1] = true;
    } else if (bin(kInterPredIdc + 4)) {
      use[0] = false;
      use[1] = true;
    }
  }
  unsigned ref[2] = {}, candidate[2] = {};
  Vector difference[2];
  for (unsigned list = 0; list < 2; ++list) {
    if (!use[list]) continue;
    ref[list] = slice.refs[list] > 1 ? reference_index(slice.refs[list]) : 0;
    const bool omitted = list == 1 && use[0] && header_->mvd_l1_zero;
    if (!omitted) difference[list] = mvd();
    candidate[list] = bin(kMvpFlag);
  }
  BlockMotion motion{{}, {{-1, -1}}};
  for (unsigned list = 0; list < 2; ++list) {
    if (!use[list]) continue;
    const Vector predicted = predictor_.predict(block, list, ref[list], candidate[list]);
    // (8-94) to (8-97): modulo 2^16
    motion.vectors.list[list] = {static_cast<int16_t>(static_cast<uint16_t>(predicted.x + difference[list].x)),
                                 static_cast<int16_t>(static_cast<uint16_t>(predicted.y + difference[list].y))};
    motion.refs.list[list] = slice.ref_code[list][ref[list]];
  }
  return motion;
}

// 8.4.2
uint8_t PictureDecoder::luma_mode(int x, int y, bool from_candidates, unsigned code) const {
  const uint8_t left = left_mode_[(y & ctb_mask_) >> 2], above = above_mode_[(x & ctb_mask_) >> 2];
  uint8_t candidates[3] = {left, above, 0};
  if (left == above) {
    if (left < 2) {
      candidates[0] = kPlanar;
      candidates[1] = kDc;
      candidates[2] = kVertical;
    } else {
      candidates[1] = static_cast<uint8_t>(2 + (left + 29) % 32);
      candidates[2] = static_cast<uint8_t>(2 + (left - 2 + 1) % 32);
    }
  } else if (left != kPlanar && above != kPlanar) {
    candidates[2] = kPlanar;
  } else if (left != kDc && above != kDc) {
    candidates[2] = kDc;
  } else {
    candidates[2] = kVertical;
  }
  if (from_candidates) return candidates[code];
  std::sort(candidates, candidates + 3);
  for (uint8_t candidate : candidates) code += code >= candidate;
  return static_cast<uint8_t>(code);
}

void PictureDecoder::intra_modes(CodingUnit& cu) {
  const unsigned parts = cu.intra_nxn ? 4 : 1;
  const int size = 1 << (cu.log2_size - cu.intra_nxn);
  bool from_candidates[4];
  for (unsigned i = 0; i < parts; ++i) from_candidates[i] = bin(kPrevIntraLuma) != 0;
  for (unsigned i = 0; i < parts; ++i) {
    unsigned code;
    if (from_candidates[i]) {
      code = cabac_.bypass();
      if (code) code += cabac_.bypass();
    } else {
      code = cabac_.bypass_bits(5);
    }
    const int x = cu.x + static_cast<int>(i & 1) * size, y = cu.y + static_cast<int>(i >> 1) * size;
    const uint8_t mode = luma_mode(x, y, from_candidates[i], code);
    cu.luma_mode[i] = mode;
    const size_t blocks = static_cast<size_t>(size >> 2);
    std::fill_n(left_mode_ + ((y & ctb_mask_) >> 2), blocks, mode);
    std::fill_n(above_mode_ + ((x & ctb_mask_) >> 2), blocks, mode);
  }
  if (sps_->chroma_array_type == 0) return;
  const unsigned chroma_parts = sps_->chroma_array_type == 3 ? parts : 1;
  for (unsigned i = 0; i < chroma_parts; ++i) {
    // 8.4.3
    const bool derived = !bin(kIntraChroma);
    uint8_t mode = cu.luma_mode[i];
    if (!derived) {
      static constexpr uint8_t kModes[4] = {kPlanar, kVertical, kHorizontal, kDc};
      const uint8_t chosen = kModes[cabac_.bypass_bits(2)];
      mode = chosen == mode ? 34 : chosen;
    }
    cu.chroma_mode[i] = sps_->chroma_array_type == 2 ? kChroma422[mode] : mode;
    cu.chroma_from_luma[i] = derived;
  }
}

// 7.3.8.7
void PictureDecoder::pcm_samples(const CodingUnit& cu) {
  const uint64_t luma = uint64_t{1} << (2 * cu.log2_size);
  uint64_t bits = luma * sps_->pcm_depth_luma;
  if (sps_->chroma_array_type == 1) bits += luma / 2 * sps_->pcm_depth_chroma;
  if (sps_->chroma_array_type == 2) bits += luma * sps_->pcm_depth_chroma;
  if (sps_->chroma_array_type == 3) bits += 2 * luma * sps_->pcm_depth_chroma;
  const uint64_t end = cabac_.next_byte() + (bits + 7) / 8;
  if (end >= cabac_.size()) throw SyntaxError("the slice data end inside PCM samples");
  cabac_.start(static_cast<size_t>(end));
}

}  // namespace vssbench::hevc
