// Slice segment data (7.3.8): coding tree units, coding units, transform trees.
#pragma once
#include <cstdint>
#include <vector>

#include "cabac.hpp"
#include "motion.hpp"
#include "picture_buffer.hpp"

namespace vssbench::hevc {

enum PredictionMode : uint8_t { kIntra = 0, kInter = 1, kSkip = 2 };

/// Decodes the slice segments of one picture after another. One object per thread.
class PictureDecoder {
 public:
  /// Reads all segments of the picture, marks what is missing, and wakes those who wait for it.
  void decode(Picture& picture);

 private:
  struct CodingUnit {
    int x, y;
    unsigned log2_size;
    PredictionMode mode;
    uint8_t part_mode;
    bool bypass;  ///< cu_transquant_bypass_flag
    bool intra_nxn;
    bool inter_split;          ///< interSplitFlag (7.4.9.8)
    unsigned max_depth;        ///< MaxTrafoDepth
    uint8_t luma_mode[4];      ///< IntraPredModeY
    uint8_t chroma_mode[4];    ///< IntraPredModeC after the 4:2:2 mapping
    bool chroma_from_luma[4];  ///< intra_chroma_pred_mode is 4
  };
  struct TransformNode {
    int x, y, base_x, base_y;
    unsigned log2_size, depth, block;
    uint8_t cbf_cb, cbf_cr;  ///< bit 0: first block, bit 1: second one of 4:2:2
  };

  // coding_tree.cpp
  void decode_segments();
  void begin_slice(const SliceSegment& segment);
  void decode_segment(const SliceSegment& segment);
  void begin_ctb(int rs, bool first_in_segment);
  void synchronise(int rs, bool first_in_segment);
  void next_substream(const SliceSegment& segment, size_t index, uint64_t& escaped);
  bool same_slice_and_tile(int rs) const;
  void conceal_missing();
  void sao(int rs);
  void sao_component(unsigned component);
  void quadtree(int x, int y, unsigned log2_size, unsigned depth);

  // coding_unit.cpp
  void coding_unit(int x, int y, unsigned log2_size, unsigned depth);
  void prediction_units(const CodingUnit& cu, unsigned depth, bool& merged);
  bool prediction_unit(const CodingUnit& cu, const PredictionBlock& block, unsigned depth);
  BlockMotion explicit_motion(const PredictionBlock& block, unsigned depth);
  Vector mvd();
  unsigned reference_index(unsigned count);
  unsigned merge_index();
  uint8_t part_mode(const CodingUnit& cu);
  void intra_modes(CodingUnit& cu);
  uint8_t luma_mode(int x, int y, bool from_candidates, unsigned code) const;
  void pcm_samples(const CodingUnit& cu);
  void finish_coding_unit(const CodingUnit& cu, unsigned depth, size_t first_bit);

  // transform_tree.cpp
  void transform_tree(const CodingUnit& cu, TransformNode node);
  void transform_unit(const CodingUnit& cu, const TransformNode& node, bool cbf_luma);
  void chroma_blocks(const CodingUnit& cu, const TransformNode& node, unsigned log2_size, unsigned part,
                     bool cross_component);
  void cu_qp_delta();
  void cu_chroma_qp_offset();
  void luma_block(const CodingUnit& cu, const TransformNode& node, unsigned part);
  void count_nonzero(int x, int y, unsigned count);
  int predicted_qp() const;
  unsigned residual(const CodingUnit& cu, unsigned log2_size, unsigned component, unsigned intra_mode) {
    return range_extension_ ? residual_coding<true>(cu, log2_size, component, intra_mode)
                            : residual_coding<false>(cu, log2_size, component, intra_mode);
  }

  // residual.cpp
  template <bool kRangeExtension>
  unsigned residual_coding(const CodingUnit& cu, unsigned log2_size, unsigned component, unsigned intra_mode);

  unsigned bin(unsigned context) { return cabac_.bin(state_.model[context]); }

  // hot state first
  Cabac cabac_;
  ContextState state_;
  const Sps* sps_ = nullptr;
  const Pps* pps_ = nullptr;
  const SliceHeader* header_ = nullptr;
  MotionStore* store_ = nullptr;
  MotionStorePool stores_;
  bool range_extension_ = false;  ///< residual syntax beyond version 1
  bool details_ = false;
  int ctb_mask_ = 63;
  MotionPredictor predictor_;

  // neighbours: above in units of 8 luma samples over the picture, left inside the coding tree block
  std::vector<uint8_t> above_depth_, above_skip_;
  uint8_t left_depth_[8] = {}, left_skip_[8] = {};
  uint8_t above_mode_[16] = {}, left_mode_[16] = {};  ///< IntraPredModeY inside the coding tree block, 4 samples

  bool qp_delta_coded_ = false, chroma_offset_coded_ = false;
  int qp_delta_ = 0, last_qp_ = 0, group_previous_qp_ = 0;
  int group_x_ = 0, group_y_ = 0;

  Picture* picture_ = nullptr;
  const Layout* layout_ = nullptr;
  std::shared_ptr<Picture> collocated_;
  std::vector<int32_t> slice_address_;  ///< SliceAddrRs per coding tree block, -1: not decoded
  ContextState wavefront_state_, segment_end_state_;
  int32_t next_ts_ = 0;  ///< where the segment read last ended, tile scan
  int contiguous_ = 0;   ///< coding tree blocks decoded from the top without a gap
};

}  // namespace vssbench::hevc
