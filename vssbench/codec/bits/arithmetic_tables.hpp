// Constant tables of the arithmetic decoder (H.265 9.3.4.3.2; the same numbers in H.264 9.3.3.2.1).
#pragma once
#include <array>
#include <cstdint>
#include <utility>

namespace vssbench::bits::tables {

// Table 9-47, transIdxLps
constexpr uint8_t kAfterLps[64] = {0,  0,  1,  2,  2,  4,  4,  5,  6,  7,  8,  9,  9,  11, 11, 12,
                                   13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21, 21, 22, 22, 23, 24,
                                   24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33,
                                   33, 33, 34, 34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38, 63};

// Table 9-46, rangeTabLps
constexpr uint8_t kLps[64][4] = {
    {128, 176, 208, 240}, {128, 167, 197, 227}, {128, 158, 187, 216}, {123, 150, 178, 205}, {116, 142, 169, 195},
    {111, 135, 160, 185}, {105, 128, 152, 175}, {100, 122, 144, 166}, {95, 116, 137, 158},  {90, 110, 130, 150},
    {85, 104, 123, 142},  {81, 99, 117, 135},   {77, 94, 111, 128},   {73, 89, 105, 122},   {69, 85, 100, 116},
    {66, 80, 95, 110},    {62, 76, 90, 104},    {59, 72, 86, 99},     {56, 69, 81, 94},     {53, 65, 77, 89},
    {51, 62, 73, 85},     {48, 59, 69, 80},     {46, 56, 66, 76},     {43, 53, 63, 72},     {41, 50, 59, 69},
    {39, 48, 56, 65},     {37, 45, 54, 62},     {35, 43, 51, 59},     {33, 41, 48, 56},     {32, 39, 46, 53},
    {30, 37, 43, 50},     {29, 35, 41, 48},     {27, 33, 39, 45},     {26, 31, 37, 43},     {24, 30, 35, 41},
    {23, 28, 33, 39},     {22, 27, 32, 37},     {21, 26, 30, 35},     {20, 24, 29, 33},     {19, 23, 27, 31},
    {18, 22, 26, 30},     {17, 21, 25, 28},     {16, 20, 23, 27},     {15, 19, 22, 25},     {14, 18, 21, 24},
    {14, 17, 20, 23},     {13, 16, 19, 22},     {12, 15, 18, 21},     {12, 14, 17, 20},     {11, 14, 16, 19},
    {11, 13, 15, 18},     {10, 12, 15, 17},     {10, 12, 14, 16},     {9, 11, 13, 15},      {9, 11, 12, 14},
    {8, 10, 12, 14},      {8, 9, 11, 13},       {7, 9, 11, 12},       {7, 9, 10, 12},       {7, 8, 10, 11},
    {6, 8, 9, 11},        {6, 7, 9, 10},        {6, 7, 8, 9},         {2, 2, 2, 2},
};

/// By pStateIdx << 1 | valMps. The four LPS ranges share a word, so that the range, known last, only chooses by a
/// shift.
struct Transitions {
  uint64_t lps[128];   ///< from the lowest bits, four times: range after the LPS and its renormalisation, 8 bits each
  uint16_t next[128];  ///< state after the MPS in the lower 8 bits, after the LPS in the upper
};
constexpr Transitions make_transitions() {
  Transitions table{};
  for (unsigned state = 0; state < 64; ++state) {
    uint64_t word = 0;
    for (unsigned quarter = 4; quarter-- > 0;) {
      uint64_t shift = 0;
      while ((kLps[state][quarter] << shift) < 256) ++shift;
      word = word << 16 | shift << 8 | kLps[state][quarter];
    }
    for (unsigned mps = 0; mps < 2; ++mps) {
      const unsigned after_mps = state < 62 ? state + 1 : state;
      const unsigned flipped = state == 0 ? 1 - mps : mps;  // 9.3.4.3.2.2
      table.lps[state << 1 | mps] = word;
      table.next[state << 1 | mps] =
          static_cast<uint16_t>(after_mps << 1 | mps | (kAfterLps[state] << 1 | flipped) << 8);
    }
  }
  return table;
}
inline constexpr Transitions kTransitions = make_transitions();

template <size_t... I>
constexpr std::array<uint32_t, 256> make_reciprocals(std::index_sequence<I...>) {
  return {static_cast<uint32_t>(((uint64_t{1} << 39) + 255 + I) / (256 + I))...};
}
/// ceil(2^39 / (256 + i)); exact quotients for dividends below 2^29
inline constexpr std::array<uint32_t, 256> kReciprocal = make_reciprocals(std::make_index_sequence<256>{});

}  // namespace vssbench::bits::tables
