#include "picture.hpp"

#include <algorithm>

namespace vssbench::h264 {

MotionStore::MotionStore(int width, int height, bool interlaced, bool with_details)
    : columns(width / 4), rows(height / 4), mb_columns(width / 16), mb_rows(height / 16) {
  const size_t blocks = static_cast<size_t>(columns) * static_cast<size_t>(rows), macroblocks = blocks / 16;
  vectors.reset(new VectorPair[blocks]);
  pocs.reset(new PocPair[blocks]);
  refs.reset(new RefPair[blocks]);
  mode.reset(new uint8_t[blocks]);
  mb_field.reset(new uint8_t[macroblocks]());
  mb_slice.reset(new uint16_t[macroblocks]);
  if (interlaced) ref_parity.reset(new uint8_t[2 * blocks]());
  if (!with_details) return;
  mb_type.reset(new uint8_t[blocks]());
  sub_type.reset(new uint8_t[blocks]);
  std::fill_n(sub_type.get(), blocks, uint8_t{kNoSub});
  slice.reset(new uint16_t[blocks]());
  transform_8x8.reset(new uint8_t[blocks]());
  qp.reset(new int8_t[blocks]());
  coded_bits.reset(new uint32_t[blocks]());
  nonzero.reset(new uint16_t[blocks]());
}

void MotionStore::clear_macroblock(int mb_x, int mb_y) {
  for (int row = 4 * mb_y; row < 4 * mb_y + 4; ++row) {
    const size_t at = static_cast<size_t>(row) * static_cast<size_t>(columns) + static_cast<size_t>(4 * mb_x);
    std::fill_n(&vectors[at], 4, VectorPair{});
    std::fill_n(&pocs[at], 4, PocPair{{kNoReference, kNoReference}});
    std::fill_n(&refs[at], 4, RefPair{{-1, -1}});
    std::fill_n(&mode[at], 4, uint8_t{0});
    if (ref_parity) std::fill_n(&ref_parity[2 * at], 8, uint8_t{0});
  }
}

// Motion follows from the syntax, from the reference lists and from the motion of the co-located pictures, so an
// absent, a damaged or an unreliable one is what can make it wrong.
void Picture::settle() {
  for (const auto& source : sources) {
    source->wait_done();
    source->settle();
    unreliable = unreliable || source->unreliable || !source->motion || source->motion->lost;
  }
  sources.clear();
}

}  // namespace vssbench::h264
