// Transform coefficients (7.3.8.11, 9.3.4.2.4 to 9.3.4.2.7). Values are needed only as far as they steer parsing:
// positions of non-zero coefficients become bit masks in scan order.
#include <algorithm>

#include "coding_tree.hpp"

namespace vssbench::hevc {
namespace {

enum Scan : unsigned { kDiagonal = 0, kHorizontalScan = 1, kVerticalScan = 2 };

struct ScanTables {
  // [scan][log2 of the side in elements][index] -> x | y << 4 and back
  uint8_t position[3][4][64];
  uint8_t index[3][4][8][8];
  // sig_coeff_flag context by [scan][pattern of coded neighbours][scan position], and for 4x4 blocks
  uint8_t significant[3][4][16];
  uint8_t significant_4x4[3][16];
};

constexpr unsigned pattern_context(unsigned pattern, unsigned x, unsigned y) {
  if (pattern == 0) return x + y == 0 ? 2 : x + y < 3 ? 1 : 0;
  if (pattern == 1) return y == 0 ? 2 : y == 1 ? 1 : 0;
  if (pattern == 2) return x == 0 ? 2 : x == 1 ? 1 : 0;
  return 2;
}

// 6.5.3 to 6.5.5
constexpr ScanTables make_scan_tables() {
  ScanTables tables{};
  for (unsigned log2 = 0; log2 < 4; ++log2) {
    const unsigned side = 1u << log2;
    unsigned i = 0;
    for (unsigned diagonal = 0; diagonal < 2 * side - 1; ++diagonal) {
      for (unsigned x = 0; x <= diagonal; ++x) {
        const unsigned y = diagonal - x;
        if (x >= side || y >= side) continue;
        tables.position[kDiagonal][log2][i++] = static_cast<uint8_t>(x | y << 4);
      }
    }
    for (unsigned n = 0; n < side * side; ++n) {
      const unsigned major = n / side, minor = n % side;
      tables.position[kHorizontalScan][log2][n] = static_cast<uint8_t>(minor | major << 4);
      tables.position[kVerticalScan][log2][n] = static_cast<uint8_t>(major | minor << 4);
    }
    for (unsigned scan = 0; scan < 3; ++scan) {
      for (unsigned n = 0; n < side * side; ++n) {
        const unsigned at = tables.position[scan][log2][n];
        tables.index[scan][log2][at >> 4][at & 15] = static_cast<uint8_t>(n);
      }
    }
  }
  constexpr uint8_t kMap4x4[16] = {0, 1, 4, 5, 2, 3, 4, 5, 6, 6, 8, 8, 7, 7, 8, 8};  // Table 9-50
  for (unsigned scan = 0; scan < 3; ++scan) {
    for (unsigned n = 0; n < 16; ++n) {
      const unsigned at = tables.position[scan][2][n], x = at & 15, y = at >> 4;
      tables.significant_4x4[scan][n] = kMap4x4[y * 4 + x];
      for (unsigned pattern = 0; pattern < 4; ++pattern) {
        tables.significant[scan][pattern][n] = static_cast<uint8_t>(pattern_context(pattern, x, y));
      }
    }
  }
  return tables;
}
constexpr ScanTables kScans = make_scan_tables();

inline unsigned last_prefix(Cabac& cabac, Model* model, unsigned offset, unsigned shift, unsigned largest) {
  unsigned value = 0;
  while (value < largest && cabac.bin(model[offset + (value >> shift)])) ++value;
  return value;
}

inline unsigned last_position(Cabac& cabac, unsigned prefix) {
  if (prefix < 4) return prefix;
  const unsigned bits = (prefix >> 1) - 1;
  return ((2 + (prefix & 1)) << bits) + cabac.bypass_bits(bits);
}

// 9.3.3.11 for prefixes too long for one look, and with extended_precision_processing_flag
uint32_t long_remaining(Cabac& cabac, unsigned rice, unsigned longest_prefix, unsigned escape_bits) {
  unsigned prefix = 0;
  while (prefix < longest_prefix && cabac.bypass()) ++prefix;
  unsigned bits = rice;
  uint64_t base = prefix;
  if (prefix > 3) {
    if (escape_bits == 0 && prefix == longest_prefix)
      throw SyntaxError("coeff_abs_level_remaining has a prefix of 32 bins");
    base = (uint64_t{1} << (prefix - 3)) + 2;
    bits = prefix == longest_prefix ? escape_bits : prefix - 3 + rice;
  }
  uint64_t suffix = 0;
  for (unsigned i = 0; i < bits; ++i) suffix = suffix << 1 | cabac.bypass();
  return static_cast<uint32_t>(std::min<uint64_t>((base << rice) + suffix, 0x7FFFFFFF));
}

inline uint32_t remaining(Cabac& cabac, unsigned rice) {
  constexpr unsigned kLook = 20;
  const uint32_t bins = cabac.peek_bypass(kLook);
  const unsigned prefix = static_cast<unsigned>(__builtin_clz(~(bins << (32 - kLook))));
  const unsigned suffix_bits = prefix > 3 ? prefix - 3 + rice : rice;
  const unsigned length = prefix + 1 + suffix_bits;
  if (length > kLook) return long_remaining(cabac, rice, 32, 0);
  const uint32_t used = bins >> (kLook - length);
  cabac.use_bypass(length, used);
  const uint32_t base = prefix > 3 ? (1u << (prefix - 3)) + 2 : prefix;
  return (base << rice) + (used & ((1u << suffix_bits) - 1));
}

}  // namespace

template <bool kRangeExtension>
unsigned PictureDecoder::residual_coding(const CodingUnit& cu, unsigned log2_size, unsigned component,
                                         unsigned intra_mode) {
  Cabac cabac = cabac_;  // kept in registers
  Model* const model = state_.model;
  const unsigned chroma = component != 0;
  const bool intra = cu.mode == kIntra;

  bool transform_skip = false, explicit_rdpcm = false;
  if (pps_->transform_skip && !cu.bypass && log2_size <= pps_->log2_max_transform_skip) {
    transform_skip = cabac.bin(model[kTransformSkip + chroma]);
  }
  if (kRangeExtension && !intra && sps_->explicit_rdpcm && (transform_skip || cu.bypass)) {
    explicit_rdpcm = cabac.bin(model[kRdpcmFlag + chroma]);
    if (explicit_rdpcm) cabac.bin(model[kRdpcmDir + chroma]);
  }

  // 7.4.9.11: scanIdx
  unsigned scan = kDiagonal;
  if (intra && (log2_size == 2 || (log2_size == 3 && (!chroma || sps_->chroma_array_type == 3)))) {
    if (intra_mode >= 6 && intra_mode <= 14) scan = kVerticalScan;
    if (intra_mode >= 22 && intra_mode <= 30) scan = kHorizontalScan;
  }
  const unsigned prefix_offset = chroma ? 15 : 3 * (log2_size - 2) + ((log2_size - 1) >> 2);
  const unsigned prefix_shift = chroma ? log2_size - 2 : (log2_size + 1) >> 2;
  const unsigned largest = 2 * log2_size - 1;
  const unsigned prefix_x = last_prefix(cabac, model, kLastX + prefix_offset, prefix_shift, largest);
  const unsigned prefix_y = last_prefix(cabac, model, kLastY + prefix_offset, prefix_shift, largest);
  unsigned last_x = last_position(cabac, prefix_x);
  unsigned last_y = last_position(cabac, prefix_y);
  if (scan == kVerticalScan) std::swap(last_x, last_y);

  const bool uses_skip_context = kRangeExtension && sps_->transform_skip_context && (transform_skip || cu.bypass);
  bool may_hide = pps_->sign_hiding && !cu.bypass && !explicit_rdpcm;
  if (kRangeExtension && intra && sps_->implicit_rdpcm && transform_skip && (intra_mode == 10 || intra_mode == 26))
    may_hide = false;
  const unsigned rice_class = 2 * (chroma ^ 1) + (transform_skip || cu.bypass);
  const bool persistent = kRangeExtension && sps_->persistent_rice;

  const unsigned log2_blocks = log2_size - 2;
  const int last_block = kScans.index[scan][log2_blocks][last_y >> 2][last_x >> 2];
  const int last_in_block = kScans.index[scan][2][last_y & 3][last_x & 3];
  Model* const significant_base = model + kSigCoeff + (chroma ? 27 : 0);
  unsigned coded_rows[9] = {};  // bit x of row y: sub-block has coefficients
  unsigned total = 0;
  unsigned c1 = 1;

  for (int block = last_block; block >= 0; --block) {
    const unsigned at = kScans.position[scan][log2_blocks][block], bx = at & 15, by = at >> 4;
    const unsigned pattern = ((coded_rows[by] >> (bx + 1)) & 1) | ((coded_rows[by + 1] >> bx) & 1) << 1;
    bool infer_first = false;
    if (block < last_block && block > 0) {
      if (!cabac.bin(model[kCodedSubBlock + 2 * chroma + (pattern != 0)])) continue;
      infer_first = true;
    }
    coded_rows[by] |= 1u << bx;

    // sig_coeff_flag
    uint32_t mask = 0;
    int n = 15;
    if (block == last_block) {
      mask = 1u << last_in_block;
      n = last_in_block - 1;
    }
    if (kRangeExtension && uses_skip_context) {
      Model& context = model[kSigCoeff + 42 + chroma];
      for (; n > 0; --n) mask |= cabac.bin(context) << n;
      if (n == 0) mask |= infer_first && mask == 0 ? 1u : cabac.bin(context);
    } else {
      const uint8_t* contexts;
      Model* base = significant_base;
      if (log2_size == 2) {
        contexts = kScans.significant_4x4[scan];
      } else {
        contexts = kScans.significant[scan][pattern];
        if (chroma) {
          base += log2_size == 3 ? 9 : 12;
        } else {
          base += (log2_size == 3 ? (scan == kDiagonal ? 9 : 15) : 21) + (block > 0 ? 3 : 0);
        }
      }
      while (n > 0) {
        cabac.fill();
        for (const int stop = std::max(n - Cabac::kReadyBins, 0); n > stop; --n)
          mask |= cabac.ready_bin(base[contexts[n]]) << n;
      }
      if (n == 0) {
        if (infer_first && mask == 0) {
          mask = 1;
        } else {
          mask |= cabac.bin(block == 0 ? significant_base[0] : base[contexts[0]]);
        }
      }
    }
    if (mask == 0) continue;
    const unsigned count = static_cast<unsigned>(__builtin_popcount(mask));
    total += count;

    // coeff_abs_level_greater1_flag of the first eight, coeff_abs_level_greater2_flag of the first that is greater
    unsigned context_set = block == 0 || chroma ? 0 : 2;
    if (c1 == 0) ++context_set;
    c1 = 1;
    Model* const greater1 = model + kGreater1 + 16 * chroma + 4 * context_set;
    const unsigned flagged = std::min(count, 8u);
    unsigned greater = 0;
    cabac.fill();
    unsigned i = 0;
    while (i < flagged) {
      const unsigned flag = cabac.ready_bin(greater1[c1]);
      greater |= flag << i++;
      if (flag) {
        c1 = 0;
        break;
      }
      c1 = c1 < 3 ? c1 + 1 : 3;
    }
    cabac.fill();
    for (; i < flagged; ++i) greater |= cabac.ready_bin(greater1[0]) << i;
    unsigned escapes = greater;  // coefficients among the first eight that go on with coeff_abs_level_remaining
    unsigned first_greater = 8;
    if (greater) {
      first_greater = static_cast<unsigned>(__builtin_ctz(greater));
      if (!cabac.bin(model[kGreater2 + 4 * chroma + context_set])) escapes &= escapes - 1;
    }
    const unsigned unflagged = count - flagged;
    if (kRangeExtension && sps_->bypass_alignment && (escapes || unflagged)) cabac.align_bypass();

    // signs
    const int first = __builtin_ctz(mask), last = 31 - __builtin_clz(mask);
    cabac.bypass_bits(count - (may_hide && last - first > 3));
    if (!escapes && !unflagged) continue;

    // coeff_abs_level_remaining
    unsigned rice = persistent ? state_.rice[rice_class] / 4 : 0;
    bool first_remaining = true;
    const auto read = [&](unsigned base_level) {
      uint32_t value;
      if (kRangeExtension && sps_->extended_precision) {
        const unsigned range = std::max(15u, (chroma ? sps_->bit_depth_chroma : sps_->bit_depth_luma) + 6);
        value = long_remaining(cabac, rice, 32 - range, range);
      } else {
        value = remaining(cabac, rice);
      }
      if (base_level + value > (3u << rice)) rice = persistent ? rice + 1 : std::min(rice + 1, 4u);
      if (persistent && first_remaining) {
        // 9.3.4.2.7 with (9-20) to (9-22)
        uint8_t& statistic = state_.rice[rice_class];
        if (value >= (3u << (statistic / 4))) {
          ++statistic;
        } else if (2 * value < (1u << (statistic / 4)) && statistic > 0) {
          --statistic;
        }
        first_remaining = false;
      }
    };
    for (; escapes; escapes &= escapes - 1) {
      read(static_cast<unsigned>(__builtin_ctz(escapes)) == first_greater ? 3 : 2);
    }
    for (unsigned i = 0; i < unflagged; ++i) read(1);
  }
  cabac_ = cabac;
  return total;
}

template unsigned PictureDecoder::residual_coding<false>(const CodingUnit&, unsigned, unsigned, unsigned);
template unsigned PictureDecoder::residual_coding<true>(const CodingUnit&, unsigned, unsigned, unsigned);

}  // namespace vssbench::hevc
