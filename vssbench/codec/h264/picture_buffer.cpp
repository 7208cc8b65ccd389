#include "picture_buffer.hpp"

#include <algorithm>

namespace vssbench::h264 {
namespace {

constexpr uint8_t kBothFields = 3;

uint8_t fields_of(Structure structure) {
  return structure == kFrame ? kBothFields : static_cast<uint8_t>(structure);
}

void set_counts(Picture& picture, Structure structure, const PictureOrder::Counts& counts) {
  if (structure != kBottomField) picture.field_poc[0] = counts.field[0];
  if (structure != kTopField) picture.field_poc[1] = counts.field[1];
  picture.poc = std::min(picture.field_poc[0], picture.field_poc[1]);
}

}  // namespace

// 8.2.5.2; more frames than the buffer holds leave only their numbers behind
void PictureBuffer::fill_gap(const SliceHeader& header, std::string& problem) {
  const Sps& sps = *header.sps;
  const int32_t range = sps.max_frame_num();
  const int32_t next = (previous_reference_frame_num_ + 1) % range;
  if (!any_reference_ || header.frame_num == previous_reference_frame_num_ || header.frame_num == next) {
    if (any_reference_ && header.reference && header.frame_num == previous_reference_frame_num_ &&
        previous_was_reference_)
      problem = "two reference pictures in a row have frame_num " + std::to_string(header.frame_num);
    return;
  }
  const int32_t missing = (header.frame_num - next + range) % range;
  if (!sps.gaps_allowed)
    problem = std::to_string(missing) + " reference picture(s) are missing before frame_num " +
              std::to_string(header.frame_num);
  SliceHeader gap = header;
  for (int32_t i = 0; i < missing; ++i) {
    const int32_t frame_num = (next + i) % range;
    const auto counts = order_.derive_gap(sps, frame_num);
    if (missing - i > static_cast<int32_t>(kMaxFrames)) continue;
    gap.frame_num = frame_num;
    number_frames(gap);
    slide(nullptr, sps);
    auto frame = std::make_shared<Picture>();
    frame->number = next_number_++;
    frame->sps = header.sps;
    frame->frame_num = frame->frame_num_wrap = frame_num;
    frame->non_existing = true;
    frame->short_term = frame->decoded = kBothFields;
    set_counts(*frame, kFrame, counts);
    frame->finish();
    pictures_.push_back(std::move(frame));
    drop_unused();
  }
  previous_reference_frame_num_ = (header.frame_num + range - 1) % range;
}

void PictureBuffer::end_of_sequence() {
  forget_references();
  flush();
  order_ = PictureOrder();
  any_reference_ = false;
  restart_ = true;
}

std::shared_ptr<Picture> PictureBuffer::begin(const SliceHeader& header, std::string& problem) {
  if (header.idr()) {
    forget_references();
    previous_reference_frame_num_ = 0;
  } else {
    fill_gap(header, problem);
  }
  if (header.idr() || header.resets() || restart_) {
    ++coded_sequence_;
    restart_ = false;
    flush();
  }
  auto picture = std::make_shared<Picture>();
  picture->number = next_number_++;
  set_counts(*picture, header.structure, order_.derive(header));
  picture->coded_sequence = coded_sequence_;
  picture->nal_type = header.nal_type;
  picture->sps = header.sps;
  picture->reference = header.reference;
  picture->fields = header.field();
  picture->mbaff = header.mbaff;
  picture->first_field = header.structure;
  picture->decoded = fields_of(header.structure);
  picture->frame_num = header.frame_num;
  picture->current = true;
  number_frames(header);
  return picture;
}

void PictureBuffer::begin_second_field(Picture& picture, const SliceHeader& header) {
  set_counts(picture, header.structure, order_.derive(header));
  picture.decoded = kBothFields;
  number_frames(header);
}

// (8-27)
void PictureBuffer::number_frames(const SliceHeader& header) {
  for (const auto& picture : pictures_) {
    const bool later = picture->frame_num > header.frame_num;
    picture->frame_num_wrap = picture->frame_num - (later ? header.sps->max_frame_num() : 0);
  }
}

// 8.2.5.3: room for one more frame
void PictureBuffer::slide(const Picture* keep, const Sps& sps) {
  for (;;) {
    size_t references = 0;
    Picture* oldest = nullptr;
    for (const auto& picture : pictures_) {
      if (picture.get() == keep || (!picture->short_term && !picture->long_term)) continue;
      ++references;
      if (picture->short_term && (!oldest || picture->frame_num_wrap < oldest->frame_num_wrap)) oldest = picture.get();
    }
    if (references < std::max(sps.max_ref_frames, 1u) || oldest == nullptr) return;
    oldest->short_term = 0;
  }
}

void PictureBuffer::free_long_term(unsigned index, const Picture* except) {
  for (const auto& picture : pictures_) {
    if (picture.get() != except && picture->long_term && picture->long_term_index == index) picture->long_term = 0;
  }
}

void PictureBuffer::forget_references() {
  for (const auto& picture : pictures_) picture->short_term = picture->long_term = 0;
}

// 8.2.5.4
void PictureBuffer::apply(const MarkingCommand& command, Picture& current, const SliceHeader& header) {
  const int64_t number = header.field() ? 2 * int64_t{header.frame_num} + 1 : header.frame_num;
  const int64_t wanted = number - (int64_t{command.difference} + 1);  // picNumX
  // fields of a frame whose number, given per frame, is the wanted one
  const auto matching = [&](int64_t of_frame, int64_t value) -> uint8_t {
    if (!header.field()) return of_frame == value ? kBothFields : 0;
    const uint8_t own = fields_of(header.structure);
    if (2 * of_frame + 1 == value) return own;
    return 2 * of_frame == value ? kBothFields - own : 0;
  };
  for (const auto& picture : pictures_) {
    const uint8_t by_short = picture->short_term & matching(picture->frame_num_wrap, wanted);
    const uint8_t by_long = picture->long_term & matching(picture->long_term_index, command.long_term_pic);
    if (command.operation == 1) picture->short_term &= static_cast<uint8_t>(~by_short);
    if (command.operation == 2) picture->long_term &= static_cast<uint8_t>(~by_long);
    if (command.operation == 3 && by_short) {
      free_long_term(command.index, picture.get());
      if (picture->long_term && picture->long_term_index != command.index) picture->long_term = 0;
      picture->short_term &= static_cast<uint8_t>(~by_short);
      picture->long_term |= by_short;
      picture->long_term_index = command.index;
    }
    if (command.operation == 4 && picture->long_term_index >= command.index) picture->long_term = 0;
  }
  if (command.operation == 5) forget_references();
  if (command.operation == 6) {
    free_long_term(command.index, &current);
    if (current.long_term && current.long_term_index != command.index) current.long_term = 0;
    current.long_term |= fields_of(header.structure);
    current.long_term_index = command.index;
  }
}

// 8.2.1 after operation 5: the picture counts as one with frame_num 0 and starts the counts anew
void PictureBuffer::finish_reset(Picture& current, const SliceHeader& header) {
  if (header.field()) {
    current.field_poc[header.structure - 1] = 0;
  } else {
    const int32_t base = current.poc;
    current.field_poc[0] -= base;
    current.field_poc[1] -= base;
  }
  current.poc = std::min(current.field_poc[0], current.field_poc[1]);
  current.frame_num = current.frame_num_wrap = 0;
  order_.reset(header.structure == kBottomField, current.field_poc[0]);
  previous_reference_frame_num_ = 0;
}

void PictureBuffer::mark(const std::shared_ptr<Picture>& picture, const SliceHeader& header) {
  previous_was_reference_ = header.reference;
  if (!header.reference) return;
  Picture& current = *picture;
  const uint8_t fields = fields_of(header.structure);
  const bool second = current.fields && fields != fields_of(current.first_field);
  previous_reference_frame_num_ = header.frame_num;
  any_reference_ = true;
  if (header.idr()) {
    if (header.long_term_reference) {
      current.long_term |= fields;
      current.long_term_index = 0;
    }
  } else if (header.adaptive_marking) {
    for (const MarkingCommand& command : header.marking) apply(command, current, header);
  } else if (!second || !current.short_term) {
    slide(&current, *header.sps);
  }
  if (!(current.long_term & fields)) current.short_term |= fields;
  if (header.resets()) finish_reset(current, header);
  if (!second) {
    slide(&current, *header.sps);  // streams whose operations leave too many references
    pictures_.push_back(picture);
  }
}

void PictureBuffer::end(const std::shared_ptr<Picture>& picture, bool output) {
  picture->current = false;
  picture->waits_for_output = output;
  if (output) picture->decode_order = next_decode_order_++;
  if (std::find(pictures_.begin(), pictures_.end(), picture) == pictures_.end()) pictures_.push_back(picture);
  bump_while_needed(picture->sps->max_reorder);
}

void PictureBuffer::drop_unused() {
  const auto unused = [](const auto& picture) {
    return !picture->short_term && !picture->long_term && !picture->waits_for_output && !picture->current;
  };
  pictures_.erase(std::remove_if(pictures_.begin(), pictures_.end(), unused), pictures_.end());
}

// C.4.5.3 by the number of frames that wait: a full buffer would only bring frames out earlier
void PictureBuffer::bump_while_needed(size_t most) {
  for (;;) {
    std::shared_ptr<Picture> first;
    size_t waiting = 0;
    for (const auto& picture : pictures_) {
      if (!picture->waits_for_output) continue;
      ++waiting;
      if (!first || picture->poc < first->poc) first = picture;
    }
    if (waiting <= most) break;
    first->waits_for_output = false;
    output_.push_back(first);
  }
  drop_unused();
}

void PictureBuffer::flush() {
  bump_while_needed(0);
}

}  // namespace vssbench::h264
