// Context variables (9.3).
#pragma once
#include <cstdint>

#include "bits/arithmetic.hpp"
#include "nal.hpp"

namespace vssbench::hevc {

/// Index of the first context variable of each syntax element.
enum Context : unsigned {
  kSaoMerge = 0,
  kSaoType = 1,
  kSplitCu = 2,
  kTransquantBypass = 5,
  kCuSkip = 6,
  kPredMode = 9,
  kPartMode = 10,
  kPrevIntraLuma = 14,
  kIntraChroma = 15,
  kRqtRootCbf = 16,
  kMergeFlag = 17,
  kMergeIdx = 18,
  kInterPredIdc = 19,
  kRefIdx = 24,
  kMvpFlag = 26,
  kSplitTransform = 27,
  kCbfLuma = 30,
  kCbfChroma = 32,
  kMvdGreater0 = 37,
  kMvdGreater1 = 38,
  kCuQpDelta = 39,
  kTransformSkip = 41,
  kLastX = 43,
  kLastY = 61,
  kCodedSubBlock = 79,
  kSigCoeff = 83,  // 42, then luma and chroma of transform_skip_context_enabled_flag
  kGreater1 = 127,
  kGreater2 = 151,
  kRdpcmFlag = 157,
  kRdpcmDir = 159,
  kChromaQpOffsetFlag = 161,
  kChromaQpOffsetIdx = 162,
  kResScaleAbs = 163,
  kResScaleSign = 171,
  kContextCount = 173,
};

/// What is stored and synchronised between sub-streams (9.3.2.4).
struct ContextState {
  Model model[kContextCount];
  uint8_t rice[4];  ///< StatCoeff
  /// 9.3.2.2; initType 0 (I), 1, 2.
  void initialise(unsigned init_type, int slice_qp);
};

}  // namespace vssbench::hevc
