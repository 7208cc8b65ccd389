// Sampling along a flow on the CPU: vssbench/ops/warp.py.

#include "maps.hpp"

namespace vssbench::ops {
namespace {

struct Warp {
  View<const float> feature;
  View<float> out;
  int channels, height, width;
  bool released, clamp;
};

/// Where one pixel samples: the corner above left and the shares of its right and lower neighbours.
struct Sample {
  int left, top;
  float right, down;
};

template <typename Scalar>
ALWAYS_INLINE Sample locate(const Warp& w, int x, int y, Scalar flow_x, Scalar flow_y) {
  double column = x + double(flow_x), row = y + double(flow_y);
  if (w.released) {  // the released code rounds its normalised coordinates to float32
    const float gx = float(2.0 * column / std::max(w.width - 1, 1) - 1.0);
    const float gy = float(2.0 * row / std::max(w.height - 1, 1) - 1.0);
    column = (gx + 1.0f) * (0.5f * float(w.width)) - 0.5f;
    row = (gy + 1.0f) * (0.5f * float(w.height)) - 0.5f;
  }
  // also what is no number ends beyond the border
  column = column > -2.0 ? std::min(column, double(w.width + 1)) : -2.0;
  row = row > -2.0 ? std::min(row, double(w.height + 1)) : -2.0;
  if (w.clamp) {
    column = std::min(std::max(column, 0.0), double(w.width - 1));
    row = std::min(std::max(row, 0.0), double(w.height - 1));
  }
  const double left = std::floor(column), top = std::floor(row);
  return {int(left), int(top), float(column - left), float(row - top)};
}

/// torch.lerp: exact at both ends.
ALWAYS_INLINE float mix(float first, float second, float share) {
  return share < 0.5f ? first + share * (second - first) : second - (second - first) * (1.0f - share);
}

template <typename Scalar>
ALWAYS_INLINE void warp_rows(const Warp& w, const Scalar* flow, int n, int first, int last) {
  const std::vector<float> zeros(size_t(w.channels), 0.0f);
  const int64_t plane = int64_t(w.height) * w.width;
  for (int y = first; y < last; ++y)
    for (int x = 0; x < w.width; ++x) {
      const Scalar* own = flow + 2 * n * plane + int64_t(y) * w.width + x;
      const Sample s = locate(w, x, y, own[0], own[plane]);
      const float* corner[4];
      for (int k = 0; k < 4; ++k) {
        int column = s.left + (k & 1), row = s.top + (k >> 1);
        if (w.clamp) {
          column = std::min(column, w.width - 1);
          row = std::min(row, w.height - 1);
        }
        const bool inside = column >= 0 && column < w.width && row >= 0 && row < w.height;
        corner[k] = inside ? w.feature.at(n, row, column) : zeros.data();
      }
      float* target = w.out.at(n, y, x);
      if (w.released) {
        const float ne = (1.0f - s.down) * s.right, nw = (1.0f - s.down) * (1.0f - s.right);
        const float se = s.down * s.right, sw = s.down * (1.0f - s.right);
        for (int c = 0; c < w.channels; ++c)
          target[c] = corner[0][c] * nw + corner[1][c] * ne + corner[2][c] * sw + corner[3][c] * se;
      } else if (s.right == 0.0f && s.down == 0.0f) {
        std::memcpy(target, corner[0], sizeof(float) * size_t(w.channels));
      } else {
        for (int c = 0; c < w.channels; ++c)
          target[c] = mix(mix(corner[0][c], corner[1][c], s.right), mix(corner[2][c], corner[3][c], s.right), s.down);
      }
    }
}

VECTOR_CLONES void warp_float(const Warp& w, const float* flow, int n, int first, int last) {
  warp_rows(w, flow, n, first, last);
}
VECTOR_CLONES void warp_double(const Warp& w, const double* flow, int n, int first, int last) {
  warp_rows(w, flow, n, first, last);
}

template <typename Scalar, void (*kRows)(const Warp&, const Scalar*, int, int, int)>
void warp(const Maps& feature, const nb::ndarray<const Scalar, nb::ndim<4>, nb::c_contig, nb::device::cpu>& flow,
          const Target& out, bool released, bool clamp, int threads) {
  check_shapes(feature, out);
  if (feature.stride(1) != 1 || out.stride(1) != 1) throw std::invalid_argument("maps must be channels-last");
  if (flow.shape(0) != feature.shape(0) || flow.shape(1) != 2 || flow.shape(2) != feature.shape(2) ||
      flow.shape(3) != feature.shape(3))
    throw std::invalid_argument("flow must be [N, 2, H, W]");
  const Warp w{View<const float>(feature),
               View<float>(out),
               int(feature.shape(1)),
               int(feature.shape(2)),
               int(feature.shape(3)),
               released,
               clamp};
  const int batch = int(feature.shape(0));
  nb::gil_scoped_release release;
  for (int n = 0; n < batch; ++n)
    in_bands(w.height, threads, [&](int first, int last) { kRows(w, flow.data(), n, first, last); });
}

}  // namespace

void bind_warp(nb::module_& module) {
  module.def("warp", &warp<double, warp_double>, nb::arg("feature"), nb::arg("flow").noconvert(), nb::arg("out"),
             nb::arg("released"), nb::arg("clamp"), nb::arg("threads"),
             "Fill out with bilinear samples of channels-last float32 maps; flow [N, 2, H, W] in pixels.");
  module.def("warp", &warp<float, warp_float>, nb::arg("feature"), nb::arg("flow").noconvert(), nb::arg("out"),
             nb::arg("released"), nb::arg("clamp"), nb::arg("threads"));
}

}  // namespace vssbench::ops
