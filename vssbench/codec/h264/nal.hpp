// NAL unit types.
// Clause numbers everywhere in this folder: Rec. ITU-T H.264, edition of 08/2021.
#pragma once
#include <cstdint>

#include "bits/nal.hpp"

namespace vssbench::h264 {

using namespace bits;

// Table 7-1
enum NalType : uint8_t {
  kSlice = 1,
  kPartitionA = 2,
  kPartitionC = 4,
  kIdrSlice = 5,
  kSei = 6,
  kSps = 7,
  kPps = 8,
  kAccessUnitDelimiter = 9,
  kEndOfSequence = 10,
  kEndOfStream = 11,
  kPrefix = 14,
  kSubsetSps = 15,
  kReservedBeforePicture = 18,  ///< 14 to 18 begin an access unit
  kSliceExtension = 20,
  kSliceExtensionDepth = 21,
};

}  // namespace vssbench::h264
