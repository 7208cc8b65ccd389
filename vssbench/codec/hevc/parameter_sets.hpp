// Sequence and picture parameter sets (7.3.2.2, 7.3.2.3) and what is derived from the pair.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "bits/driver.hpp"
#include "nal.hpp"

namespace vssbench::hevc {

constexpr unsigned kMaxReferences = 16;

/// 7.3.7. Entries 0..negatives-1 lie before the picture (closest first), the rest after it.
struct ShortTermSet {
  uint8_t negatives = 0;
  uint8_t count = 0;
  std::array<int32_t, kMaxReferences> delta{};
  std::array<bool, kMaxReferences> used{};
};

/// The set that follows `sets`: the next one of the sequence, or that of a slice header.
ShortTermSet parse_short_term_set(BitReader& reader, const std::vector<ShortTermSet>& sets, bool in_slice_header);

struct Sps {
  std::vector<uint8_t> source;  ///< the payload, to recognise a repeated set
  unsigned id = 0;
  unsigned chroma_array_type = 1;  ///< 0 also for separate colour planes
  bool separate_colour_plane = false;
  int width = 0, height = 0;
  int crop_left = 0, crop_top = 0, crop_width = 0, crop_height = 0;
  unsigned bit_depth_luma = 8, bit_depth_chroma = 8;
  unsigned log2_max_poc_lsb = 4;
  unsigned max_reorder = 0;  ///< sps_max_num_reorder_pics of the highest sub-layer
  unsigned log2_min_cb = 3, log2_ctb = 4, log2_min_tb = 2, log2_max_tb = 5;
  unsigned max_transform_depth_inter = 0, max_transform_depth_intra = 0;
  bool amp = false, sao = false, pcm = false;
  unsigned pcm_depth_luma = 8, pcm_depth_chroma = 8, log2_min_pcm = 3, log2_max_pcm = 3;
  std::vector<ShortTermSet> short_term_sets;
  bool long_term_refs = false;
  std::vector<uint32_t> long_term_poc_lsb;
  std::vector<bool> long_term_used;
  bool temporal_mvp = false;
  // range extension
  bool transform_skip_context = false, implicit_rdpcm = false, explicit_rdpcm = false;
  bool extended_precision = false, persistent_rice = false, bypass_alignment = false;
  bool high_precision_offsets = false;

  int width_in_ctbs() const { return (width + (1 << log2_ctb) - 1) >> log2_ctb; }
  int height_in_ctbs() const { return (height + (1 << log2_ctb) - 1) >> log2_ctb; }
};

struct Pps {
  std::vector<uint8_t> source;
  unsigned id = 0, sps_id = 0;
  bool dependent_slices = false, output_flag_present = false;
  unsigned extra_slice_header_bits = 0;
  bool sign_hiding = false, cabac_init_present = false;
  unsigned default_refs[2] = {1, 1};
  int init_qp = 26;
  bool transform_skip = false, cu_qp_delta = false;
  unsigned cu_qp_delta_depth = 0;
  bool slice_chroma_qp_offsets = false, weighted_pred = false, weighted_bipred = false;
  bool transquant_bypass = false, tiles = false, wavefront = false;
  unsigned tile_columns = 1, tile_rows = 1;
  bool uniform_tiles = true;
  std::vector<unsigned> tile_column_widths, tile_row_heights;  ///< explicit ones, without the last
  bool loop_filter_across_slices = false;
  bool deblocking_override = false, deblocking_disabled = false;
  bool lists_modification = false;
  unsigned log2_parallel_merge = 2;
  bool slice_header_extension = false;
  // range extension
  unsigned log2_max_transform_skip = 2;
  bool cross_component_prediction = false, chroma_qp_offset_list = false;
  unsigned chroma_qp_offset_depth = 0, chroma_qp_offset_count = 1;
};

/// CTB scans and tile membership (6.5.1), valid for one pair of parameter sets.
struct Layout {
  int width_in_ctbs = 0, height_in_ctbs = 0;
  std::vector<int32_t> rs_to_ts, ts_to_rs;
  std::vector<uint16_t> tile_id;           ///< by raster address
  std::vector<uint8_t> first_in_tile_row;  ///< by raster column: 1 where a tile column begins
  int count() const { return width_in_ctbs * height_in_ctbs; }
};

Sps parse_sps(const Payload& payload);
Pps parse_pps(const Payload& payload);
/// Checks the PPS against the SPS it is used with and derives the scans. Throws SyntaxError.
Layout make_layout(const Sps& sps, const Pps& pps);

}  // namespace vssbench::hevc
