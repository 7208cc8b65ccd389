// Transform coefficients (7.3.5.3, 9.2, 9.3.3.1.3): numbers of them matter, values only as far as they steer parsing.
#include <algorithm>

#include "residual_tables.hpp"
#include "slice_decoder.hpp"

namespace vssbench::h264 {
namespace {

enum BlockKind : unsigned { kPlainBlock, kChromaDc, k8x8Block };
constexpr unsigned kChromaDcCategory = 3, kChromaAcCategory = 4;
constexpr unsigned kDcBit[3] = {8, 9, 10}, kChromaDcBit[3] = {0, 6, 7};

}  // namespace

// 9.3.3.1.1.9
unsigned PictureDecoder::block_flag_context(int index) const {
  const uint8_t* counts = &coefficients_[0][0] + index;
  return (counts[-1] != 0) + 2 * (counts[-kGridWidth] != 0);
}

unsigned PictureDecoder::dc_flag_context(unsigned bit) const {
  const unsigned unavailable = is_intra(mb_->type);
  const unsigned left = left_ ? left_->cbp >> bit & 1 : unavailable;
  const unsigned above = above_ ? above_->cbp >> bit & 1 : unavailable;
  return left + 2 * above;
}

// nC (9.2.1); 64 stands for an unavailable block
unsigned PictureDecoder::predicted_count(int index) const {
  const uint8_t* counts = &coefficients_[0][0] + index;
  const unsigned sum = counts[-1] + counts[-kGridWidth];
  return (sum < 64 ? (sum + 1) >> 1 : sum) & 31;
}

// Coefficients of a block whose coded_block_flag is 1. The engine's copy stays in registers.
template <unsigned kKind>
unsigned PictureDecoder::cabac_coefficients(unsigned category, unsigned most) {
  Cabac cabac = cabac_;
  const bool field = field_mb_ || field_picture_;
  Model* significant = models_ + tables::kSignificant[field][category];
  Model* last = models_ + tables::kLast[field][category];
  Model* level = models_ + tables::kLevel[category];
  const uint8_t* map = tables::kSignificant8x8[field];
  const unsigned groups = chroma_format_ == 1 ? 1 : 2;  // NumC8x8
  unsigned count = 1, i = 0;
  for (; i + 1 < most; ++i) {
    const unsigned at = kKind == k8x8Block ? map[i] : kKind == kChromaDc ? std::min(i / groups, 2u) : i;
    if (!cabac.branching_bin(significant[at])) continue;
    if (cabac.branching_bin(last[kKind == k8x8Block ? tables::kLast8x8[i] : at])) break;
    ++count;
  }
  const unsigned most_greater = kKind == kChromaDc ? 3 : 4;
  unsigned ones = 1, greater = 0;  // contexts of the first bin and of the others
  for (unsigned k = count; k > 0; --k) {
    if (!cabac.branching_bin(level[ones])) {
      ones += ones > 0 && ones < 4;
    } else {
      Model& model = level[5 + greater];
      unsigned prefix = 1;
      while (prefix < 14 && cabac.branching_bin(model)) ++prefix;
      if (prefix == 14) cabac.exp_golomb(0);
      ones = 0;
      greater += greater < most_greater;
    }
    cabac.bypass();
  }
  cabac_ = cabac;
  return count;
}

unsigned PictureDecoder::cabac_block(unsigned category, unsigned most, unsigned context) {
  if (!bin(tables::kBlockFlag[category] + context)) return 0;
  return cabac_coefficients<kPlainBlock>(category, most);
}

// 9.2.2.1
void PictureDecoder::cavlc_levels(unsigned count, unsigned ones) {
  vlc_.skip(ones);
  unsigned suffix_length = count > 10 && ones < 3 ? 1 : 0;
  for (unsigned i = ones; i < count; ++i) {
    const uint32_t word = vlc_.peek();
    if (word < 64) fail("level_prefix is out of range");
    const unsigned prefix = leading_zeros(word);
    vlc_.skip(prefix + 1);
    unsigned code = std::min(prefix, 15u) << suffix_length;
    const unsigned size = prefix >= 15 ? prefix - 3 : prefix == 14 && suffix_length == 0 ? 4 : suffix_length;
    if (size > 0) code += vlc_.u(size);
    if (prefix >= 15 && suffix_length == 0) code += 15;
    if (prefix >= 16) code += (1u << (prefix - 3)) - 4096;
    if (i == ones && ones < 3) code += 2;
    if (suffix_length == 0) suffix_length = 1;
    if ((code >> 1) + 1 > 3u << (suffix_length - 1) && suffix_length < 6) ++suffix_length;
  }
}

// 9.2; `table` as in Table 9-5: 0 to 2 by nC, 3 fixed length, 4 and 5 chroma DC of 4:2:0 and 4:2:2
unsigned PictureDecoder::cavlc_block(unsigned table, unsigned most) {
  const uint32_t word = vlc_.peek();
  const tables::Token token = tables::find_token(table, word);
  if (token.length == 0) fail("coeff_token is unknown");
  vlc_.skip(token.length);
  const unsigned count = token.count;
  if (count == 0) return 0;
  if (count > most) fail("a block has too many coefficients");
  cavlc_levels(count, token.ones);
  if (count == most) return count;
  const auto& rows = table == 4 ? tables::kZeros420 : table == 5 ? tables::kZeros422 : tables::kZeros;
  const uint8_t zeros_code = rows.entry[count - 1][vlc_.peek() >> 23];
  if (zeros_code == 0) fail("total_zeros is unknown");
  vlc_.skip(zeros_code >> 4);
  unsigned zeros = zeros_code & 15;
  if (zeros + count > most) fail("total_zeros is out of range");
  for (unsigned i = 1; i < count && zeros > 0; ++i) {
    const uint32_t bits = vlc_.peek();
    unsigned run, length;
    if (zeros <= 6 || bits >> 29) {
      const uint8_t code = tables::kRuns.entry[std::min(zeros, 7u) - 1][bits >> 29];
      run = code & 15;
      length = code >> 4;
    } else {
      if (bits < 1u << 21) fail("run_before is out of range");
      length = leading_zeros(bits) + 1;
      run = length + 3;
    }
    vlc_.skip(length);
    if (run > zeros) fail("run_before is out of range");
    zeros -= run;
  }
  return count;
}

void PictureDecoder::count_nonzero(unsigned plane, int x, int y, unsigned count) {
  if (!details_ || count == 0) return;
  if (plane > 0 && chroma_format_ != 3) {
    x *= 2;
    if (chroma_format_ == 1) y *= 2;
  }
  store_->nonzero[static_cast<size_t>(4 * mb_y_ + y) * static_cast<size_t>(store_->columns) +
                  static_cast<size_t>(4 * mb_x_ + x)] += static_cast<uint16_t>(count);
}

template <bool kCabac>
void PictureDecoder::residual_luma(unsigned plane) {
  const int origin = static_cast<int>(plane) * kGridSize;
  uint8_t* counts = coefficients_[plane];
  const bool intra16x16 = mb_->type == kI16x16;
  const unsigned first = plane == 0 ? 0 : 2 + 4 * plane;  // ctxBlockCat of DC; then AC, 4x4 and 8x8
  if (intra16x16) {
    unsigned count;
    if constexpr (kCabac) {
      count = cabac_block(first, 16, dc_flag_context(kDcBit[plane]));
      if (count) mb_->cbp |= static_cast<uint16_t>(1u << kDcBit[plane]);
    } else {
      count = cavlc_block(tables::kTableOfCount[predicted_count(origin + grid(0, 0))], 16);
    }
    count_nonzero(plane, 0, 0, count);
  }
  const unsigned category = intra16x16 ? first + 1 : first + 2;
  const unsigned most = intra16x16 ? 15 : 16;
  for (int block = 0; block < 4; ++block) {
    if (!(mb_->cbp >> block & 1)) continue;
    const int x = 2 * (block & 1), y = block & 2;
    if (kCabac && mb_->transform_8x8) {
      const int index = grid(x, y);
      const unsigned c8x8 = plane == 0 ? 5 : first + 3;
      unsigned count = 0;
      if (chroma_format_ != 3 || bin(tables::kBlockFlag[c8x8] + block_flag_context(origin + index)))
        count = cabac_coefficients<k8x8Block>(c8x8, 64);
      for (const int at : {index, index + 1, index + kGridWidth, index + kGridWidth + 1})
        counts[at] = static_cast<uint8_t>(count);
      count_nonzero(plane, x, y, count);
      continue;
    }
    for (int sub = 0; sub < 4; ++sub) {
      const int bx = x + (sub & 1), by = y + (sub >> 1), index = grid(bx, by);
      unsigned count;
      if constexpr (kCabac) {
        count = cabac_block(category, most, block_flag_context(origin + index));
      } else {
        count = cavlc_block(tables::kTableOfCount[predicted_count(origin + index)], most);
      }
      counts[index] = static_cast<uint8_t>(count);
      mb_->transform_8x8 ? count_nonzero(plane, x, y, count) : count_nonzero(plane, bx, by, count);
    }
  }
}

template <bool kCabac>
void PictureDecoder::residual_chroma() {
  const unsigned pattern = mb_->cbp >> 4 & 3;
  if (pattern == 0) return;
  const unsigned most_dc = chroma_format_ == 1 ? 4 : 8;
  for (unsigned plane = 1; plane < 3; ++plane) {
    unsigned count = 0;
    if constexpr (kCabac) {
      if (bin(tables::kBlockFlag[kChromaDcCategory] + dc_flag_context(kChromaDcBit[plane]))) {
        count = cabac_coefficients<kChromaDc>(kChromaDcCategory, most_dc);
        mb_->cbp |= static_cast<uint16_t>(1u << kChromaDcBit[plane]);
      }
    } else {
      count = cavlc_block(chroma_format_ == 1 ? 4 : 5, most_dc);
    }
    count_nonzero(plane, 0, 0, count);
  }
  if (pattern != 2) return;
  const int rows = chroma_format_ == 1 ? 2 : 4;
  for (unsigned plane = 1; plane < 3; ++plane) {
    const int origin = static_cast<int>(plane) * kGridSize;
    for (int y = 0; y < rows; ++y) {
      for (int x = 0; x < 2; ++x) {
        const int index = grid(x, y);
        unsigned count;
        if constexpr (kCabac) {
          count = cabac_block(kChromaAcCategory, 15, block_flag_context(origin + index));
        } else {
          count = cavlc_block(tables::kTableOfCount[predicted_count(origin + index)], 15);
        }
        coefficients_[plane][index] = static_cast<uint8_t>(count);
        count_nonzero(plane, x, y, count);
      }
    }
  }
}

template <bool kCabac>
void PictureDecoder::residual() {
  fill_coefficients();
  residual_luma<kCabac>(0);
  if (chroma_format_ == 3) {
    residual_luma<kCabac>(1);
    residual_luma<kCabac>(2);
  } else if (chroma_format_ != 0) {
    residual_chroma<kCabac>();
  }
  for (unsigned plane = 0; plane < (chroma_format_ == 0 ? 1u : 3u); ++plane) {
    uint8_t* target = mb_->coefficients + 16 * plane;
    const bool narrow = plane > 0 && chroma_format_ != 3;
    for (int y = 0; y < 4; ++y)
      std::memcpy(target + y * (narrow ? 2 : 4), coefficients_[plane] + grid(0, y), narrow ? 2 : 4);
  }
}

template void PictureDecoder::residual<true>();
template void PictureDecoder::residual<false>();

}  // namespace vssbench::h264
