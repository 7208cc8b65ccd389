// Macroblock layer (7.3.5): types, prediction syntax, coded block pattern.
#include <algorithm>

#include "cabac_contexts.hpp"
#include "slice_decoder.hpp"

namespace vssbench::h264 {
namespace {

constexpr uint8_t kLargestMvd = 70;  // sums of two are compared with 32, doubled for fields
constexpr unsigned kL0 = 1, kL1 = 2, kBi = 3;

struct Split {
  uint8_t type, first, second;  ///< MacroblockType and the lists that both partitions use
};
// Table 7-14, mb_type 4 to 21 of B slices
constexpr Split kSplits[18] = {
    {k16x8, kL0, kL0}, {k8x16, kL0, kL0}, {k16x8, kL1, kL1}, {k8x16, kL1, kL1}, {k16x8, kL0, kL1}, {k8x16, kL0, kL1},
    {k16x8, kL1, kL0}, {k8x16, kL1, kL0}, {k16x8, kL0, kBi}, {k8x16, kL0, kBi}, {k16x8, kL1, kBi}, {k8x16, kL1, kBi},
    {k16x8, kBi, kL0}, {k8x16, kBi, kL0}, {k16x8, kBi, kL1}, {k8x16, kBi, kL1}, {k16x8, kBi, kBi}, {k8x16, kBi, kBi}};
constexpr Split kSplitsP[2] = {{k16x8, kL0, kL0}, {k8x16, kL0, kL0}};
struct SubSplit {
  uint8_t type, lists;
};
// Tables 7-17 and 7-18
constexpr SubSplit kSubP[4] = {{kSub8x8, kL0}, {kSub8x4, kL0}, {kSub4x8, kL0}, {kSub4x4, kL0}};
constexpr SubSplit kSubB[13] = {{kSubDirect, 0}, {kSub8x8, kL0}, {kSub8x8, kL1}, {kSub8x8, kBi}, {kSub8x4, kL0},
                                {kSub4x8, kL0},  {kSub8x4, kL1}, {kSub4x8, kL1}, {kSub8x4, kBi}, {kSub4x8, kBi},
                                {kSub4x4, kL0},  {kSub4x4, kL1}, {kSub4x4, kBi}};

// Table 9-4: coded_block_pattern by codeNum, [with chroma][intra, inter]
constexpr uint8_t kPatterns[2][48] = {
    {47, 31, 15, 0,  23, 27, 29, 30, 7, 11, 13, 14, 39, 43, 45, 46, 16, 3,  5,  10, 12, 19, 21, 26,
     28, 35, 37, 42, 44, 1,  2,  4,  8, 17, 18, 20, 24, 6,  9,  22, 25, 32, 33, 34, 36, 40, 38, 41},
    {0,  16, 1,  2,  4,  8,  32, 3,  5,  10, 12, 15, 47, 7,  11, 13, 14, 6,  9,  31, 35, 37, 42, 44,
     33, 34, 36, 40, 39, 43, 45, 46, 17, 18, 20, 24, 19, 21, 26, 28, 23, 27, 29, 30, 22, 25, 38, 41}};
constexpr uint8_t kLumaPatterns[2][16] = {{15, 0, 7, 11, 13, 14, 3, 5, 10, 12, 1, 2, 4, 8, 6, 9},
                                          {0, 1, 2, 4, 8, 3, 5, 10, 12, 15, 7, 11, 13, 14, 6, 9}};

}  // namespace

template <bool kCabac>
void PictureDecoder::macroblock() {
  const size_t first_bit = kCabac ? cabac_.consumed_bits() : vlc_.position();
  mb_->cbp = 0;
  mb_->transform_8x8 = false;
  mb_->chroma_mode = 0;
  mb_->direct = 0;
  const unsigned code = kCabac ? cabac_type() : vlc_.ue();
  const unsigned inter_codes = type_ == kSliceI ? 0 : type_ == kSliceP ? 5 : 23;
  if (code >= inter_codes) {
    intra_macroblock<kCabac>(code - inter_codes);
  } else {
    inter_macroblock<kCabac>(code);
  }
  finish_macroblock();
  if (details_) store_details(first_bit);
}
template void PictureDecoder::macroblock<true>();
template void PictureDecoder::macroblock<false>();

template <bool kCabac>
void PictureDecoder::intra_macroblock(unsigned code) {
  if (code > 25) fail("mb_type is out of range");
  std::fill_n(&mb_->mvd[0][0], 14, MvdSize{});
  store_->clear_macroblock(mb_x_, mb_y_);
  if (code == 25) {
    mb_->type = kPcm;
    return pcm_samples<kCabac>();
  }
  if (code == 0) {
    mb_->type = kI4x4;
    if (pps_->transform_8x8) {
      const auto large = [](const Macroblock* mb) { return mb && mb->transform_8x8; };
      mb_->transform_8x8 = kCabac ? bin(kTransform8x8 + large(left_) + large(above_)) : vlc_.flag();
    }
    if (mb_->transform_8x8) mb_->type = kI8x8;
    for (unsigned blocks = mb_->transform_8x8 ? 4 : 16; blocks > 0; --blocks) {
      if constexpr (kCabac) {
        if (bin(kPrevIntraMode)) continue;
        for (int i = 0; i < 3; ++i) bin(kRemIntraMode);
      } else if (!vlc_.flag()) {
        vlc_.skip(3);
      }
    }
  } else {
    mb_->type = kI16x16;
  }
  if (chroma_format_ == 1 || chroma_format_ == 2) {
    const unsigned mode = kCabac ? cabac_chroma_mode() : vlc_.ue();
    if (mode > 3) fail("intra_chroma_pred_mode is out of range");
    mb_->chroma_mode = static_cast<uint8_t>(mode);
  }
  if (code == 0) {
    coded_block_pattern<kCabac>();
  } else {
    mb_->cbp = static_cast<uint16_t>((code - 1) / 4 % 3 << 4 | (code >= 13 ? 15 : 0));
  }
  quantiser_and_residual<kCabac>();
}

template <bool kCabac>
void PictureDecoder::pcm_samples() {
  const size_t chroma[] = {0, 64, 128, 256};
  const size_t bits = 256u * sps_->bit_depth_luma + 2 * chroma[chroma_format_] * sps_->bit_depth_chroma;
  mb_->cbp = 0x7EF;  // everything coded
  std::memset(mb_->coefficients, 16, sizeof mb_->coefficients);
  last_qp_delta_ = 0;
  if constexpr (kCabac) {
    const size_t begin = cabac_.next_byte();
    if (begin + bits / 8 > cabac_.size()) fail("the slice ends inside PCM samples");
    cabac_.start(begin + bits / 8);
  } else {
    vlc_.align();
    vlc_.skip(bits);
  }
}

template <bool kCabac>
void PictureDecoder::inter_macroblock(unsigned code) {
  const bool bidirectional = type_ == kSliceB;
  if (kCabac) std::fill_n(&mb_->mvd[0][0], 14, MvdSize{});
  bool small = false;  // a partition below 8x8: no 8x8 transform
  if (bidirectional && code == 0) {
    mb_->type = kBDirect;
    mb_->direct = 15;
    direct_macroblock();
    small = !sps_->direct_8x8_inference;
  } else if (code < (bidirectional ? 4u : 1u)) {
    mb_->type = k16x16;
    whole_macroblock<kCabac>(bidirectional ? code : kL0);
  } else {
    small = partitioned_macroblock<kCabac>(code);
  }
  coded_block_pattern<kCabac>();
  if ((mb_->cbp & 15) && pps_->transform_8x8 && !small) {
    const auto large = [](const Macroblock* mb) { return mb && mb->transform_8x8; };
    mb_->transform_8x8 = kCabac ? bin(kTransform8x8 + large(left_) + large(above_)) : vlc_.flag();
  }
  quantiser_and_residual<kCabac>();
}

// One partition, as most macroblocks have: its neighbours are looked up without the grids.
template <bool kCabac>
void PictureDecoder::whole_macroblock(unsigned uses) {
  const unsigned lists = type_ == kSliceB ? 2 : 1;
  const int left = grid(-1, 0), above = grid(0, -1);
  Corners near[2];
  RefPair refs{{kUnused, kUnused}};
  VectorPair vectors{};
  for (unsigned list = 0; list < lists; ++list) {
    if (!(uses >> list & 1)) continue;
    near[list] = corners(list);
    refs_[list][left] = static_cast<int8_t>(near[list].left.ref);
    refs_[list][above] = static_cast<int8_t>(near[list].above.ref);
    direct_grid_[left] = left_ && (left_->direct >> (left_blocks_[0].block_y / 2 * 2 + 1) & 1);
    direct_grid_[above] = above_ && (above_->direct >> 2 & 1);
    refs.list[list] = static_cast<int8_t>(read_reference<kCabac>(list, 0, 0));
  }
  for (unsigned list = 0; list < lists; ++list) {
    if (!(uses >> list & 1)) continue;
    if (kCabac) {
      mvd_[list][left] = mvd_of(list, left_, left_blocks_[0].block_y == 3 ? 3 : 4 + left_blocks_[0].block_y);
      mvd_[list][above] = mvd_of(list, above_, 0);
    }
    const Vector predicted = predict_from(refs.list[list], near[list].left, near[list].above, near[list].diagonal);
    vectors.list[list] = read_vector<kCabac>(list, 0, 0, 1, 1, predicted);
    if (kCabac) std::fill_n(mb_->mvd[list], 7, mvd_[list][grid(0, 0)]);
  }
  store_uniform(refs, vectors);
}

// Returns whether a partition is smaller than 8x8.
template <bool kCabac>
bool PictureDecoder::partitioned_macroblock(unsigned code) {
  const bool bidirectional = type_ == kSliceB;
  bool small = false;
  for (unsigned list = 0; list < (bidirectional ? 2u : 1u); ++list) {
    fill_motion(list);
    if (kCabac) fill_mvd(list);
  }
  if (code == (bidirectional ? 22 : 3) || (!bidirectional && code == 4)) {
    mb_->type = k8x8;
    if (kCabac && !bidirectional && code == 4) fail("mb_type P_8x8ref0 is not allowed with CABAC");
    small = partitions_8x8<kCabac>(bidirectional, code == 4);
  } else {
    const Split& split = bidirectional ? kSplits[code - 4] : kSplitsP[code - 1];
    mb_->type = split.type;
    partitions<kCabac>(split.first, split.second);
  }
  if (kCabac) store_mvd();
  store_motion();
  return small;
}

template <bool kCabac>
int PictureDecoder::read_reference(unsigned list, int x, int y) {
  const unsigned count = refs_count_[list];
  if (count == 1) return 0;
  const unsigned ref = kCabac       ? static_cast<unsigned>(cabac_reference(list, x, y))
                       : count == 2 ? 1 - vlc_.flag()
                                    : vlc_.ue();
  if (ref >= count) fail("ref_idx is out of range");
  return static_cast<int>(ref);
}

template <bool kCabac>
Vector PictureDecoder::read_vector(unsigned list, int x, int y, int width, int height, Vector predicted) {
  int dx, dy;
  if constexpr (kCabac) {
    const MvdSize left = mvd_[list][grid(x - 1, y)], above = mvd_[list][grid(x, y - 1)];
    dx = cabac_mvd(kMvdX, left.x + above.x);
    dy = cabac_mvd(kMvdY, left.y + above.y);
    const auto small = [](int value) { return static_cast<uint8_t>(std::min<int>(std::abs(value), kLargestMvd)); };
    fill_grid(mvd_[list], x, y, width, height, MvdSize{small(dx), small(dy)});
  } else {
    dx = vlc_.se();
    dy = vlc_.se();
  }
  return {static_cast<int16_t>(static_cast<uint32_t>(predicted.x) + static_cast<uint32_t>(dx)),
          static_cast<int16_t>(static_cast<uint32_t>(predicted.y) + static_cast<uint32_t>(dy))};
}

// 16x8 or 8x16: all reference indices come before all vectors
template <bool kCabac>
void PictureDecoder::partitions(unsigned lists0, unsigned lists1) {
  const unsigned uses[2] = {lists0, lists1};
  const int width = mb_->type == k8x16 ? 2 : 4, height = mb_->type == k16x8 ? 2 : 4;
  const auto left = [&](int part) { return mb_->type == k8x16 ? 2 * part : 0; };
  const auto top = [&](int part) { return mb_->type == k16x8 ? 2 * part : 0; };
  const unsigned lists = type_ == kSliceB ? 2 : 1;
  int refs[2][2];
  for (unsigned list = 0; list < lists; ++list) {
    for (int part = 0; part < 2; ++part) {
      const int x = left(part), y = top(part);
      const int ref = uses[part] >> list & 1 ? read_reference<kCabac>(list, x, y) : kUnused;
      refs[list][part] = ref;
      fill_grid(refs_[list], x, y, width, height, static_cast<int8_t>(ref));
      if (list == 0) fill_grid(direct_grid_, x, y, width, height, false);
    }
  }
  for (unsigned list = 0; list < lists; ++list) {
    if (kCabac) fill_grid(mvd_[list], 0, 0, 4, 4, MvdSize{});
    for (int part = 0; part < 2; ++part) {
      const int x = left(part), y = top(part), ref = refs[list][part];
      Vector vector;
      if (ref >= 0) {
        vector = mb_->type == k16x8 ? predict_16x8(list, ref, y) : predict_8x16(list, ref, x);
        vector = read_vector<kCabac>(list, x, y, width, height, vector);
      }
      set_motion(list, x, y, width, height, ref, vector);
    }
  }
}

// Returns whether a partition is smaller than 8x8.
template <bool kCabac>
bool PictureDecoder::partitions_8x8(bool bidirectional, bool all_zero) {
  SubSplit subs[4];
  bool small = false;
  for (int block = 0; block < 4; ++block) {
    const unsigned code = kCabac ? cabac_sub_type() : vlc_.ue();
    if (code >= (bidirectional ? 13u : 4u)) fail("sub_mb_type is out of range");
    subs[block] = bidirectional ? kSubB[code] : kSubP[code];
    sub_types_[block] = subs[block].type;
    if (subs[block].type == kSubDirect) mb_->direct |= static_cast<uint8_t>(1 << block);
    small = small || (subs[block].type == kSubDirect ? !sps_->direct_8x8_inference : subs[block].type != kSub8x8);
  }
  if (mb_->direct) direct_blocks(mb_->direct);
  const unsigned lists = bidirectional ? 2 : 1;
  for (unsigned list = 0; list < lists; ++list) {
    for (int block = 0; block < 4; ++block) {
      const int x = 2 * (block & 1), y = block & 2;
      const bool is_direct = subs[block].type == kSubDirect;
      if (list == 0) fill_grid(direct_grid_, x, y, 2, 2, is_direct);
      if (is_direct) continue;
      const bool used = subs[block].lists >> list & 1;
      const int ref = !used ? kUnused : all_zero ? 0 : read_reference<kCabac>(list, x, y);
      fill_grid(refs_[list], x, y, 2, 2, static_cast<int8_t>(ref));
    }
  }
  for (unsigned list = 0; list < lists; ++list) {
    if (kCabac) fill_grid(mvd_[list], 0, 0, 4, 4, MvdSize{});
    for (int block = 0; block < 4; ++block) {
      if (subs[block].type != kSubDirect) sub_vectors<kCabac>(list, block, subs[block].type);
    }
  }
  return small;
}

template <bool kCabac>
void PictureDecoder::sub_vectors(unsigned list, int block, unsigned type) {
  const int x0 = 2 * (block & 1), y0 = block & 2, ref = refs_[list][grid(x0, y0)];
  const int width = type == kSub8x8 || type == kSub8x4 ? 2 : 1, height = type == kSub8x8 || type == kSub4x8 ? 2 : 1;
  for (int y = y0; y < y0 + 2; y += height) {
    for (int x = x0; x < x0 + 2; x += width) {
      Vector vector;
      if (ref >= 0) vector = read_vector<kCabac>(list, x, y, width, height, predict(list, ref, x, y, width));
      set_motion(list, x, y, width, height, ref, vector);
    }
  }
}

void PictureDecoder::store_mvd() {
  for (unsigned list = 0; list < (type_ == kSliceB ? 2u : 1u); ++list) {
    for (int i = 0; i < 4; ++i) mb_->mvd[list][i] = mvd_[list][grid(i, 3)];
    for (int i = 0; i < 3; ++i) mb_->mvd[list][4 + i] = mvd_[list][grid(3, i)];
  }
}

template <bool kCabac>
void PictureDecoder::coded_block_pattern() {
  if constexpr (kCabac) {
    mb_->cbp = static_cast<uint16_t>(cabac_pattern());
    return;
  }
  const bool inter = !is_intra(mb_->type), chroma = chroma_format_ == 1 || chroma_format_ == 2;
  const uint32_t code = vlc_.ue();
  if (code >= (chroma ? 48u : 16u)) fail("coded_block_pattern is out of range");
  mb_->cbp = chroma ? kPatterns[inter][code] : kLumaPatterns[inter][code];
}

template <bool kCabac>
void PictureDecoder::quantiser_and_residual() {
  if (mb_->cbp == 0 && mb_->type != kI16x16) {
    last_qp_delta_ = 0;
    std::memset(mb_->coefficients, 0, sizeof mb_->coefficients);
    return;
  }
  const int delta = kCabac ? cabac_qp_delta() : vlc_.se(), extra = 6 * static_cast<int>(sps_->bit_depth_luma - 8);
  if (delta < -(26 + extra / 2) || delta > 25 + extra / 2) fail("mb_qp_delta is out of range");
  last_qp_delta_ = delta;
  qp_ = (qp_ + delta + 52 + 2 * extra) % (52 + extra) - extra;
  residual<kCabac>();
}

void PictureDecoder::skip_macroblock() {
  const size_t first_bit = pps_->cabac ? cabac_.consumed_bits() : vlc_.position();
  mb_->cbp = 0;
  mb_->transform_8x8 = false;
  mb_->chroma_mode = 0;
  std::memset(mb_->coefficients, 0, sizeof mb_->coefficients);
  std::fill_n(&mb_->mvd[0][0], 14, MvdSize{});
  last_qp_delta_ = 0;
  if (type_ == kSliceP) {
    mb_->type = kPSkip;
    mb_->direct = 0;
    p_skip();
  } else {
    mb_->type = kBSkip;
    mb_->direct = 15;
    direct_macroblock();
  }
  finish_macroblock();
  if (details_) store_details(first_bit);
}

void PictureDecoder::finish_macroblock() {
  const size_t at = static_cast<size_t>(mb_y_ * width_ + mb_x_);
  store_->mb_field[at] = field_mb_ || field_picture_;
  store_->mb_slice[at] = static_cast<uint16_t>(slice_ - 1);
}

void PictureDecoder::store_details(size_t first_bit) {
  const size_t columns = static_cast<size_t>(store_->columns);
  const size_t first = first_block();
  for (size_t y = 0; y < 4; ++y) {
    const size_t row = first + y * columns;
    std::memset(&store_->mb_type[row], mb_->type, 4);
    std::memset(&store_->qp[row], mb_->type == kPcm ? 0 : qp_, 4);
    std::memset(&store_->transform_8x8[row], mb_->transform_8x8, 4);
    std::fill_n(&store_->slice[row], 4, static_cast<uint16_t>(segment_->number));
    for (size_t x = 0; x < 4; ++x) {
      store_->sub_type[row + x] = mb_->type == k8x8 ? sub_types_[(y & 2) + (x >> 1)] : uint8_t{kNoSub};
    }
  }
  const size_t last_bit = pps_->cabac ? cabac_.consumed_bits() : vlc_.position();
  store_->coded_bits[first] = static_cast<uint32_t>(last_bit - first_bit);
}

}  // namespace vssbench::h264
