#include "decoder.hpp"

#include <algorithm>

namespace vssbench::hevc {

void Decoder::handle_unit(const NalSpan& nal) {
  if (nal.size < 2) return report(nal.offset, -1, "a NAL unit of " + std::to_string(nal.size) + " byte has no header");
  const int type = (nal.data[0] >> 1) & 63;
  const unsigned layer = (nal.data[0] & 1u) << 5 | nal.data[1] >> 3;
  const unsigned temporal_id_plus1 = nal.data[1] & 7;
  if (nal.data[0] & 0x80) return report(nal.offset, type, "forbidden_zero_bit is set");
  if (layer > 0) {  // enhancement layers do not influence the base layer
    ++upper_layer_units_;
    upper_layer_pictures_ = upper_layer_pictures_ || is_coded_slice(static_cast<unsigned>(type));
    return;
  }
  if (temporal_id_plus1 == 0) return report(nal.offset, type, "nuh_temporal_id_plus1 is 0");
  if (type == kEndOfSequence || type == kEndOfBitstream) {
    finish_picture();
    buffer_.end_of_sequence();
  } else if (type == kSps || type == kPps) {
    handle_parameter_set(unescape(nal, 2, static_cast<unsigned>(type)));
  } else if (is_coded_slice(static_cast<unsigned>(type))) {
    handle_slice(unescape(nal, 2, static_cast<unsigned>(type)), temporal_id_plus1 - 1);
  } else if (type == kAccessUnitDelimiter) {
    finish_picture();
  }
}

void Decoder::handle_parameter_set(const Payload& payload) {
  try {
    if (payload.nal_type == kSps) {
      auto sps = std::make_shared<Sps>(parse_sps(payload));
      auto& slot = sets_.sps[sps->id];
      if (!slot || slot->source != sps->source) slot = std::move(sps);
    } else {
      auto pps = std::make_shared<Pps>(parse_pps(payload));
      auto& slot = sets_.pps[pps->id];
      if (!slot || slot->source != pps->source) slot = std::move(pps);
    }
  } catch (const UnsupportedError& error) {
    report(payload.offset, payload.nal_type, error.what(), true);
  } catch (const SyntaxError& error) {
    report(payload.offset, payload.nal_type, error.what());
  }
}

void Decoder::handle_slice(Payload&& payload, unsigned temporal_id) {
  const uint64_t offset = payload.offset;
  const int type = payload.nal_type;
  const bool first = payload.size > 0 && (payload.bytes[0] & 0x80);
  if (first) {
    finish_picture();
    ++access_units_;
  }
  if (is_rasl(payload.nal_type) && buffer_.skips_rasl()) return;
  if (!first && skipping_) {
    if (!explained_) {
      ++access_units_;
      report(offset, type, "a slice arrives without the first one of its picture");
    }
    explained_ = true;
    return;
  }
  if (first) explained_ = true;
  try {
    SliceHeader header = parse_slice_header(payload, temporal_id, sets_, first ? nullptr : independent_.get());
    if (first) {
      if (!begin_picture(header, offset)) return;
    } else if (header.nal_type != current_->nal_type || header.poc_lsb != independent_->poc_lsb) {
      throw SyntaxError("a slice belongs to another picture, whose first slice is missing");
    }
    if (header.colour_plane != 0) return;  // motion of the luma plane only
    add_segment(std::move(header), std::move(payload));
  } catch (const SyntaxError& error) {
    if (current_) {
      current_->issues.push_back(
          {offset, static_cast<int>(type), error.what()});  // seen when its turn to be output comes
    } else {
      report(offset, type, error.what());
    }
  }
}

bool Decoder::begin_picture(const SliceHeader& header, uint64_t offset) {
  skipping_ = true;  // until everything has worked
  if (static_cast<uint64_t>(header.sps->width) * static_cast<uint64_t>(header.sps->height) >
      options_.max_luma_samples) {
    throw SyntaxError("the picture is larger than the limit of " + std::to_string(options_.max_luma_samples) +
                      " luma samples");
  }
  if (!layout_ || layout_sps_ != header.sps || layout_pps_ != header.pps) {
    layout_ = std::make_shared<Layout>(make_layout(*header.sps, *header.pps));
    layout_sps_ = header.sps;
    layout_pps_ = header.pps;
  }
  any_picture_ = true;
  auto picture = buffer_.begin(header, options_.details);
  if (!picture) return false;
  picture->layout = layout_;
  picture->offset = offset;
  picture->decode_index = access_units_ - 1;
  current_ = std::move(picture);
  last_address_ts_ = -1;
  independent_.reset();
  skipping_ = false;
  return true;
}

void Decoder::add_segment(SliceHeader&& header, Payload&& payload) {
  const int32_t ts = layout_->rs_to_ts[static_cast<size_t>(header.address)];
  if (ts <= last_address_ts_) throw SyntaxError("slice addresses do not increase inside a picture");
  auto segment = std::make_unique<SliceSegment>();
  std::vector<std::string> missing;
  buffer_.make_lists(header, segment->lists, missing);
  if (!header.dependent) {
    independent_ = std::make_unique<SliceHeader>(header);
    independent_->entry_points.clear();
    if (current_->slices++ == 0) {
      for (unsigned list = 0; list < 2; ++list) {
        for (const Reference& reference : segment->lists[list]) current_->list_pocs[list].push_back(reference.poc);
      }
    }
    current_->slice_type = std::min<uint8_t>(current_->slice_type, header.type);
    if (!missing.empty()) {
      std::string pocs;
      for (const std::string& poc : missing) pocs += (pocs.empty() ? "" : ", ") + poc;
      current_->issues.push_back(
          {payload.offset, payload.nal_type,
           "picture " + std::to_string(current_->poc) + " refers to missing picture(s) " + pocs});
      for (const LongTermEntry& entry : header.long_term)  // then not even the picture order count is known
        current_->unreliable = current_->unreliable || (entry.used && !entry.has_msb);
    }
  }
  last_address_ts_ = ts;
  current_->coded_bytes += payload.bytes.size() - Payload::kPadding + 2;
  segment->header = std::move(header);
  segment->payload = std::move(payload);
  current_->segments.push_back(std::move(segment));
}

void Decoder::finish_picture() {
  explained_ = false;
  if (!current_) return;
  auto picture = std::move(current_);
  current_.reset();
  skipping_ = true;
  if (!picture->output) hidden_.push_back(picture);
  buffer_.end(picture);
  submit(picture);
}

}  // namespace vssbench::hevc
