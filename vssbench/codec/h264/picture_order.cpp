#include "picture_order.hpp"

namespace vssbench::h264 {
namespace {

// wraps on broken streams only
int32_t narrow(int64_t value) {
  return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(value)));
}

}  // namespace

// 8.2.1.1
PictureOrder::Counts PictureOrder::derive_type0(const SliceHeader& header) {
  if (header.idr()) previous_msb_ = previous_lsb_ = 0;
  const int64_t range = int64_t{1} << header.sps->log2_max_poc_lsb, lsb = header.poc_lsb;
  int64_t msb = previous_msb_;
  if (lsb < previous_lsb_ && previous_lsb_ - lsb >= range / 2) msb += range;
  if (lsb > previous_lsb_ && lsb - previous_lsb_ > range / 2) msb -= range;
  msb = narrow(msb);
  if (header.reference) {
    previous_msb_ = msb;
    previous_lsb_ = lsb;
  }
  return {{narrow(msb + lsb), narrow(msb + lsb + (header.field() ? 0 : header.delta_poc_bottom))}};
}

// (8-6) and (8-11)
int64_t PictureOrder::frame_num_offset(const Sps& sps, bool idr, int32_t frame_num) {
  if (idr) {
    previous_offset_ = 0;
  } else if (previous_frame_num_ > frame_num) {
    previous_offset_ = narrow(previous_offset_ + sps.max_frame_num());
  }
  previous_frame_num_ = frame_num;
  return previous_offset_;
}

// (8-7) to (8-9)
int64_t PictureOrder::expected_type1(const Sps& sps, int64_t offset, int32_t frame_num, bool reference) const {
  const int64_t cycle = static_cast<int64_t>(sps.offset_for_ref_frame.size());
  int64_t absolute = cycle != 0 ? offset + frame_num : 0;
  if (!reference && absolute > 0) --absolute;
  int64_t expected = 0;
  if (absolute > 0) {
    int64_t per_cycle = 0;
    for (const int32_t delta : sps.offset_for_ref_frame) per_cycle += delta;
    expected = narrow((absolute - 1) / cycle * per_cycle);
    for (int64_t i = 0; i <= (absolute - 1) % cycle; ++i) expected += sps.offset_for_ref_frame[static_cast<size_t>(i)];
  }
  return reference ? expected : expected + sps.offset_for_non_ref_pic;
}

PictureOrder::Counts PictureOrder::derive(const SliceHeader& header) {
  const Sps& sps = *header.sps;
  if (sps.poc_type == 0) {
    previous_frame_num_ = header.frame_num;
    return derive_type0(header);
  }
  const int64_t offset = frame_num_offset(sps, header.idr(), header.frame_num);
  if (sps.poc_type == 2) {
    const int32_t count = narrow(header.idr() ? 0 : 2 * (offset + header.frame_num) - (header.reference ? 0 : 1));
    return {{count, count}};
  }
  const int64_t expected = expected_type1(sps, offset, header.frame_num, header.reference);
  const int64_t top = expected + header.delta_poc[0];
  return {{narrow(top), narrow(top + sps.offset_for_top_to_bottom + (header.field() ? 0 : header.delta_poc[1]))}};
}

PictureOrder::Counts PictureOrder::derive_gap(const Sps& sps, int32_t frame_num) {
  const int64_t offset = frame_num_offset(sps, false, frame_num);
  if (sps.poc_type == 0) return {{0, 0}};
  if (sps.poc_type == 2) return {{narrow(2 * (offset + frame_num)), narrow(2 * (offset + frame_num))}};
  const int64_t expected = expected_type1(sps, offset, frame_num, true);
  return {{narrow(expected), narrow(expected + sps.offset_for_top_to_bottom)}};
}

void PictureOrder::reset(bool bottom_field, int32_t top) {
  previous_msb_ = 0;
  previous_lsb_ = bottom_field ? 0 : top;
  previous_offset_ = 0;
  previous_frame_num_ = 0;
}

}  // namespace vssbench::h264
