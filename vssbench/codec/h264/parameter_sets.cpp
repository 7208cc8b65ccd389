#include "parameter_sets.hpp"

#include <algorithm>

namespace vssbench::h264 {
namespace {

constexpr uint32_t kAny = 0xFFFFFFFE;
constexpr unsigned kExtendedSar = 255;

bool has_chroma_format(unsigned profile) {
  constexpr unsigned kProfiles[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
  return std::find(std::begin(kProfiles), std::end(kProfiles), profile) != std::end(kProfiles);
}

// 7.3.2.1.1.1; the matrices do not influence parsing
void skip_scaling_lists(BitReader& reader, unsigned lists) {
  for (unsigned i = 0; i < lists; ++i) {
    if (!reader.flag()) continue;
    const unsigned size = i < 6 ? 16 : 64;
    int last = 8, next = 8;
    for (unsigned j = 0; j < size; ++j) {
      if (next != 0) next = (last + reader.se(-128, 127, "delta_scale") + 256) % 256;
      if (next != 0) last = next;
    }
  }
}

// E.1.2
void skip_hrd(BitReader& reader) {
  const unsigned count = reader.ue(31, "cpb_cnt_minus1") + 1;
  reader.skip(8);
  for (unsigned i = 0; i < count; ++i) {
    reader.ue(kAny, "bit_rate_value_minus1");
    reader.ue(kAny, "cpb_size_value_minus1");
    reader.skip(1);
  }
  reader.skip(20);
}

// E.1.1; only max_num_reorder_frames is of use
void parse_vui(BitReader& reader, Sps& sps) {
  if (reader.flag() && reader.u(8) == kExtendedSar) reader.skip(32);
  if (reader.flag()) reader.skip(1);  // overscan
  if (reader.flag()) {                // video_signal_type
    reader.skip(4);
    if (reader.flag()) reader.skip(24);
  }
  if (reader.flag()) {
    reader.ue(5, "chroma_sample_loc_type_top_field");
    reader.ue(5, "chroma_sample_loc_type_bottom_field");
  }
  if (reader.flag()) reader.skip(65);  // timing
  const bool nal = reader.flag();
  if (nal) skip_hrd(reader);
  const bool vcl = reader.flag();
  if (vcl) skip_hrd(reader);
  if (nal || vcl) reader.skip(1);
  reader.skip(1);  // pic_struct_present_flag
  if (reader.flag()) {
    reader.skip(1);
    for (int i = 0; i < 4; ++i) reader.ue(kAny, "bitstream_restriction");
    const unsigned reorder = reader.ue(kAny, "max_num_reorder_frames");
    const unsigned buffering = reader.ue(kAny, "max_dec_frame_buffering");
    sps.max_reorder = std::min({reorder, std::max(buffering, sps.max_ref_frames), kMaxFrames});
  }
}

// MaxDpbFrames (A.3.1, Table A-1); all 16 where the level is unknown
unsigned frames_of_level(const Sps& sps, unsigned level, bool level_1b) {
  struct Level {
    unsigned idc, max_dpb_mbs;
  };
  constexpr Level kLevels[] = {{9, 396},     {10, 396},    {11, 900},    {12, 2376},   {13, 2376},
                               {20, 2376},   {21, 4752},   {22, 8100},   {30, 8100},   {31, 18000},
                               {32, 20480},  {40, 32768},  {41, 32768},  {42, 34816},  {50, 110400},
                               {51, 184320}, {52, 184320}, {60, 696320}, {61, 696320}, {62, 696320}};
  if (level_1b) level = 9;
  const unsigned size = static_cast<unsigned>(sps.width_in_mbs * sps.height_in_mbs);
  for (const Level& entry : kLevels) {
    if (entry.idc == level) return std::clamp(entry.max_dpb_mbs / size, std::max(1u, sps.max_ref_frames), kMaxFrames);
  }
  return kMaxFrames;
}

void parse_poc(BitReader& reader, Sps& sps) {
  sps.poc_type = reader.ue(2, "pic_order_cnt_type");
  if (sps.poc_type == 0) {
    sps.log2_max_poc_lsb = reader.ue(12, "log2_max_pic_order_cnt_lsb_minus4") + 4;
  } else if (sps.poc_type == 1) {
    constexpr int32_t kMost = 0x7FFFFFFF;
    sps.delta_pic_order_always_zero = reader.flag();
    sps.offset_for_non_ref_pic = reader.se(-kMost, kMost, "offset_for_non_ref_pic");
    sps.offset_for_top_to_bottom = reader.se(-kMost, kMost, "offset_for_top_to_bottom_field");
    const unsigned count = reader.ue(255, "num_ref_frames_in_pic_order_cnt_cycle");
    for (unsigned i = 0; i < count; ++i) {
      sps.offset_for_ref_frame.push_back(reader.se(-kMost, kMost, "offset_for_ref_frame"));
    }
  }
}

void parse_size(BitReader& reader, Sps& sps) {
  const uint32_t most = kMaxSide / 16;
  sps.width_in_mbs = static_cast<int>(reader.ue(most - 1, "pic_width_in_mbs_minus1")) + 1;
  sps.height_in_mbs = static_cast<int>(reader.ue(most - 1, "pic_height_in_map_units_minus1")) + 1;
  sps.frame_mbs_only = reader.flag();
  if (!sps.frame_mbs_only) {
    sps.height_in_mbs *= 2;
    sps.mbaff = reader.flag();
  }
  sps.width = 16 * sps.width_in_mbs;
  sps.height = 16 * sps.height_in_mbs;
  if (static_cast<uint64_t>(sps.width) * static_cast<uint64_t>(sps.height) > kMaxLumaSamples) {
    throw SyntaxError("the picture is " + std::to_string(sps.width) + "x" + std::to_string(sps.height) +
                      ", more than the limit of " + std::to_string(kMaxLumaSamples) + " luma samples (level 6.2)");
  }
  sps.direct_8x8_inference = reader.flag();
  if (!sps.frame_mbs_only && !sps.direct_8x8_inference) {
    throw SyntaxError("direct_8x8_inference_flag is 0 in a sequence with field macroblocks");
  }
  uint64_t window[4] = {};  // left, right, top, bottom
  if (reader.flag()) {
    for (uint64_t& offset : window) offset = reader.ue(kMaxSide, "frame_crop_offset");
  }
  const uint64_t unit_x = sps.chroma_format == 1 || sps.chroma_format == 2 ? 2 : 1;
  const uint64_t unit_y = (sps.chroma_format == 1 ? 2 : 1) * (sps.frame_mbs_only ? 1 : 2);
  if (unit_x * (window[0] + window[1]) >= static_cast<uint64_t>(sps.width) ||
      unit_y * (window[2] + window[3]) >= static_cast<uint64_t>(sps.height)) {
    throw SyntaxError("the cropping window leaves nothing of the picture");
  }
  sps.crop_left = static_cast<int>(unit_x * window[0]);
  sps.crop_top = static_cast<int>(unit_y * window[2]);
  sps.crop_width = sps.width - static_cast<int>(unit_x * (window[0] + window[1]));
  sps.crop_height = sps.height - static_cast<int>(unit_y * (window[2] + window[3]));
}

void parse_chroma_format(BitReader& reader, Sps& sps) {
  sps.chroma_format = reader.ue(3, "chroma_format_idc");
  if (sps.chroma_format == 3 && reader.flag()) {
    throw UnsupportedError("separate colour planes are not read; re-encode with one of the common chroma formats");
  }
  sps.bit_depth_luma = 8 + reader.ue(6, "bit_depth_luma_minus8");
  sps.bit_depth_chroma = 8 + reader.ue(6, "bit_depth_chroma_minus8");
  reader.skip(1);  // qpprime_y_zero_transform_bypass_flag
  if (reader.flag()) skip_scaling_lists(reader, sps.chroma_format == 3 ? 12 : 8);
}

// more_rbsp_data(): bits before the trailing one
bool more_data(const Payload& payload, const BitReader& reader) {
  size_t end = payload.size;
  while (end > 0 && payload.bytes[end - 1] == 0) --end;
  if (end == 0) return false;
  unsigned zeros = 0;
  while (!(payload.bytes[end - 1] >> zeros & 1)) ++zeros;
  return reader.position() < 8 * end - zeros - 1;
}

}  // namespace

Sps parse_sps(const Payload& payload) {
  BitReader reader(payload.bytes.data(), payload.size);
  Sps sps;
  sps.source.assign(payload.bytes.begin(), payload.bytes.begin() + static_cast<std::ptrdiff_t>(payload.size));
  sps.profile = reader.u(8);
  const unsigned constraints = reader.u(8), level = reader.u(8);
  sps.id = reader.ue(31, "seq_parameter_set_id");
  if (has_chroma_format(sps.profile)) parse_chroma_format(reader, sps);
  sps.log2_max_frame_num = reader.ue(12, "log2_max_frame_num_minus4") + 4;
  parse_poc(reader, sps);
  sps.max_ref_frames = reader.ue(kMaxFrames, "max_num_ref_frames");
  sps.gaps_allowed = reader.flag();
  parse_size(reader, sps);
  const bool constraint_set3 = (constraints & 0x10) != 0;
  const bool old_profile = sps.profile == 66 || sps.profile == 77 || sps.profile == 88;
  sps.max_reorder = frames_of_level(sps, level, level == 11 && old_profile && constraint_set3);
  if (reader.flag()) {
    try {
      parse_vui(reader, sps);
    } catch (const SyntaxError&) {  // nothing else depends on it
    }
  }
  if (sps.poc_type == 2) sps.max_reorder = 0;  // 8.2.1.3: output order is decoding order
  return sps;
}

Pps parse_pps(const Payload& payload, const ParameterSets& sets) {
  BitReader reader(payload.bytes.data(), payload.size);
  Pps pps;
  pps.source.assign(payload.bytes.begin(), payload.bytes.begin() + static_cast<std::ptrdiff_t>(payload.size));
  pps.id = reader.ue(255, "pic_parameter_set_id");
  pps.sps_id = reader.ue(31, "seq_parameter_set_id");
  pps.cabac = reader.flag();
  pps.bottom_field_poc_present = reader.flag();
  if (reader.ue(7, "num_slice_groups_minus1") > 0) {
    throw UnsupportedError("slice groups (flexible macroblock ordering) are not read; re-encode without them");
  }
  for (unsigned& count : pps.default_refs) count = reader.ue(31, "num_ref_idx_default_active_minus1") + 1;
  pps.weighted_pred = reader.flag();
  pps.weighted_bipred = reader.u(2);
  if (pps.weighted_bipred == 3) throw SyntaxError("weighted_bipred_idc is 3, at most 2 is allowed");
  pps.init_qp = 26 + reader.se(-62, 25, "pic_init_qp_minus26");
  reader.se(-26, 25, "pic_init_qs_minus26");
  reader.se(-12, 12, "chroma_qp_index_offset");
  pps.deblocking_control = reader.flag();
  reader.skip(1);  // constrained_intra_pred_flag
  pps.redundant_pic_cnt_present = reader.flag();
  if (more_data(payload, reader)) {
    pps.transform_8x8 = reader.flag();
    if (reader.flag()) {
      // the chroma format is that of the SPS received by now; it only matters for how much there is to skip
      const auto& sps = sets.sps[pps.sps_id];
      const unsigned lists_8x8 = sps && sps->chroma_format == 3 ? 6 : 2;
      skip_scaling_lists(reader, 6 + (pps.transform_8x8 ? lists_8x8 : 0));
    }
    reader.se(-12, 12, "second_chroma_qp_index_offset");
  }
  return pps;
}

}  // namespace vssbench::h264
