// The slice data loop (7.3.4) and everything around it: pictures, slices, what is missing.
#include <algorithm>

#include "cabac_contexts.hpp"
#include "slice_decoder.hpp"

namespace vssbench::h264 {
namespace {

constexpr size_t kMostSlices = 65535;  // indices are 16 bits wide

}  // namespace

void PictureDecoder::fail(const char* what) const {
  throw SyntaxError(std::string(what) + " at macroblock " + std::to_string(address_));
}

void PictureDecoder::prepare(Picture& picture) {
  picture_ = &picture;
  const Sps& sps = *picture.sps;
  width_ = sps.width_in_mbs;
  height_ = sps.height_in_mbs;
  picture.motion = std::make_shared<MotionStore>(sps.width, sps.height, !sps.frame_mbs_only, picture.with_details);
  store_ = picture.motion.get();
  store_->slices.reserve(picture.segments.size());
  details_ = picture.with_details;
  const size_t count = static_cast<size_t>(width_) * static_cast<size_t>(height_);
  macroblocks_.resize(count);
  for (Macroblock& mb : macroblocks_) mb.slice = 0;
  next_address_ = 0;
  used_missing_ = false;
}

void PictureDecoder::decode(Picture& picture) {
  prepare(picture);
  for (const auto& segment : picture.segments) {
    try {
      if (store_->slices.size() >= kMostSlices) throw SyntaxError("the picture has too many slices");
      slice_ = static_cast<uint32_t>(store_->slices.size()) + 1;
      begin_slice(*segment);
      decode_slice(*segment);
    } catch (const SyntaxError& error) {
      picture.issues.push_back({segment->payload.offset, segment->header.nal_type, error.what()});
    }
    if (used_missing_) {
      picture.issues.push_back(
          {segment->payload.offset, segment->header.nal_type,
           "picture " + std::to_string(picture.poc) + " is predicted from a reference picture that the stream lacks"});
      picture.unreliable = true;
      used_missing_ = false;
    }
  }
  conceal_missing();
  picture.segments.clear();
  colocated_.reset();
  picture.finish();
}

void PictureDecoder::begin_references(const SliceSegment& segment) {
  SliceReferences references;
  for (unsigned list = 0; list < 2; ++list) {
    const auto& entries = segment.lists[list];
    for (size_t i = 0; i < entries.size(); ++i) {
      const Reference& entry = entries[i];
      ref_poc_[list][i] = entry.poc;
      ref_missing_[list][i] = !entry.picture || entry.picture->non_existing;
      references.key[list][i] = entry.picture ? 4 * entry.picture->number + entry.parity : ~uint32_t{0};
    }
  }
  store_->slices.push_back(references);
}

void PictureDecoder::begin_slice(SliceSegment& segment) {
  segment_ = &segment;
  mb_ = nullptr;
  header_ = &segment.header;
  sps_ = header_->sps.get();
  pps_ = header_->pps.get();
  type_ = header_->type;
  mbaff_ = header_->mbaff;
  field_picture_ = header_->field();
  chroma_format_ = sps_->chroma_format;
  qp_ = header_->qp;
  last_qp_delta_ = 0;
  begin_references(segment);
  colocated_.reset();
  if (type_ == kSliceB) prepare_direct(segment);
}

void PictureDecoder::decode_slice(SliceSegment& segment) {
  const Payload& payload = segment.payload;
  address_ = header_->first_mb * (mbaff_ ? 2 : 1);
  try {
    if (pps_->cabac) {
      cabac_ = Cabac(payload.bytes.data(), payload.size);
      cabac_.start((header_->data_bit + 7) / 8);
      initialise_contexts(models_, header_->type == kSliceI ? 0 : 1 + header_->cabac_init_idc, header_->qp);
      mbaff_ ? decode_pairs<true>() : decode_macroblocks<true>();
    } else {
      vlc_ = VlcReader(payload.bytes.data(), payload.size, header_->data_bit);
      mbaff_ ? decode_pairs<false>() : decode_macroblocks<false>();
    }
  } catch (const SyntaxError&) {
    if (mb_ != nullptr) mb_->slice = 0;  // half read
    throw;
  }
}

void PictureDecoder::begin_address() {
  const uint32_t width = static_cast<uint32_t>(width_);
  const uint32_t row = address_ / width, column = address_ % width;
  if (at_end()) fail("the slice goes on behind the last macroblock");
  const int storage = static_cast<int>(field_picture_ ? 2 * row + (header_->structure == kBottomField) : row);
  if (colocated_ && (column == 0 || address_ == header_->first_mb)) wait_for_colocated(storage);
  begin_macroblock(static_cast<int>(column), storage, false);
}

bool PictureDecoder::at_end() const {
  const uint32_t count = static_cast<uint32_t>(width_ * height_);
  return address_ >= (field_picture_ ? count / 2 : count);
}

template <bool kCabac>
void PictureDecoder::decode_macroblocks() {
  if constexpr (kCabac) {
    for (bool end = false; !end;) {
      begin_address();
      if (type_ != kSliceI && cabac_skip()) {
        skip_macroblock();
      } else {
        macroblock<true>();
      }
      end = cabac_.terminate();
      if (cabac_.overrun()) fail("the slice ends early");
      next_macroblock();
    }
    return;
  }
  do {
    if (type_ != kSliceI) {
      const uint32_t run = vlc_.ue();
      for (uint32_t i = 0; i < run; ++i) {
        begin_address();
        skip_macroblock();
        next_macroblock();
      }
      if (run > 0 && !vlc_.more()) break;
    }
    begin_address();
    macroblock<false>();
    next_macroblock();
    if (vlc_.overrun()) fail("the slice ends early");
  } while (vlc_.more());
}

void PictureDecoder::next_macroblock() {
  mb_ = nullptr;
  ++address_;
  if (address_ != next_address_ + 1) return;
  next_address_ = address_;
  const uint32_t per_row = static_cast<uint32_t>(mbaff_ ? 2 * width_ : width_);
  if (field_picture_ || next_address_ % per_row != 0) return;
  picture_->publish_rows(static_cast<int>(next_address_ / per_row) * (mbaff_ ? 2 : 1));
}

// Field decoding of a pair of which nothing has been read (7.4.4): like the pair on the left, else above
bool PictureDecoder::inferred_field() const {
  if (const Macroblock* left = pair(-1, 0)) return left->field;
  if (const Macroblock* above = pair(0, -1)) return above->field;
  return false;
}

template <bool kCabac>
void PictureDecoder::decode_pairs() {
  int64_t run = -1;  // CAVLC: macroblocks yet to skip; 0: the next one is coded; -1: not read
  bool end = false;
  while (!end) {
    if (at_end()) fail("the slice goes on behind the last macroblock");
    const uint32_t index = address_ / 2, width = static_cast<uint32_t>(width_);
    mb_x_ = static_cast<int>(index % width);
    mb_y_ = 2 * static_cast<int>(index / width);
    if (colocated_ && (mb_x_ == 0 || index == header_->first_mb)) wait_for_colocated(mb_y_);
    if constexpr (kCabac) {
      decode_pair_cabac();
      end = cabac_.terminate();
      if (cabac_.overrun()) fail("the slice ends early");
    } else {
      end = decode_pair_cavlc(run);
      if (vlc_.overrun()) fail("the slice ends early");
    }
    next_macroblock();
  }
}

void PictureDecoder::decode_pair_cabac() {
  const int x = mb_x_, y = mb_y_;
  bool field = inferred_field(), skip_top = false, skip_bottom = false;
  if (type_ != kSliceI) {
    begin_macroblock(x, y, field);
    skip_top = cabac_skip();
  }
  if (skip_top) {  // whether the pair is of fields is told with the bottom macroblock
    mb_->type = type_ == kSliceP ? kPSkip : kBSkip;
    begin_macroblock(x, y + 1, field);
    skip_bottom = cabac_skip();
    mb_->slice = 0;
  }
  if (!skip_bottom) field = cabac_field(x, y);
  begin_macroblock(x, y, field);
  if (skip_top) {
    skip_macroblock();
  } else {
    macroblock<true>();
  }
  next_macroblock();
  begin_macroblock(x, y + 1, field);
  if (!skip_top && type_ != kSliceI) skip_bottom = cabac_skip();
  if (skip_bottom) {
    skip_macroblock();
  } else {
    macroblock<true>();
  }
}

// Returns whether the slice ends.
bool PictureDecoder::decode_pair_cavlc(int64_t& run) {
  const int x = mb_x_, y = mb_y_;
  bool field = inferred_field(), skipped_top = false;
  for (int bottom = 0; bottom < 2; ++bottom) {
    if (type_ != kSliceI && run < 0) run = vlc_.ue();
    if (run > 0) {
      const bool ends = --run == 0 && !vlc_.more();
      if (bottom == 0) {
        if (ends) fail("the slice ends inside a macroblock pair");
        skipped_top = true;
        if (run == 0) field = vlc_.peek() >> 31;  // told with the bottom macroblock
      }
      begin_macroblock(x, y + bottom, field);
      skip_macroblock();
      if (ends) return true;
    } else {
      if (bottom == 0 || skipped_top) field = vlc_.flag();
      begin_macroblock(x, y + bottom, field);
      macroblock<false>();
      run = -1;
      if (!vlc_.more()) {
        if (bottom == 0) fail("the slice ends inside a macroblock pair");
        return true;
      }
    }
    if (bottom == 0) next_macroblock();
  }
  return false;
}

void PictureDecoder::wait_for_colocated(int row) {
  if (colocated_.get() != picture_) colocated_->wait_for_rows(std::min(height_, (row | 1) + 1));
}

void PictureDecoder::conceal_missing() {
  const size_t columns = static_cast<size_t>(store_->columns);
  for (int y = 0; y < height_; ++y) {
    const bool absent = picture_->fields && !(picture_->decoded & (y & 1 ? 2 : 1));  // of an unpaired field
    for (int x = 0; x < width_; ++x) {
      if (at(x, y).slice != 0) continue;
      store_->clear_macroblock(x, y);
      store_->mb_field[static_cast<size_t>(y * width_ + x)] = picture_->fields;
      if (absent) continue;
      if (!store_->lost) store_->lost.reset(new uint8_t[columns * static_cast<size_t>(store_->rows)]());
      for (int row = 4 * y; row < 4 * y + 4; ++row) {
        std::fill_n(&store_->lost[static_cast<size_t>(row) * columns + static_cast<size_t>(4 * x)], 4, uint8_t{1});
      }
    }
  }
}

}  // namespace vssbench::h264
