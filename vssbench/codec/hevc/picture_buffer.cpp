#include "picture_buffer.hpp"

#include <algorithm>

namespace vssbench::hevc {

// Motion follows from the syntax and from the motion of the collocated pictures only, so an absent, a damaged or an
// unreliable one is what can make it wrong.
void Picture::settle() {
  for (const auto& source : sources) {
    source->wait_done();
    source->settle();
    unreliable = unreliable || source->unreliable || !source->motion || source->motion->lost;
  }
  sources.clear();
}

// 8.3.1
int32_t PictureBuffer::derive_poc(const SliceHeader& header, bool restart) {
  const int64_t range = int64_t{1} << header.sps->log2_max_poc_lsb;
  const int64_t lsb = header.poc_lsb;
  int64_t msb = 0;
  if (!restart) {
    const int64_t previous_lsb = previous_tid0_poc_ & (range - 1);
    const int64_t previous_msb = previous_tid0_poc_ - previous_lsb;
    msb = previous_msb;
    if (lsb < previous_lsb && previous_lsb - lsb >= range / 2) msb += range;
    if (lsb > previous_lsb && lsb - previous_lsb > range / 2) msb -= range;
  }
  // wraps on broken streams only: 2^15 or more periods without a restart
  const int32_t poc = static_cast<int32_t>(static_cast<uint32_t>(msb + lsb));
  const bool sub_layer_non_reference = header.nal_type <= kSubLayerNonReferenceLast && header.nal_type % 2 == 0;
  if (header.temporal_id == 0 && !is_rasl(header.nal_type) && !is_radl(header.nal_type) && !sub_layer_non_reference) {
    previous_tid0_poc_ = poc;
  }
  return poc;
}

// 8.3.2
void PictureBuffer::apply_reference_set(const SliceHeader& header, int32_t poc) {
  before_.clear();
  after_.clear();
  long_term_.clear();
  const int64_t range = int64_t{1} << header.sps->log2_max_poc_lsb;
  std::vector<Picture*> kept, kept_long_term;
  for (const LongTermEntry& entry : header.long_term) {
    Wanted wanted{entry.poc, entry.has_msb, nullptr};
    if (entry.has_msb) {
      const int64_t base = int64_t{poc} - static_cast<int64_t>(entry.msb_cycle) * range - (poc & (range - 1));
      wanted.poc = static_cast<int32_t>(static_cast<uint32_t>(base + entry.poc));
    }
    for (const auto& picture : pictures_) {
      const int64_t mask = entry.has_msb ? -1 : range - 1;
      if (picture->is_reference && (picture->poc & mask) == wanted.poc) wanted.picture = picture;
    }
    if (wanted.picture) kept_long_term.push_back(wanted.picture.get());
    if (entry.used) long_term_.push_back(wanted);
  }
  for (unsigned i = 0; i < header.short_term.count; ++i) {
    Wanted wanted{static_cast<int32_t>(static_cast<uint32_t>(int64_t{poc} + header.short_term.delta[i])), true,
                  nullptr};
    for (const auto& picture : pictures_) {
      const bool taken = std::find(kept_long_term.begin(), kept_long_term.end(), picture.get()) != kept_long_term.end();
      if (picture->is_reference && !picture->is_long_term && !taken && picture->poc == wanted.poc)
        wanted.picture = picture;
    }
    if (wanted.picture) kept.push_back(wanted.picture.get());
    if (header.short_term.used[i]) (i < header.short_term.negatives ? before_ : after_).push_back(wanted);
  }
  for (const auto& picture : pictures_) {
    const bool long_term =
        std::find(kept_long_term.begin(), kept_long_term.end(), picture.get()) != kept_long_term.end();
    picture->is_reference = long_term || std::find(kept.begin(), kept.end(), picture.get()) != kept.end();
    picture->is_long_term = long_term;
  }
}

std::shared_ptr<Picture> PictureBuffer::begin(const SliceHeader& header, bool details) {
  const bool irap = is_irap(header.nal_type);
  // 8.1.3: NoRaslOutputFlag
  const bool restart = irap && (is_idr(header.nal_type) || is_bla(header.nal_type) || after_end_of_sequence_);
  if (irap) {
    skip_rasl_ = restart;
    after_end_of_sequence_ = false;
  }
  if (is_rasl(header.nal_type) && skip_rasl_) return nullptr;
  if (restart || coded_sequence_ < 0) ++coded_sequence_;

  auto picture = std::make_shared<Picture>();
  picture->poc = derive_poc(header, restart);
  if (restart) {
    for (const auto& old : pictures_) old->is_reference = false;
  }
  apply_reference_set(header, picture->poc);
  if (restart) {
    flush();
  } else {
    bump_while_needed(*header.sps);
  }
  picture->coded_sequence = coded_sequence_;
  picture->nal_type = header.nal_type;
  picture->temporal_id = header.temporal_id;
  picture->sps = header.sps;
  picture->pps = header.pps;
  picture->output = header.output;
  picture->with_details = details;
  if (picture->output) picture->decode_order = next_decode_order_++;
  return picture;
}

// 8.3.4
void PictureBuffer::make_lists(const SliceHeader& header, std::vector<Reference> (&lists)[2],
                               std::vector<std::string>& missing) const {
  if (header.type == kSliceI) return;
  for (unsigned list = 0; list < (header.type == kSliceB ? 2u : 1u); ++list) {
    std::vector<Reference> all;
    const auto append = [&](const std::vector<Wanted>& wanted, bool long_term) {
      for (const Wanted& entry : wanted) {
        if (!entry.picture && list == 0) missing.push_back(std::to_string(entry.poc));
        all.push_back({entry.picture ? entry.picture->poc : entry.poc, long_term, entry.picture});
      }
    };
    append(list == 0 ? before_ : after_, false);
    append(list == 0 ? after_ : before_, false);
    append(long_term_, true);
    if (all.empty()) throw SyntaxError("an inter slice has no reference picture");
    for (unsigned i = 0; i < header.refs[list]; ++i) {
      const size_t entry = header.list_modified[list] ? header.list_entry[list][i] : i % all.size();
      if (entry >= all.size()) throw SyntaxError("list_entry is out of range");
      lists[list].push_back(all[entry]);
    }
  }
}

void PictureBuffer::end(const std::shared_ptr<Picture>& picture) {
  picture->waits_for_output = picture->output;
  picture->is_reference = true;
  pictures_.push_back(picture);
  bump_while_needed(*picture->sps);
}

void PictureBuffer::drop_unused() {
  pictures_.erase(
      std::remove_if(pictures_.begin(), pictures_.end(),
                     [](const auto& picture) { return !picture->is_reference && !picture->waits_for_output; }),
      pictures_.end());
}

// C.5.2.4
void PictureBuffer::bump() {
  std::shared_ptr<Picture> first;
  for (const auto& picture : pictures_) {
    if (picture->waits_for_output && (!first || picture->poc < first->poc)) first = picture;
  }
  first->waits_for_output = false;
  output_.push_back(first);
}

// C.5.2.2 and C.5.2.3, by sps_max_num_reorder_pics alone: latency and buffer fullness would only bring pictures out
// earlier, and streams that understate them exist.
void PictureBuffer::bump_while_needed(const Sps& sps) {
  const auto waiting = [this] {
    return std::count_if(pictures_.begin(), pictures_.end(), [](const auto& p) { return p->waits_for_output; });
  };
  while (waiting() > static_cast<std::ptrdiff_t>(sps.max_reorder)) bump();
  drop_unused();
}

void PictureBuffer::flush() {
  while (std::any_of(pictures_.begin(), pictures_.end(), [](const auto& p) { return p->waits_for_output; })) bump();
  drop_unused();
}

}  // namespace vssbench::hevc
