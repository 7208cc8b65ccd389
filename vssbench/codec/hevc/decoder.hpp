// The whole parser: NAL units in, pictures with motion out, in display order.
#pragma once
#include <memory>
#include <utility>

#include "bits/driver.hpp"
#include "coding_tree.hpp"
#include "parameter_sets.hpp"
#include "picture_buffer.hpp"
#include "slice_header.hpp"

namespace vssbench::hevc {

class Decoder : public Driver<Picture, PictureDecoder, PictureBuffer> {
 public:
  using Driver::Driver;

 private:
  void handle_unit(const NalSpan& nal) override;
  void finish_picture() override;
  const char* no_base_layer() const override {
    return "all pictures are in layers above 0 (multi-layer HEVC), which the motion parser does not read";
  }
  void handle_parameter_set(const Payload& payload);
  void handle_slice(Payload&& payload, unsigned temporal_id);
  bool begin_picture(const SliceHeader& header, uint64_t offset);
  void add_segment(SliceHeader&& header, Payload&& payload);

  ParameterSets sets_;
  std::shared_ptr<const Layout> layout_;
  std::shared_ptr<const Sps> layout_sps_;
  std::shared_ptr<const Pps> layout_pps_;
  std::shared_ptr<Picture> current_;
  std::unique_ptr<SliceHeader> independent_;  ///< last independent header of the current picture
  bool skipping_ = true;                      ///< slices are ignored until the next picture begins
  bool explained_ = false;                    ///< and the reason is known: reported, or a RASL picture
  int32_t last_address_ts_ = -1;
  int access_units_ = 0;  ///< begun so far, those that cannot be read or are left out as well
};

}  // namespace vssbench::hevc
