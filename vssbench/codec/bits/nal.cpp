#include "bits/nal.hpp"

#include <algorithm>
#include <cstring>

namespace vssbench::bits {
namespace {

// First start code 00 00 01 at or after `from`; `size` if there is none.
size_t find_start_code(const uint8_t* data, size_t from, size_t size) {
  size_t position = from + 2;
  while (position < size) {
    const void* hit = std::memchr(data + position, 1, size - position);
    if (hit == nullptr) return size;
    position = static_cast<size_t>(static_cast<const uint8_t*>(hit) - data);
    if (data[position - 1] == 0 && data[position - 2] == 0) return position - 2;
    ++position;
  }
  return size;
}

}  // namespace

Payload unescape(const NalSpan& nal, size_t header_size, unsigned nal_type) {
  Payload payload;
  payload.offset = nal.offset;
  payload.nal_type = static_cast<uint8_t>(nal_type);
  const uint8_t* source = nal.data + header_size;
  const size_t size = nal.size - header_size;
  payload.bytes.resize(size + Payload::kPadding);
  uint8_t* target = payload.bytes.data();
  size_t copied = 0;
  size_t position = 2;
  size_t barrier = 0;  // zeros before this position were already used by an earlier 0 0 3
  while (position < size) {
    const void* hit = std::memchr(source + position, 3, size - position);
    if (hit == nullptr) break;
    position = static_cast<size_t>(static_cast<const uint8_t*>(hit) - source);
    if (position >= barrier + 2 && source[position - 1] == 0 && source[position - 2] == 0) {
      std::memcpy(target, source + copied, position - copied);
      target += position - copied;
      copied = position + 1;
      barrier = position + 1;
      payload.removed.push_back(static_cast<uint32_t>(position));
    }
    ++position;
  }
  std::memcpy(target, source + copied, size - copied);
  payload.size = static_cast<size_t>(target - payload.bytes.data()) + size - copied;
  std::memset(payload.bytes.data() + payload.size, 0, payload.bytes.size() - payload.size);
  return payload;
}

void AnnexBSplitter::push(const uint8_t* data, size_t size) {
  const size_t keep_from = begin_;
  if (keep_from > 0) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(keep_from));
    base_ += keep_from;
    begin_ = 0;
    scan_ -= keep_from;
  }
  buffer_.insert(buffer_.end(), data, data + size);
}

bool AnnexBSplitter::next(NalSpan& nal) {
  for (;;) {
    const uint8_t* data = buffer_.data();
    const size_t size = buffer_.size();
    const size_t code = find_start_code(data, scan_, size);
    const bool found = code < size;
    if (!found && !finished_) {
      // the last two bytes may begin a start code
      scan_ = std::max(scan_, size >= 2 ? size - 2 : size_t{0});
      if (!open_ && scan_ > begin_) {
        garbage_ = garbage_ || std::any_of(data + begin_, data + scan_, [](uint8_t b) { return b != 0; });
        begin_ = scan_;
      }
      return false;
    }
    const size_t begin = begin_;
    const bool was_open = open_;
    begin_ = scan_ = found ? code + 3 : size;
    open_ = found;
    if (!was_open) {
      garbage_ = garbage_ || std::any_of(data + begin, data + code, [](uint8_t b) { return b != 0; });
      if (!found) return false;
      continue;
    }
    size_t end = code;
    while (end > begin && data[end - 1] == 0) --end;  // trailing_zero_8bits
    if (end == begin) {
      if (!found) return false;
      continue;
    }
    nal = {data + begin, end - begin, base_ + begin};
    return true;
  }
}

uint32_t BitReader::u(unsigned count) {
  if (count > left()) throw SyntaxError("the unit ends inside a syntax element");
  uint64_t value = 0;
  for (unsigned done = 0; done < count;) {
    const unsigned in_byte = static_cast<unsigned>(position_ & 7);
    const unsigned take = std::min(8 - in_byte, count - done);
    const unsigned bits = (data_[position_ >> 3] >> (8 - in_byte - take)) & ((1u << take) - 1);
    value = (value << take) | bits;
    position_ += take;
    done += take;
  }
  return static_cast<uint32_t>(value);
}

void BitReader::skip(uint64_t count) {
  if (count > left()) throw SyntaxError("the unit ends inside a syntax element");
  position_ += static_cast<size_t>(count);
}

uint32_t BitReader::exp_golomb(const char* name) {
  unsigned zeros = 0;
  while (!flag()) {
    if (++zeros > 32) throw SyntaxError(std::string(name) + " has more than 32 leading zero bits");
  }
  const uint64_t value = ((uint64_t{1} << zeros) - 1) + (zeros ? u(zeros) : 0);
  if (value > 0xFFFFFFFEull) throw SyntaxError(std::string(name) + " is larger than 2^32 - 2");
  return static_cast<uint32_t>(value);
}

uint32_t BitReader::ue(uint32_t maximum, const char* name) {
  const uint32_t value = exp_golomb(name);
  if (value > maximum) {
    throw SyntaxError(std::string(name) + " is " + std::to_string(value) + ", at most " + std::to_string(maximum) +
                      " is allowed");
  }
  return value;
}

int32_t BitReader::se(int32_t minimum, int32_t maximum, const char* name) {
  const uint32_t code = exp_golomb(name);
  const int64_t magnitude = (static_cast<int64_t>(code) + 1) / 2;
  const int64_t value = (code & 1) ? magnitude : -magnitude;
  if (value < minimum || value > maximum) {
    throw SyntaxError(std::string(name) + " is " + std::to_string(value) + ", allowed is " + std::to_string(minimum) +
                      ".." + std::to_string(maximum));
  }
  return static_cast<int32_t>(value);
}

}  // namespace vssbench::bits
