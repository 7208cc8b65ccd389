// Local attention on the CPU: vssbench/ops/local_attention.py and projected_attention.py.

#include "maps.hpp"

namespace vssbench::ops {
namespace {

constexpr int kStrip = 32;  // pixels handled at once
constexpr int kLargestWindow = 11;

/// Sixteen neighbouring pixels; compilers without such registers split it.
using Lane = float __attribute__((vector_size(64)));
using LaneBits = int32_t __attribute__((vector_size(64)));
constexpr int kLane = 16, kLanes = kStrip / kLane;

ALWAYS_INLINE Lane load(const float* from) {
  Lane lane;
  std::memcpy(&lane, from, sizeof lane);
  return lane;
}

/// exp(x) for -87 <= x <= 0 within 2 units in the last place. Cephes' polynomial on |r| <= ln(2) / 2.
ALWAYS_INLINE Lane exp_of_negative(Lane x) {
  x = x < -87.0f ? Lane{} - 87.0f : x;
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding and subtracting it rounds to whole numbers
  const Lane n = (x * 1.44269504088896341f + shift) - shift;
  const Lane r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  Lane p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  const Lane value = p * r * r + r + 1.0f;
  const LaneBits bits = (__builtin_convertvector(n, LaneBits) + 127) << 23;
  Lane power;
  std::memcpy(&power, &bits, sizeof power);
  return value * power;
}

constexpr int kPitch = 48;  // pixels of a strip with its surroundings, in whole lanes
static_assert(kStrip + kLargestWindow - 1 <= kPitch);

/// 3x3 filters, one per channel: weights [channels, 3, 3] and biases.
struct Projection {
  const float *weight, *bias;
};

using Eight = float __attribute__((vector_size(32)));

/// to[j * to_row + i] = from[i * from_row + j] for i, j < 8.
ALWAYS_INLINE void transpose_eight(const float* from, int64_t from_row, float* to, int64_t to_row) {
  Eight a[8], b[8];
  for (int i = 0; i < 8; ++i) std::memcpy(&a[i], from + i * from_row, sizeof a[i]);
  for (int i = 0; i < 4; ++i) {  // pairs of rows, then pairs of pairs, then halves
    b[2 * i] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
    b[2 * i + 1] = __builtin_shufflevector(a[2 * i], a[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; ++k) {
      a[i + k] = __builtin_shufflevector(b[i + k], b[i + k + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      a[i + k + 2] = __builtin_shufflevector(b[i + k], b[i + k + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int k = 0; k < 4; ++k) {
    const Eight low = __builtin_shufflevector(a[k], a[k + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    const Eight high = __builtin_shufflevector(a[k], a[k + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    std::memcpy(to + k * to_row, &low, sizeof low);
    std::memcpy(to + (k + 4) * to_row, &high, sizeof high);
  }
}

/// to[c * to_row + r] = from[r * from_row + c] for `rows` rows of `columns` values.
ALWAYS_INLINE void transpose(const float* from, int64_t from_row, int rows, int columns, float* to, int64_t to_row) {
  const int whole_rows = rows & ~7, whole_columns = columns & ~7;
  for (int c = 0; c < whole_columns; c += 8)
    for (int r = 0; r < whole_rows; r += 8)
      transpose_eight(from + r * from_row + c, from_row, to + c * to_row + r, to_row);
  for (int c = whole_columns; c < columns; ++c)
    for (int r = 0; r < rows; ++r) to[c * to_row + r] = from[r * from_row + c];
  for (int c = 0; c < whole_columns; ++c)
    for (int r = whole_rows; r < rows; ++r) to[c * to_row + r] = from[r * from_row + c];
}

/// target[c * pitch + i] = source at channel c, pixel i, for `count` pixels.
ALWAYS_INLINE void copy_pixels(const float* source, int64_t channel, int64_t column, int channels, int count,
                               float* target, int pitch) {
  if (channel == 1) return transpose(source, column, count, channels, target, pitch);
  for (int c = 0; c < channels; ++c)
    if (column == 1)
      std::memcpy(target + c * pitch, source + c * channel, sizeof(float) * size_t(count));
    else
      for (int i = 0; i < count; ++i) target[c * pitch + i] = source[c * channel + i * column];
}

/// The last kRows rows of one strip with `kRadius` pixels around it, all channels.
template <int kRows, int kRadius>
class RowRing {
 public:
  explicit RowRing(int channels) : channels_(channels) {
    values_.resize(size_t(kRows) * channels * kPitch + 2 * kLane);
  }

  /// Row y from a map; zeros outside it.
  ALWAYS_INLINE void load(const View<const float>& map, int height, int width, int n, int y, int strip) {
    float* slot = this->slot(y);
    const int first = std::max(0, strip - kRadius), last = std::min(width, strip + kStrip + kRadius);
    const bool inside = y >= 0 && y < height;
    if (!inside || last - first < kStrip + 2 * kRadius) clear(slot);
    if (inside)
      copy_pixels(map.at(n, y, first), map.channel, map.column, channels_, last - first,
                  slot + first - (strip - kRadius), kPitch);
  }

  /// Row y as the 3x3 convolution of rows y - 1 to y + 1 of `raw`, one filter per channel; zeros outside the map.
  ALWAYS_INLINE void project(const RowRing<3, kRadius + 1>& raw, const Projection& by, int height, int width, int y,
                             int strip) {
    float* slot = this->slot(y);
    if (y < 0 || y >= height) return clear(slot);
    convolve<(kStrip + 2 * kRadius + kLane - 1) / kLane>(raw, by, y, slot, kPitch);
    const int before = std::max(0, kRadius - strip), after = std::max(0, strip + kStrip + kRadius - width);
    if (before + after == 0) return;
    for (int c = 0; c < channels_; ++c) {
      float* row = slot + size_t(c) * kPitch;
      std::fill(row, row + before, 0.0f);
      std::fill(row + kStrip + 2 * kRadius - after, row + kStrip + 2 * kRadius, 0.0f);
    }
  }

  /// target[c * pitch + i] = 3x3 convolution around pixel i of row y, for kCount lanes of pixels.
  template <int kCount, typename Raw>
  static ALWAYS_INLINE void convolve(const Raw& raw, const Projection& by, int y, float* target, int pitch) {
    for (int c = 0; c < raw.channels(); ++c) {
      Lane sums[kCount];
      for (int lane = 0; lane < kCount; ++lane) sums[lane] = Lane{} + by.bias[c];
      for (int dy = 0; dy < 3; ++dy) {
        const float* row = raw.at(y + dy - 1, c);
        for (int dx = 0; dx < 3; ++dx)
          for (int lane = 0; lane < kCount; ++lane)
            sums[lane] += by.weight[9 * c + 3 * dy + dx] * vssbench::ops::load(row + dx + lane * kLane);
      }
      std::memcpy(target + size_t(c) * size_t(pitch), sums, sizeof sums);
    }
  }

  /// Row y of channel c, beginning `kRadius` pixels left of the strip.
  const float* at(int y, int c) const { return const_cast<RowRing*>(this)->slot(y) + size_t(c) * kPitch; }

  int channels() const { return channels_; }

 private:
  void clear(float* slot) const { std::fill(slot, slot + size_t(channels_) * kPitch, 0.0f); }

  float* slot(int y) {
    float* aligned = values_.data();
    aligned += (64 - reinterpret_cast<uintptr_t>(aligned) % 64) % 64 / sizeof(float);
    return aligned + size_t((y + 2 * kRows) % kRows) * channels_ * kPitch;
  }

  int channels_;
  std::vector<float> values_;
};

/// Scores of one strip against one row of neighbours: scores[dx][i] = sum_c query[c][i] * key[c][i + dx].
template <int kWindow>
ALWAYS_INLINE void score_row(const float* query, const float* key, int channels, Lane (*scores)[kLanes]) {
  Lane sums[kWindow][kLanes] = {};
  for (int c = 0; c < channels; ++c, query += kStrip, key += kPitch)
    for (int lane = 0; lane < kLanes; ++lane) {
      const Lane q = load(query + lane * kLane);
#pragma GCC unroll 11
      for (int dx = 0; dx < kWindow; ++dx) sums[dx][lane] += q * load(key + dx + lane * kLane);
    }
  std::memcpy(scores, sums, sizeof sums);
}

/// Unnormalised softmax in place over `count` scores per pixel; returns the normalising factors.
ALWAYS_INLINE void soften(Lane (*scores)[kLanes], int count, Lane* factor) {
  for (int lane = 0; lane < kLanes; ++lane) {
    Lane largest = scores[0][lane], total = {};
    for (int j = 1; j < count; ++j) largest = scores[j][lane] > largest ? scores[j][lane] : largest;
    for (int j = 0; j < count; ++j) {
      scores[j][lane] = exp_of_negative(scores[j][lane] - largest);
      total += scores[j][lane];
    }
    factor[lane] = 1.0f / total;
  }
}

/// Weighted sums of kChannels channels of one strip: result[c][i] = factor[i] * sum_j weight[j][i] * value_j[c][i].
template <int kWindow, int kChannels>
ALWAYS_INLINE void weigh(const Lane (*weights)[kLanes], const Lane* factor, const float* const* rows, float* result) {
  Lane sums[kChannels][kLanes] = {};
  for (int dy = 0; dy < kWindow; ++dy)
#pragma GCC unroll 11
    for (int dx = 0; dx < kWindow; ++dx)
      for (int lane = 0; lane < kLanes; ++lane) {
        const Lane weight = weights[dy * kWindow + dx][lane];
        for (int c = 0; c < kChannels; ++c) sums[c][lane] += weight * load(rows[dy] + c * kPitch + dx + lane * kLane);
      }
  for (int c = 0; c < kChannels; ++c)
    for (int lane = 0; lane < kLanes; ++lane) {
      const Lane value = sums[c][lane] * factor[lane];
      std::memcpy(result + c * kStrip + lane * kLane, &value, sizeof value);
    }
}

struct Attention {
  View<const float> query, key, value;  // projected: key is the map that key and value are made from
  View<float> out;
  int channels, height, width, window;
  float scale;
  bool exclude;
  bool projected = false;
  Projection by_query{}, by_key{}, by_value{};
};

/// Scores of neighbours outside the map become so low that they get no weight.
ALWAYS_INLINE void exclude_outside(const Attention& a, int y, int x, Lane (*scores)[kLanes]) {
  const int radius = a.window / 2;
  for (int dy = 0; dy < a.window; ++dy)
    for (int dx = 0; dx < a.window; ++dx) {
      const int row = y + dy - radius, left = x + dx - radius;
      const bool row_inside = row >= 0 && row < a.height;
      if (row_inside && left >= 0 && left + kStrip <= a.width) continue;
      for (int i = 0; i < kStrip; ++i)
        if (!row_inside || left + i < 0 || left + i >= a.width)
          scores[dy * a.window + dx][i / kLane][i % kLane] = -1e38f;
    }
}

ALWAYS_INLINE void read_strip(const Attention& a, int n, int y, int x, float* query) {
  copy_pixels(a.query.at(n, y, x), a.query.channel, a.query.column, a.channels, std::min(kStrip, a.width - x), query,
              kStrip);
}

/// Keys and values of one strip, row by row, read or made from the map they are projections of.
template <int kWindow>
class Surroundings {
 public:
  explicit Surroundings(const Attention& a)
      : a_(a), raw_(a.projected ? a.channels : 0), keys(a.channels), values(a.channels) {}

  void begin(int n, int y, int strip) {
    if (!a_.projected) return;
    for (int row = y - 1; row <= y; ++row) raw_.load(a_.key, a_.height, a_.width, n, row, strip);
  }

  ALWAYS_INLINE void next(int n, int y, int strip) {
    if (a_.projected) {
      raw_.load(a_.key, a_.height, a_.width, n, y + 1, strip);
      keys.project(raw_, a_.by_key, a_.height, a_.width, y, strip);
      values.project(raw_, a_.by_value, a_.height, a_.width, y, strip);
    } else {
      keys.load(a_.key, a_.height, a_.width, n, y, strip);
      values.load(a_.value, a_.height, a_.width, n, y, strip);
    }
  }

 private:
  const Attention& a_;
  RowRing<3, kWindow / 2 + 1> raw_;

 public:
  RowRing<kWindow, kWindow / 2> keys, values;
};

/// Queries of one strip, row by row; projected queries leave the map they are made from in the result as well.
class Queries {
 public:
  explicit Queries(const Attention& a)
      : a_(a), raw_(a.projected ? a.channels : 0), values(size_t(a.channels) * kStrip) {}

  void begin(int n, int y, int strip) {
    if (!a_.projected) return;
    for (int row = y - 1; row <= y; ++row) raw_.load(a_.query, a_.height, a_.width, n, row, strip);
  }

  ALWAYS_INLINE void next(int n, int y, int strip) {
    if (a_.projected) {
      raw_.load(a_.query, a_.height, a_.width, n, y + 1, strip);
      RowRing<3, 1>::convolve<kLanes>(raw_, a_.by_query, y, values.data(), kStrip);
    } else {
      read_strip(a_, n, y, strip, values.data());
    }
    if (a_.scale != 1.0f)
      for (float& value : values) value *= a_.scale;
  }

  ALWAYS_INLINE void add_to(float* result, int y) const {
    if (!a_.projected) return;
    for (int c = 0; c < a_.channels; ++c) {
      const float* centre = raw_.at(y, c) + 1;
      for (int i = 0; i < kStrip; ++i) result[c * kStrip + i] += centre[i];
    }
  }

 private:
  const Attention& a_;
  RowRing<3, 1> raw_;

 public:
  std::vector<float> values;
};

ALWAYS_INLINE void write_strip(const Attention& a, int n, int y, int x, const float* result) {
  const int count = std::min(kStrip, a.width - x);
  float* target = a.out.at(n, y, x);
  if (a.out.channel == 1) return transpose(result, kStrip, a.channels, count, target, a.out.column);
  for (int c = 0; c < a.channels; ++c)
    if (a.out.column == 1)
      std::memcpy(target + c * a.out.channel, result + c * kStrip, sizeof(float) * size_t(count));
    else
      for (int i = 0; i < count; ++i) target[i * a.out.column + c * a.out.channel] = result[c * kStrip + i];
}

template <int kWindow>
ALWAYS_INLINE void attend_rows(const Attention& a, int n, int first, int last) {
  constexpr int radius = kWindow / 2;
  const int channels = a.channels;
  Surroundings<kWindow> around(a);
  Queries query(a);
  std::vector<float> result(size_t(channels) * kStrip);
  Lane scores[kWindow * kWindow][kLanes], factor[kLanes];
  const float* rows[kWindow];
  for (int x = 0; x < a.width; x += kStrip) {
    around.begin(n, first - radius, x);
    query.begin(n, first, x);
    for (int y = first - radius; y < last + radius; ++y) {
      around.next(n, y, x);
      const int centre = y - radius;
      if (centre < first) continue;
      query.next(n, centre, x);
      for (int dy = 0; dy < kWindow; ++dy)
        score_row<kWindow>(query.values.data(), around.keys.at(centre + dy - radius, 0), channels,
                           scores + dy * kWindow);
      if (a.exclude) exclude_outside(a, centre, x, scores);
      soften(scores, kWindow * kWindow, factor);
      for (int c = 0; c < channels;) {
        for (int dy = 0; dy < kWindow; ++dy) rows[dy] = around.values.at(centre + dy - radius, c);
        const bool four = c + 4 <= channels;
        float* target = &result[size_t(c) * kStrip];
        if (four)
          weigh<kWindow, 4>(scores, factor, rows, target);
        else
          weigh<kWindow, 1>(scores, factor, rows, target);
        c += four ? 4 : 1;
      }
      query.add_to(result.data(), centre);
      write_strip(a, n, centre, x, result.data());
    }
  }
}

using Attend = void (*)(const Attention&, int, int, int);
VECTOR_CLONES void attend_1(const Attention& a, int n, int first, int last) {
  attend_rows<1>(a, n, first, last);
}
VECTOR_CLONES void attend_3(const Attention& a, int n, int first, int last) {
  attend_rows<3>(a, n, first, last);
}
VECTOR_CLONES void attend_5(const Attention& a, int n, int first, int last) {
  attend_rows<5>(a, n, first, last);
}
VECTOR_CLONES void attend_7(const Attention& a, int n, int first, int last) {
  attend_rows<7>(a, n, first, last);
}
VECTOR_CLONES void attend_9(const Attention& a, int n, int first, int last) {
  attend_rows<9>(a, n, first, last);
}
VECTOR_CLONES void attend_11(const Attention& a, int n, int first, int last) {
  attend_rows<11>(a, n, first, last);
}
constexpr Attend kAttend[] = {attend_1, attend_3, attend_5, attend_7, attend_9, attend_11};

void run(const Attention& a, int batch, int threads) {
  if (a.window < 1 || a.window > kLargestWindow || a.window % 2 == 0)
    throw std::invalid_argument("window must be odd and at most 11");
  const Attend attend = kAttend[a.window / 2];
  nb::gil_scoped_release release;
  for (int n = 0; n < batch; ++n) in_bands(a.height, threads, [&](int first, int last) { attend(a, n, first, last); });
}

void local_attention(const Maps& query, const Maps& key, const Maps& value, const Target& out, int window, float scale,
                     bool exclude, int threads) {
  check_shapes(query, key);
  check_shapes(query, value);
  check_shapes(query, out);
  const Attention a{View<const float>(query),
                    View<const float>(key),
                    View<const float>(value),
                    View<float>(out),
                    int(query.shape(1)),
                    int(query.shape(2)),
                    int(query.shape(3)),
                    window,
                    scale,
                    exclude};
  run(a, int(query.shape(0)), threads);
}

using Filters = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

void projected_attention(const Maps& query, const Maps& reference, const Target& out, const Filters& weights,
                         const Filters& biases, int window, float scale, bool exclude, int threads) {
  check_shapes(query, reference);
  check_shapes(query, out);
  const size_t channels = query.shape(1);
  if (weights.shape(0) != 3 || weights.shape(1) != 9 * channels || biases.shape(0) != 3 || biases.shape(1) != channels)
    throw std::invalid_argument("filters must be [3, 9 * channels] and [3, channels]");
  Attention a{View<const float>(query),
              View<const float>(reference),
              View<const float>(reference),
              View<float>(out),
              int(channels),
              int(query.shape(2)),
              int(query.shape(3)),
              window,
              scale,
              exclude};
  a.projected = true;
  Projection* by[3] = {&a.by_query, &a.by_key, &a.by_value};
  for (size_t k = 0; k < 3; ++k) *by[k] = {weights.data() + 9 * k * channels, biases.data() + k * channels};
  run(a, int(query.shape(0)), threads);
}

}  // namespace

void bind_attention(nb::module_& module) {
  module.def("local_attention", &local_attention, nb::arg("query"), nb::arg("key"), nb::arg("value"), nb::arg("out"),
             nb::arg("window"), nb::arg("scale"), nb::arg("exclude"), nb::arg("threads"),
             "Fill out with the attention of every pixel over its window; float32 [N, C, H, W] of any strides.");
  module.def("projected_attention", &projected_attention, nb::arg("query"), nb::arg("reference"), nb::arg("out"),
             nb::arg("weights"), nb::arg("biases"), nb::arg("window"), nb::arg("scale"), nb::arg("exclude"),
             nb::arg("threads"),
             "As local_attention with query, key and value made by 3x3 filters per channel; the query map is added.");
}

}  // namespace vssbench::ops
