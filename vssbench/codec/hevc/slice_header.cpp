#include "slice_header.hpp"

#include <algorithm>
#include <string>

namespace vssbench::hevc {
namespace {

void choose_parameter_sets(BitReader& reader, const ParameterSets& sets, const SliceHeader* previous,
                           SliceHeader& header) {
  const unsigned id = reader.ue(63, "slice_pic_parameter_set_id");
  if (!header.first_in_picture && previous != nullptr) {
    // the sets of a picture cannot change inside it, even if a unit with the same id has arrived since
    if (previous->pps->id != id) throw SyntaxError("the slices of one picture refer to different parameter sets");
    header.pps = previous->pps;
    header.sps = previous->sps;
    return;
  }
  header.pps = sets.pps[id];
  if (!header.pps)
    throw SyntaxError("a slice refers to picture parameter set " + std::to_string(id) + ", which is missing");
  header.sps = sets.sps[header.pps->sps_id];
  if (!header.sps) {
    throw SyntaxError("a slice refers to sequence parameter set " + std::to_string(header.pps->sps_id) +
                      ", which is missing");
  }
}

void parse_long_term(BitReader& reader, SliceHeader& header) {
  const Sps& sps = *header.sps;
  const unsigned in_sps = static_cast<unsigned>(sps.long_term_poc_lsb.size());
  const unsigned from_sps = in_sps ? reader.ue(in_sps, "num_long_term_sps") : 0;
  const unsigned explicit_count = reader.ue(33, "num_long_term_pics");
  if (from_sps + explicit_count + header.short_term.count > kMaxReferences) {
    throw SyntaxError("a picture has more than 16 references");
  }
  uint64_t cycle = 0;
  for (unsigned i = 0; i < from_sps + explicit_count; ++i) {
    LongTermEntry entry;
    if (i < from_sps) {
      const unsigned index = in_sps > 1 ? reader.u(ceil_log2(in_sps)) : 0;
      if (index >= in_sps) throw SyntaxError("lt_idx_sps is out of range");
      entry.poc = static_cast<int32_t>(sps.long_term_poc_lsb[index]);
      entry.used = sps.long_term_used[index];
    } else {
      entry.poc = static_cast<int32_t>(reader.u(sps.log2_max_poc_lsb));
      entry.used = reader.flag();
    }
    entry.has_msb = reader.flag();
    // (7-52): accumulates through entries without the flag; restarts where the explicit entries begin
    if (i == 0 || i == from_sps) cycle = 0;
    if (entry.has_msb) cycle += reader.ue(0x7FFFFFFF, "delta_poc_msb_cycle_lt");
    if (cycle > 0x7FFFFFFF) throw SyntaxError("delta_poc_msb_cycle_lt is out of range");
    entry.msb_cycle = static_cast<uint32_t>(cycle);
    header.long_term.push_back(entry);
  }
}

void parse_reference_pictures(BitReader& reader, SliceHeader& header) {
  const Sps& sps = *header.sps;
  header.poc_lsb = reader.u(sps.log2_max_poc_lsb);
  const unsigned sets = static_cast<unsigned>(sps.short_term_sets.size());
  if (!reader.flag()) {
    header.short_term = parse_short_term_set(reader, sps.short_term_sets, true);
  } else {
    if (sets == 0) throw SyntaxError("a slice refers to a reference set of the sequence, which has none");
    const unsigned index = reader.u(ceil_log2(sets));
    if (index >= sets) throw SyntaxError("short_term_ref_pic_set_idx is out of range");
    header.short_term = sps.short_term_sets[index];
  }
  if (sps.long_term_refs) parse_long_term(reader, header);
  if (sps.temporal_mvp) header.temporal_mvp = reader.flag();
}

// 7.3.6.3; weights do not influence motion
void skip_weights(BitReader& reader, const SliceHeader& header) {
  const bool chroma = header.sps->chroma_array_type != 0;
  const bool high = header.sps->high_precision_offsets;
  const int luma_half = high ? 1 << (header.sps->bit_depth_luma - 1) : 128;
  const int chroma_half = high ? 1 << (header.sps->bit_depth_chroma - 1) : 128;
  const unsigned denominator = reader.ue(7, "luma_log2_weight_denom");
  if (chroma)
    reader.se(-static_cast<int>(denominator), 7 - static_cast<int>(denominator), "delta_chroma_log2_weight_denom");
  for (unsigned list = 0; list < (header.type == kSliceB ? 2u : 1u); ++list) {
    bool luma_flag[kMaxReferences] = {}, chroma_flag[kMaxReferences] = {};
    for (unsigned i = 0; i < header.refs[list]; ++i) luma_flag[i] = reader.flag();
    for (unsigned i = 0; chroma && i < header.refs[list]; ++i) chroma_flag[i] = reader.flag();
    for (unsigned i = 0; i < header.refs[list]; ++i) {
      if (luma_flag[i]) {
        reader.se(-128, 127, "delta_luma_weight");
        reader.se(-luma_half, luma_half - 1, "luma_offset");
      }
      for (int component = 0; chroma_flag[i] && component < 2; ++component) {
        reader.se(-128, 127, "delta_chroma_weight");
        reader.se(-4 * chroma_half, 4 * chroma_half - 1, "delta_chroma_offset");
      }
    }
  }
}

void parse_inter(BitReader& reader, SliceHeader& header) {
  const Pps& pps = *header.pps;
  const bool both = header.type == kSliceB;
  header.refs[0] = pps.default_refs[0];
  header.refs[1] = both ? pps.default_refs[1] : 0;
  if (reader.flag()) {
    header.refs[0] = reader.ue(14, "num_ref_idx_l0_active_minus1") + 1;
    if (both) header.refs[1] = reader.ue(14, "num_ref_idx_l1_active_minus1") + 1;
  }
  const unsigned in_use = header.references_in_use();
  if (in_use == 0) throw SyntaxError("an inter slice has no reference picture");
  if (pps.lists_modification && in_use > 1) {
    for (unsigned list = 0; list < (both ? 2u : 1u); ++list) {
      header.list_modified[list] = reader.flag();
      for (unsigned i = 0; header.list_modified[list] && i < header.refs[list]; ++i) {
        const uint32_t entry = reader.u(ceil_log2(in_use));
        if (entry >= in_use) throw SyntaxError("list_entry is out of range");
        header.list_entry[list][i] = static_cast<uint8_t>(entry);
      }
    }
  }
  if (both) header.mvd_l1_zero = reader.flag();
  if (pps.cabac_init_present) header.cabac_init = reader.flag();
  if (header.temporal_mvp) {
    if (both) header.collocated_from_l0 = reader.flag();
    const unsigned count = header.refs[header.collocated_from_l0 ? 0 : 1];
    if (count > 1) header.collocated_ref = reader.ue(count - 1, "collocated_ref_idx");
  }
  if (both ? pps.weighted_bipred : pps.weighted_pred) skip_weights(reader, header);
  header.max_merge = 5 - reader.ue(4, "five_minus_max_num_merge_cand");
}

void parse_quantisation_and_filters(BitReader& reader, SliceHeader& header) {
  const Pps& pps = *header.pps;
  const int lowest = -6 * (static_cast<int>(header.sps->bit_depth_luma) - 8);
  header.qp = pps.init_qp + reader.se(-128, 128, "slice_qp_delta");
  if (header.qp < lowest || header.qp > 51) throw SyntaxError("SliceQpY is " + std::to_string(header.qp));
  if (pps.slice_chroma_qp_offsets) {
    reader.se(-12, 12, "slice_cb_qp_offset");
    reader.se(-12, 12, "slice_cr_qp_offset");
  }
  if (pps.chroma_qp_offset_list) header.chroma_qp_offsets = reader.flag();
  const bool override = pps.deblocking_override && reader.flag();
  header.deblocking_disabled = override ? reader.flag() : pps.deblocking_disabled;
  if (override && !header.deblocking_disabled) {
    reader.se(-6, 6, "slice_beta_offset_div2");
    reader.se(-6, 6, "slice_tc_offset_div2");
  }
  if (pps.loop_filter_across_slices && (header.sao_luma || header.sao_chroma || !header.deblocking_disabled))
    reader.skip(1);
}

void parse_independent(BitReader& reader, SliceHeader& header) {
  const Sps& sps = *header.sps;
  const Pps& pps = *header.pps;
  reader.skip(pps.extra_slice_header_bits);
  header.type = static_cast<SliceType>(reader.ue(2, "slice_type"));
  if (is_irap(header.nal_type) && header.type != kSliceI) throw SyntaxError("an IRAP picture has an inter slice");
  if (pps.output_flag_present) header.output = reader.flag();
  if (sps.separate_colour_plane) {
    header.colour_plane = reader.u(2);
    if (header.colour_plane > 2) throw SyntaxError("colour_plane_id is 3, at most 2 is allowed");
  }
  if (!is_idr(header.nal_type)) parse_reference_pictures(reader, header);
  if (sps.sao) {
    header.sao_luma = reader.flag();
    if (sps.chroma_array_type != 0) header.sao_chroma = reader.flag();
  }
  if (header.type != kSliceI) parse_inter(reader, header);
  parse_quantisation_and_filters(reader, header);
}

void parse_entry_points(BitReader& reader, SliceHeader& header) {
  const unsigned width = static_cast<unsigned>(header.sps->width_in_ctbs());
  const unsigned height = static_cast<unsigned>(header.sps->height_in_ctbs());
  const Pps& pps = *header.pps;
  // 7.4.7.1: range of num_entry_point_offsets
  const unsigned most = (pps.tiles ? pps.tile_columns : 1) * (pps.wavefront ? height : pps.tile_rows) - 1;
  const unsigned count = reader.ue(std::min(most, width * height), "num_entry_point_offsets");
  if (count == 0) return;
  const unsigned bits = reader.ue(31, "offset_len_minus1") + 1;
  if (static_cast<uint64_t>(count) * bits > reader.left())
    throw SyntaxError("the entry points exceed the slice header");
  header.entry_points.reserve(count);
  for (unsigned i = 0; i < count; ++i) {
    const uint32_t size = reader.u(bits);
    if (size == 0xFFFFFFFF) throw SyntaxError("entry_point_offset_minus1 is out of range");
    header.entry_points.push_back(size + 1);
  }
}

}  // namespace

unsigned SliceHeader::references_in_use() const {
  unsigned count = 0;
  for (unsigned i = 0; i < short_term.count; ++i) count += short_term.used[i];
  for (const LongTermEntry& entry : long_term) count += entry.used;
  return count;
}

SliceHeader parse_slice_header(const Payload& payload, unsigned temporal_id, const ParameterSets& sets,
                               const SliceHeader* previous) {
  BitReader reader(payload.bytes.data(), payload.size);
  SliceHeader header;
  header.nal_type = payload.nal_type;
  header.temporal_id = static_cast<uint8_t>(temporal_id);
  header.first_in_picture = reader.flag();
  if (is_irap(header.nal_type)) reader.skip(1);  // no_output_of_prior_pics_flag: every picture is output
  choose_parameter_sets(reader, sets, previous, header);
  const uint32_t ctbs = static_cast<uint32_t>(header.sps->width_in_ctbs() * header.sps->height_in_ctbs());
  if (!header.first_in_picture) {
    const bool dependent = header.pps->dependent_slices && reader.flag();
    const uint32_t address = reader.u(ceil_log2(ctbs));
    if (address >= ctbs || address == 0) throw SyntaxError("slice_segment_address is out of range");
    if (previous == nullptr) throw SyntaxError("a slice segment arrives without the first one of its picture");
    if (dependent) {
      header = *previous;
      header.first_in_picture = false;
      header.entry_points.clear();
    }
    header.dependent = dependent;
    header.address = static_cast<int>(address);
  }
  if (!header.dependent) {
    header.slice_address = header.address;
    parse_independent(reader, header);
  }
  if (header.pps->tiles || header.pps->wavefront) parse_entry_points(reader, header);
  if (header.pps->slice_header_extension) reader.skip(8ull * reader.ue(256, "slice_segment_header_extension_length"));
  if (!reader.flag()) throw SyntaxError("the slice header is not followed by its alignment bit");
  header.data_begin = (reader.position() + 7) / 8;
  if (header.data_begin >= payload.size) throw SyntaxError("the slice has no data");
  return header;
}

}  // namespace vssbench::hevc
