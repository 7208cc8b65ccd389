// Slice segment header (7.3.6.1).
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "nal.hpp"
#include "parameter_sets.hpp"

namespace vssbench::hevc {

enum SliceType : uint8_t { kSliceB = 0, kSliceP = 1, kSliceI = 2 };

struct LongTermEntry {
  int32_t poc = 0;  ///< least significant bits, or delta msb cycle applied by the picture buffer
  bool has_msb = false;
  uint32_t msb_cycle = 0;  ///< DeltaPocMsbCycleLt (7-52)
  bool used = false;
};

struct SliceHeader {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  uint8_t nal_type = 0, temporal_id = 0;
  bool first_in_picture = false, dependent = false;
  int address = 0;        ///< slice_segment_address, raster scan
  int slice_address = 0;  ///< SliceAddrRs: address of the independent segment this one belongs to
  SliceType type = kSliceI;
  bool output = true;
  unsigned colour_plane = 0;
  uint32_t poc_lsb = 0;
  ShortTermSet short_term;
  std::vector<LongTermEntry> long_term;
  bool temporal_mvp = false;
  bool sao_luma = false, sao_chroma = false;
  unsigned refs[2] = {0, 0};
  bool list_modified[2] = {false, false};
  std::array<std::array<uint8_t, kMaxReferences>, 2> list_entry{};
  bool mvd_l1_zero = false, cabac_init = false, collocated_from_l0 = true;
  unsigned collocated_ref = 0;
  unsigned max_merge = 5;
  int qp = 26;
  bool chroma_qp_offsets = false;
  bool deblocking_disabled = false;
  std::vector<uint32_t> entry_points;  ///< bytes of each sub-stream but the last, emulation bytes counted
  size_t data_begin = 0;               ///< first byte of slice data in the unescaped payload

  unsigned references_in_use() const;  ///< NumPicTotalCurr (7-55)
};

/// Active parameter sets by id; empty pointers where none was received.
struct ParameterSets {
  std::array<std::shared_ptr<const Sps>, 16> sps;
  std::array<std::shared_ptr<const Pps>, 64> pps;
};

/// Parses a header. `previous` is the last independent header of the same picture, or null; `current` the
/// picture's parameter sets if the segment continues a picture.
SliceHeader parse_slice_header(const Payload& payload, unsigned temporal_id, const ParameterSets& sets,
                               const SliceHeader* previous);

}  // namespace vssbench::hevc
