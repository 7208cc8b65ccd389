// Neighbouring macroblocks and what is copied from them (6.4.9 to 6.4.12).
#include <algorithm>

#include "slice_decoder.hpp"

namespace vssbench::h264 {

namespace {
constexpr uint8_t kNoCount = 64;  ///< coefficients of an unavailable block
}  // namespace

void PictureDecoder::begin_macroblock(int mb_x, int mb_y, bool field) {
  mb_x_ = mb_x;
  mb_y_ = mb_y;
  field_mb_ = field;
  Macroblock& mb = at(mb_x, mb_y);
  if (mb.slice != 0 && mb.slice != slice_) fail("two slices have the same macroblock,");
  mb_ = &mb;
  mb_->slice = slice_;
  mb_->field = field;
  for (unsigned list = 0; list < 2; ++list) refs_count_[list] = header_->refs[list] << (field ? 1 : 0);
  if (mbaff_) return find_neighbours_mbaff();
  find_neighbours();
}

// 6.4.9, 6.4.10; rows of one field lie two apart
void PictureDecoder::find_neighbours() {
  const int step = field_picture_ ? 2 : 1;
  const auto locate = [&](int dx, int dy, int block_y) -> Position {
    const int x = mb_x_ + dx, y = mb_y_ + dy;
    if (x < 0 || x >= width_ || y < 0) return {};
    const Macroblock* mb = mb_ + dy * width_ + dx;
    if (mb->slice != slice_) return {};
    return {mb, y, x, block_y};
  };
  const Position left = locate(-1, 0, 0);
  for (int i = 0; i < 4; ++i) {
    left_blocks_[i] = left;
    left_blocks_[i].block_y = i;
  }
  above_block_ = locate(0, -step, 3);
  above_left_ = locate(-1, -step, 3);
  above_right_ = locate(1, -step, 3);
  left_ = left.mb;
  above_ = above_block_.mb;
}

// The top macroblock of a neighbouring pair, if available.
const Macroblock* PictureDecoder::pair(int dx, int dy) const {
  const int x = mb_x_ + dx, y = (mb_y_ & ~1) + 2 * dy;
  if (x < 0 || x >= width_ || y < 0) return nullptr;
  const Macroblock* mb = &macroblocks_[static_cast<size_t>(y * width_ + x)];
  return mb->slice == slice_ ? mb : nullptr;
}

// Table 6-4 for xN < 0 and 0 <= yN
PictureDecoder::Position PictureDecoder::locate_left(int y) const {
  const Macroblock* top = pair(-1, 0);
  if (top == nullptr) return {};
  const int bottom = mb_y_ & 1;
  int which = bottom, line = y;
  if (top->field != field_mb_) {
    if (field_mb_) {  // the pair's line 2y + parity
      const int of_pair = 2 * y + bottom;
      which = of_pair >> 4;
      line = of_pair & 15;
    } else {
      const int of_pair = y + 16 * bottom;
      which = of_pair & 1;
      line = of_pair >> 1;
    }
  }
  return {top + which * width_, (mb_y_ & ~1) + which, mb_x_ - 1, line >> 2};
}

// Table 6-4 for yN = -1, above the macroblock, left or right of that
PictureDecoder::Position PictureDecoder::locate_above(int dx) const {
  const int bottom = mb_y_ & 1, row = mb_y_ & ~1;
  if (bottom && !field_mb_) {  // inside the row of pairs
    if (dx > 0) return {};
    if (dx == 0) return {mb_ - width_, row, mb_x_, 3};
    const Macroblock* left = pair(-1, 0);
    if (left == nullptr) return {};
    if (left->field) return {left + width_, row + 1, mb_x_ - 1, 1};
    return {left, row, mb_x_ - 1, 3};
  }
  const Macroblock* top = pair(dx, -1);
  if (top == nullptr) return {};
  const int which = !field_mb_ || bottom || !top->field;
  return {top + which * width_, row - 2 + which, mb_x_ + dx, 3};
}

void PictureDecoder::find_neighbours_mbaff() {
  for (int i = 0; i < 4; ++i) left_blocks_[i] = locate_left(4 * i);
  above_block_ = locate_above(0);
  above_left_ = locate_above(-1);
  above_right_ = locate_above(1);
  left_ = left_blocks_[0].mb;
  above_ = above_block_.mb;
}

// Numbers of coefficients around the macroblock. Where a block is unavailable, CABAC takes it as coded for intra
// macroblocks and as not coded for others (9.3.3.1.1.9), and 8x8 blocks, whose flags 4:4:4 has, look at 8x8 blocks
// only.
void PictureDecoder::fill_coefficients() {
  const bool flags_8x8 = pps_->cabac && chroma_format_ == 3 && mb_->transform_8x8;
  const auto of = [&](const Macroblock& mb, unsigned block) -> uint8_t {
    return flags_8x8 && !mb.transform_8x8 && mb.type != kPcm ? uint8_t{0} : mb.coefficients[block];
  };
  const uint8_t unavailable = !pps_->cabac || is_intra(mb_->type) ? kNoCount : 0;
  const unsigned planes = chroma_format_ == 0 ? 1 : 3;
  for (unsigned plane = 0; plane < planes; ++plane) {
    uint8_t* counts = coefficients_[plane];
    for (int y = 0; y < 4; ++y) std::memset(counts + grid(0, y), 0, 4);
    const unsigned base = 16 * plane;
    const bool narrow = plane > 0 && chroma_format_ != 3;
    const int columns = narrow ? 2 : 4, rows = narrow && chroma_format_ == 1 ? 2 : 4;
    for (int x = 0; x < columns; ++x) {
      counts[grid(x, -1)] = above_ ? of(*above_, base + static_cast<unsigned>((rows - 1) * columns + x)) : unavailable;
    }
    for (int y = 0; y < rows; ++y) {
      const Position& left = left_blocks_[rows == 2 ? 2 * y : y];
      const int row = rows == 2 ? left.block_y >> 1 : left.block_y;
      counts[grid(-1, y)] =
          left.mb ? of(*left.mb, base + static_cast<unsigned>(row * columns + columns - 1)) : unavailable;
    }
  }
}

// Motion of one neighbouring block in the units of this macroblock (8.4.1.3.1)
PictureDecoder::Neighbour PictureDecoder::neighbour(unsigned list, const Position& position, int block_x) const {
  if (position.mb == nullptr) return {};
  const size_t at = static_cast<size_t>(4 * position.row + position.block_y) * static_cast<size_t>(store_->columns) +
                    static_cast<size_t>(4 * position.column + block_x);
  const int ref = store_->refs[at].list[list];
  const Vector vector = store_->vectors[at].list[list];
  if (position.mb->field == field_mb_ || ref < 0) return {ref, vector};
  if (field_mb_) return {ref * 2, {vector.x, static_cast<int16_t>(vector.y / 2)}};
  return {ref >> 1, {vector.x, static_cast<int16_t>(vector.y * 2)}};
}

void PictureDecoder::fill_motion_at(unsigned list, int index, const Position& position, int block_x) {
  const Neighbour found = neighbour(list, position, block_x);
  refs_[list][index] = static_cast<int8_t>(found.ref);
  vectors_[list][index] = found.vector;
}

void PictureDecoder::fill_motion(unsigned list) {
  for (int i = 0; i < 4; ++i) {
    fill_motion_at(list, grid(i, -1), above_block_, i);
    fill_motion_at(list, grid(-1, i), left_blocks_[i], 3);
  }
  fill_motion_at(list, grid(-1, -1), above_left_, 3);
  fill_motion_at(list, grid(4, -1), above_right_, 0);
}

MvdSize PictureDecoder::mvd_of(unsigned list, const Macroblock* mb, int entry) const {
  if (mb == nullptr) return {};
  MvdSize size = mb->mvd[list][entry];
  if (mb->field != field_mb_) size.y = static_cast<uint8_t>(field_mb_ ? size.y >> 1 : size.y << 1);
  return size;
}

void PictureDecoder::fill_mvd(unsigned list) {
  for (int i = 0; i < 4; ++i) {
    const int row = left_blocks_[i].block_y;
    mvd_[list][grid(i, -1)] = mvd_of(list, above_, i);
    mvd_[list][grid(-1, i)] = mvd_of(list, left_blocks_[i].mb, row == 3 ? 3 : 4 + row);
  }
  if (list > 0 || type_ != kSliceB) return;
  for (int i = 0; i < 4; ++i) {
    const Position& left = left_blocks_[i];
    direct_grid_[grid(i, -1)] = above_ && (above_->direct >> (2 + i / 2) & 1);
    direct_grid_[grid(-1, i)] = left.mb && (left.mb->direct >> (left.block_y / 2 * 2 + 1) & 1);
  }
}

}  // namespace vssbench::h264
