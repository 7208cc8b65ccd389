// Constant tables of the arithmetic decoder (H.265 9.3.4.3.2; the same numbers in H.264 9.3.3.2.1).
#pragma once
#include <array>
#include <cstdint>
#include <utility>

namespace vssbench::bits::tables {

struct LpsEntry {
  uint16_t range;
  uint16_t shift;  ///< renormalisation that follows it
};

constexpr unsigned renormalisation(unsigned range) {
  unsigned shift = 0;
  while ((range << shift) < 256) ++shift;
  return shift;
}
#define VSSBENCH_LPS(a, b, c, d)                                                                    \
  {                                                                                                 \
    {a, static_cast<uint16_t>(renormalisation(a))}, {b, static_cast<uint16_t>(renormalisation(b))}, \
        {c, static_cast<uint16_t>(renormalisation(c))}, {                                           \
      d, static_cast<uint16_t>(renormalisation(d))                                                  \
    }                                                                                               \
  }

// Table 9-47, transIdxLps
inline constexpr uint8_t kAfterLps[64] = {0,  0,  1,  2,  2,  4,  4,  5,  6,  7,  8,  9,  9,  11, 11, 12,
                                          13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
                                          24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33,
                                          33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38, 63};

struct NextState {
  uint8_t table[2][128];
};
constexpr NextState make_next_state() {
  NextState next{};
  for (unsigned state = 0; state < 64; ++state) {
    for (unsigned mps = 0; mps < 2; ++mps) {
      const unsigned after_mps = state < 62 ? state + 1 : state;
      const unsigned flipped = state == 0 ? 1 - mps : mps;  // 9.3.4.3.2.2
      next.table[0][state << 1 | mps] = static_cast<uint8_t>(after_mps << 1 | mps);
      next.table[1][state << 1 | mps] = static_cast<uint8_t>(kAfterLps[state] << 1 | flipped);
    }
  }
  return next;
}

// Table 9-46, rangeTabLps
inline constexpr LpsEntry kLps[64][4] = {
    VSSBENCH_LPS(128, 176, 208, 240), VSSBENCH_LPS(128, 167, 197, 227), VSSBENCH_LPS(128, 158, 187, 216),
    VSSBENCH_LPS(123, 150, 178, 205), VSSBENCH_LPS(116, 142, 169, 195), VSSBENCH_LPS(111, 135, 160, 185),
    VSSBENCH_LPS(105, 128, 152, 175), VSSBENCH_LPS(100, 122, 144, 166), VSSBENCH_LPS(95, 116, 137, 158),
    VSSBENCH_LPS(90, 110, 130, 150),  VSSBENCH_LPS(85, 104, 123, 142),  VSSBENCH_LPS(81, 99, 117, 135),
    VSSBENCH_LPS(77, 94, 111, 128),   VSSBENCH_LPS(73, 89, 105, 122),   VSSBENCH_LPS(69, 85, 100, 116),
    VSSBENCH_LPS(66, 80, 95, 110),    VSSBENCH_LPS(62, 76, 90, 104),    VSSBENCH_LPS(59, 72, 86, 99),
    VSSBENCH_LPS(56, 69, 81, 94),     VSSBENCH_LPS(53, 65, 77, 89),     VSSBENCH_LPS(51, 62, 73, 85),
    VSSBENCH_LPS(48, 59, 69, 80),     VSSBENCH_LPS(46, 56, 66, 76),     VSSBENCH_LPS(43, 53, 63, 72),
    VSSBENCH_LPS(41, 50, 59, 69),     VSSBENCH_LPS(39, 48, 56, 65),     VSSBENCH_LPS(37, 45, 54, 62),
    VSSBENCH_LPS(35, 43, 51, 59),     VSSBENCH_LPS(33, 41, 48, 56),     VSSBENCH_LPS(32, 39, 46, 53),
    VSSBENCH_LPS(30, 37, 43, 50),     VSSBENCH_LPS(29, 35, 41, 48),     VSSBENCH_LPS(27, 33, 39, 45),
    VSSBENCH_LPS(26, 31, 37, 43),     VSSBENCH_LPS(24, 30, 35, 41),     VSSBENCH_LPS(23, 28, 33, 39),
    VSSBENCH_LPS(22, 27, 32, 37),     VSSBENCH_LPS(21, 26, 30, 35),     VSSBENCH_LPS(20, 24, 29, 33),
    VSSBENCH_LPS(19, 23, 27, 31),     VSSBENCH_LPS(18, 22, 26, 30),     VSSBENCH_LPS(17, 21, 25, 28),
    VSSBENCH_LPS(16, 20, 23, 27),     VSSBENCH_LPS(15, 19, 22, 25),     VSSBENCH_LPS(14, 18, 21, 24),
    VSSBENCH_LPS(14, 17, 20, 23),     VSSBENCH_LPS(13, 16, 19, 22),     VSSBENCH_LPS(12, 15, 18, 21),
    VSSBENCH_LPS(12, 14, 17, 20),     VSSBENCH_LPS(11, 14, 16, 19),     VSSBENCH_LPS(11, 13, 15, 18),
    VSSBENCH_LPS(10, 12, 15, 17),     VSSBENCH_LPS(10, 12, 14, 16),     VSSBENCH_LPS(9, 11, 13, 15),
    VSSBENCH_LPS(9, 11, 12, 14),      VSSBENCH_LPS(8, 10, 12, 14),      VSSBENCH_LPS(8, 9, 11, 13),
    VSSBENCH_LPS(7, 9, 11, 12),       VSSBENCH_LPS(7, 9, 10, 12),       VSSBENCH_LPS(7, 8, 10, 11),
    VSSBENCH_LPS(6, 8, 9, 11),        VSSBENCH_LPS(6, 7, 9, 10),        VSSBENCH_LPS(6, 7, 8, 9),
    VSSBENCH_LPS(2, 2, 2, 2),
};
#undef VSSBENCH_LPS

/// Table 9-47: [bin is LPS][state << 1 | mps]
inline constexpr NextState kNextState = make_next_state();

template <size_t... I>
constexpr std::array<uint32_t, 256> make_reciprocals(std::index_sequence<I...>) {
  return {static_cast<uint32_t>(((uint64_t{1} << 39) + 255 + I) / (256 + I))...};
}
/// ceil(2^39 / (256 + i)); exact quotients for dividends below 2^29
inline constexpr std::array<uint32_t, 256> kReciprocal = make_reciprocals(std::make_index_sequence<256>{});

}  // namespace vssbench::bits::tables
