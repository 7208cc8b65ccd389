#include "slice_header.hpp"

#include <algorithm>
#include <string>

namespace vssbench::h264 {
namespace {

constexpr uint32_t kAny = 0xFFFFFFFE;
constexpr unsigned kMostCommands = 66;  // twice the references, and more than the standard allows

constexpr unsigned kExtendedProfile = 88;

void set_type(unsigned code, SliceHeader& header) {
  constexpr SliceType kTypes[] = {kSliceP, kSliceB, kSliceI};
  const unsigned type = code % 5;
  if (type < 3) {
    header.type = kTypes[type];
    return;
  }
  const std::string message = std::string(type == 3 ? "SP" : "SI") + " slices are not read; re-encode without them";
  if (header.sps->profile == kExtendedProfile) throw UnsupportedError(message);
  throw SyntaxError(message);  // no other profile has them: damage
}

// The sets of a picture cannot change inside it, even if a unit with the same id has arrived since; other picture
// parameter sets of the same sequence are allowed.
void choose_parameter_sets(BitReader& reader, const ParameterSets& sets, SliceHeader& header) {
  const unsigned id = reader.ue(255, "pic_parameter_set_id");
  header.pps = sets.pps[id];
  if (!header.pps)
    throw SyntaxError("a slice refers to picture parameter set " + std::to_string(id) + ", which is missing");
  header.sps = sets.sps[header.pps->sps_id];
  if (!header.sps) {
    throw SyntaxError("a slice refers to sequence parameter set " + std::to_string(header.pps->sps_id) +
                      ", which is missing");
  }
}

void parse_identity(BitReader& reader, SliceHeader& header) {
  const Sps& sps = *header.sps;
  header.frame_num = static_cast<int32_t>(reader.u(sps.log2_max_frame_num));
  if (!sps.frame_mbs_only && reader.flag()) header.structure = reader.flag() ? kBottomField : kTopField;
  header.mbaff = sps.mbaff && !header.field();
  if (header.idr()) {
    if (header.frame_num != 0) throw SyntaxError("frame_num of an IDR picture is not 0");
    header.idr_pic_id = reader.ue(65535, "idr_pic_id");
  }
  constexpr int32_t kMost = 0x7FFFFFFF;
  const bool both = header.pps->bottom_field_poc_present && !header.field();
  if (sps.poc_type == 0) {
    header.poc_lsb = reader.u(sps.log2_max_poc_lsb);
    if (both) header.delta_poc_bottom = reader.se(-kMost, kMost, "delta_pic_order_cnt_bottom");
  } else if (sps.poc_type == 1 && !sps.delta_pic_order_always_zero) {
    header.delta_poc[0] = reader.se(-kMost, kMost, "delta_pic_order_cnt[0]");
    if (both) header.delta_poc[1] = reader.se(-kMost, kMost, "delta_pic_order_cnt[1]");
  }
  if (header.pps->redundant_pic_cnt_present) header.redundant_pic_cnt = reader.ue(127, "redundant_pic_cnt");
}

void parse_modification(BitReader& reader, SliceHeader& header, unsigned list) {
  if (!reader.flag()) return;
  for (;;) {
    const unsigned operation = reader.ue(5, "modification_of_pic_nums_idc");
    if (operation == 3) return;
    if (operation > 3) throw SyntaxError("modification_of_pic_nums_idc belongs to multiview coding");
    if (header.modification[list].size() >= kMostCommands) throw SyntaxError("a list is modified too often");
    const uint32_t value = reader.ue(kAny, operation == 2 ? "long_term_pic_num" : "abs_diff_pic_num_minus1");
    if (operation < 2 && value >= static_cast<uint32_t>(2 * header.sps->max_frame_num()))
      throw SyntaxError("abs_diff_pic_num_minus1 is out of range");
    header.modification[list].push_back({static_cast<uint8_t>(operation), value});
  }
}

void parse_references(BitReader& reader, SliceHeader& header) {
  const unsigned lists = header.type == kSliceB ? 2 : header.type == kSliceP ? 1 : 0;
  if (header.type == kSliceB) header.direct_spatial = reader.flag();
  if (lists == 0) return;
  const bool override_counts = reader.flag();
  const unsigned most = header.field() ? 32 : 16;
  for (unsigned list = 0; list < lists; ++list) {
    header.refs[list] =
        override_counts ? reader.ue(most - 1, "num_ref_idx_active_minus1") + 1 : header.pps->default_refs[list];
    if (header.refs[list] > most) throw SyntaxError("num_ref_idx_default_active_minus1 is out of range for a frame");
  }
  for (unsigned list = 0; list < lists; ++list) parse_modification(reader, header, list);
}

// 7.3.3.2; weights do not influence motion
void skip_weights(BitReader& reader, const SliceHeader& header) {
  const bool chroma = header.sps->chroma_format != 0;
  reader.ue(7, "luma_log2_weight_denom");
  if (chroma) reader.ue(7, "chroma_log2_weight_denom");
  for (unsigned list = 0; list < (header.type == kSliceB ? 2u : 1u); ++list) {
    for (unsigned i = 0; i < header.refs[list]; ++i) {
      for (unsigned pairs = 0; pairs < (chroma ? 2u : 1u); ++pairs) {
        if (!reader.flag()) continue;
        for (unsigned k = 0; k < (pairs == 0 ? 2u : 4u); ++k) reader.se(-128, 128, "a weight or offset");
      }
    }
  }
}

// 7.3.3.3
void parse_marking(BitReader& reader, SliceHeader& header) {
  if (header.idr()) {
    reader.skip(1);  // no_output_of_prior_pics_flag: every picture is output
    header.long_term_reference = reader.flag();
    return;
  }
  header.adaptive_marking = reader.flag();
  if (!header.adaptive_marking) return;
  for (;;) {
    MarkingCommand command{static_cast<uint8_t>(reader.ue(6, "memory_management_control_operation"))};
    if (command.operation == 0) return;
    if (header.marking.size() >= kMostCommands) throw SyntaxError("a picture has too many marking operations");
    if (command.operation == 1 || command.operation == 3)
      command.difference = reader.ue(kAny, "difference_of_pic_nums_minus1");
    if (command.operation == 2) command.long_term_pic = reader.ue(kAny, "long_term_pic_num");
    if (command.operation == 3 || command.operation == 6) command.index = reader.ue(15, "long_term_frame_idx");
    if (command.operation == 4) command.index = reader.ue(16, "max_long_term_frame_idx_plus1");
    header.marking.push_back(command);
  }
}

void parse_quantisation_and_filters(BitReader& reader, SliceHeader& header) {
  if (header.pps->cabac && header.type != kSliceI) header.cabac_init_idc = reader.ue(2, "cabac_init_idc");
  const int lowest = -6 * static_cast<int>(header.sps->bit_depth_luma - 8);
  header.qp = header.pps->init_qp + reader.se(-87, 87, "slice_qp_delta");
  if (header.qp < lowest || header.qp > 51) {
    throw SyntaxError("the slice's quantisation parameter is " + std::to_string(header.qp) + ", allowed is " +
                      std::to_string(lowest) + "..51");
  }
  if (header.pps->deblocking_control && reader.ue(2, "disable_deblocking_filter_idc") != 1) {
    reader.se(-6, 6, "slice_alpha_c0_offset_div2");
    reader.se(-6, 6, "slice_beta_offset_div2");
  }
}

}  // namespace

bool SliceHeader::resets() const {
  return std::any_of(marking.begin(), marking.end(), [](const MarkingCommand& c) { return c.operation == 5; });
}

SliceHeader parse_slice_header(const Payload& payload, unsigned nal_ref_idc, const ParameterSets& sets) {
  BitReader reader(payload.bytes.data(), payload.size);
  SliceHeader header;
  header.nal_type = payload.nal_type;
  header.reference = nal_ref_idc != 0;
  header.first_mb = reader.ue(kMaxLumaSamples / 256, "first_mb_in_slice");
  const unsigned type = reader.ue(9, "slice_type");
  choose_parameter_sets(reader, sets, header);
  set_type(type, header);
  parse_identity(reader, header);
  const uint32_t mbs = static_cast<uint32_t>(header.sps->width_in_mbs * header.sps->height_in_mbs);
  if (header.first_mb * (header.mbaff ? 2 : 1) >= (header.field() ? mbs / 2 : mbs))
    throw SyntaxError("first_mb_in_slice is out of range");
  parse_references(reader, header);
  if ((header.pps->weighted_pred && header.type == kSliceP) ||
      (header.pps->weighted_bipred == 1 && header.type == kSliceB))
    skip_weights(reader, header);
  if (header.reference) parse_marking(reader, header);
  parse_quantisation_and_filters(reader, header);
  header.data_bit = reader.position();
  if (reader.left() == 0) throw SyntaxError("the slice has no data");
  return header;
}

bool same_picture(const SliceHeader& a, const SliceHeader& b) {
  return a.frame_num == b.frame_num && a.pps->id == b.pps->id && a.sps == b.sps && a.structure == b.structure &&
         a.reference == b.reference && a.idr() == b.idr() && a.idr_pic_id == b.idr_pic_id && a.poc_lsb == b.poc_lsb &&
         a.delta_poc_bottom == b.delta_poc_bottom && a.delta_poc[0] == b.delta_poc[0] &&
         a.delta_poc[1] == b.delta_poc[1];
}

}  // namespace vssbench::h264
