// Which packets of a stream give a picture of their own, told from headers alone.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

#include "parameter_sets.hpp"
#include "picture_order.hpp"
#include "slice_header.hpp"

namespace vssbench::h264 {

enum Visible : uint8_t { kShown = 0, kHidden = 1, kUndecodable = 2, kMissing = 3 };

/// Takes units in decoding order. Defects are passed over: whoever decodes the stream meets them.
class Visibility {
 public:
  /// Takes one unit; of slices the beginning is enough.
  void push(const uint8_t* data, size_t size);
  /// What the units since the last call give: kHidden for the second field of a frame, kUndecodable for what leads an I
  /// picture at which the stream is entered, kMissing where reference pictures are missing before it.
  Visible take();

 private:
  void see(SliceHeader&& header);
  bool follows(const SliceHeader& header) const;

  ParameterSets sets_;
  PictureOrder order_;
  std::unique_ptr<SliceHeader> last_;
  bool unpaired_field_ = false;  ///< the last picture is a field whose frame may go on
  bool after_end_ = true, entered_ = false;
  int32_t entry_poc_ = 0;
  Visible visible_ = kShown;
  int32_t reference_frame_num_ = 0;  ///< PrevRefFrameNum of 7.4.3; -1 after a defect
  bool any_ = false;
};

}  // namespace vssbench::h264
