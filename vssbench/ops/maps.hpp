// What the inner loops of operators on the CPU share.
//
// They work on strips of pixels with the strip as the innermost loop, so that compilers vectorise without reordering
// sums: results do not depend on the number of threads or on where a strip begins.

#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

namespace nb = nanobind;

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define VECTOR_CLONES __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define VECTOR_CLONES
#endif
#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

namespace vssbench::ops {

using Maps = nb::ndarray<const float, nb::ndim<4>, nb::device::cpu>;
using Target = nb::ndarray<float, nb::ndim<4>, nb::device::cpu>;

template <typename Scalar>
struct View {
  Scalar* data;
  int64_t batch, channel, row, column;  // strides in elements

  template <typename Array>
  explicit View(const Array& array)
      : data(array.data()),
        batch(array.stride(0)),
        channel(array.stride(1)),
        row(array.stride(2)),
        column(array.stride(3)) {}

  Scalar* at(int64_t n, int64_t y, int64_t x) const { return data + n * batch + y * row + x * column; }
};

/// Runs body(first, last) on bands of `count` rows, one thread each.
inline void in_bands(int count, int threads, const std::function<void(int, int)>& body) {
  const int bands = std::max(1, std::min(threads, count));
  std::vector<std::thread> others;
  for (int band = 1; band < bands; ++band)
    others.emplace_back(body, int(int64_t(count) * band / bands), int(int64_t(count) * (band + 1) / bands));
  body(0, int(int64_t(count) / bands));
  for (auto& other : others) other.join();
}

template <typename First, typename Second>
void check_shapes(const First& first, const Second& second) {
  for (int axis = 0; axis < 4; ++axis)
    if (first.shape(axis) != second.shape(axis)) throw std::invalid_argument("maps must have one shape");
}

void bind_attention(nb::module_& module);
void bind_warp(nb::module_& module);

}  // namespace vssbench::ops
