#include "decoder.hpp"

#include <algorithm>

#include "reference_lists.hpp"

namespace vssbench::h264 {

void Decoder::handle_unit(const NalSpan& nal) {
  const int type = nal.data[0] & 31;
  const unsigned nal_ref_idc = nal.data[0] >> 5 & 3;
  if (nal.data[0] & 0x80) return report(nal.offset, type, "forbidden_zero_bit is set");
  if (type == kSlice || type == kIdrSlice) {
    handle_slice(unescape(nal, 1, static_cast<unsigned>(type)), nal_ref_idc);
  } else if (type >= kPartitionA && type <= kPartitionC) {
    report(nal.offset, type, "data partitioning is not read; re-encode without it", true);
  } else if (type == kSps || type == kPps) {
    handle_parameter_set(unescape(nal, 1, static_cast<unsigned>(type)));
  } else if (type == kEndOfSequence || type == kEndOfStream) {
    finish_picture();
    buffer_.end_of_sequence();
    tainted_ = false;
    after_end_ = true;
  } else if (type == kSubsetSps || type == kSliceExtension || type == kSliceExtensionDepth) {
    ++upper_layer_units_;
    upper_layer_pictures_ = upper_layer_pictures_ || type != kSubsetSps;
  }
}

void Decoder::handle_parameter_set(const Payload& payload) {
  try {
    if (payload.nal_type == kSps) {
      auto sps = std::make_shared<Sps>(parse_sps(payload));
      auto& slot = sets_.sps[sps->id];
      if (!slot || slot->source != sps->source) slot = std::move(sps);
    } else {
      auto pps = std::make_shared<Pps>(parse_pps(payload, sets_));
      auto& slot = sets_.pps[pps->id];
      if (!slot || slot->source != pps->source) slot = std::move(pps);
    }
  } catch (const UnsupportedError& error) {
    report(payload.offset, payload.nal_type, error.what(), true);
  } catch (const SyntaxError& error) {
    report(payload.offset, payload.nal_type, error.what());
  }
}

void Decoder::handle_slice(Payload&& payload, unsigned nal_ref_idc) {
  const uint64_t offset = payload.offset;
  const int type = payload.nal_type;
  try {
    SliceHeader header;
    try {
      header = parse_slice_header(payload, nal_ref_idc, sets_);
    } catch (const SyntaxError&) {
      if (payload.size > 0 && payload.bytes[0] & 0x80) {  // first_mb_in_slice is 0: another picture
        finish_picture();
        ++access_units_;
      }
      throw;
    }
    if (header.redundant_pic_cnt > 0) return;
    if (!first_ || !same_picture(header, *first_)) {
      if (first_) finish_field();
      if (is_second_field(header)) {
        buffer_.begin_second_field(*current_, header);
      } else {
        finish_picture();
        ++access_units_;
        begin_picture(header, offset);
      }
      first_ = std::make_unique<SliceHeader>(header);
      last_first_mb_ = -1;
      field_slices_ = 0;
    }
    add_slice(std::move(header), std::move(payload));
  } catch (const UnsupportedError& error) {
    report(offset, type, error.what(), true);
  } catch (const SyntaxError& error) {
    if (current_) {
      current_->issues.push_back({offset, type, error.what()});  // seen when its turn to be output comes
    } else {
      report(offset, type, error.what());
    }
  }
}

bool Decoder::is_second_field(const SliceHeader& header) const {
  if (!current_ || !current_->fields || !header.field() || current_->decoded == 3) return false;
  return header.structure != current_->first_field && header.sps == current_->sps &&
         header.frame_num == current_->frame_num && (current_->reference || !header.reference) &&
         (!header.idr() || current_->nal_type == kIdrSlice);
}

void Decoder::begin_picture(const SliceHeader& header, uint64_t offset) {
  const Sps& sps = *header.sps;
  if (static_cast<uint64_t>(sps.width) * static_cast<uint64_t>(sps.height) > options_.max_luma_samples) {
    throw SyntaxError("the picture is larger than the limit of " + std::to_string(options_.max_luma_samples) +
                      " luma samples");
  }
  if (sps_ && !header.idr() && (sps.width != sps_->width || sps.height != sps_->height))
    throw SyntaxError("the picture size changes without an IDR picture");
  std::string problem;
  auto picture = buffer_.begin(header, problem);
  any_picture_ = true;
  sps_ = header.sps;
  picture->offset = offset;
  picture->decode_index = access_units_ - 1;
  picture->with_details = options_.details;
  if (header.idr() || header.resets()) tainted_ = false;
  if (!problem.empty()) {
    picture->issues.push_back({offset, header.nal_type, problem});
    tainted_ = true;
  }
  if (after_end_ || header.idr()) {
    entered_ = !header.idr() && header.type == kSliceI;
    entry_sequence_ = picture->coded_sequence;
    entry_poc_ = picture->poc;
    after_end_ = false;
  }
  current_ = std::move(picture);
}

// Pictures that are output before the one where the stream was entered refer to what precedes that.
bool Decoder::leads(const Picture& picture) const {
  return entered_ && picture.coded_sequence == entry_sequence_ && picture.poc < entry_poc_ &&
         picture.slice_type != kSliceI;
}

void Decoder::add_slice(SliceHeader&& header, Payload&& payload) {
  Picture& picture = *current_;
  if (int64_t{header.first_mb} <= last_first_mb_) {
    if (header.sps->profile == 66 && int64_t{header.first_mb} < last_first_mb_)
      throw UnsupportedError("arbitrary slice order is not read; re-encode without it");
    throw SyntaxError("first_mb_in_slice does not increase inside a picture");
  }
  auto segment = std::make_unique<SliceSegment>();
  const bool complete = make_lists(header, current_, buffer_.pictures(), segment->lists);
  if (picture.slices++ == 0) {
    for (unsigned list = 0; list < 2; ++list) {
      for (const Reference& reference : segment->lists[list])
        picture.list_references[list].push_back({reference.poc, reference.long_term, reference.parity});
    }
  }
  picture.slice_type = std::min<uint8_t>(picture.slice_type, header.type);
  if (!complete) {
    picture.issues.push_back({payload.offset, payload.nal_type,
                              "reference list modification of picture " + std::to_string(picture.poc) +
                                  " names a picture that the stream lacks"});
    picture.unreliable = true;
  }
  last_first_mb_ = header.first_mb;
  picture.coded_bytes += payload.bytes.size() - Payload::kPadding + 1;
  segment->field_poc[0] = picture.field_poc[0];
  segment->field_poc[1] = picture.field_poc[1];
  segment->number = field_slices_++;
  segment->header = std::move(header);
  segment->payload = std::move(payload);
  picture.segments.push_back(std::move(segment));
}

// The frame or field is over: references are marked for what follows.
void Decoder::finish_field() {
  if (current_ && first_) buffer_.mark(current_, *first_);
  first_.reset();
  if (current_ && (!current_->fields || current_->decoded == 3)) finish_picture();
}

void Decoder::finish_picture() {
  if (!current_) return;
  if (first_) buffer_.mark(current_, *first_);
  first_.reset();
  auto picture = std::move(current_);
  current_.reset();
  picture->unreliable = picture->unreliable || (tainted_ && picture->slice_type != kSliceI);
  if (options_.strict && leads(*picture)) {
    picture->segments.clear();
    picture->issues.clear();
    picture->finish();
    buffer_.end(picture, false);
    return;
  }
  buffer_.end(picture, true);
  submit(picture);
}

}  // namespace vssbench::h264
