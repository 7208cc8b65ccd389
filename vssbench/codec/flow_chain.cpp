// One hop of motion composition on the 4x4 grid: the inner loop of vssbench/codec/motion.py.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

namespace nb = nanobind;

namespace {

using Vectors = nb::ndarray<const int16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Slots = nb::ndarray<const int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Known = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using BothVectors = nb::ndarray<const int16_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using BothPocs = nb::ndarray<const int32_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Ring = nb::ndarray<int16_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using ValidRing = nb::ndarray<bool, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Pairs = nb::ndarray<const int16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Flow = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using SlotOfPoc = std::vector<std::pair<int32_t, int16_t>>;

constexpr int16_t kKeySlot = 0;  // the end of every chain: nothing accumulated, all valid; never read
constexpr int16_t kNoSlot = -1;

struct Window {
  int left, top, width, height;
};

/// The hop of one 4x4 block. Compared as a whole, hence no padding.
struct Step {
  int16_t x, y;   // quarter samples
  int16_t slot;   // whose accumulated displacement continues the chain
  int16_t known;  // 0: no vector
};
static_assert(sizeof(Step) == 8);

bool operator==(const Step& a, const Step& b) {
  return std::memcmp(&a, &b, sizeof(Step)) == 0;
}

// Quarter samples to whole samples, half to even: 2 -> 0, 6 -> 2, -2 -> 0, -6 -> -2.
inline int whole(int quarter) {
  return (quarter + 1 + ((quarter >> 2) & 1)) >> 2;
}

// Rounded to whole samples, counted in quarters. 8192 samples would not fit; both lie beyond any picture's border.
inline int16_t rounded(int16_t quarter) {
  return static_cast<int16_t>(4 * std::min(whole(quarter), 8191));
}

/// Writes one slot of the ring, a row of blocks at a time.
class Composer {
 public:
  Composer(const Ring& ring, const nb::object& valid, size_t into, const Window& window)
      : width_(int(ring.shape(2))),
        plane_(ring.shape(1) * ring.shape(2)),
        slots_(ring.shape(0)),
        into_(into),
        window_(window),
        ring_(ring.data()) {
    if (ring.shape(3) != 2) throw std::invalid_argument("expected a ring [slots, 4*H4, 4*W4, 2]");
    if (into >= slots_ || window.left < 0 || window.top < 0 || window.width < 1 || window.height < 1 ||
        window.left + window.width > width_ || window.top + window.height > int(ring.shape(1)))
      throw std::invalid_argument("slot or window outside the ring");
    if (valid.is_none()) return;
    const auto flags = nb::cast<ValidRing>(valid);
    for (size_t axis = 0; axis < 3; ++axis)
      if (flags.shape(axis) != ring.shape(axis)) throw std::invalid_argument("valid and ring do not fit");
    valid_ = flags.data();
  }

  bool usable(int slot) const { return slot >= 0 && size_t(slot) < slots_ && size_t(slot) != into_; }

  /// Blocks of row `i`; every slot must be usable.
  void row(int i, const std::vector<Step>& steps) {
    const int columns = int(steps.size());
    for (int j = 0; j < columns;) {
      const Step step = steps[size_t(j)];
      if (!inside(4 * j, step.x, window_.left, window_.width) || !inside(4 * i, step.y, window_.top, window_.height)) {
        crossing_block(4 * i, 4 * j, step);
        ++j;
        continue;
      }
      int end = j + 1;
      while (end < columns && steps[size_t(end)] == step && inside(4 * end, step.x, window_.left, window_.width)) ++end;
      for (int line = 4 * i; line < 4 * i + 4; ++line) copy_run(line, 4 * j, 4 * (end - j), step);
      j = end;
    }
  }

 private:
  static bool inside(int start, int vector, int low, int length) {
    return 4 * start + vector >= 4 * low && 4 * (start + 3) + vector <= 4 * (low + length - 1);
  }

  // Neighbouring samples with one hop, all of whose targets lie in the window, in groups of four: 16 bytes.
  void copy_run(int line, int x, int samples, const Step& step) {
    const ptrdiff_t at = ptrdiff_t(line) * width_ + x;
    const ptrdiff_t from = ptrdiff_t(plane_) * step.slot + at + ptrdiff_t(whole(step.y)) * width_ + whole(step.x);
    int16_t* target = ring_ + 2 * (ptrdiff_t(plane_ * into_) + at);
    int16_t add[8], sum[8];
    for (int k = 0; k < 8; k += 2) add[k] = step.x, add[k + 1] = step.y;
    if (step.slot == kKeySlot) {
      for (int n = 0; n < samples; n += 4, target += 8) std::memcpy(target, add, sizeof add);
    } else {
      const int16_t* source = ring_ + 2 * from;
      for (int n = 0; n < samples; n += 4, source += 8, target += 8) {
        for (int k = 0; k < 8; ++k) sum[k] = int16_t(source[k] + add[k]);
        std::memcpy(target, sum, sizeof sum);
      }
    }
    if (!valid_) return;
    bool* flags = valid_ + plane_ * into_ + at;
    if (!step.known || step.slot == kKeySlot)
      std::memset(flags, step.known != 0, size_t(samples));
    else
      for (int n = 0; n < samples; n += 4) std::memcpy(flags + n, valid_ + from + n, 4);
  }

  // A target outside the window moves to its border, which is what the encoder predicted from.
  void crossing_block(int y, int x, const Step& step) {
    const Window& w = window_;
    for (int row = y; row < y + 4; ++row) {
      for (int column = x; column < x + 4; ++column) {
        const int target_x = 4 * column + step.x, target_y = 4 * row + step.y;
        const int to_x = std::clamp(target_x, 4 * w.left, 4 * (w.left + w.width - 1));
        const int to_y = std::clamp(target_y, 4 * w.top, 4 * (w.top + w.height - 1));
        const int own_x = to_x - 4 * column, own_y = to_y - 4 * row;
        const size_t near = size_t(row + whole(own_y)) * size_t(width_) + size_t(column + whole(own_x));
        const size_t from = plane_ * size_t(step.slot) + near;
        const size_t at = plane_ * into_ + size_t(row) * size_t(width_) + size_t(column);
        const bool key = step.slot == kKeySlot;
        ring_[2 * at] = int16_t((key ? 0 : ring_[2 * from]) + own_x);
        ring_[2 * at + 1] = int16_t((key ? 0 : ring_[2 * from + 1]) + own_y);
        if (valid_) valid_[at] = step.known && to_x == target_x && to_y == target_y && (key || valid_[from]);
      }
    }
  }

  int width_;
  size_t plane_, slots_, into_;  // samples of one slot; slots
  Window window_;
  int16_t* ring_;
  bool* valid_ = nullptr;  // null under the rule "paper"
};

void check_grid(size_t rows, size_t columns, const Ring& ring) {
  if (ring.shape(1) != 4 * rows || ring.shape(2) != 4 * columns)
    throw std::invalid_argument("vectors [H4, W4, ...] and ring [slots, 4*H4, 4*W4, 2] do not fit");
}

void compose(const Vectors& vectors, const Slots& slots, const nb::object& known, const Ring& ring,
             const nb::object& valid, size_t into, int left, int top, int height, int width) {
  const size_t rows = slots.shape(0), columns = slots.shape(1);
  check_grid(rows, columns, ring);
  if (vectors.shape(0) != rows || vectors.shape(1) != columns || vectors.shape(2) != 2)
    throw std::invalid_argument("vectors [H4, W4, 2] and slots [H4, W4] do not fit");
  const bool* flags = nullptr;
  if (!known.is_none()) {
    const auto mask = nb::cast<Known>(known);
    if (mask.shape(0) != rows || mask.shape(1) != columns)
      throw std::invalid_argument("known and slots [H4, W4] do not fit");
    flags = mask.data();
  }
  Composer composer(ring, valid, into, {left, top, width, height});
  const int16_t *slot = slots.data(), *vector = vectors.data();
  if (!std::all_of(slot, slot + rows * columns, [&](int16_t s) { return composer.usable(s); }))
    throw std::invalid_argument("a block refers to a slot outside the ring or to the one that is written");
  nb::gil_scoped_release release;
  std::vector<Step> steps(columns);
  for (size_t i = 0, block = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j, ++block)
      steps[j] = {vector[2 * block], vector[2 * block + 1], slot[block], int16_t(!flags || flags[block])};
    composer.row(int(i), steps);
  }
}

/// POC -> slot; remembers the last answer, because neighbouring blocks mostly share their reference.
class SlotTable {
 public:
  explicit SlotTable(const SlotOfPoc& pairs) : pairs_(pairs) {}
  int16_t find(int32_t poc) {
    if (poc == last_poc_) return last_slot_;
    last_poc_ = poc;
    last_slot_ = kNoSlot;
    for (const auto& [known, slot] : pairs_)
      if (known == poc) last_slot_ = slot;
    return last_slot_;
  }

 private:
  const SlotOfPoc& pairs_;
  int32_t last_poc_ = std::numeric_limits<int32_t>::min();  // where a list is unused
  int16_t last_slot_ = kNoSlot;
};

void advance(const BothVectors& vectors, const BothPocs& pocs, const SlotOfPoc& slot_of_poc, bool second_list,
             bool whole_samples, int still, const Ring& ring, const nb::object& valid, size_t into, int left, int top,
             int height, int width) {
  const size_t rows = pocs.shape(0), columns = pocs.shape(1);
  check_grid(rows, columns, ring);
  if (vectors.shape(0) != rows || vectors.shape(1) != columns || vectors.shape(2) != 2 || vectors.shape(3) != 2 ||
      pocs.shape(2) != 2)
    throw std::invalid_argument("vectors [H4, W4, 2, 2] and reference POCs [H4, W4, 2] do not fit");
  Composer composer(ring, valid, into, {left, top, width, height});
  for (const auto& entry : slot_of_poc)
    if (!composer.usable(entry.second)) throw std::invalid_argument("a slot lies outside the ring or is written");
  if (!composer.usable(still))
    throw std::invalid_argument("the slot of still blocks lies outside the ring or is written");
  nb::gil_scoped_release release;
  SlotTable table(slot_of_poc);
  std::vector<Step> steps(columns);
  const int16_t* vector = vectors.data();
  const int32_t* poc = pocs.data();
  for (size_t i = 0; i < rows; ++i) {
    for (size_t j = 0; j < columns; ++j, vector += 4, poc += 2) {
      int16_t slot = table.find(poc[0]);
      const int16_t* chosen = vector;
      if (slot == kNoSlot && second_list) {
        slot = table.find(poc[1]);
        chosen = vector + 2;
      }
      if (slot == kNoSlot)
        steps[j] = {0, 0, int16_t(still), 0};
      else if (whole_samples)
        steps[j] = {rounded(chosen[0]), rounded(chosen[1]), slot, 1};
      else
        steps[j] = {chosen[0], chosen[1], slot, 1};
    }
    composer.row(int(i), steps);
  }
}
void to_pixels(const Pairs& pairs, int left, int top, const Flow& flow) {
  const size_t height = flow.shape(1), width = flow.shape(2);
  if (flow.shape(0) != 2 || pairs.shape(2) != 2 || left < 0 || top < 0 || size_t(left) + width > pairs.shape(1) ||
      size_t(top) + height > pairs.shape(0))
    throw std::invalid_argument("flow [2, H, W] is no window of pairs [Hc, Wc, 2]");
  float *x = flow.data(), *y = flow.data() + height * width;
  const int16_t* source = pairs.data();
  const size_t stride = 2 * pairs.shape(1);
  nb::gil_scoped_release release;
  for (size_t row = 0; row < height; ++row) {
    const int16_t* pair = source + (row + top) * stride + 2 * size_t(left);
    for (size_t column = 0; column < width; ++column) {
      *x++ = 0.25f * pair[2 * column];
      *y++ = 0.25f * pair[2 * column + 1];
    }
  }
}

}  // namespace

NB_MODULE(_flow_chain, module) {
  module.doc() = "Inner loops of motion composition";
  module.def("compose", &compose, nb::arg("vectors"), nb::arg("slots"), nb::arg("known").none(), nb::arg("ring"),
             nb::arg("valid").none(), nb::arg("into"), nb::arg("left"), nb::arg("top"), nb::arg("height"),
             nb::arg("width"), "Write slot `into` of the ring: each sample's vector plus what its target accumulated.");
  module.def("advance", &advance, nb::arg("vectors"), nb::arg("pocs"), nb::arg("slot_of_poc"), nb::arg("second_list"),
             nb::arg("whole_samples"), nb::arg("still"), nb::arg("ring"), nb::arg("valid").none(), nb::arg("into"),
             nb::arg("left"), nb::arg("top"), nb::arg("height"), nb::arg("width"),
             "`compose` straight from a motion field; blocks without a vector to a known POC stand still on a slot.");
  module.def("to_pixels", &to_pixels, nb::arg("pairs"), nb::arg("left"), nb::arg("top"), nb::arg("flow"),
             "Quarter samples int16 [Hc, Wc, 2] to pixels float32 [2, H, W] of a window.");
}
