#include "visibility.hpp"

#include <algorithm>
#include <utility>

namespace vssbench::h264 {
namespace {

constexpr size_t kHeaderBytes = 4096;  // longer than any slice header

}  // namespace

void Visibility::push(const uint8_t* data, size_t size) {
  if (size == 0) return;
  const unsigned type = data[0] & 31, nal_ref_idc = data[0] >> 5 & 3;
  try {
    const Payload payload = unescape({data, std::min(size, kHeaderBytes), 0}, 1, type);
    if (type == kSps) {
      auto sps = std::make_shared<Sps>(parse_sps(payload));
      auto& slot = sets_.sps[sps->id];
      if (!slot || slot->source != sps->source) slot = std::move(sps);
    } else if (type == kPps) {
      auto pps = std::make_shared<Pps>(parse_pps(payload, sets_));
      sets_.pps[pps->id] = std::move(pps);
    } else if (type == kEndOfSequence || type == kEndOfStream) {
      after_end_ = true;
      order_ = PictureOrder();
      last_.reset();
    } else if (type == kSlice || type == kIdrSlice) {
      SliceHeader header = parse_slice_header(payload, nal_ref_idc, sets_);
      if (header.redundant_pic_cnt == 0) see(std::move(header));
    }
  } catch (const SyntaxError&) {
    reference_frame_num_ = -1;
  }
}

void Visibility::see(SliceHeader&& header) {
  if (last_ && same_picture(header, *last_)) return;
  const bool second = unpaired_field_ && last_ && header.field() && header.structure != last_->structure &&
                      header.sps == last_->sps && header.frame_num == (last_->resets() ? 0 : last_->frame_num) &&
                      (last_->reference || !header.reference) && (!header.idr() || last_->idr());
  unpaired_field_ = header.field() && !second;
  const bool missing = !second && !follows(header);
  if (header.reference || after_end_) reference_frame_num_ = header.resets() ? 0 : header.frame_num;
  const auto counts = order_.derive(header);
  const int32_t poc = header.structure == kFrame ? std::min(counts.field[0], counts.field[1])
                                                 : counts.field[header.structure == kBottomField];
  if (after_end_ || header.idr()) {
    entered_ = !header.idr() && header.type == kSliceI;
    entry_poc_ = poc;
    after_end_ = false;
  }
  if (header.resets()) {
    entered_ = false;
    order_.reset(header.structure == kBottomField, header.field() ? 0 : counts.field[0] - poc);
  }
  if (!any_) {
    visible_ = second ? kHidden : entered_ && poc < entry_poc_ && header.type != kSliceI ? kUndecodable : kShown;
    if (missing && visible_ == kShown) visible_ = kMissing;
  } else if (!second) {
    visible_ = kShown;
  }
  any_ = true;
  last_ = std::make_unique<SliceHeader>(std::move(header));
}

bool Visibility::follows(const SliceHeader& header) const {
  const int32_t next = (reference_frame_num_ + 1) % header.sps->max_frame_num();
  return after_end_ || reference_frame_num_ < 0 || header.idr() || header.sps->gaps_allowed ||
         header.frame_num == reference_frame_num_ || header.frame_num == next;
}

Visible Visibility::take() {
  any_ = false;
  return std::exchange(visible_, kShown);
}

}  // namespace vssbench::h264
