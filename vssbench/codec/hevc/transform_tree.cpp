// Transform trees and transform units (7.3.8.8, 7.3.8.10, 7.3.8.12, 7.3.8.14).
#include <algorithm>
#include <cstdlib>

#include "coding_tree.hpp"

namespace vssbench::hevc {

void PictureDecoder::transform_tree(const CodingUnit& cu, TransformNode node) {
  const Sps& sps = *sps_;
  bool split;
  if (node.log2_size <= sps.log2_max_tb && node.log2_size > sps.log2_min_tb && node.depth < cu.max_depth &&
      !(cu.intra_nxn && node.depth == 0)) {
    split = bin(kSplitTransform + 5 - node.log2_size);
  } else {
    split =
        node.log2_size > sps.log2_max_tb || (cu.intra_nxn && node.depth == 0) || (cu.inter_split && node.depth == 0);
  }
  // node.cbf_* hold the parent's flags here; blocks of 4x4 luma samples keep them (7.4.9.8)
  const unsigned chroma = sps.chroma_array_type;
  if ((node.log2_size > 2 && chroma != 0) || chroma == 3) {
    const bool two = chroma == 2 && (!split || node.log2_size == 3);
    const auto flags = [&](uint8_t parent) -> uint8_t {
      if (node.depth != 0 && !parent) return 0;
      unsigned value = bin(kCbfChroma + node.depth);
      if (two) value |= bin(kCbfChroma + node.depth) << 1;
      return static_cast<uint8_t>(value);
    };
    node.cbf_cb = flags(node.cbf_cb);
    node.cbf_cr = flags(node.cbf_cr);
  }
  if (split) {
    const int half = 1 << (node.log2_size - 1);
    for (unsigned i = 0; i < 4; ++i) {
      transform_tree(cu, {node.x + static_cast<int>(i & 1) * half, node.y + static_cast<int>(i >> 1) * half, node.x,
                          node.y, node.log2_size - 1, node.depth + 1, i, node.cbf_cb, node.cbf_cr});
    }
    return;
  }
  const bool inferred = cu.mode != kIntra && node.depth == 0 && !node.cbf_cb && !node.cbf_cr;
  const bool cbf_luma = inferred || bin(kCbfLuma + (node.depth == 0));
  transform_unit(cu, node, cbf_luma);
}

void PictureDecoder::transform_unit(const CodingUnit& cu, const TransformNode& node, bool cbf_luma) {
  const bool cbf_chroma = node.cbf_cb || node.cbf_cr;  // for 4x4 luma blocks: of the parent
  if (!cbf_luma && !cbf_chroma) return;
  if (pps_->cu_qp_delta && !qp_delta_coded_) cu_qp_delta();
  if (header_->chroma_qp_offsets && cbf_chroma && !cu.bypass && !chroma_offset_coded_) cu_chroma_qp_offset();
  // the partition that chooses the intra mode: 4 of them cover an NxN coding unit
  unsigned part = 0;
  if (cu.intra_nxn) {
    const int half = 1 << (cu.log2_size - 1);
    part = static_cast<unsigned>(node.x >= cu.x + half) | static_cast<unsigned>(node.y >= cu.y + half) << 1;
  }
  if (cbf_luma) luma_block(cu, node, part);
  const unsigned chroma = sps_->chroma_array_type;
  if (chroma == 0) return;
  if (node.log2_size > 2 || chroma == 3) {
    const unsigned chroma_part = chroma == 3 ? part : 0;
    const bool cross =
        pps_->cross_component_prediction && cbf_luma && (cu.mode != kIntra || cu.chroma_from_luma[chroma_part]);
    chroma_blocks(cu, node, node.log2_size - (chroma == 3 ? 0 : 1), chroma_part, cross);
  } else if (node.block == 3) {
    chroma_blocks(cu, node, 2, 0, false);
  }
}

void PictureDecoder::luma_block(const CodingUnit& cu, const TransformNode& node, unsigned part) {
  const unsigned count = residual(cu, node.log2_size, 0, cu.mode == kIntra ? cu.luma_mode[part] : 0);
  if (details_) count_nonzero(node.x, node.y, count);
}

void PictureDecoder::chroma_blocks(const CodingUnit& cu, const TransformNode& node, unsigned log2_size, unsigned part,
                                   bool cross_component) {
  const unsigned mode = cu.mode == kIntra ? cu.chroma_mode[part] : 0;
  unsigned count = 0;
  for (unsigned component = 1; component <= 2; ++component) {
    if (cross_component) {
      // cross_comp_pred: log2_res_scale_abs_plus1 is truncated unary with cMax 4
      unsigned scale = 0;
      while (scale < 4 && bin(kResScaleAbs + 4 * (component - 1) + scale)) ++scale;
      if (scale) bin(kResScaleSign + component - 1);
    }
    const unsigned flags = component == 1 ? node.cbf_cb : node.cbf_cr;
    if (flags & 1) count += residual(cu, log2_size, component, mode);
    if (flags & 2) count += residual(cu, log2_size, component, mode);
  }
  // chroma of four 4x4 luma blocks is coded with the last and counted at the first
  const bool shared = node.log2_size == 2 && sps_->chroma_array_type != 3;
  if (details_ && count) count_nonzero(shared ? node.base_x : node.x, shared ? node.base_y : node.y, count);
}

void PictureDecoder::count_nonzero(int x, int y, unsigned count) {
  uint16_t& total = store_->nonzero[store_->at(x, y)];
  total = static_cast<uint16_t>(std::min(65535u, total + count));
}

// 9.3.3.10
void PictureDecoder::cu_qp_delta() {
  unsigned magnitude = 0;
  while (magnitude < 5 && bin(kCuQpDelta + (magnitude != 0))) ++magnitude;
  if (magnitude == 5) magnitude += cabac_.exp_golomb(0);
  const bool negative = magnitude && cabac_.bypass();
  const int half_offset = 3 * (static_cast<int>(sps_->bit_depth_luma) - 8);
  if (magnitude > static_cast<unsigned>(26 + half_offset)) throw SyntaxError("CuQpDeltaVal is out of range");
  qp_delta_ = negative ? -static_cast<int>(magnitude) : static_cast<int>(magnitude);
  qp_delta_coded_ = true;
}

void PictureDecoder::cu_chroma_qp_offset() {
  chroma_offset_coded_ = true;
  if (!bin(kChromaQpOffsetFlag)) return;
  for (unsigned i = 0; i + 1 < pps_->chroma_qp_offset_count && bin(kChromaQpOffsetIdx); ++i) {
  }
}

}  // namespace vssbench::hevc
