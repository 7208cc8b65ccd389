// Bits of CAVLC slice data (9.1, 9.2). Reading past the end gives zeros; `overrun` tells afterwards.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bits/nal.hpp"

namespace vssbench::h264 {

constexpr unsigned leading_zeros(uint32_t value) {
#if defined(__GNUC__)
  return static_cast<unsigned>(__builtin_clz(value));
#else
  unsigned count = 0;
  while (!(value >> 31)) {
    value <<= 1;
    ++count;
  }
  return count;
#endif
}

class VlcReader {
 public:
  VlcReader() = default;
  /// `data` must be readable up to `size` + Payload::kPadding; reading begins at bit `position`.
  VlcReader(const uint8_t* data, size_t size, size_t position) : data_(data), position_(position), size_(size) {
    while (size > 0 && data[size - 1] == 0) --size;
    if (size > 0) {
      unsigned zeros = 0;
      while (!(data[size - 1] >> zeros & 1)) ++zeros;
      end_ = 8 * size - zeros - 1;
    }
  }
  /// The next 32 bits.
  uint32_t peek() const {
    const size_t byte = position_ >> 3;
    if (byte >= size_) return 0;
    uint64_t word;
    std::memcpy(&word, data_ + byte, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return static_cast<uint32_t>(word << (position_ & 7) >> 32);
  }
  void skip(size_t count) { position_ += count; }
  uint32_t u(unsigned count) {  // 1 to 32
    const uint32_t value = peek() >> (32 - count);
    position_ += count;
    return value;
  }
  unsigned flag() { return u(1); }
  uint32_t ue() {
    const uint32_t word = peek();
    if (word < 0x10000) return long_ue();
    const unsigned zeros = leading_zeros(word);
    position_ += 2 * zeros + 1;
    return (word >> (31 - 2 * zeros)) - 1;
  }
  int32_t se() {
    const uint32_t code = ue();
    return static_cast<int32_t>(code & 1 ? (code >> 1) + 1 : 0 - (code >> 1));
  }
  void align() { position_ = (position_ + 7) & ~size_t{7}; }
  size_t position() const { return position_; }
  /// more_rbsp_data()
  bool more() const { return position_ < end_; }
  bool overrun() const { return position_ > end_; }

 private:
  uint32_t long_ue() {
    unsigned zeros = 0;
    while (!flag()) {
      if (++zeros > 31) throw bits::SyntaxError("an Exp-Golomb code has more than 31 leading zero bits");
    }
    return (uint32_t{1} << zeros) - 1 + (zeros ? u(zeros) : 0);
  }
  const uint8_t* data_ = nullptr;
  size_t position_ = 0;
  size_t size_ = 0;
  size_t end_ = 0;  ///< of the data, in bits: the trailing bit
};

}  // namespace vssbench::h264
