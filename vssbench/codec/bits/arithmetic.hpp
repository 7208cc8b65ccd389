// Arithmetic decoding engine of CABAC, the same in H.264 and HEVC. Clause numbers are H.265's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "bits/arithmetic_tables.hpp"
#include "bits/nal.hpp"

namespace vssbench::bits {

/// A context variable: pStateIdx << 1 | valMps. Not a byte: writing one could change any object, and compilers would
/// keep the engine in memory.
using Model = uint16_t;

/// The arithmetic decoder. `value_` keeps 9 bits of offset and up to 54 bits that follow them, so that most
/// operations need no memory access. Bits after the end of the data read as zero.
class Cabac {
 public:
  Cabac() = default;
  /// `data` must be readable up to `size` + Payload::kPadding.
  Cabac(const uint8_t* data, size_t size) : data_(data), size_(size) {}

  /// 9.3.2.5
  void start(size_t position) {
    position_ = position;
    range_ = 510;
    value_ = 0;
    bits_ = -9;
    refill();
    if (value_ >> kShift >= 510) throw SyntaxError("the arithmetic decoder starts with an offset of 510 or more");
  }
  /// Bits used, counted from the beginning of the data.
  size_t consumed_bits() const { return 8 * position_ - static_cast<size_t>(bits_); }
  bool overrun() const { return consumed_bits() > 8 * size_; }
  /// Byte after the terminating bit (9.3.2.5): where PCM samples or the next sub-stream begin.
  size_t next_byte() const { return (consumed_bits() + 7) / 8; }
  const uint8_t* data() const { return data_; }
  size_t size() const { return size_; }

  /// 9.3.4.3.2. Branch-free: bins are close to random.
  inline unsigned bin(Model& model) {
    const unsigned value = ready_bin(model);
    if (bits_ < 0) refill();
    return value;
  }

  /// How many calls of ready_bin() each fill() allows.
  static constexpr int kReadyBins = 7;
  /// Reads ahead for bins that follow without a look at the data: none takes more than 6 bits.
  inline void fill() {
    uint64_t word;
    std::memcpy(&word, data_ + (position_ < size_ ? position_ : size_), 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    value_ |= word >> (10 + bits_);  // part of the last byte as well, which the next one repeats
    const unsigned bytes = static_cast<unsigned>(53 - bits_) >> 3;
    position_ += bytes;
    bits_ += static_cast<int>(8 * bytes);
  }
  /// bin() without a look at the data; see fill().
  inline unsigned ready_bin(Model& model) {
    const unsigned state = model;
    const unsigned lps = static_cast<unsigned>(tables::kTransitions.lps[state] >> ((range_ >> 2) & 48));
    const uint32_t mps_range = range_ - (lps & 255);
    const uint64_t scaled = static_cast<uint64_t>(mps_range) << kShift;
    const uint64_t above = value_ - scaled;
    const uint64_t is_mps = static_cast<uint64_t>(static_cast<int64_t>(above) >> 63);  // all ones or none
    const uint32_t is_lps = ~static_cast<uint32_t>(is_mps);
    const unsigned mps_shift = (mps_range >> 8) ^ 1;
    const unsigned shift = mps_shift ^ ((mps_shift ^ (lps >> 8 & 255)) & is_lps);
    value_ = (above + (scaled & is_mps)) << shift;
    range_ = (mps_range ^ ((mps_range ^ (lps & 255)) & is_lps)) << shift;
    bits_ -= static_cast<int>(shift);
    model = static_cast<uint8_t>(tables::kTransitions.next[state] >> (is_lps & 8));
    return (state ^ is_lps) & 1;
  }

  /// The same as bin() with a branch: faster where most bins are the likely one, as in H.264.
  inline unsigned branching_bin(Model& model) {
    const unsigned state = model;
    const unsigned lps = static_cast<unsigned>(tables::kTransitions.lps[state] >> ((range_ >> 2) & 48));
    const unsigned next = tables::kTransitions.next[state];
    const uint32_t mps_range = range_ - (lps & 255);
    const uint64_t scaled = static_cast<uint64_t>(mps_range) << kShift;
    if (value_ < scaled) {
      const unsigned shift = (mps_range >> 8) ^ 1;
      range_ = mps_range << shift;
      value_ <<= shift;
      bits_ -= static_cast<int>(shift);
      model = static_cast<uint8_t>(next);
      if (bits_ < 0) refill();
      return state & 1;
    }
    const unsigned shift = lps >> 8 & 255;
    value_ = (value_ - scaled) << shift;
    range_ = (lps & 255) << shift;
    bits_ -= static_cast<int>(shift);
    model = static_cast<uint8_t>(next >> 8);
    if (bits_ < 0) refill();
    return (state & 1) ^ 1;
  }

  /// 9.3.4.3.4
  inline unsigned bypass() {
    value_ <<= 1;
    if (--bits_ < 0) refill();
    const uint64_t scaled = static_cast<uint64_t>(range_) << kShift;
    const uint64_t one = value_ >= scaled;
    value_ -= scaled & (0 - one);
    return static_cast<unsigned>(one);
  }

  /// The next `count` <= 20 bypass bins, without using them up.
  inline uint32_t peek_bypass(unsigned count) {
    if (bits_ < static_cast<int>(count)) refill();
    const uint64_t window = value_ >> (kShift - count);
    return static_cast<uint32_t>((window * tables::kReciprocal[range_ - 256]) >> 39);
  }
  /// Uses up `count` bypass bins that peek_bypass showed as `bins`.
  inline void use_bypass(unsigned count, uint32_t bins) {
    value_ = (value_ << count) - ((static_cast<uint64_t>(bins) * range_) << kShift);
    bits_ -= static_cast<int>(count);
  }
  inline uint32_t bypass_bits(unsigned count) {
    if (count == 0) return 0;
    const uint32_t bins = peek_bypass(count);
    use_bypass(count, bins);
    return bins;
  }

  /// 9.3.4.3.5
  inline bool terminate() {
    range_ -= 2;
    const uint64_t scaled = static_cast<uint64_t>(range_) << kShift;
    if (value_ >= scaled) return true;
    if (range_ < 256) {
      range_ <<= 1;
      value_ <<= 1;
      if (--bits_ < 0) refill();
    }
    return false;
  }

  /// k-th order Exp-Golomb (9.3.3.5).
  uint32_t exp_golomb(unsigned order) {
    unsigned prefix = 0;
    while (bypass()) {
      if (++prefix > 31 - order) throw SyntaxError("an Exp-Golomb prefix is too long");
    }
    const unsigned count = prefix + order;
    const uint32_t base = ((uint32_t{1} << prefix) - 1) << order;
    uint32_t suffix = 0;
    for (unsigned i = 0; i < count; ++i) suffix = (suffix << 1) | bypass();
    return base + suffix;
  }

  /// 9.3.4.3.4 with cabac_bypass_alignment_enabled_flag
  void align_bypass() {
    range_ = 256;
    constexpr uint64_t scaled = uint64_t{256} << kShift;
    if (value_ >= scaled) value_ -= scaled;  // broken data only; keeps the offset below the range
  }

 private:
  static constexpr unsigned kShift = 54;

  inline void refill() {
    uint32_t word = 0;
    if (position_ < size_) {  // the padding makes the last word readable
      std::memcpy(&word, data_ + position_, 4);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      word = __builtin_bswap32(word);
#endif
    }
    position_ += 4;
    value_ |= static_cast<uint64_t>(word) << (22 - bits_);
    bits_ += 32;
  }

  uint64_t value_ = 0;
  uint32_t range_ = 510;
  int bits_ = 0;
  size_t position_ = 0;
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace vssbench::bits
