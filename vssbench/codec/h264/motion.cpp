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
void PictureDecoder::diagonal(unsigned list, int x, int y, int width, int& ref, Vector& vector) const {
  const int right = x + width;
  if (y == 0 || (right < 4 && rank(right, y - 1) < rank(x, y))) {
    const int at = grid(right, y - 1);
    if (refs_[list][at] != kUnavailable) {
      ref = refs_[list][at];
      vector = vectors_[list][at];
      return;
    }
  }
  if (mbaff_ && x == 0 && y > 0) {  // the left pair may be cut otherwise
    neighbour_motion(list, locate_left(4 * y - 1), 3, ref, vector);
    return;
  }
  const int at = grid(x - 1, y - 1);
  ref = refs_[list][at];
  vector = vectors_[list][at];
}

// 8.4.1.3
Vector PictureDecoder::predict(unsigned list, int ref, int x, int y, int width) const {
  const int at = grid(x, y);
  const int ref_a = refs_[list][at - 1], ref_b = refs_[list][at - kGridWidth];
  const Vector a = vectors_[list][at - 1], b = vectors_[list][at - kGridWidth];
  int ref_c;
  Vector c;
  diagonal(list, x, y, width, ref_c, c);
  if (ref_b == kUnavailable && ref_c == kUnavailable && ref_a != kUnavailable) return a;
  const int matches = (ref_a == ref) + (ref_b == ref) + (ref_c == ref);
  if (matches == 1) return ref_a == ref ? a : ref_b == ref ? b : c;
  return {median(a.x, b.x, c.x), median(a.y, b.y, c.y)};
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
  int ref_c;
  Vector c;
  diagonal(list, 2, 0, 2, ref_c, c);
  return ref_c == ref ? c : predict(list, ref, 2, 0, 2);
}

void PictureDecoder::set_motion(unsigned list, int x, int y, int width, int height, int ref, Vector vector) {
  for (int row = y; row < y + height; ++row) {
    const int at = grid(x, row);
    std::memset(&refs_[list][at], ref, static_cast<size_t>(width));
    std::fill_n(&vectors_[list][at], width, vector);
  }
}

void PictureDecoder::clear_list1() {
  set_motion(1, 0, 0, 4, 4, kUnused, {});
}

// 8.4.1.1
void PictureDecoder::p_skip() {
  fill_motion(0);
  const int left = grid(-1, 0), above = grid(0, -1);
  const auto still = [&](int at) { return refs_[0][at] == 0 && vectors_[0][at] == Vector{}; };
  Vector vector;
  if (refs_[0][left] != kUnavailable && refs_[0][above] != kUnavailable && !still(left) && !still(above)) {
    vector = predict(0, 0, 0, 0, 4);
  }
  set_motion(0, 0, 0, 4, 4, 0, vector);
  clear_list1();
}

void PictureDecoder::store_motion() {
  const unsigned shift = field_mb_ ? 1 : 0;
  const uint8_t mode = is_skip(mb_->type) ? 2 : 1;
  bool missing = false;
  for (int y = 0; y < 4; ++y) {
    const size_t row = static_cast<size_t>(4 * mb_y_ + y) * static_cast<size_t>(store_->columns) +
                       static_cast<size_t>(4 * mb_x_);
    for (int x = 0; x < 4; ++x) {
      const int at = grid(x, y);
      const size_t to = row + static_cast<size_t>(x);
      store_->vectors[to] = {{vectors_[0][at], vectors_[1][at]}};
      const int8_t refs[2] = {refs_[0][at], refs_[1][at]};
      store_->refs[to] = {{refs[0], refs[1]}};
      PocPair pocs;
      for (unsigned list = 0; list < 2; ++list) {
        pocs.list[list] = kNoReference;
        if (refs[list] < 0) continue;
        const unsigned entry = static_cast<unsigned>(refs[list]) >> shift;
        pocs.list[list] = ref_poc_[list][entry];
        missing |= ref_missing_[list][entry] != 0;
      }
      store_->pocs[to] = pocs;
      store_->mode[to] = mode;
    }
  }
  used_missing_ |= missing;
  if (details_) store_parity();
}

// Parity of the references: 0 frame, 1 top, 2 bottom field
void PictureDecoder::store_parity() {
  for (int y = 0; y < 4; ++y) {
    for (int x = 0; x < 4; ++x) {
      const size_t to = static_cast<size_t>(4 * mb_y_ + y) * static_cast<size_t>(store_->columns) +
                        static_cast<size_t>(4 * mb_x_ + x);
      for (unsigned list = 0; list < 2; ++list) {
        const int ref = refs_[list][grid(x, y)];
        uint8_t parity = 0;
        if (ref >= 0 && field_mb_) parity = static_cast<uint8_t>(1 + ((ref ^ mb_y_) & 1));
        if (ref >= 0 && field_picture_) parity = segment_->lists[list][static_cast<size_t>(ref)].parity;
        store_->ref_parity[2 * to + list] = parity;
      }
    }
  }
}

}  // namespace vssbench::h264
