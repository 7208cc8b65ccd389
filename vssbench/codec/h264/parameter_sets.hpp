// Sequence and picture parameter sets (7.3.2.1, 7.3.2.2).
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bits/driver.hpp"
#include "nal.hpp"

namespace vssbench::h264 {

constexpr unsigned kMaxFrames = 16;      ///< largest decoded picture buffer
constexpr unsigned kMaxReferences = 32;  ///< entries of a list: fields

struct Sps {
  std::vector<uint8_t> source;  ///< the payload, to recognise a repeated set
  unsigned id = 0, profile = 0;
  unsigned chroma_format = 1;  ///< ChromaArrayType
  unsigned bit_depth_luma = 8, bit_depth_chroma = 8;
  unsigned log2_max_frame_num = 4;
  unsigned poc_type = 0, log2_max_poc_lsb = 4;
  bool delta_pic_order_always_zero = false;
  int32_t offset_for_non_ref_pic = 0, offset_for_top_to_bottom = 0;
  std::vector<int32_t> offset_for_ref_frame;
  unsigned max_ref_frames = 0;
  bool gaps_allowed = false;
  int width_in_mbs = 0, height_in_mbs = 0;  ///< of a frame
  bool frame_mbs_only = true, mbaff = false, direct_8x8_inference = false;
  int width = 0, height = 0;
  int crop_left = 0, crop_top = 0, crop_width = 0, crop_height = 0;
  unsigned max_reorder = kMaxFrames;  ///< frames that may wait for output

  int32_t max_frame_num() const { return int32_t{1} << log2_max_frame_num; }
};

struct Pps {
  std::vector<uint8_t> source;
  unsigned id = 0, sps_id = 0;
  bool cabac = false, bottom_field_poc_present = false;
  unsigned default_refs[2] = {1, 1};
  bool weighted_pred = false;
  unsigned weighted_bipred = 0;
  int init_qp = 26;
  bool deblocking_control = false, redundant_pic_cnt_present = false;
  bool transform_8x8 = false;
};

/// Parameter sets by id; empty pointers where none was received.
struct ParameterSets {
  std::array<std::shared_ptr<const Sps>, 32> sps;
  std::array<std::shared_ptr<const Pps>, 256> pps;
};

Sps parse_sps(const Payload& payload);
Pps parse_pps(const Payload& payload, const ParameterSets& sets);

}  // namespace vssbench::h264
