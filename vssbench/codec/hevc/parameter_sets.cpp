#include "parameter_sets.hpp"

#include <algorithm>

namespace vssbench::hevc {
namespace {

constexpr uint32_t kAny = 0xFFFFFFFE;

// 7.3.3
void skip_profile_tier_level(BitReader& reader, unsigned max_sub_layers_minus1) {
  reader.skip(88 + 8);
  if (max_sub_layers_minus1 == 0) return;
  bool profile[8] = {}, level[8] = {};
  for (unsigned i = 0; i < max_sub_layers_minus1; ++i) {
    profile[i] = reader.flag();
    level[i] = reader.flag();
  }
  reader.skip(2 * (8 - max_sub_layers_minus1));
  for (unsigned i = 0; i < max_sub_layers_minus1; ++i) reader.skip((profile[i] ? 88 : 0) + (level[i] ? 8 : 0));
}

// 7.3.4; the matrices do not influence parsing
void skip_scaling_lists(BitReader& reader) {
  for (unsigned size = 0; size < 4; ++size) {
    for (unsigned matrix = 0; matrix < 6; matrix += size == 3 ? 3 : 1) {
      if (!reader.flag()) {
        reader.ue(size == 3 ? matrix / 3 : matrix, "scaling_list_pred_matrix_id_delta");
        continue;
      }
      const unsigned count = std::min(64u, 16u << (2 * size));
      if (size > 1) reader.se(-7, 247, "scaling_list_dc_coef_minus8");
      for (unsigned i = 0; i < count; ++i) reader.se(-128, 127, "scaling_list_delta_coef");
    }
  }
}

// E.2.3
void skip_sub_layer_hrd(BitReader& reader, unsigned cpb_count, bool sub_picture) {
  for (unsigned i = 0; i < cpb_count; ++i) {
    reader.ue(kAny, "bit_rate_value_minus1");
    reader.ue(kAny, "cpb_size_value_minus1");
    if (sub_picture) {
      reader.ue(kAny, "cpb_size_du_value_minus1");
      reader.ue(kAny, "bit_rate_du_value_minus1");
    }
    reader.skip(1);
  }
}

// E.2.2 with commonInfPresentFlag = 1
void skip_hrd(BitReader& reader, unsigned max_sub_layers_minus1) {
  const bool nal = reader.flag(), vcl = reader.flag();
  bool sub_picture = false;
  if (nal || vcl) {
    sub_picture = reader.flag();
    if (sub_picture) reader.skip(8 + 5 + 1 + 5);
    reader.skip(4 + 4);
    if (sub_picture) reader.skip(4);
    reader.skip(5 + 5 + 5);
  }
  for (unsigned i = 0; i <= max_sub_layers_minus1; ++i) {
    const bool fixed_general = reader.flag();
    const bool fixed_within_cvs = fixed_general || reader.flag();
    bool low_delay = false;
    if (fixed_within_cvs) {
      reader.ue(kAny, "elemental_duration_in_tc_minus1");
    } else {
      low_delay = reader.flag();
    }
    const unsigned cpb_count = low_delay ? 1 : reader.ue(31, "cpb_cnt_minus1") + 1;
    if (nal) skip_sub_layer_hrd(reader, cpb_count, sub_picture);
    if (vcl) skip_sub_layer_hrd(reader, cpb_count, sub_picture);
  }
}

// E.2.1
void skip_vui(BitReader& reader, unsigned max_sub_layers_minus1) {
  if (reader.flag() && reader.u(8) == 255) reader.skip(32);  // aspect_ratio
  if (reader.flag()) reader.skip(1);                         // overscan
  if (reader.flag()) {                                       // video_signal_type
    reader.skip(4);
    if (reader.flag()) reader.skip(24);
  }
  if (reader.flag()) {
    reader.ue(5, "chroma_sample_loc_type_top_field");
    reader.ue(5, "chroma_sample_loc_type_bottom_field");
  }
  reader.skip(3);
  if (reader.flag()) {
    for (int i = 0; i < 4; ++i) reader.ue(kAny, "def_disp_win_offset");
  }
  if (reader.flag()) {  // timing
    reader.skip(64);
    if (reader.flag()) reader.ue(kAny, "vui_num_ticks_poc_diff_one_minus1");
    if (reader.flag()) skip_hrd(reader, max_sub_layers_minus1);
  }
  if (reader.flag()) {  // bitstream_restriction
    reader.skip(3);
    for (int i = 0; i < 5; ++i) reader.ue(kAny, "bitstream_restriction");
  }
}

void parse_picture_format(BitReader& reader, Sps& sps) {
  const unsigned chroma_format = reader.ue(3, "chroma_format_idc");
  sps.separate_colour_plane = chroma_format == 3 && reader.flag();
  sps.chroma_array_type = sps.separate_colour_plane ? 0 : chroma_format;
  sps.width = static_cast<int>(reader.ue(kMaxSide, "pic_width_in_luma_samples"));
  sps.height = static_cast<int>(reader.ue(kMaxSide, "pic_height_in_luma_samples"));
  if (sps.width == 0 || sps.height == 0) throw SyntaxError("the picture size is zero");
  if (static_cast<uint64_t>(sps.width) * static_cast<uint64_t>(sps.height) > kMaxLumaSamples) {
    throw SyntaxError("the picture is " + std::to_string(sps.width) + "x" + std::to_string(sps.height) +
                      ", more than the limit of " + std::to_string(kMaxLumaSamples) + " luma samples (level 6.2)");
  }
  uint64_t window[4] = {};  // left, right, top, bottom
  if (reader.flag()) {
    for (uint64_t& offset : window) offset = reader.ue(kMaxSide, "conf_win_offset");
  }
  const unsigned unit_x = chroma_format == 1 || chroma_format == 2 ? 2 : 1, unit_y = chroma_format == 1 ? 2 : 1;
  if (unit_x * (window[0] + window[1]) >= static_cast<uint64_t>(sps.width) ||
      unit_y * (window[2] + window[3]) >= static_cast<uint64_t>(sps.height)) {
    throw SyntaxError("the conformance window leaves nothing of the picture");
  }
  sps.crop_left = static_cast<int>(unit_x * window[0]);
  sps.crop_top = static_cast<int>(unit_y * window[2]);
  sps.crop_width = sps.width - static_cast<int>(unit_x * (window[0] + window[1]));
  sps.crop_height = sps.height - static_cast<int>(unit_y * (window[2] + window[3]));
  sps.bit_depth_luma = 8 + reader.ue(8, "bit_depth_luma_minus8");
  sps.bit_depth_chroma = 8 + reader.ue(8, "bit_depth_chroma_minus8");
}

void parse_block_sizes(BitReader& reader, Sps& sps) {
  sps.log2_min_cb = 3 + reader.ue(3, "log2_min_luma_coding_block_size_minus3");
  sps.log2_ctb = sps.log2_min_cb + reader.ue(3, "log2_diff_max_min_luma_coding_block_size");
  sps.log2_min_tb = 2 + reader.ue(3, "log2_min_luma_transform_block_size_minus2");
  sps.log2_max_tb = sps.log2_min_tb + reader.ue(3, "log2_diff_max_min_luma_transform_block_size");
  if (sps.log2_ctb < 4 || sps.log2_ctb > 6) {
    throw SyntaxError("coding tree blocks of 2^" + std::to_string(sps.log2_ctb) + " samples, allowed are 16, 32, 64");
  }
  if (sps.log2_min_tb >= sps.log2_min_cb || sps.log2_max_tb > std::min(sps.log2_ctb, 5u)) {
    throw SyntaxError("the transform block sizes do not fit the coding block sizes");
  }
  const int mask = (1 << sps.log2_min_cb) - 1;
  if ((sps.width & mask) || (sps.height & mask)) {
    throw SyntaxError("the picture size " + std::to_string(sps.width) + "x" + std::to_string(sps.height) +
                      " is no multiple of the minimum coding block size");
  }
  sps.max_transform_depth_inter = reader.ue(sps.log2_ctb - sps.log2_min_tb, "max_transform_hierarchy_depth_inter");
  sps.max_transform_depth_intra = reader.ue(sps.log2_ctb - sps.log2_min_tb, "max_transform_hierarchy_depth_intra");
}

void parse_pcm(BitReader& reader, Sps& sps) {
  sps.pcm_depth_luma = reader.u(4) + 1;
  sps.pcm_depth_chroma = reader.u(4) + 1;
  sps.log2_min_pcm = 3 + reader.ue(2, "log2_min_pcm_luma_coding_block_size_minus3");
  sps.log2_max_pcm = sps.log2_min_pcm + reader.ue(2, "log2_diff_max_min_pcm_luma_coding_block_size");
  if (sps.log2_max_pcm > std::min(sps.log2_ctb, 5u) || sps.pcm_depth_luma > sps.bit_depth_luma ||
      sps.pcm_depth_chroma > sps.bit_depth_chroma) {
    throw SyntaxError("the PCM block sizes or bit depths exceed those of the sequence");
  }
  reader.skip(1);
}

void parse_reference_sets(BitReader& reader, Sps& sps) {
  const unsigned sets = reader.ue(64, "num_short_term_ref_pic_sets");
  for (unsigned i = 0; i < sets; ++i) {
    sps.short_term_sets.push_back(parse_short_term_set(reader, sps.short_term_sets, false));
  }
  sps.long_term_refs = reader.flag();
  if (!sps.long_term_refs) return;
  const unsigned count = reader.ue(32, "num_long_term_ref_pics_sps");
  for (unsigned i = 0; i < count; ++i) {
    sps.long_term_poc_lsb.push_back(reader.u(sps.log2_max_poc_lsb));
    sps.long_term_used.push_back(reader.flag());
  }
}

void parse_sps_extensions(BitReader& reader, Sps& sps) {
  const bool range = reader.flag(), multilayer = reader.flag(), three_d = reader.flag(), scc = reader.flag();
  reader.skip(4);
  if (scc)
    throw UnsupportedError("the sequence uses screen content coding tools, which the motion parser does not read");
  if (range) {
    reader.skip(1);  // transform_skip_rotation_enabled_flag
    sps.transform_skip_context = reader.flag();
    sps.implicit_rdpcm = reader.flag();
    sps.explicit_rdpcm = reader.flag();
    sps.extended_precision = reader.flag();
    reader.skip(1);  // intra_smoothing_disabled_flag
    sps.high_precision_offsets = reader.flag();
    sps.persistent_rice = reader.flag();
    sps.bypass_alignment = reader.flag();
  }
  if (multilayer) reader.skip(1);
  (void)three_d;  // concerns layers above 0 only
}

}  // namespace

ShortTermSet parse_short_term_set(BitReader& reader, const std::vector<ShortTermSet>& sets, bool in_slice_header) {
  const unsigned index = static_cast<unsigned>(sets.size());
  ShortTermSet set;
  const auto add = [&set](int64_t delta, bool used) {
    if (set.count == kMaxReferences) throw SyntaxError("a short-term reference set has more than 16 pictures");
    if (delta < -32768 || delta > 32767) throw SyntaxError("a short-term reference is more than 2^15 pictures away");
    set.delta[set.count] = static_cast<int32_t>(delta);
    set.used[set.count++] = used;
  };
  if (index == 0 || !reader.flag()) {
    const unsigned negatives = reader.ue(kMaxReferences, "num_negative_pics");
    const unsigned positives = reader.ue(kMaxReferences - negatives, "num_positive_pics");
    for (int sign : {-1, 1}) {
      int64_t delta = 0;
      for (unsigned i = 0; i < (sign < 0 ? negatives : positives); ++i) {
        delta += sign * static_cast<int64_t>(reader.ue(32767, "delta_poc_minus1") + 1);
        add(delta, reader.flag());
      }
      if (sign < 0) set.negatives = set.count;
    }
    return set;
  }
  // (7-61), (7-62): predicted from another set
  const unsigned back = in_slice_header ? reader.ue(index - 1, "delta_idx_minus1") + 1 : 1;
  const ShortTermSet& base = sets[index - back];
  const bool negative = reader.flag();
  const int64_t magnitude = reader.ue(32767, "abs_delta_rps_minus1") + 1;
  const int64_t shift = negative ? -magnitude : magnitude;
  bool used[kMaxReferences + 1], keep[kMaxReferences + 1];
  for (unsigned j = 0; j <= base.count; ++j) {
    used[j] = reader.flag();
    keep[j] = used[j] || reader.flag();
  }
  const auto try_add = [&](unsigned j, int sign) {
    const int64_t delta = (j == base.count ? 0 : base.delta[j]) + shift;
    if (keep[j] && delta * sign > 0) add(delta, used[j]);
  };
  for (unsigned j = base.count; j-- > base.negatives;) try_add(j, -1);
  try_add(base.count, -1);
  for (unsigned j = 0; j < base.negatives; ++j) try_add(j, -1);
  set.negatives = set.count;
  for (unsigned j = base.negatives; j-- > 0;) try_add(j, 1);
  try_add(base.count, 1);
  for (unsigned j = base.negatives; j < base.count; ++j) try_add(j, 1);
  return set;
}

Sps parse_sps(const Payload& payload) {
  Sps sps;
  sps.source.assign(payload.bytes.data(), payload.bytes.data() + payload.size);
  BitReader reader(payload.bytes.data(), payload.size);
  reader.skip(4);
  const unsigned max_sub_layers_minus1 = reader.u(3);
  if (max_sub_layers_minus1 > 6) throw SyntaxError("sps_max_sub_layers_minus1 is 7, at most 6 is allowed");
  reader.skip(1);
  skip_profile_tier_level(reader, max_sub_layers_minus1);
  sps.id = reader.ue(15, "sps_seq_parameter_set_id");
  parse_picture_format(reader, sps);
  sps.log2_max_poc_lsb = 4 + reader.ue(12, "log2_max_pic_order_cnt_lsb_minus4");
  const bool per_sub_layer = reader.flag();
  for (unsigned i = per_sub_layer ? 0 : max_sub_layers_minus1; i <= max_sub_layers_minus1; ++i) {
    reader.ue(15, "sps_max_dec_pic_buffering_minus1");
    sps.max_reorder = reader.ue(15, "sps_max_num_reorder_pics");
    reader.ue(kAny, "sps_max_latency_increase_plus1");
  }
  parse_block_sizes(reader, sps);
  if (reader.flag() && reader.flag()) skip_scaling_lists(reader);
  sps.amp = reader.flag();
  sps.sao = reader.flag();
  sps.pcm = reader.flag();
  if (sps.pcm) parse_pcm(reader, sps);
  parse_reference_sets(reader, sps);
  sps.temporal_mvp = reader.flag();
  reader.skip(1);  // strong_intra_smoothing_enabled_flag
  if (reader.flag()) skip_vui(reader, max_sub_layers_minus1);
  if (reader.flag()) parse_sps_extensions(reader, sps);
  return sps;
}

namespace {

void parse_tiles(BitReader& reader, Pps& pps) {
  pps.tile_columns = reader.ue(254, "num_tile_columns_minus1") + 1;
  pps.tile_rows = reader.ue(254, "num_tile_rows_minus1") + 1;
  pps.uniform_tiles = reader.flag();
  if (!pps.uniform_tiles) {
    for (unsigned i = 0; i + 1 < pps.tile_columns; ++i) {
      pps.tile_column_widths.push_back(reader.ue(kMaxSide, "column_width_minus1") + 1);
    }
    for (unsigned i = 0; i + 1 < pps.tile_rows; ++i) {
      pps.tile_row_heights.push_back(reader.ue(kMaxSide, "row_height_minus1") + 1);
    }
  }
  reader.skip(1);
}

void parse_pps_extensions(BitReader& reader, Pps& pps) {
  const bool range = reader.flag();
  reader.skip(2);  // multilayer and 3D extensions concern layers above 0 only
  const bool scc = reader.flag();
  reader.skip(4);
  if (scc)
    throw UnsupportedError("the pictures use screen content coding tools, which the motion parser does not read");
  if (!range) return;
  if (pps.transform_skip) pps.log2_max_transform_skip = 2 + reader.ue(3, "log2_max_transform_skip_block_size_minus2");
  pps.cross_component_prediction = reader.flag();
  pps.chroma_qp_offset_list = reader.flag();
  if (pps.chroma_qp_offset_list) {
    pps.chroma_qp_offset_depth = reader.ue(3, "diff_cu_chroma_qp_offset_depth");
    pps.chroma_qp_offset_count = reader.ue(5, "chroma_qp_offset_list_len_minus1") + 1;
    for (unsigned i = 0; i < 2 * pps.chroma_qp_offset_count; ++i) reader.se(-12, 12, "cb_cr_qp_offset_list");
  }
  reader.ue(8, "log2_sao_offset_scale_luma");
  reader.ue(8, "log2_sao_offset_scale_chroma");
}

}  // namespace

Pps parse_pps(const Payload& payload) {
  Pps pps;
  pps.source.assign(payload.bytes.data(), payload.bytes.data() + payload.size);
  BitReader reader(payload.bytes.data(), payload.size);
  pps.id = reader.ue(63, "pps_pic_parameter_set_id");
  pps.sps_id = reader.ue(15, "pps_seq_parameter_set_id");
  pps.dependent_slices = reader.flag();
  pps.output_flag_present = reader.flag();
  pps.extra_slice_header_bits = reader.u(3);
  pps.sign_hiding = reader.flag();
  pps.cabac_init_present = reader.flag();
  for (unsigned& count : pps.default_refs) count = reader.ue(14, "num_ref_idx_default_active_minus1") + 1;
  pps.init_qp = 26 + reader.se(-(26 + 48), 25, "init_qp_minus26");
  reader.skip(1);  // constrained_intra_pred_flag
  pps.transform_skip = reader.flag();
  pps.cu_qp_delta = reader.flag();
  if (pps.cu_qp_delta) pps.cu_qp_delta_depth = reader.ue(3, "diff_cu_qp_delta_depth");
  reader.se(-12, 12, "pps_cb_qp_offset");
  reader.se(-12, 12, "pps_cr_qp_offset");
  pps.slice_chroma_qp_offsets = reader.flag();
  pps.weighted_pred = reader.flag();
  pps.weighted_bipred = reader.flag();
  pps.transquant_bypass = reader.flag();
  pps.tiles = reader.flag();
  pps.wavefront = reader.flag();
  if (pps.tiles) parse_tiles(reader, pps);
  pps.loop_filter_across_slices = reader.flag();
  if (reader.flag()) {
    pps.deblocking_override = reader.flag();
    pps.deblocking_disabled = reader.flag();
    if (!pps.deblocking_disabled) {
      reader.se(-6, 6, "pps_beta_offset_div2");
      reader.se(-6, 6, "pps_tc_offset_div2");
    }
  }
  if (reader.flag()) skip_scaling_lists(reader);
  pps.lists_modification = reader.flag();
  pps.log2_parallel_merge = 2 + reader.ue(4, "log2_parallel_merge_level_minus2");
  pps.slice_header_extension = reader.flag();
  if (reader.flag()) parse_pps_extensions(reader, pps);
  return pps;
}

namespace {

std::vector<int> tile_boundaries(int length, unsigned tiles, bool uniform, const std::vector<unsigned>& sizes) {
  std::vector<int> bounds{0};
  if (static_cast<int>(tiles) > length) throw SyntaxError("more tiles than coding tree blocks in a row or column");
  for (unsigned i = 0; i + 1 < tiles; ++i) {
    const int64_t next = uniform ? static_cast<int64_t>(i + 1) * length / tiles : bounds.back() + int64_t{sizes[i]};
    if (next >= length) throw SyntaxError("the tile sizes exceed the picture");
    bounds.push_back(static_cast<int>(next));
  }
  bounds.push_back(length);
  return bounds;
}

}  // namespace

Layout make_layout(const Sps& sps, const Pps& pps) {
  if (pps.cu_qp_delta_depth > sps.log2_ctb - sps.log2_min_cb ||
      pps.chroma_qp_offset_depth > sps.log2_ctb - sps.log2_min_cb) {
    throw SyntaxError("a quantisation group is smaller than the smallest coding block");
  }
  if (pps.log2_parallel_merge > sps.log2_ctb)
    throw SyntaxError("the parallel merge level exceeds the coding tree block");
  Layout layout;
  const int width = layout.width_in_ctbs = sps.width_in_ctbs();
  const int height = layout.height_in_ctbs = sps.height_in_ctbs();
  const auto columns = tile_boundaries(width, pps.tile_columns, pps.uniform_tiles, pps.tile_column_widths);
  const auto rows = tile_boundaries(height, pps.tile_rows, pps.uniform_tiles, pps.tile_row_heights);
  const size_t count = static_cast<size_t>(width) * static_cast<size_t>(height);
  layout.rs_to_ts.resize(count);
  layout.ts_to_rs.resize(count);
  layout.tile_id.resize(count);
  layout.first_in_tile_row.assign(static_cast<size_t>(width), 0);
  int32_t ts = 0;
  uint16_t tile = 0;
  for (size_t r = 0; r + 1 < rows.size(); ++r) {
    for (size_t c = 0; c + 1 < columns.size(); ++c, ++tile) {
      layout.first_in_tile_row[static_cast<size_t>(columns[c])] = 1;
      for (int y = rows[r]; y < rows[r + 1]; ++y) {
        for (int x = columns[c]; x < columns[c + 1]; ++x, ++ts) {
          const size_t rs = static_cast<size_t>(y * width + x);
          layout.rs_to_ts[rs] = ts;
          layout.ts_to_rs[static_cast<size_t>(ts)] = static_cast<int32_t>(rs);
          layout.tile_id[rs] = tile;
        }
      }
    }
  }
  return layout;
}

}  // namespace vssbench::hevc
