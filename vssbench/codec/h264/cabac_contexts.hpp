// Context variables (9.3.1.1).
#pragma once
#include "bits/arithmetic.hpp"

namespace vssbench::h264 {

/// ctxIdx of the first variable of each syntax element (Table 9-34).
enum Context : unsigned {
  kMbTypeI = 3,
  kMbSkipP = 11,
  kMbTypeP = 14,
  kMbTypePIntra = 17,
  kSubTypeP = 21,
  kMbSkipB = 24,
  kMbTypeB = 27,
  kMbTypeBIntra = 32,
  kSubTypeB = 36,
  kMvdX = 40,
  kMvdY = 47,
  kRefIdx = 54,
  kQpDelta = 60,
  kIntraChroma = 64,
  kPrevIntraMode = 68,
  kRemIntraMode = 69,
  kFieldDecoding = 70,
  kPatternLuma = 73,
  kPatternChroma = 77,
  kTransform8x8 = 399,
};

/// All 1024; `table` 0 for I slices, else 1 + cabac_init_idc.
void initialise_contexts(bits::Model* models, unsigned table, int qp);

}  // namespace vssbench::h264
