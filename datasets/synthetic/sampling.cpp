// Bilinear samples of mip-mapped texture tiles: the inner loop of noise.py.
//
// Single additions and products in one order, compiled without contraction: the same bits on every machine.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <stdexcept>

namespace nb = nanobind;

namespace {

using Row = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Target = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

constexpr int kLevels = 8;  // sides of 256, 128, ..., 2 texels
constexpr float kScale[kLevels] = {1.0f, 1.0f / 2, 1.0f / 4, 1.0f / 8, 1.0f / 16, 1.0f / 32, 1.0f / 64, 1.0f / 128};

/// floor((floor(log2(footprint)) + 1) / 2) within 0..kLevels-1, read off the exponent.
int mip_level(float footprint_squared) {
  const float area = std::max(footprint_squared, 1e-6f);
  int32_t bits;
  std::memcpy(&bits, &area, sizeof bits);
  return std::clamp(((bits >> 23) - 126) >> 1, 0, kLevels - 1);
}

float floored(float value) {
  const float whole = float(int64_t(value));
  return whole > value ? whole - 1.0f : whole;
}

float sample_one(const float* tile, int level, float u, float v) {
  const float scale = kScale[level];
  float x = u * scale - 0.5f, y = v * scale - 0.5f;
  const float left = floored(x), top = floored(y);
  x -= left;
  y -= top;
  const int shift = kLevels - level;
  const int64_t mask = (int64_t(1) << shift) - 1;
  const int64_t column = int64_t(left) & mask, right = (int64_t(left) + 1) & mask;
  const int64_t row = (int64_t(top) & mask) << shift, below = ((int64_t(top) + 1) & mask) << shift;
  const float upper = tile[row + column] + (tile[row + right] - tile[row + column]) * x;
  const float lower = tile[below + column] + (tile[below + right] - tile[below + column]) * x;
  return upper + (lower - upper) * y;
}

void sample(const Row& texels, const Numbers& offsets, const Numbers& layer, const Row& u, const Row& v,
            const Row& footprint_squared, const Target& out) {
  const size_t count = out.shape(0), layers = offsets.shape(0) / kLevels;
  if (u.shape(0) != count || v.shape(0) != count || footprint_squared.shape(0) != count ||
      (layer.shape(0) != count && layer.shape(0) != 1))
    throw std::invalid_argument("u, v, footprint_squared and out must have one length, layer that or 1");
  const size_t step = layer.shape(0) == 1 ? 0 : 1;
  for (size_t i = 0; i < layer.shape(0); ++i)
    if (layer.data()[i] < 0 || size_t(layer.data()[i]) >= layers) throw std::invalid_argument("no such layer");
  nb::gil_scoped_release release;
  for (size_t i = 0; i < count; ++i) {
    const int level = mip_level(footprint_squared.data()[i]);
    const int64_t offset = offsets.data()[layer.data()[i * step] * kLevels + level];
    out.data()[i] = sample_one(texels.data() + offset, level, u.data()[i], v.data()[i]);
  }
}

}  // namespace

NB_MODULE(_sampling, module) {
  module.doc() = "Inner loop of texture sampling";
  module.def("sample", &sample, nb::arg("texels"), nb::arg("offsets"), nb::arg("layer"), nb::arg("u"), nb::arg("v"),
             nb::arg("footprint_squared"), nb::arg("out").noconvert(),
             "Fill out [N] with bilinear samples at (u, v) in texels of level 0; layer has N numbers or one.");
}
