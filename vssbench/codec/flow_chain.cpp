// One hop of motion composition on the 4x4 grid: the inner loop of vssbench/codec/motion.py.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace nb = nanobind;

namespace {

using Vectors = nb::ndarray<const int16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Slots = nb::ndarray<const int16_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Known = nb::ndarray<const bool, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ring = nb::ndarray<int16_t, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using ValidRing = nb::ndarray<bool, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Pairs = nb::ndarray<const int16_t, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Flow = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

struct Window {
  int left, top, width, height;
};

// Quarter samples to whole samples, half to even: 2 -> 0, 6 -> 2, -2 -> 0, -6 -> -2.
inline int whole(int quarter) {
  return (quarter + 1 + ((quarter >> 2) & 1)) >> 2;
}

struct Canvas {
  int width;
  const Window& window;
  int16_t* ring;
  bool* valid;   // null under the rule "paper"
  size_t plane;  // samples of one slot

  int16_t* pairs(size_t slot, int y, int x) const { return ring + 2 * (slot * plane + size_t(y) * width + x); }
  bool* flags(size_t slot, int y, int x) const { return valid + slot * plane + size_t(y) * width + x; }
};

// Neighbouring blocks that move alike, all of whose targets lie in the window: four runs of neighbouring samples.
void copy_run(const Canvas& canvas, int y, int x, int samples, int vx, int vy, size_t slot, bool known, size_t into) {
  const int from_y = y + whole(vy), from_x = x + whole(vx);
  for (int row = 0; row < 4; ++row) {
    const int16_t* __restrict source = canvas.pairs(slot, from_y + row, from_x);
    int16_t* __restrict target = canvas.pairs(into, y + row, x);
    for (int k = 0; k < 2 * samples; k += 2) {
      target[k] = int16_t(source[k] + vx);
      target[k + 1] = int16_t(source[k + 1] + vy);
    }
    if (!canvas.valid) continue;
    bool* flags = canvas.flags(into, y + row, x);
    if (known)
      std::memcpy(flags, canvas.flags(slot, from_y + row, from_x), size_t(samples) * sizeof(bool));
    else
      std::fill(flags, flags + samples, false);
  }
}

// A target outside the window moves to its border, which is what the encoder predicted from.
void copy_crossing_block(const Canvas& canvas, int y, int x, int vx, int vy, size_t slot, bool known, size_t into) {
  const Window& w = canvas.window;
  for (int row = y; row < y + 4; ++row) {
    for (int column = x; column < x + 4; ++column) {
      const int target_x = 4 * column + vx, target_y = 4 * row + vy;
      const int to_x = std::clamp(target_x, 4 * w.left, 4 * (w.left + w.width - 1));
      const int to_y = std::clamp(target_y, 4 * w.top, 4 * (w.top + w.height - 1));
      const int own_x = to_x - 4 * column, own_y = to_y - 4 * row;
      const int near_x = column + whole(own_x), near_y = row + whole(own_y);
      const int16_t* source = canvas.pairs(slot, near_y, near_x);
      int16_t* target = canvas.pairs(into, row, column);
      target[0] = int16_t(source[0] + own_x);
      target[1] = int16_t(source[1] + own_y);
      if (canvas.valid)
        *canvas.flags(into, row, column) =
            known && to_x == target_x && to_y == target_y && *canvas.flags(slot, near_y, near_x);
    }
  }
}

bool inside(int start, int vector, int low, int length) {
  return 4 * start + vector >= 4 * low && 4 * (start + 3) + vector <= 4 * (low + length - 1);
}

void compose(const Vectors& vectors, const Slots& slots, const nb::object& known_object, const Ring& ring,
             const nb::object& valid_object, size_t into, int left, int top, int height, int width) {
  const int rows = int(slots.shape(0)), columns = int(slots.shape(1));
  const int canvas_height = int(ring.shape(1)), canvas_width = int(ring.shape(2));
  if (int(vectors.shape(0)) != rows || int(vectors.shape(1)) != columns || vectors.shape(2) != 2 ||
      canvas_height != 4 * rows || canvas_width != 4 * columns || ring.shape(3) != 2)
    throw std::invalid_argument("vectors [H4, W4, 2], slots [H4, W4] and ring [slots, 4*H4, 4*W4, 2] do not fit");
  if (into >= ring.shape(0) || left < 0 || top < 0 || width < 1 || height < 1 || left + width > canvas_width ||
      top + height > canvas_height)
    throw std::invalid_argument("slot or window outside the ring");
  const bool* known = nullptr;
  bool* valid = nullptr;
  if (!valid_object.is_none()) {
    const auto flags = nb::cast<ValidRing>(valid_object);
    const auto mask = nb::cast<Known>(known_object);
    if (flags.shape(0) != ring.shape(0) || flags.shape(1) != ring.shape(1) || flags.shape(2) != ring.shape(2) ||
        int(mask.shape(0)) != rows || int(mask.shape(1)) != columns)
      throw std::invalid_argument("known [H4, W4] and valid [slots, 4*H4, 4*W4] do not fit the ring");
    valid = flags.data();
    known = mask.data();
  }
  for (int i = 0; i < rows * columns; ++i)
    if (slots.data()[i] < 0 || size_t(slots.data()[i]) >= ring.shape(0) || size_t(slots.data()[i]) == into)
      throw std::invalid_argument("a block refers to a slot outside the ring or to the one that is written");

  const Window window{left, top, width, height};
  const Canvas canvas{canvas_width, window, ring.data(), valid, size_t(canvas_height) * canvas_width};
  nb::gil_scoped_release release;
  const int16_t* vector = vectors.data();
  const int16_t* slot = slots.data();
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns;) {
      const size_t block = size_t(i) * columns + j;
      const int vx = vector[2 * block], vy = vector[2 * block + 1];
      const bool block_known = !known || known[block];
      if (!inside(4 * j, vx, left, width) || !inside(4 * i, vy, top, height)) {
        copy_crossing_block(canvas, 4 * i, 4 * j, vx, vy, size_t(slot[block]), block_known, into);
        ++j;
        continue;
      }
      int run = 1;
      while (j + run < columns && vector[2 * (block + run)] == vx && vector[2 * (block + run) + 1] == vy &&
             slot[block + run] == slot[block] && (!known || known[block + run] == block_known) &&
             inside(4 * (j + run), vx, left, width))
        ++run;
      copy_run(canvas, 4 * i, 4 * j, 4 * run, vx, vy, size_t(slot[block]), block_known, into);
      j += run;
    }
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
  module.def("to_pixels", &to_pixels, nb::arg("pairs"), nb::arg("left"), nb::arg("top"), nb::arg("flow"),
             "Quarter samples int16 [Hc, Wc, 2] to pixels float32 [2, H, W] of a window.");
}
