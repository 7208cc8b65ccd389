#include "reference_lists.hpp"

#include <algorithm>

namespace vssbench::h264 {
namespace {

using Frames = std::vector<std::shared_ptr<Picture>>;
using List = std::vector<Reference>;

constexpr uint8_t kBothFields = 3;

uint8_t bit_of(Structure parity) {
  return parity == kFrame ? kBothFields : static_cast<uint8_t>(parity);
}
Structure opposite(Structure parity) {
  return parity == kTopField ? kBottomField : kTopField;
}

class ListMaker {
 public:
  ListMaker(const SliceHeader& header, const std::shared_ptr<Picture>& current, const Frames& pictures)
      : header_(header), current_(current), pictures_(pictures) {}

  List initial(unsigned list) const { return header_.type == kSliceP ? initial_p() : initial_b(list); }
  bool modify(const std::vector<ListCommand>& commands, List& list, unsigned count) const;

 private:
  Reference reference(const std::shared_ptr<Picture>& picture, Structure parity, bool long_term) const {
    Reference made;
    // a picture does not own itself
    made.picture = picture == current_ ? std::shared_ptr<Picture>(std::shared_ptr<Picture>(), picture.get()) : picture;
    made.parity = parity;
    made.long_term = long_term;
    made.poc = picture->non_existing ? kUnknownReference : picture->poc;
    made.field_poc[0] = picture->field_poc[0];
    made.field_poc[1] = picture->field_poc[1];
    return made;
  }
  // frames with both fields marked, or, for fields, with any
  Frames marked(bool long_term) const {
    Frames found;
    for (const auto& picture : pictures_) {
      const uint8_t marks = long_term ? picture->long_term : picture->short_term;
      if (header_.field() ? marks != 0 : marks == kBothFields && picture != current_) found.push_back(picture);
    }
    return found;
  }
  Frames long_term_frames() const {
    Frames frames = marked(true);
    std::sort(frames.begin(), frames.end(),
              [](const auto& a, const auto& b) { return a->long_term_index < b->long_term_index; });
    return frames;
  }
  void append(const Frames& frames, bool long_term, List& list) const;
  List initial_p() const;
  List initial_b(unsigned list) const;
  Reference find_short_term(int64_t number) const;
  Reference find_long_term(int64_t number) const;

  const SliceHeader& header_;
  const std::shared_ptr<Picture>& current_;
  const Frames& pictures_;
};

// Frames as they are; fields by 8.2.4.2.5: alternating parity, one's own first
void ListMaker::append(const Frames& frames, bool long_term, List& list) const {
  if (!header_.field()) {
    for (const auto& frame : frames) list.push_back(reference(frame, kFrame, long_term));
    return;
  }
  size_t next[2] = {0, 0};
  Structure wanted = header_.structure;
  const auto take = [&](Structure parity) {
    size_t& at = next[parity - 1];
    for (; at < frames.size(); ++at) {
      const uint8_t marks = long_term ? frames[at]->long_term : frames[at]->short_term;
      if (!(marks & bit_of(parity))) continue;
      list.push_back(reference(frames[at++], parity, long_term));
      return true;
    }
    return false;
  };
  while (take(wanted)) wanted = opposite(wanted);
  wanted = opposite(wanted);
  while (take(wanted)) {
  }
}

// 8.2.4.2.1, 8.2.4.2.2
List ListMaker::initial_p() const {
  Frames frames = marked(false);
  std::stable_sort(frames.begin(), frames.end(),
                   [](const auto& a, const auto& b) { return a->frame_num_wrap > b->frame_num_wrap; });
  List list;
  append(frames, false, list);
  append(long_term_frames(), true, list);
  return list;
}

// 8.2.4.2.3, 8.2.4.2.4
List ListMaker::initial_b(unsigned which) const {
  const int32_t poc = header_.field() ? current_->field_poc[header_.structure - 1] : current_->poc;
  const auto count_of = [&](const Picture& picture) {
    // of its own frame only the first field is there
    if (&picture == current_.get()) return picture.field_poc[opposite(header_.structure) - 1];
    return picture.poc;
  };
  Frames before, after;
  for (const auto& frame : marked(false)) {
    if (frame->non_existing && header_.sps->poc_type == 0) continue;
    (count_of(*frame) <= poc ? before : after).push_back(frame);
  }
  std::stable_sort(before.begin(), before.end(),
                   [&](const auto& a, const auto& b) { return count_of(*a) > count_of(*b); });
  std::stable_sort(after.begin(), after.end(),
                   [&](const auto& a, const auto& b) { return count_of(*a) < count_of(*b); });
  const auto build = [&](unsigned list) {
    Frames frames = list == 0 ? before : after;
    const Frames& rest = list == 0 ? after : before;
    frames.insert(frames.end(), rest.begin(), rest.end());
    List made;
    append(frames, false, made);
    append(long_term_frames(), true, made);
    return made;
  };
  List list = build(which);
  if (which == 1 && list.size() > 1) {
    const List other = build(0);
    const auto same = [](const Reference& a, const Reference& b) {
      return a.picture.get() == b.picture.get() && a.parity == b.parity;
    };
    if (std::equal(list.begin(), list.end(), other.begin(), other.end(), same)) std::swap(list[0], list[1]);
  }
  return list;
}

Reference ListMaker::find_short_term(int64_t number) const {
  for (const auto& picture : pictures_) {
    for (const Structure parity : {kFrame, kTopField, kBottomField}) {
      if ((parity != kFrame) != header_.field() || (picture->short_term & bit_of(parity)) != bit_of(parity)) continue;
      const int64_t own = header_.field() ? 2 * int64_t{picture->frame_num_wrap} + (parity == header_.structure)
                                          : picture->frame_num_wrap;
      if (own == number) return reference(picture, parity, false);
    }
  }
  return {};
}

Reference ListMaker::find_long_term(int64_t number) const {
  for (const auto& picture : pictures_) {
    for (const Structure parity : {kFrame, kTopField, kBottomField}) {
      if ((parity != kFrame) != header_.field() || (picture->long_term & bit_of(parity)) != bit_of(parity)) continue;
      const int64_t own = header_.field() ? 2 * int64_t{picture->long_term_index} + (parity == header_.structure)
                                          : picture->long_term_index;
      if (own == number) return reference(picture, parity, true);
    }
  }
  return {};
}

// 8.2.4.3; the list has `count` entries
bool ListMaker::modify(const std::vector<ListCommand>& commands, List& list, unsigned count) const {
  const int64_t range = int64_t{header_.sps->max_frame_num()} * (header_.field() ? 2 : 1);
  const int64_t current = header_.field() ? 2 * int64_t{header_.frame_num} + 1 : header_.frame_num;
  int64_t predicted = current;
  bool complete = true;
  unsigned index = 0;
  for (const ListCommand& command : commands) {
    if (index >= count) break;
    Reference found;
    if (command.operation == 2) {
      found = find_long_term(command.value);
    } else {
      const int64_t step = int64_t{command.value} + 1;
      predicted += command.operation == 0 ? -step : step;
      if (predicted < 0) predicted += range;
      if (predicted >= range) predicted -= range;
      found = find_short_term(predicted > current ? predicted - range : predicted);
    }
    complete = complete && found.picture;
    list.insert(list.begin() + index, found);
    ++index;
    if (!found.picture) {
      list.pop_back();
      continue;
    }
    unsigned kept = index;
    for (unsigned from = index; from <= count; ++from) {
      const Reference& entry = list[from];
      if (entry.picture.get() != found.picture.get() || entry.parity != found.parity) list[kept++] = entry;
    }
    list.resize(count);
  }
  return complete;
}

}  // namespace

bool make_lists(const SliceHeader& header, const std::shared_ptr<Picture>& current, const Frames& pictures,
                std::vector<Reference> (&lists)[2]) {
  bool complete = true;
  const ListMaker maker(header, current, pictures);
  for (unsigned list = 0; list < 2; ++list) {
    if (header.refs[list] == 0) continue;
    lists[list] = maker.initial(list);
    lists[list].resize(header.refs[list]);
    complete = maker.modify(header.modification[list], lists[list], header.refs[list]) && complete;
  }
  return complete;
}

}  // namespace vssbench::h264
