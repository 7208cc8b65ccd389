// Binarisations of macroblock syntax (9.3.2, 9.3.3.1.1).
#include "cabac_contexts.hpp"
#include "slice_decoder.hpp"

namespace vssbench::h264 {

bool PictureDecoder::cabac_skip() {
  const unsigned first = type_ == kSliceP ? kMbSkipP : kMbSkipB;
  const unsigned left = left_ && !is_skip(left_->type), above = above_ && !is_skip(above_->type);
  return bin(first + left + above);
}

bool PictureDecoder::cabac_field(int mb_x, int mb_y) {
  mb_x_ = mb_x;
  mb_y_ = mb_y;
  const Macroblock *left = pair(-1, 0), *above = pair(0, -1);
  return bin(kFieldDecoding + (left && left->field) + (above && above->field));
}

// The codes of Table 7-11; `base` is the context of the first bin
unsigned PictureDecoder::cabac_intra_type(unsigned base, bool intra_slice) {
  if (intra_slice) {
    const auto other = [](const Macroblock* mb) { return mb && mb->type != kI4x4 && mb->type != kI8x8; };
    if (!bin(base + other(left_) + other(above_))) return 0;
    base += 2;
  } else if (!bin(base)) {
    return 0;
  }
  const unsigned extra = intra_slice ? 1 : 0;
  if (cabac_.terminate()) return 25;
  unsigned code = 1 + 12 * bin(base + 1);
  if (bin(base + 2)) code += 4 + 4 * bin(base + 2 + extra);
  code += 2 * bin(base + 3 + extra);
  return code + bin(base + 3 + 2 * extra);
}

// mb_type as CAVLC codes it, with the intra types behind the inter ones
unsigned PictureDecoder::cabac_type() {
  if (type_ == kSliceI) return cabac_intra_type(kMbTypeI, true);
  if (type_ == kSliceP) {
    if (bin(kMbTypeP)) return 5 + cabac_intra_type(kMbTypePIntra, false);
    if (!bin(kMbTypeP + 1)) return 3 * bin(kMbTypeP + 2);
    return 2 - bin(kMbTypeP + 3);
  }
  const auto coded = [](const Macroblock* mb) { return mb && mb->type != kBSkip && mb->type != kBDirect; };
  if (!bin(kMbTypeB + coded(left_) + coded(above_))) return 0;
  if (!bin(kMbTypeB + 3)) return 1 + bin(kMbTypeB + 5);
  unsigned bits = bin(kMbTypeB + 4) << 3;
  bits |= bin(kMbTypeB + 5) << 2;
  bits |= bin(kMbTypeB + 5) << 1;
  bits |= bin(kMbTypeB + 5);
  if (bits < 8) return bits + 3;
  if (bits == 13) return 23 + cabac_intra_type(kMbTypeBIntra, false);
  if (bits == 14) return 11;
  if (bits == 15) return 22;
  return (bits << 1 | bin(kMbTypeB + 5)) - 4;
}

unsigned PictureDecoder::cabac_sub_type() {
  if (type_ == kSliceP) {
    if (bin(kSubTypeP)) return 0;
    if (!bin(kSubTypeP + 1)) return 1;
    return 3 - bin(kSubTypeP + 2);
  }
  if (!bin(kSubTypeB)) return 0;
  if (!bin(kSubTypeB + 1)) return 1 + bin(kSubTypeB + 3);
  unsigned code = 3;
  if (bin(kSubTypeB + 2)) {
    if (bin(kSubTypeB + 3)) return 11 + bin(kSubTypeB + 3);
    code += 4;
  }
  code += 2 * bin(kSubTypeB + 3);
  return code + bin(kSubTypeB + 3);
}

int PictureDecoder::cabac_reference(unsigned list, int x, int y) {
  const int left = grid(x - 1, y), above = grid(x, y - 1);
  unsigned context = refs_[list][left] > 0 && !(type_ == kSliceB && direct_grid_[left]);
  context += refs_[list][above] > 0 && !(type_ == kSliceB && direct_grid_[above]) ? 2 : 0;
  int ref = 0;
  while (bin(kRefIdx + context)) {
    context = (context >> 2) + 4;
    if (++ref > 32) fail("ref_idx is out of range");
  }
  return ref;
}

int PictureDecoder::cabac_mvd(unsigned base, unsigned sum) {
  if (!bin(base + (sum > 2) + (sum > 32))) return 0;
  int value = 1;
  unsigned context = 3;
  while (value < 9 && bin(base + context)) {
    if (context < 6) ++context;
    ++value;
  }
  if (value == 9) {
    unsigned order = 3;
    while (cabac_.bypass()) {
      value += 1 << order;
      if (++order > 20) fail("mvd is out of range");
    }
    while (order > 0) value += static_cast<int>(cabac_.bypass()) << --order;
  }
  return cabac_.bypass() ? -value : value;
}

unsigned PictureDecoder::cabac_pattern() {
  // of the four luma blocks: those left of and above the macroblock's
  const unsigned above = above_ ? above_->cbp : 15;
  const auto left_bit = [&](const Position& left) { return left.mb ? left.mb->cbp >> (left.block_y & 2) >> 1 & 1 : 1; };
  const unsigned left0 = left_bit(left_blocks_[0]), left1 = left_bit(left_blocks_[2]);
  unsigned luma = bin(kPatternLuma + !left0 + 2 * !(above & 4));
  luma |= bin(kPatternLuma + !(luma & 1) + 2 * !(above & 8)) << 1;
  luma |= bin(kPatternLuma + !left1 + 2 * !(luma & 1)) << 2;
  luma |= bin(kPatternLuma + !(luma & 4) + 2 * !(luma & 2)) << 3;
  if (chroma_format_ == 0 || chroma_format_ == 3) return luma;
  const unsigned left_chroma = left_ ? left_->cbp >> 4 & 3 : 0, above_chroma = above_ ? above_->cbp >> 4 & 3 : 0;
  if (!bin(kPatternChroma + (left_chroma != 0) + 2 * (above_chroma != 0))) return luma;
  const unsigned two = bin(kPatternChroma + 4 + (left_chroma == 2) + 2 * (above_chroma == 2));
  return luma | (two ? 32 : 16);
}

int PictureDecoder::cabac_qp_delta() {
  if (!bin(kQpDelta + (last_qp_delta_ != 0))) return 0;
  int value = 1;
  unsigned context = 2;
  while (bin(kQpDelta + context)) {
    context = 3;
    if (++value > 2 * (52 + 36)) fail("mb_qp_delta is out of range");
  }
  return value & 1 ? (value + 1) >> 1 : -((value + 1) >> 1);
}

unsigned PictureDecoder::cabac_chroma_mode() {
  const auto other = [](const Macroblock* mb) { return mb && mb->chroma_mode != 0; };
  if (!bin(kIntraChroma + other(left_) + other(above_))) return 0;
  if (!bin(kIntraChroma + 3)) return 1;
  return 2 + bin(kIntraChroma + 3);
}

}  // namespace vssbench::h264
