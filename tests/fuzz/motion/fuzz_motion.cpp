// libFuzzer target of both parsers: any bytes must end in pictures or in a failure, within the memory that the headers
// justify. VSSBENCH_CODEC is hevc or h264, whose folder the include path names.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "decoder.hpp"

using namespace vssbench::VSSBENCH_CODEC;

namespace {

// Touches every block, so that reads of memory that was never written are seen.
uint64_t checksum(const Picture& picture) {
  const MotionStore& store = *picture.motion;
  uint64_t sum = 0;
  for (int i = 0; i < store.columns * store.rows; ++i) {
    const auto at = static_cast<size_t>(i);
    const bool intra = store.mode[at] == 0;
    for (int list = 0; list < 2; ++list) {
      const bool unused = store.refs[at].list[list] < 0;
      if (unused != (store.pocs[at].list[list] == kNoReference) && !unused)
        continue;  // a count of -2^31 in a broken stream
      if (unused && (store.vectors[at].list[list].x || store.vectors[at].list[list].y)) std::abort();
      if (intra && !unused) std::abort();
      sum += static_cast<uint16_t>(store.vectors[at].list[list].x);
    }
    if (!intra && store.refs[at].list[0] < 0 && store.refs[at].list[1] < 0) std::abort();
    if (store.mode[at] > 2) std::abort();
  }
  return sum;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  // the last byte chooses how the parser is used
  const uint8_t choice = data[--size];
  DecoderOptions options;
  options.strict = (choice & 3) == 3;
  options.details = (choice & 4) != 0;
  options.threads = (choice & 0x78) == 0x78 ? 2 : 1;
  options.max_luma_samples = 1 << 18;
  Decoder decoder(options);
  const size_t half = (choice & 0x80) ? size / 2 : size;
  volatile uint64_t sink = 0;
  const auto drain = [&] {
    while (const auto picture = decoder.next()) sink = sink + checksum(*picture);
  };
  decoder.push(data, half);
  drain();
  decoder.push(data + half, size - half);
  decoder.finish();
  drain();
  return 0;
}
