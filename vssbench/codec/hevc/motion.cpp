#include "motion.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace vssbench::hevc {
namespace {

// Bits of a 4x4 block coordinate spread to even positions: z-scan order inside a coding tree block.
constexpr uint8_t kSpread[16] = {0, 1, 4, 5, 16, 17, 20, 21, 64, 65, 68, 69, 80, 81, 84, 85};

constexpr unsigned z_order(int x, int y) {
  return kSpread[(x >> 2) & 15] | static_cast<unsigned>(kSpread[(y >> 2) & 15]) << 1;
}

enum PartMode : unsigned { k2NxN = 1, kNx2N = 2, kNxN = 3, k2NxnU = 4, k2NxnD = 5, knLx2N = 6, knRx2N = 7 };
constexpr bool splits_columns(unsigned mode) {
  return mode == kNx2N || mode == knLx2N || mode == knRx2N;
}
constexpr bool splits_rows(unsigned mode) {
  return mode == k2NxN || mode == k2NxnU || mode == k2NxnD;
}

// (8-179) to (8-183)
int16_t scale_component(int component, int factor) {
  const int product = factor * component;
  const int magnitude = (std::abs(product) + 127) >> 8;
  return static_cast<int16_t>(std::clamp(product < 0 ? -magnitude : magnitude, -32768, 32767));
}

Vector scale(Vector vector, int64_t candidate_distance, int64_t distance) {
  const int td = static_cast<int>(std::clamp<int64_t>(candidate_distance, -128, 127));
  const int tb = static_cast<int>(std::clamp<int64_t>(distance, -128, 127));
  if (td == 0) return vector;  // only in broken streams: a picture that refers to its own count
  const int tx = (16384 + std::abs(td) / 2) / td;
  const int factor = std::clamp((tb * tx + 32) >> 6, -4096, 4095);
  return {scale_component(vector.x, factor), scale_component(vector.y, factor)};
}

int64_t distance(int32_t a, int32_t b) {
  return int64_t{a} - int64_t{b};
}

}  // namespace

MotionStore::MotionStore(int width, int height, bool with_details) : columns((width + 3) / 4), rows((height + 3) / 4) {
  const size_t count = static_cast<size_t>(columns) * static_cast<size_t>(rows);
  // not value-initialised: each block is written once, by the slice data or by clear()
  vectors.reset(new VectorPair[count]);
  pocs.reset(new PocPair[count]);
  refs.reset(new RefPair[count]);
  mode.reset(new uint8_t[count]);
  if (!with_details) return;
  cu_log2.reset(new uint8_t[count]);
  part_mode.reset(new uint8_t[count]);
  qp.reset(new int8_t[count]);
  coded_bits.reset(new uint32_t[count]);
  nonzero.reset(new uint16_t[count]);
  reset();
}

void MotionStore::reset() {
  lost.reset();
  if (!qp) return;
  const size_t count = static_cast<size_t>(columns) * static_cast<size_t>(rows);
  std::fill_n(&cu_log2[0], count, uint8_t{0});
  std::fill_n(&part_mode[0], count, uint8_t{0});
  std::fill_n(&qp[0], count, int8_t{0});
  std::fill_n(&coded_bits[0], count, uint32_t{0});
  std::fill_n(&nonzero[0], count, uint16_t{0});
}

std::shared_ptr<MotionStore> MotionStorePool::take(int width, int height, bool with_details) {
  const int columns = (width + 3) / 4, rows = (height + 3) / 4;
  const auto unfit = [&](const auto& store) {
    return store->columns != columns || store->rows != rows || (store->qp != nullptr) != with_details;
  };
  stores_.erase(std::remove_if(stores_.begin(), stores_.end(), unfit), stores_.end());
  for (const auto& store : stores_) {
    if (store.use_count() != 1) continue;
    std::atomic_thread_fence(std::memory_order_acquire);  // after what its last reader did
    store->reset();
    return store;
  }
  auto store = std::make_shared<MotionStore>(width, height, with_details);
  if (stores_.size() < kKept) stores_.push_back(store);
  return store;
}

void MotionStore::clear(int x, int y, int width, int height) {
  const int columns_left = std::min((x + width) >> 2, columns) - (x >> 2);
  const int rows_left = std::min((y + height) >> 2, rows) - (y >> 2);
  if (columns_left <= 0 || rows_left <= 0) return;
  const size_t begin = at(x, y), stride = static_cast<size_t>(columns);
  const size_t across = static_cast<size_t>(columns_left), down = static_cast<size_t>(rows_left);
  fill_block(&vectors[begin], stride, across, down, VectorPair{});
  fill_block(&pocs[begin], stride, across, down, PocPair{{kNoReference, kNoReference}});
  fill_block(&refs[begin], stride, across, down, RefPair{{-1, -1}});
  fill_block(&mode[begin], stride, across, down, uint8_t{0});
}

void MotionPredictor::store(const PredictionBlock& block, const BlockMotion& motion) {
  PocPair pocs;
  for (unsigned list = 0; list < 2; ++list) {
    const int8_t code = motion.refs.list[list];
    pocs.list[list] = code < 0 ? kNoReference : slice_.ref_poc[list][static_cast<unsigned>(code) & 15];
  }
  const size_t begin = store_->at(block.x, block.y), stride = static_cast<size_t>(store_->columns);
  const size_t across = static_cast<size_t>(block.width) >> 2, down = static_cast<size_t>(block.height) >> 2;
  fill_block(&store_->vectors[begin], stride, across, down, motion.vectors);
  fill_block(&store_->pocs[begin], stride, across, down, pocs);
  fill_block(&store_->refs[begin], stride, across, down, motion.refs);
}

// 6.4.2 with 6.4.1: index of an available inter neighbour, or -1
int MotionPredictor::neighbour(const PredictionBlock& block, int x, int y) const {
  if (x < 0 || y < 0 || x >= width_ || y >= height_) return -1;
  const bool same_cb =
      x >= block.cb_x && y >= block.cb_y && x < block.cb_x + block.cb_size && y < block.cb_y + block.cb_size;
  if (same_cb) {
    // the second quarter of NxN cannot see the third, which follows it
    if (block.part_mode == kNxN && block.part == 1 && y >= block.y + block.height && x < block.x) return -1;
  } else {
    const int dx = (x >> log2_ctb_) - ctb_x_, dy = (y >> log2_ctb_) - ctb_y_;
    if (dy == 0) {
      if (dx > 0 || (dx < 0 && !left_)) return -1;
      if (dx == 0 && z_order(x, y) > z_order(block.x, block.y)) return -1;
    } else if (dy > 0 || !up_[dx + 1]) {
      return -1;
    }
  }
  const size_t index = store_->at(x, y);
  return store_->refs[index].intra() ? -1 : static_cast<int>(index);
}

struct MotionPredictor::Candidates {
  BlockMotion entry[6];
  unsigned count = 0;
  unsigned wanted = 0;  ///< the list is complete once it holds this many
  bool complete() const { return count >= wanted; }
  void add(const BlockMotion& motion) { entry[count++] = motion; }
};

// 8.5.3.2.3
void MotionPredictor::add_spatial(const PredictionBlock& block, Candidates& list) const {
  const unsigned level = slice_.log2_parallel_merge;
  const auto find = [&](int x, int y) {
    if ((block.x >> level) == (x >> level) && (block.y >> level) == (y >> level)) return -1;
    return neighbour(block, x, y);
  };
  const int right = block.x + block.width, bottom = block.y + block.height;
  const bool second = block.part == 1;

  const int a1 = second && splits_columns(block.part_mode) ? -1 : find(block.x - 1, bottom - 1);
  const BlockMotion motion_a1 = a1 >= 0 ? load(a1) : BlockMotion{};
  if (a1 >= 0) list.add(motion_a1);
  if (list.complete()) return;

  const int b1 = second && splits_rows(block.part_mode) ? -1 : find(right - 1, block.y - 1);
  const BlockMotion motion_b1 = b1 >= 0 ? load(b1) : BlockMotion{};
  if (b1 >= 0 && !(a1 >= 0 && motion_a1 == motion_b1)) list.add(motion_b1);
  if (list.complete()) return;

  const int b0 = find(right, block.y - 1);
  if (b0 >= 0) {
    const BlockMotion motion = load(b0);
    if (!(b1 >= 0 && motion == motion_b1)) list.add(motion);
  }
  if (list.complete()) return;

  const int a0 = find(block.x - 1, bottom);
  if (a0 >= 0) {
    const BlockMotion motion = load(a0);
    if (!(a1 >= 0 && motion == motion_a1)) list.add(motion);
  }
  if (list.complete() || list.count == 4) return;

  const int b2 = find(block.x - 1, block.y - 1);
  if (b2 >= 0) {
    const BlockMotion motion = load(b2);
    if (!(a1 >= 0 && motion == motion_a1) && !(b1 >= 0 && motion == motion_b1)) list.add(motion);
  }
}

// 8.5.3.2.4
void MotionPredictor::add_combined(Candidates& list) const {
  static constexpr uint8_t kPairs[12][2] = {{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 1},
                                            {0, 3}, {3, 0}, {1, 3}, {3, 1}, {2, 3}, {3, 2}};
  const unsigned originals = list.count;
  for (unsigned pair = 0; pair < originals * (originals - 1) && pair < 12 && !list.complete(); ++pair) {
    const BlockMotion& first = list.entry[kPairs[pair][0]];
    const BlockMotion& second = list.entry[kPairs[pair][1]];
    const int8_t ref0 = first.refs.list[0], ref1 = second.refs.list[1];
    if (ref0 < 0 || ref1 < 0) continue;
    const bool same_picture =
        slice_.ref_poc[0][static_cast<unsigned>(ref0) & 15] == slice_.ref_poc[1][static_cast<unsigned>(ref1) & 15];
    if (same_picture && first.vectors.list[0] == second.vectors.list[1]) continue;
    list.add({{{first.vectors.list[0], second.vectors.list[1]}}, {{ref0, ref1}}});
  }
}

// 8.5.3.2.5
void MotionPredictor::add_zero(Candidates& list) const {
  const unsigned refs = slice_.bidirectional ? std::min(slice_.refs[0], slice_.refs[1]) : slice_.refs[0];
  for (unsigned i = 0; !list.complete(); ++i) {
    const unsigned ref = i < refs ? i : 0;
    list.add({{}, {{slice_.ref_code[0][ref], slice_.bidirectional ? slice_.ref_code[1][ref] : int8_t{-1}}}});
  }
}

BlockMotion MotionPredictor::merge(const PredictionBlock& original, unsigned index) const {
  PredictionBlock block = original;
  if (slice_.log2_parallel_merge > 2 && block.cb_size == 8) {
    // all prediction blocks of a small coding block share the list of the whole block
    block.x = block.cb_x;
    block.y = block.cb_y;
    block.width = block.height = block.cb_size;
    block.part_mode = block.part = 0;
  }
  Candidates list;
  list.wanted = index + 1;  // later candidates cannot change earlier ones
  add_spatial(block, list);
  if (!list.complete() && slice_.collocated != nullptr) {
    BlockMotion motion{{}, {{-1, -1}}};
    if (temporal(block, 0, 0, motion.vectors.list[0])) motion.refs.list[0] = slice_.ref_code[0][0];
    if (slice_.bidirectional && temporal(block, 1, 0, motion.vectors.list[1]))
      motion.refs.list[1] = slice_.ref_code[1][0];
    if (!motion.refs.intra()) list.add(motion);
  }
  if (!list.complete() && slice_.bidirectional && list.count > 1) add_combined(list);
  add_zero(list);
  BlockMotion motion = list.entry[index];
  if (motion.refs.list[0] >= 0 && motion.refs.list[1] >= 0 && original.width + original.height == 12) {
    motion.refs.list[1] = -1;  // 8x4 and 4x8 blocks are not bi-predicted
    motion.vectors.list[1] = {};
  }
  return motion;
}

// 8.5.3.2.9
bool MotionPredictor::collocated_vector(int x, int y, unsigned list, unsigned ref, Vector& vector) const {
  const MotionStore& store = *slice_.collocated;
  const size_t index = store.at(x & ~15, y & ~15);
  const RefPair refs = store.refs[index];
  unsigned source;
  if (refs.list[0] < 0) {
    if (refs.list[1] < 0) return false;
    source = 1;
  } else if (refs.list[1] < 0) {
    source = 0;
  } else {
    source = slice_.no_backward ? list : static_cast<unsigned>(slice_.collocated_from_l0);
  }
  const bool long_term = is_long_term(slice_.ref_code[list][ref]);
  if (long_term != is_long_term(refs.list[source])) return false;
  const int64_t candidate_distance = distance(slice_.collocated_poc, store.pocs[index].list[source]);
  const int64_t own_distance = distance(slice_.poc, slice_.ref_poc[list][ref]);
  vector = store.vectors[index].list[source];
  if (!long_term && candidate_distance != own_distance) vector = scale(vector, candidate_distance, own_distance);
  return true;
}

// 8.5.3.2.8
bool MotionPredictor::temporal(const PredictionBlock& block, unsigned list, unsigned ref, Vector& vector) const {
  const int right = block.x + block.width, bottom = block.y + block.height;
  if ((block.y >> log2_ctb_) == (bottom >> log2_ctb_) && bottom < height_ && right < width_ &&
      collocated_vector(right, bottom, list, ref, vector)) {
    return true;
  }
  return collocated_vector(block.x + block.width / 2, block.y + block.height / 2, list, ref, vector);
}

bool MotionPredictor::spatial_same(int index, unsigned list, int32_t poc, Vector& vector) const {
  if (index < 0) return false;
  const size_t at = static_cast<size_t>(index);
  for (unsigned candidate : {list, 1 - list}) {
    if (store_->refs[at].list[candidate] >= 0 && store_->pocs[at].list[candidate] == poc) {
      vector = store_->vectors[at].list[candidate];
      return true;
    }
  }
  return false;
}

bool MotionPredictor::spatial_scaled(int index, unsigned list, unsigned ref, Vector& vector) const {
  if (index < 0) return false;
  const size_t at = static_cast<size_t>(index);
  const bool long_term = is_long_term(slice_.ref_code[list][ref]);
  for (unsigned candidate : {list, 1 - list}) {
    const int8_t code = store_->refs[at].list[candidate];
    if (code < 0 || is_long_term(code) != long_term) continue;
    vector = store_->vectors[at].list[candidate];
    const int32_t from = store_->pocs[at].list[candidate], to = slice_.ref_poc[list][ref];
    if (!long_term && from != to) vector = scale(vector, distance(slice_.poc, from), distance(slice_.poc, to));
    return true;
  }
  return false;
}

// 8.5.3.2.6, 8.5.3.2.7
Vector MotionPredictor::predict(const PredictionBlock& block, unsigned list, unsigned ref, unsigned index) const {
  const int right = block.x + block.width, bottom = block.y + block.height;
  const int32_t poc = slice_.ref_poc[list][ref];
  const int a0 = neighbour(block, block.x - 1, bottom), a1 = neighbour(block, block.x - 1, bottom - 1);
  const bool is_scaled = a0 >= 0 || a1 >= 0;
  Vector a{}, b{};
  bool has_a = spatial_same(a0, list, poc, a) || spatial_same(a1, list, poc, a) || spatial_scaled(a0, list, ref, a) ||
               spatial_scaled(a1, list, ref, a);
  if (has_a && index == 0) return a;

  const int above[3] = {neighbour(block, right, block.y - 1), neighbour(block, right - 1, block.y - 1),
                        neighbour(block, block.x - 1, block.y - 1)};
  bool has_b = spatial_same(above[0], list, poc, b) || spatial_same(above[1], list, poc, b) ||
               spatial_same(above[2], list, poc, b);
  if (!is_scaled) {
    if (has_b) {
      has_a = true;
      a = b;
    }
    has_b = spatial_scaled(above[0], list, ref, b) || spatial_scaled(above[1], list, ref, b) ||
            spatial_scaled(above[2], list, ref, b);
  }
  Vector candidates[3];
  unsigned count = 0;
  if (has_a) candidates[count++] = a;
  if (has_b && !(has_a && a == b)) candidates[count++] = b;
  if (count <= index && slice_.collocated != nullptr && temporal(block, list, ref, candidates[count])) ++count;
  return index < count ? candidates[index] : Vector{};
}

}  // namespace vssbench::hevc
