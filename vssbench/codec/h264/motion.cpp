// Motion vector prediction (8.4.1) and the storage of motion.
#include <algorithm>

#include "slice_decoder.hpp"

namespace vssbench::h264 {
namespace {

constexpr int16_t median(int16_t a, int16_t b, int16_t c) {
  return std::max(std::min(a, b), std::min(std::max(a, b), c));
}

// Rank of a 4x4 block in decoding order (6.4.3)
constexpr int rank(int x, int y) {
  return (x & 1) | (y & 1) << 1 | (x & 2) << 1 | (y & 2) << 2;
}

}  // namespace

// 8.4.1.3.2: the block above and right, else above and left
PictureDecoder::Neighbour PictureDecoder::diagonal(unsigned list, int x, int y, int width) const {
  const int right = x + width;
  if (y == 0 || (right < 4 && rank(right, y - 1) < rank(x, y))) {
    const int at = grid(right, y - 1);
    if (refs_[list][at] != kUnavailable) return {refs_[list][at], vectors_[list][at]};
  }
  if (mbaff_ && x == 0 && y > 0) return neighbour(list, locate_left(4 * y - 1), 3);  // the pair may be cut otherwise
  const int at = grid(x - 1, y - 1);
  return {refs_[list][at], vectors_[list][at]};
}

// 8.4.1.3
Vector PictureDecoder::predict_from(int ref, const Neighbour& a, const Neighbour& b, const Neighbour& c) {
  const int matches = (a.ref == ref) + (b.ref == ref) + (c.ref == ref);
  if (matches == 1) return a.ref == ref ? a.vector : b.ref == ref ? b.vector : c.vector;
  if (b.ref == kUnavailable && c.ref == kUnavailable && a.ref != kUnavailable) return a.vector;
  return {median(a.vector.x, b.vector.x, c.vector.x), median(a.vector.y, b.vector.y, c.vector.y)};
}

Vector PictureDecoder::predict(unsigned list, int ref, int x, int y, int width) const {
  const int left = grid(x - 1, y), above = grid(x, y - 1);
  return predict_from(ref, {refs_[list][left], vectors_[list][left]}, {refs_[list][above], vectors_[list][above]},
                      diagonal(list, x, y, width));
}

// Neighbours of the whole macroblock
PictureDecoder::Corners PictureDecoder::corners(unsigned list) const {
  Corners found{neighbour(list, left_blocks_[0], 3), neighbour(list, above_block_, 0),
                neighbour(list, above_right_, 0)};
  if (found.diagonal.ref == kUnavailable) found.diagonal = neighbour(list, above_left_, 3);
  return found;
}

Vector PictureDecoder::predict_16x8(unsigned list, int ref, int y) const {
  const int at = y == 0 ? grid(0, -1) : grid(-1, 2);
  return refs_[list][at] == ref ? vectors_[list][at] : predict(list, ref, 0, y, 4);
}

Vector PictureDecoder::predict_8x16(unsigned list, int ref, int x) const {
  if (x == 0) {
    const int at = grid(-1, 0);
    return refs_[list][at] == ref ? vectors_[list][at] : predict(list, ref, 0, 0, 2);
  }
  const Neighbour c = diagonal(list, 2, 0, 2);
  return c.ref == ref ? c.vector : predict(list, ref, 2, 0, 2);
}

void PictureDecoder::set_motion(unsigned list, int x, int y, int width, int height, int ref, Vector vector) {
  fill_grid(refs_[list], x, y, width, height, static_cast<int8_t>(ref));
  fill_grid(vectors_[list], x, y, width, height, vector);
}

// 8.4.1.1
void PictureDecoder::p_skip() {
  const Corners near = corners(0);
  const auto still = [](const Neighbour& n) { return n.ref == 0 && n.vector == Vector{}; };
  Vector vector;
  if (near.left.ref != kUnavailable && near.above.ref != kUnavailable && !still(near.left) && !still(near.above)) {
    vector = predict_from(0, near.left, near.above, near.diagonal);
  }
  store_uniform({{0, kUnused}}, {{vector, {}}});
}

PocPair PictureDecoder::pocs_of(RefPair refs) {
  PocPair pocs;
  for (unsigned list = 0; list < 2; ++list) {
    const unsigned entry = static_cast<unsigned>(refs.list[list]) >> (field_mb_ ? 1 : 0);
    const bool used = refs.list[list] >= 0;
    pocs.list[list] = used ? ref_poc_[list][entry] : kNoReference;
    used_missing_ |= used && ref_missing_[list][entry];
  }
  return pocs;
}

// One motion for the whole macroblock
void PictureDecoder::store_uniform(RefPair refs, VectorPair vectors) {
  const PocPair pocs = pocs_of(refs);
  const uint8_t mode = is_skip(mb_->type) ? 2 : 1;
  size_t row = first_block();
  for (int y = 0; y < 4; ++y, row += static_cast<size_t>(store_->columns)) {
    for (size_t x = row; x < row + 4; ++x) {
      store_->vectors[x] = vectors;
      store_->pocs[x] = pocs;
    }
    std::fill_n(&store_->refs[row], 4, refs);
    std::memset(&store_->mode[row], mode, 4);
  }
  if (store_->ref_parity) store_parity();
}

// The motion in the grids
void PictureDecoder::store_motion() {
  const unsigned lists = type_ == kSliceB ? 2 : 1;
  const uint8_t mode = is_skip(mb_->type) ? 2 : 1;
  size_t row = first_block();
  PocPair pocs[2];
  RefPair refs[2];
  for (int y = 0; y < 4; ++y, row += static_cast<size_t>(store_->columns)) {
    for (int half = 0; half < 2 && y % 2 == 0; ++half) {
      const int at = grid(2 * half, y);
      refs[half] = {{refs_[0][at], lists == 2 ? refs_[1][at] : kUnused}};
      pocs[half] = pocs_of(refs[half]);
    }
    for (int x = 0; x < 4; ++x) {
      const size_t to = row + static_cast<size_t>(x);
      store_->vectors[to] = {{vectors_[0][grid(x, y)], lists == 2 ? vectors_[1][grid(x, y)] : Vector{}}};
      store_->refs[to] = refs[x / 2];
      store_->pocs[to] = pocs[x / 2];
    }
    std::memset(&store_->mode[row], mode, 4);
  }
  if (store_->ref_parity) store_parity();
}

// Parity of the references: 0 frame, 1 top, 2 bottom field
void PictureDecoder::store_parity() {
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) {
      const size_t to = first_block() + static_cast<size_t>(y * store_->columns + x);
      for (unsigned list = 0; list < 2; ++list) {
        const int ref = store_->refs[to].list[list];
        uint8_t parity = 0;
        if (ref >= 0 && field_mb_) parity = static_cast<uint8_t>(1 + ((ref ^ mb_y_) & 1));
        if (ref >= 0 && field_picture_) parity = segment_->lists[list][static_cast<size_t>(ref)].parity;
        store_->ref_parity[2 * to + list] = parity;
      }
    }
  }
}

}  // namespace vssbench::h264
