// Slice data (7.3.4, 7.3.5): macroblocks, their syntax in both entropy codings, and their motion.
#pragma once
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "bits/arithmetic.hpp"
#include "picture.hpp"
#include "vlc.hpp"

namespace vssbench::h264 {

constexpr int8_t kUnused = -1, kUnavailable = -2;  ///< of reference indices in caches
constexpr unsigned kContexts = 1024;

constexpr bool is_intra(unsigned type) {
  return type <= kPcm;
}
constexpr bool is_skip(unsigned type) {
  return type == kPSkip || type == kBSkip;
}

struct MvdSize {
  uint8_t x = 0, y = 0;  ///< |mvd|, not exact above 32
};

/// What later macroblocks need to know of one.
struct Macroblock {
  uint32_t slice = 0;  ///< 1 + index of its slice in the picture; 0 where nothing was decoded
  uint8_t type = kI4x4;
  bool field = false;
  bool transform_8x8 = false;
  uint8_t chroma_mode = 0;  ///< intra_chroma_pred_mode
  uint8_t direct = 0;       ///< 8x8 blocks in direct mode or skipped
  /// coded_block_pattern; then coded_block_flag of DC: bits 8 to 10 of Y, Cb, Cr as Intra16x16, 6 and 7 of chroma
  uint16_t cbp = 0;
  /// Coefficients per 4x4 block, raster; 16 each of Y, Cb, Cr. Chroma of 4:2:0 and 4:2:2 is two blocks wide.
  uint8_t coefficients[48] = {};
  MvdSize mvd[2][7] = {};  ///< of both lists: bottom row, then the right column from above
};

/// A grid around a macroblock's 4x4 blocks: one column to the left, one row above with its corners.
constexpr int kGridWidth = 8, kGridSize = 5 * kGridWidth, kGridOrigin = kGridWidth + 4;
constexpr int grid(int x, int y) {
  return kGridOrigin + x + kGridWidth * y;
}

/// A rectangle of a grid; widths are 1, 2 or 4.
template <class Value>
inline void fill_grid(Value* values, int x, int y, int width, int height, Value value) {
  for (Value* row = values + grid(x, y); height > 0; --height, row += kGridWidth) {
    row[0] = value;
    if (width >= 2) row[1] = value;
    if (width == 4) row[2] = row[3] = value;
  }
}

/// Decodes the slices of one picture after another. One object per thread.
class PictureDecoder {
 public:
  /// Reads all slices of the picture, marks what is missing, and wakes those who wait for it.
  void decode(Picture& picture);

 private:
  struct Position {  ///< a 4x4 block of a neighbouring macroblock
    const Macroblock* mb = nullptr;
    int row = 0;      ///< of macroblocks
    int column = 0;   ///< of macroblocks
    int block_y = 0;  ///< 0..3
  };
  struct DirectReference {  ///< where temporal direct prediction finds a reference and how it scales to it
    int scale;              ///< DistScaleFactor
    bool copies;            ///< long-term, or no distance
  };
  struct Neighbour {
    int ref = kUnavailable;
    Vector vector;
  };
  struct Corners {
    Neighbour left, above, diagonal;
  };
  struct SpatialDirect {
    RefPair refs;
    VectorPair vectors;
    bool looks;  ///< whether still co-located blocks make a difference
  };
  enum ColScale : uint8_t { kSame, kFrameToField, kFieldToFrame };
  struct Colocated {
    const Picture* picture;
    int row[2];  ///< of macroblocks, for the upper and the lower half
    ColScale scale;
  };

  // slice_data.cpp
  void prepare(Picture& picture);
  void begin_slice(SliceSegment& segment);
  void begin_references(const SliceSegment& segment);
  void decode_slice(SliceSegment& segment);
  void begin_address();
  bool at_end() const;
  void next_macroblock();
  template <bool kCabac>
  void decode_macroblocks();
  template <bool kCabac>
  void decode_pairs();
  void decode_pair_cabac();
  bool decode_pair_cavlc(int64_t& run);
  void conceal_missing();
  void wait_for_colocated(int row);

  // neighbours.cpp
  void begin_macroblock(int mb_x, int mb_y, bool field);
  void find_neighbours();
  void find_neighbours_mbaff();
  Position locate_left(int y) const;
  Position locate_above(int dx) const;
  const Macroblock* pair(int dx, int dy) const;
  bool inferred_field() const;
  void fill_coefficients();
  void fill_motion(unsigned list);
  void fill_motion_at(unsigned list, int index, const Position& position, int block_x);
  void fill_mvd(unsigned list);
  MvdSize mvd_of(unsigned list, const Macroblock* mb, int entry) const;

  // macroblock.cpp
  template <bool kCabac>
  void macroblock();
  template <bool kCabac>
  void intra_macroblock(unsigned code);
  template <bool kCabac>
  void inter_macroblock(unsigned code);
  template <bool kCabac>
  void whole_macroblock(unsigned uses);
  template <bool kCabac>
  bool partitioned_macroblock(unsigned code);
  template <bool kCabac>
  bool partitions_8x8(bool bidirectional, bool all_zero);
  template <bool kCabac>
  void sub_vectors(unsigned list, int block, unsigned type);
  template <bool kCabac>
  void partitions(unsigned lists0, unsigned lists1);
  template <bool kCabac>
  int read_reference(unsigned list, int x, int y);
  template <bool kCabac>
  Vector read_vector(unsigned list, int x, int y, int width, int height, Vector predicted);
  template <bool kCabac>
  void coded_block_pattern();
  template <bool kCabac>
  void quantiser_and_residual();
  template <bool kCabac>
  void pcm_samples();
  void skip_macroblock();
  void finish_macroblock();
  void store_details(size_t first_bit);

  // syntax_cabac.cpp
  bool cabac_skip();
  bool cabac_field(int mb_x, int mb_y);
  unsigned cabac_intra_type(unsigned base, bool intra_slice);
  unsigned cabac_type();
  unsigned cabac_sub_type();
  int cabac_reference(unsigned list, int x, int y);
  int cabac_mvd(unsigned base, unsigned sum);
  unsigned cabac_pattern();
  int cabac_qp_delta();
  unsigned cabac_chroma_mode();

  // residual.cpp
  template <bool kCabac>
  void residual();
  template <bool kCabac>
  void residual_luma(unsigned plane);
  template <bool kCabac>
  void residual_chroma();
  unsigned cabac_block(unsigned category, unsigned most, unsigned context);
  template <unsigned kKind>
  unsigned cabac_coefficients(unsigned category, unsigned most);
  unsigned cavlc_block(unsigned table, unsigned most);
  void cavlc_levels(unsigned count, unsigned ones);
  unsigned block_flag_context(int index) const;
  unsigned dc_flag_context(unsigned bit) const;
  unsigned predicted_count(int index) const;
  void count_nonzero(unsigned plane, int x, int y, unsigned count);

  // motion.cpp
  Vector predict(unsigned list, int ref, int x, int y, int width) const;
  Vector predict_16x8(unsigned list, int ref, int y) const;
  Vector predict_8x16(unsigned list, int ref, int x) const;
  static Vector predict_from(int ref, const Neighbour& a, const Neighbour& b, const Neighbour& c);
  Neighbour diagonal(unsigned list, int x, int y, int width) const;
  Neighbour neighbour(unsigned list, const Position& position, int block_x) const;
  Corners corners(unsigned list) const;
  void p_skip();
  void set_motion(unsigned list, int x, int y, int width, int height, int ref, Vector vector);
  PocPair pocs_of(RefPair refs);
  void store_uniform(RefPair refs, VectorPair vectors);
  void store_mvd();
  void store_motion();
  void store_parity();

  // direct.cpp
  void direct_macroblock();
  void direct_blocks(unsigned blocks);
  void prepare_direct(const SliceSegment& segment);
  SpatialDirect spatial_direct() const;
  unsigned still_blocks(unsigned blocks);
  void set_spatial(const SpatialDirect& motion, unsigned blocks, unsigned still);
  void direct_temporal(unsigned blocks);
  Colocated colocated() const;
  bool colocated_block(const Colocated& col, int x, int y, int& list, int& ref, Vector& vector, size_t& at) const;
  int map_reference(const Colocated& col, size_t at, int list, int ref) const;

  unsigned bin(unsigned context) { return cabac_.branching_bin(models_[context]); }
  Macroblock& at(int mb_x, int mb_y) { return macroblocks_[static_cast<size_t>(mb_y * width_ + mb_x)]; }
  size_t first_block() const {
    return static_cast<size_t>(4 * mb_y_) * static_cast<size_t>(store_->columns) + static_cast<size_t>(4 * mb_x_);
  }
  [[noreturn]] void fail(const char* what) const;

  // hot state first
  Cabac cabac_;
  VlcReader vlc_;
  Model models_[kContexts] = {};
  Macroblock* mb_ = nullptr;
  const Macroblock* left_ = nullptr;  ///< that holds the block left of the first one
  const Macroblock* above_ = nullptr;
  Position left_blocks_[4];  ///< beside each row of blocks
  Position above_block_, above_left_, above_right_;
  int mb_x_ = 0, mb_y_ = 0;  ///< mb_y_: in storage order
  bool field_mb_ = false;    ///< of a frame; field pictures are like frames here
  uint32_t slice_ = 0;       ///< 1 + index
  SliceType type_ = kSliceI;
  int qp_ = 0;
  int last_qp_delta_ = 0;
  bool mbaff_ = false, field_picture_ = false, details_ = false;
  unsigned chroma_format_ = 1;

  uint8_t coefficients_[3][kGridSize] = {};
  int8_t refs_[2][kGridSize] = {};
  Vector vectors_[2][kGridSize];
  MvdSize mvd_[2][kGridSize] = {};
  bool direct_grid_[kGridSize] = {};
  uint8_t sub_types_[4] = {};
  unsigned refs_count_[2] = {0, 0};  ///< num_ref_idx_active of the macroblock

  // the slice
  const SliceHeader* header_ = nullptr;
  const SliceSegment* segment_ = nullptr;
  const Sps* sps_ = nullptr;
  const Pps* pps_ = nullptr;
  int32_t ref_poc_[2][kMaxReferences + 1] = {};
  uint8_t ref_missing_[2][kMaxReferences + 1] = {};
  DirectReference direct_[3][2 * kMaxReferences] = {};  ///< frame, top, bottom; by reference index of list 0
  bool col_short_term_ = false;
  Structure col_nearer_ = kTopField;

  // the picture
  Picture* picture_ = nullptr;
  MotionStore* store_ = nullptr;
  std::shared_ptr<Picture> colocated_;
  int width_ = 0, height_ = 0;  ///< in macroblocks
  std::vector<Macroblock> macroblocks_;
  uint32_t next_address_ = 0;  ///< addresses below are decoded without a gap
  uint32_t address_ = 0;       ///< CurrMbAddr
  bool used_missing_ = false;
};

}  // namespace vssbench::h264
