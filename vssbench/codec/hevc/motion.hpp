// Motion vector prediction (8.5.3.2) and the storage of motion.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

namespace vssbench::hevc {

constexpr int32_t kNoReference = std::numeric_limits<int32_t>::min();

struct alignas(4) Vector {
  int16_t x = 0, y = 0;
};
inline bool operator==(Vector a, Vector b) {
  return a.x == b.x && a.y == b.y;
}
inline bool operator!=(Vector a, Vector b) {
  return !(a == b);
}

struct alignas(8) VectorPair {
  Vector list[2];
};
struct alignas(8) PocPair {
  int32_t list[2];
};
/// Reference index per list with bit 4 set for long-term references; -1 where the list is unused.
struct alignas(2) RefPair {
  int8_t list[2];
  bool intra() const { return list[0] < 0 && list[1] < 0; }
};
constexpr int8_t kLongTermBit = 16;
constexpr bool is_long_term(int8_t code) {
  return (code & kLongTermBit) != 0;
}

/// Motion of one prediction block; vectors of unused lists are zero.
struct BlockMotion {
  VectorPair vectors;
  RefPair refs;
};
inline bool operator==(const BlockMotion& a, const BlockMotion& b) {
  return std::memcmp(&a.vectors, &b.vectors, sizeof(VectorPair)) == 0 &&
         std::memcmp(&a.refs, &b.refs, sizeof(RefPair)) == 0;
}

/// Fills `rows` rows of a block; the usual widths are constants to the compiler, since most blocks are small.
template <size_t kCount, typename T>
inline void fill_rows(T* row, size_t stride, size_t rows, T value) {
  for (; rows > 0; --rows, row += stride) std::fill_n(row, kCount, value);
}
template <typename T>
inline void fill_block(T* row, size_t stride, size_t columns, size_t rows, T value) {
  if (columns == 2) return fill_rows<2>(row, stride, rows, value);
  if (columns == 4) return fill_rows<4>(row, stride, rows, value);
  if (columns == 8) return fill_rows<8>(row, stride, rows, value);
  if (columns == 16) return fill_rows<16>(row, stride, rows, value);
  for (; rows > 0; --rows, row += stride) std::fill_n(row, columns, value);
}

/// Everything kept per 4x4 luma block of a picture; the arrays are handed to Python as they are.
struct MotionStore {
  MotionStore(int width, int height, bool with_details);
  /// Makes a used store as good as a new one.
  void reset();
  int columns, rows;
  std::unique_ptr<VectorPair[]> vectors;
  std::unique_ptr<PocPair[]> pocs;
  std::unique_ptr<RefPair[]> refs;
  std::unique_ptr<uint8_t[]> mode;  ///< 0 intra, 1 inter, 2 skip
  // optional by-products
  std::unique_ptr<uint8_t[]> cu_log2, part_mode;
  std::unique_ptr<int8_t[]> qp;
  std::unique_ptr<uint32_t[]> coded_bits;
  std::unique_ptr<uint16_t[]> nonzero;
  std::unique_ptr<uint8_t[]> lost;  ///< 1 where the bitstream was broken; allocated only then

  size_t at(int x, int y) const {
    return static_cast<size_t>(y >> 2) * static_cast<size_t>(columns) + static_cast<size_t>(x >> 2);
  }
  /// Marks a rectangle (luma samples, clipped to the picture) as intra without motion.
  void clear(int x, int y, int width, int height);
};

/// Hands out stores and takes those back that nobody else holds: fresh memory costs more than parsing at low bit rates.
class MotionStorePool {
 public:
  std::shared_ptr<MotionStore> take(int width, int height, bool with_details);

 private:
  static constexpr size_t kKept = 8;
  std::vector<std::shared_ptr<MotionStore>> stores_;
};

/// The prediction block whose motion is derived, inside its coding block.
struct PredictionBlock {
  int cb_x, cb_y, cb_size;
  int x, y, width, height;
  unsigned part_mode, part;
};

/// What a slice fixes for motion derivation.
struct SliceMotion {
  int32_t poc = 0;
  bool bidirectional = false;  ///< B slice
  unsigned refs[2] = {0, 0};
  std::array<int32_t, 16> ref_poc[2] = {};
  std::array<int8_t, 16> ref_code[2] = {};
  const MotionStore* collocated = nullptr;  ///< null: no temporal candidates
  int32_t collocated_poc = 0;
  bool collocated_from_l0 = true;
  bool no_backward = false;  ///< no reference lies after the picture
  unsigned max_merge = 5, log2_parallel_merge = 2;
};

class MotionPredictor {
 public:
  void begin_picture(MotionStore* store, int width, int height, unsigned log2_ctb) {
    store_ = store;
    width_ = width;
    height_ = height;
    log2_ctb_ = log2_ctb;
  }
  SliceMotion& slice() { return slice_; }
  /// Availability of the neighbouring coding tree blocks (6.4.1), relative to the block at (x, y) in blocks.
  void begin_ctb(int x, int y, bool left, bool up, bool up_left, bool up_right) {
    ctb_x_ = x;
    ctb_y_ = y;
    left_ = left;
    up_[0] = up_left;
    up_[1] = up;
    up_[2] = up_right;
  }
  /// 8.5.3.2.2: candidate `index` of the merge list.
  BlockMotion merge(const PredictionBlock& block, unsigned index) const;
  /// 8.5.3.2.6: candidate `index` of the predictor list for one reference.
  Vector predict(const PredictionBlock& block, unsigned list, unsigned ref, unsigned index) const;
  void store(const PredictionBlock& block, const BlockMotion& motion);

 private:
  struct Candidates;
  int neighbour(const PredictionBlock& block, int x, int y) const;
  BlockMotion load(int index) const {
    return {store_->vectors[static_cast<size_t>(index)], store_->refs[static_cast<size_t>(index)]};
  }
  void add_spatial(const PredictionBlock& block, Candidates& list) const;
  void add_combined(Candidates& list) const;
  void add_zero(Candidates& list) const;
  bool temporal(const PredictionBlock& block, unsigned list, unsigned ref, Vector& vector) const;
  bool collocated_vector(int x, int y, unsigned list, unsigned ref, Vector& vector) const;
  bool spatial_same(int index, unsigned list, int32_t poc, Vector& vector) const;
  bool spatial_scaled(int index, unsigned list, unsigned ref, Vector& vector) const;

  MotionStore* store_ = nullptr;
  SliceMotion slice_;
  int width_ = 0, height_ = 0;
  unsigned log2_ctb_ = 4;
  int ctb_x_ = 0, ctb_y_ = 0;
  bool left_ = false, up_[3] = {};
};

}  // namespace vssbench::hevc
