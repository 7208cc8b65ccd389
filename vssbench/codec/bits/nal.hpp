// Byte stream, NAL units and the bit reader for headers: what H.264 and HEVC share (Annex B and 7.3.1 of both).
#pragma once
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace vssbench::bits {

/// Syntax that breaks the standard or the stated limits.
class SyntaxError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Syntax that is valid but belongs to a tool this parser does not read.
class UnsupportedError : public SyntaxError {
 public:
  using SyntaxError::SyntaxError;
};

/// A finding about the stream: where and what.
struct Issue {
  uint64_t offset = 0;
  int nal_type = -1;
  std::string message;
};

/// The bytes of one NAL unit inside a larger buffer, header included.
struct NalSpan {
  const uint8_t* data = nullptr;
  size_t size = 0;
  uint64_t offset = 0;  ///< of the header's first byte in the stream
};

/// A NAL unit payload without emulation prevention bytes.
struct Payload {
  static constexpr size_t kPadding = 16;  ///< readable zero bytes after the end
  std::vector<uint8_t> bytes;
  size_t size = 0;                ///< payload bytes, padding not counted
  std::vector<uint32_t> removed;  ///< positions, in the escaped payload, of the dropped bytes
  uint64_t offset = 0;            ///< of the NAL unit in the stream
  uint8_t nal_type = 0;
};

/// Drops a header of `header_size` <= nal.size bytes, and the 3 of every 0 0 3.
Payload unescape(const NalSpan& nal, size_t header_size, unsigned nal_type);

/// Finds NAL units between start codes (Annex B.2) in a stream that arrives in pieces.
class AnnexBSplitter {
 public:
  void push(const uint8_t* data, size_t size);
  void finish() { finished_ = true; }
  /// The next complete unit; it stays valid until the next push.
  bool next(NalSpan& nal);
  /// True if bytes other than zero stand before the first start code.
  bool garbage_before_first() const { return garbage_; }

 private:
  std::vector<uint8_t> buffer_;
  uint64_t base_ = 0;  // stream offset of buffer_[0]
  size_t begin_ = 0;   // first byte of the open unit, or of what has not been searched
  size_t scan_ = 0;    // where the search goes on
  bool open_ = false;  // a start code has been seen
  bool finished_ = false;
  bool garbage_ = false;
};

/// Reads fixed-length and Exp-Golomb codes; every read past the end throws.
class BitReader {
 public:
  BitReader(const uint8_t* data, size_t size) : data_(data), bits_(size * 8) {}
  uint32_t u(unsigned count);  ///< count <= 32
  bool flag() { return u(1) != 0; }
  uint32_t ue(uint32_t maximum, const char* name);
  int32_t se(int32_t minimum, int32_t maximum, const char* name);
  void skip(uint64_t count);
  size_t position() const { return position_; }
  size_t left() const { return bits_ - position_; }

 private:
  uint32_t exp_golomb(const char* name);
  const uint8_t* data_;
  size_t bits_;
  size_t position_ = 0;
};

/// Ceil(Log2(value)) for value >= 1.
constexpr unsigned ceil_log2(uint32_t value) {
  unsigned bits = 0;
  while ((uint64_t{1} << bits) < value) ++bits;
  return bits;
}

}  // namespace vssbench::bits
