// Picture order count (8.2.1).
#pragma once
#include <cstdint>

#include "slice_header.hpp"

namespace vssbench::h264 {

/// Keeps what the next picture's order count depends on.
class PictureOrder {
 public:
  struct Counts {
    int32_t field[2];  ///< top, bottom; of a field only its own is meant
  };
  /// Of the picture that this header begins.
  Counts derive(const SliceHeader& header);
  /// Of a frame that a gap in frame_num implies (8.2.5.2).
  Counts derive_gap(const Sps& sps, int32_t frame_num);
  /// After a picture with memory_management_control_operation 5; `top` is its count after the reset.
  void reset(bool bottom_field, int32_t top);

 private:
  int64_t frame_num_offset(const Sps& sps, bool idr, int32_t frame_num);
  Counts derive_type0(const SliceHeader& header);
  int64_t expected_type1(const Sps& sps, int64_t offset, int32_t frame_num, bool reference) const;

  int64_t previous_msb_ = 0, previous_lsb_ = 0;
  int64_t previous_offset_ = 0;
  int32_t previous_frame_num_ = 0;
};

}  // namespace vssbench::h264
