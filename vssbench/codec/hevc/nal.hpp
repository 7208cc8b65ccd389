// NAL unit types.
// Clause numbers everywhere in this folder: Rec. ITU-T H.265, edition v4 (12/2016).
#pragma once
#include <cstdint>

#include "bits/nal.hpp"

namespace vssbench::hevc {

using namespace bits;

// Table 7-1
enum NalType : uint8_t {
  kRadlN = 6,
  kRadlR = 7,
  kRaslN = 8,
  kRaslR = 9,
  kSubLayerNonReferenceLast = 14,
  kReservedVclNonIrapFirst = 10,
  kBlaWLp = 16,
  kBlaNLp = 18,
  kIdrWRadl = 19,
  kIdrNLp = 20,
  kCra = 21,
  kReservedIrapLast = 23,
  kReservedVclLast = 31,
  kVps = 32,
  kSps = 33,
  kPps = 34,
  kAccessUnitDelimiter = 35,
  kEndOfSequence = 36,
  kEndOfBitstream = 37,
};

constexpr bool is_irap(unsigned type) {
  return type >= kBlaWLp && type <= kReservedIrapLast;
}
constexpr bool is_idr(unsigned type) {
  return type == kIdrWRadl || type == kIdrNLp;
}
constexpr bool is_bla(unsigned type) {
  return type >= kBlaWLp && type <= kBlaNLp;
}
constexpr bool is_rasl(unsigned type) {
  return type == kRaslN || type == kRaslR;
}
constexpr bool is_radl(unsigned type) {
  return type == kRadlN || type == kRadlR;
}
constexpr bool is_coded_slice(unsigned type) {
  return type <= kRaslR || (type >= kBlaWLp && type <= kCra);
}

}  // namespace vssbench::hevc
