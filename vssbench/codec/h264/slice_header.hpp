// Slice header (7.3.3).
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "nal.hpp"
#include "parameter_sets.hpp"

namespace vssbench::h264 {

enum SliceType : uint8_t { kSliceB = 0, kSliceP = 1, kSliceI = 2 };
enum Structure : uint8_t { kFrame = 0, kTopField = 1, kBottomField = 2 };

/// One command of reference picture list modification (7.3.3.1).
struct ListCommand {
  uint8_t operation;  ///< modification_of_pic_nums_idc: 0, 1 or 2
  uint32_t value;     ///< abs_diff_pic_num_minus1 or long_term_pic_num
};

/// One memory management control operation (7.3.3.3).
struct MarkingCommand {
  uint8_t operation;           ///< 1 to 6
  uint32_t difference = 0;     ///< difference_of_pic_nums_minus1
  uint32_t long_term_pic = 0;  ///< long_term_pic_num
  uint32_t index = 0;          ///< long_term_frame_idx, or max_long_term_frame_idx_plus1
};

struct SliceHeader {
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  uint8_t nal_type = 0;
  bool reference = false;  ///< nal_ref_idc is not 0
  uint32_t first_mb = 0;
  SliceType type = kSliceI;
  int32_t frame_num = 0;
  Structure structure = kFrame;
  bool mbaff = false;  ///< MbaffFrameFlag
  uint32_t idr_pic_id = 0;
  uint32_t poc_lsb = 0;
  int32_t delta_poc_bottom = 0, delta_poc[2] = {0, 0};
  unsigned redundant_pic_cnt = 0;
  bool direct_spatial = false;
  unsigned refs[2] = {0, 0};
  std::vector<ListCommand> modification[2];
  bool long_term_reference = false;  ///< of an IDR picture
  bool adaptive_marking = false;
  std::vector<MarkingCommand> marking;
  unsigned cabac_init_idc = 0;
  int qp = 26;
  size_t data_bit = 0;  ///< first bit of slice data in the unescaped payload

  bool idr() const { return nal_type == kIdrSlice; }
  bool field() const { return structure != kFrame; }
  bool resets() const;  ///< memory_management_control_operation 5
};

SliceHeader parse_slice_header(const Payload& payload, unsigned nal_ref_idc, const ParameterSets& sets);
/// 7.4.1.2.4: whether two slices belong to the same primary coded picture (a field is one of its own).
bool same_picture(const SliceHeader& a, const SliceHeader& b);

}  // namespace vssbench::h264
