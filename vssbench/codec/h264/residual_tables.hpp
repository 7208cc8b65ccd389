// Tables of residual parsing: CAVLC codes (Tables 9-5, 9-7 to 9-10) and CABAC contexts (Tables 9-34, 9-40, 9-43).
#pragma once
#include <cstdint>

#include "vlc.hpp"

namespace vssbench::h264::tables {

// by ctxBlockCat
inline constexpr uint16_t kBlockFlag[14] = {85, 89, 93, 97, 101, 1012, 460, 464, 468, 1016, 472, 476, 480, 1020};
inline constexpr uint16_t kSignificant[2][14] = {
    {105, 120, 134, 149, 152, 402, 484, 499, 513, 660, 528, 543, 557, 718},
    {277, 292, 306, 321, 324, 436, 776, 791, 805, 675, 820, 835, 849, 733}};
inline constexpr uint16_t kLast[2][14] = {{166, 181, 195, 210, 213, 417, 572, 587, 601, 690, 616, 631, 645, 748},
                                          {338, 353, 367, 382, 385, 451, 864, 879, 893, 699, 908, 923, 937, 757}};
inline constexpr uint16_t kLevel[14] = {227, 237, 247, 257, 266, 426, 952, 962, 972, 708, 982, 992, 1002, 766};
inline constexpr uint8_t kSignificant8x8[2][63] = {
    {0, 1, 2,  3,  4,  5,  5, 4, 4, 3, 3,  4,  4, 4, 5, 5,  4,  4,  4,  4, 3, 3,  6,  7, 7,  7,  8,  9,  10, 9,  8, 7,
     7, 6, 11, 12, 13, 11, 6, 7, 8, 9, 14, 10, 9, 8, 6, 11, 12, 13, 11, 6, 9, 14, 10, 9, 11, 12, 13, 11, 14, 10, 12},
    {0,  1,  1,  2,  2,  3,  3,  4,  5,  6,  7,  7,  7, 8,  4,  5,  6,  9,  10, 10, 8,
     11, 12, 11, 9,  9,  10, 10, 8,  11, 12, 11, 9,  9, 10, 10, 8,  11, 12, 11, 9,  9,
     10, 10, 8,  13, 13, 9,  9,  10, 10, 8,  13, 13, 9, 9,  10, 10, 14, 14, 14, 14, 14}};
inline constexpr uint8_t kLast8x8[63] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2,
                                         2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 4, 4,
                                         4, 4, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 8};

/// Column of Table 9-5 by nC
inline constexpr uint8_t kTableOfCount[17] = {0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3, 3};

struct Token {
  uint8_t length;  ///< 0 where no code begins so
  uint8_t count, ones;
};

// Length and value of every coeff_token, [TotalCoeff][TrailingOnes]
inline constexpr uint8_t kTokenLength[3][17][4] = {{{1, 0, 0, 0},
                                                    {6, 2, 0, 0},
                                                    {8, 6, 3, 0},
                                                    {9, 8, 7, 5},
                                                    {10, 9, 8, 6},
                                                    {11, 10, 9, 7},
                                                    {13, 11, 10, 8},
                                                    {13, 13, 11, 9},
                                                    {13, 13, 13, 10},
                                                    {14, 14, 13, 11},
                                                    {14, 14, 14, 13},
                                                    {15, 15, 14, 14},
                                                    {15, 15, 15, 14},
                                                    {16, 15, 15, 15},
                                                    {16, 16, 16, 15},
                                                    {16, 16, 16, 16},
                                                    {16, 16, 16, 16}},
                                                   {{2, 0, 0, 0},
                                                    {6, 2, 0, 0},
                                                    {6, 5, 3, 0},
                                                    {7, 6, 6, 4},
                                                    {8, 6, 6, 4},
                                                    {8, 7, 7, 5},
                                                    {9, 8, 8, 6},
                                                    {11, 9, 9, 6},
                                                    {11, 11, 11, 7},
                                                    {12, 11, 11, 9},
                                                    {12, 12, 12, 11},
                                                    {12, 12, 12, 11},
                                                    {13, 13, 13, 12},
                                                    {13, 13, 13, 13},
                                                    {13, 14, 13, 13},
                                                    {14, 14, 14, 13},
                                                    {14, 14, 14, 14}},
                                                   {{4, 0, 0, 0},
                                                    {6, 4, 0, 0},
                                                    {6, 5, 4, 0},
                                                    {6, 5, 5, 4},
                                                    {7, 5, 5, 4},
                                                    {7, 5, 5, 4},
                                                    {7, 6, 6, 4},
                                                    {7, 6, 6, 4},
                                                    {8, 7, 7, 5},
                                                    {8, 8, 7, 6},
                                                    {9, 8, 8, 7},
                                                    {9, 9, 8, 8},
                                                    {9, 9, 9, 8},
                                                    {10, 9, 9, 9},
                                                    {10, 10, 10, 10},
                                                    {10, 10, 10, 10},
                                                    {10, 10, 10, 10}}};
inline constexpr uint8_t kTokenValue[3][17][4] = {{{1, 0, 0, 0},
                                                   {5, 1, 0, 0},
                                                   {7, 4, 1, 0},
                                                   {7, 6, 5, 3},
                                                   {7, 6, 5, 3},
                                                   {7, 6, 5, 4},
                                                   {15, 6, 5, 4},
                                                   {11, 14, 5, 4},
                                                   {8, 10, 13, 4},
                                                   {15, 14, 9, 4},
                                                   {11, 10, 13, 12},
                                                   {15, 14, 9, 12},
                                                   {11, 10, 13, 8},
                                                   {15, 1, 9, 12},
                                                   {11, 14, 13, 8},
                                                   {7, 10, 9, 12},
                                                   {4, 6, 5, 8}},
                                                  {{3, 0, 0, 0},
                                                   {11, 2, 0, 0},
                                                   {7, 7, 3, 0},
                                                   {7, 10, 9, 5},
                                                   {7, 6, 5, 4},
                                                   {4, 6, 5, 6},
                                                   {7, 6, 5, 8},
                                                   {15, 6, 5, 4},
                                                   {11, 14, 13, 4},
                                                   {15, 10, 9, 4},
                                                   {11, 14, 13, 12},
                                                   {8, 10, 9, 8},
                                                   {15, 14, 13, 12},
                                                   {11, 10, 9, 12},
                                                   {7, 11, 6, 8},
                                                   {9, 8, 10, 1},
                                                   {7, 6, 5, 4}},
                                                  {{15, 0, 0, 0},
                                                   {15, 14, 0, 0},
                                                   {11, 15, 13, 0},
                                                   {8, 12, 14, 12},
                                                   {15, 10, 11, 11},
                                                   {11, 8, 9, 10},
                                                   {9, 14, 13, 9},
                                                   {8, 10, 9, 8},
                                                   {15, 14, 13, 13},
                                                   {11, 14, 10, 12},
                                                   {15, 10, 13, 12},
                                                   {11, 14, 9, 12},
                                                   {8, 10, 13, 8},
                                                   {13, 7, 9, 12},
                                                   {9, 12, 11, 10},
                                                   {5, 8, 7, 6},
                                                   {1, 4, 3, 2}}};
inline constexpr uint8_t kToken420Length[5][4] = {{2, 0, 0, 0}, {6, 1, 0, 0}, {6, 6, 3, 0}, {6, 7, 7, 6}, {6, 8, 8, 7}};
inline constexpr uint8_t kToken420Value[5][4] = {{1, 0, 0, 0}, {7, 1, 0, 0}, {4, 6, 1, 0}, {3, 3, 2, 5}, {2, 3, 2, 0}};
inline constexpr uint8_t kToken422Length[9][4] = {{1, 0, 0, 0},    {7, 2, 0, 0},     {7, 7, 3, 0},
                                                  {9, 7, 7, 5},    {9, 9, 7, 6},     {10, 10, 9, 7},
                                                  {11, 11, 10, 7}, {12, 12, 11, 10}, {13, 12, 12, 11}};
inline constexpr uint8_t kToken422Value[9][4] = {{1, 0, 0, 0},   {15, 1, 0, 0}, {14, 13, 1, 0},
                                                 {7, 12, 11, 1}, {6, 5, 10, 1}, {7, 6, 4, 9},
                                                 {7, 6, 5, 8},   {7, 6, 5, 4},  {7, 5, 4, 4}};

/// By leading zeros and the three bits behind the first one: no code needs more.
struct TokenTable {
  Token entry[16][8];
};

constexpr void add_token(TokenTable& table, unsigned count, unsigned ones, unsigned length, unsigned value) {
  if (length == 0) return;
  if (value == 0) {  // only of chroma DC: seven zeros; what would be the first one comes later
    for (unsigned zeros = length; zeros < 16; ++zeros) {
      for (Token& entry : table.entry[zeros])
        entry = {static_cast<uint8_t>(length), static_cast<uint8_t>(count), static_cast<uint8_t>(ones)};
    }
    return;
  }
  unsigned width = 0;
  while (value >> width) ++width;
  const unsigned behind = width - 1, low = value - (1u << behind);
  for (unsigned rest = 0; rest < 1u << (3 - behind); ++rest) {
    table.entry[length - width][low << (3 - behind) | rest] = {static_cast<uint8_t>(length),
                                                               static_cast<uint8_t>(count), static_cast<uint8_t>(ones)};
  }
}

template <unsigned kCounts>
constexpr TokenTable make_tokens(const uint8_t (&lengths)[kCounts][4], const uint8_t (&values)[kCounts][4]) {
  TokenTable table{};
  for (unsigned count = 0; count < kCounts; ++count) {
    for (unsigned ones = 0; ones < 4 && ones <= count; ++ones)
      add_token(table, count, ones, lengths[count][ones], values[count][ones]);
  }
  return table;
}
inline constexpr TokenTable kTokens[6] = {
    make_tokens(kTokenLength[0], kTokenValue[0]), make_tokens(kTokenLength[1], kTokenValue[1]),
    make_tokens(kTokenLength[2], kTokenValue[2]), {},
    make_tokens(kToken420Length, kToken420Value), make_tokens(kToken422Length, kToken422Value)};

/// `word`: the next 32 bits
inline Token find_token(unsigned table, uint32_t word) {
  if (table == 3) {
    const uint8_t code = static_cast<uint8_t>(word >> 26);
    if (code == 3) return {6, 0, 0};
    return {6, static_cast<uint8_t>((code >> 2) + 1), static_cast<uint8_t>(code & 3)};
  }
  const unsigned zeros = leading_zeros(word | 0x10000);
  return kTokens[table].entry[zeros][word << (zeros + 1) >> 29];
}

/// Codes of at most nine bits: length << 4 | value, 0 where there is none; by row and by the next nine bits
struct ZerosTable {
  uint8_t entry[15][512];
};
template <unsigned kRows, unsigned kColumns>
constexpr ZerosTable make_zeros(const uint8_t (&lengths)[kRows][kColumns], const uint8_t (&values)[kRows][kColumns]) {
  ZerosTable table{};
  for (unsigned row = 0; row < kRows; ++row) {
    for (unsigned zeros = 0; zeros < kColumns; ++zeros) {
      const unsigned length = lengths[row][zeros];
      if (length == 0) continue;
      const unsigned first = values[row][zeros] << (9 - length);
      for (unsigned rest = 0; rest < 1u << (9 - length); ++rest)
        table.entry[row][first + rest] = static_cast<uint8_t>(length << 4 | zeros);
    }
  }
  return table;
}
inline constexpr uint8_t kZerosLength[15][16] = {{1, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 9},
                                                 {3, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 6, 6, 6, 6},
                                                 {4, 3, 3, 3, 4, 4, 3, 3, 4, 5, 5, 6, 5, 6},
                                                 {5, 3, 4, 4, 3, 3, 3, 4, 3, 4, 5, 5, 5},
                                                 {4, 4, 4, 3, 3, 3, 3, 3, 4, 5, 4, 5},
                                                 {6, 5, 3, 3, 3, 3, 3, 3, 4, 3, 6},
                                                 {6, 5, 3, 3, 3, 2, 3, 4, 3, 6},
                                                 {6, 4, 5, 3, 2, 2, 3, 3, 6},
                                                 {6, 6, 4, 2, 2, 3, 2, 5},
                                                 {5, 5, 3, 2, 2, 2, 4},
                                                 {4, 4, 3, 3, 1, 3},
                                                 {4, 4, 2, 1, 3},
                                                 {3, 3, 1, 2},
                                                 {2, 2, 1},
                                                 {1, 1}};
inline constexpr uint8_t kZerosValue[15][16] = {{1, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 1},
                                                {7, 6, 5, 4, 3, 5, 4, 3, 2, 3, 2, 3, 2, 1, 0},
                                                {5, 7, 6, 5, 4, 3, 4, 3, 2, 3, 2, 1, 1, 0},
                                                {3, 7, 5, 4, 6, 5, 4, 3, 3, 2, 2, 1, 0},
                                                {5, 4, 3, 7, 6, 5, 4, 3, 2, 1, 1, 0},
                                                {1, 1, 7, 6, 5, 4, 3, 2, 1, 1, 0},
                                                {1, 1, 5, 4, 3, 3, 2, 1, 1, 0},
                                                {1, 1, 1, 3, 3, 2, 2, 1, 0},
                                                {1, 0, 1, 3, 2, 1, 1, 1},
                                                {1, 0, 1, 3, 2, 1, 1},
                                                {0, 1, 1, 2, 1, 3},
                                                {0, 1, 1, 1, 1},
                                                {0, 1, 1, 1},
                                                {0, 1, 1},
                                                {0, 1}};
inline constexpr uint8_t kZeros420Length[3][4] = {{1, 2, 3, 3}, {1, 2, 2}, {1, 1}};
inline constexpr uint8_t kZeros420Value[3][4] = {{1, 1, 1, 0}, {1, 1, 0}, {1, 0}};
inline constexpr uint8_t kZeros422Length[7][8] = {{1, 3, 3, 4, 4, 4, 5, 5},
                                                  {3, 2, 3, 3, 3, 3, 3},
                                                  {3, 3, 2, 2, 3, 3},
                                                  {3, 2, 2, 2, 3},
                                                  {2, 2, 2, 2},
                                                  {2, 2, 1},
                                                  {1, 1}};
inline constexpr uint8_t kZeros422Value[7][8] = {{1, 2, 3, 2, 3, 1, 1, 0},
                                                 {0, 1, 1, 4, 5, 6, 7},
                                                 {0, 1, 1, 2, 6, 7},
                                                 {6, 0, 1, 2, 7},
                                                 {0, 1, 2, 3},
                                                 {0, 1, 1},
                                                 {0, 1}};
inline constexpr ZerosTable kZeros = make_zeros(kZerosLength, kZerosValue);
inline constexpr ZerosTable kZeros420 = make_zeros(kZeros420Length, kZeros420Value);
inline constexpr ZerosTable kZeros422 = make_zeros(kZeros422Length, kZeros422Value);

/// run_before by zerosLeft - 1 (7: more than 6) and the next three bits, as above
struct RunTable {
  uint8_t entry[7][8];
};
constexpr RunTable make_runs() {
  constexpr uint8_t kLength[7][8] = {{1, 1},
                                     {1, 2, 2},
                                     {2, 2, 2, 2},
                                     {2, 2, 2, 3, 3},
                                     {2, 2, 3, 3, 3, 3},
                                     {2, 3, 3, 3, 3, 3, 3},
                                     {3, 3, 3, 3, 3, 3, 3}};
  constexpr uint8_t kValue[7][8] = {{1, 0},
                                    {1, 1, 0},
                                    {3, 2, 1, 0},
                                    {3, 2, 1, 1, 0},
                                    {3, 2, 3, 2, 1, 0},
                                    {3, 0, 1, 3, 2, 5, 4},
                                    {7, 6, 5, 4, 3, 2, 1}};
  RunTable table{};
  for (unsigned row = 0; row < 7; ++row) {
    for (unsigned run = 0; run < 8; ++run) {
      const unsigned length = kLength[row][run];
      if (length == 0) continue;
      for (unsigned rest = 0; rest < 1u << (3 - length); ++rest)
        table.entry[row][(kValue[row][run] << (3 - length)) + rest] = static_cast<uint8_t>(length << 4 | run);
    }
  }
  return table;
}
inline constexpr RunTable kRuns = make_runs();

}  // namespace vssbench::h264::tables
