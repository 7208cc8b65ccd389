// The whole parser: NAL units in, pictures with motion out, in display order.
#pragma once
#include <memory>
#include <string>

#include "bits/driver.hpp"
#include "picture_buffer.hpp"
#include "slice_decoder.hpp"

namespace vssbench::h264 {

class Decoder : public Driver<Picture, PictureDecoder, PictureBuffer> {
 public:
  using Driver::Driver;

 private:
  void handle_unit(const NalSpan& nal) override;
  void finish_picture() override;
  const char* no_base_layer() const override {
    return "all pictures are of scalable layers or further views (SVC, MVC), which the motion parser does not read";
  }
  void handle_parameter_set(const Payload& payload);
  void handle_slice(Payload&& payload, unsigned nal_ref_idc);
  void begin_picture(const SliceHeader& header, uint64_t offset);
  void add_slice(SliceHeader&& header, Payload&& payload);
  void finish_field();
  bool is_second_field(const SliceHeader& header) const;
  bool leads(const Picture& picture) const;

  ParameterSets sets_;
  std::shared_ptr<Picture> current_;
  std::unique_ptr<SliceHeader> first_;  ///< first header of the current frame or field, until that is marked
  std::shared_ptr<const Sps> sps_;      ///< of the last picture
  int64_t last_first_mb_ = -1;
  int field_slices_ = 0;
  int access_units_ = 0;   ///< begun so far, those that cannot be read as well
  bool tainted_ = false;   ///< references were lost: lists may be wrong until the next IDR picture
  bool after_end_ = true;  ///< at the beginning, or behind an end of sequence
  bool entered_ = false;   ///< the stream was entered at an I picture that is no IDR picture,
  int entry_sequence_ = 0;
  int32_t entry_poc_ = 0;  ///< of which this is the count: pictures before it refer to what is not there
};

}  // namespace vssbench::h264
