// The decoded picture buffer: gaps, marking and output order (8.2.5, C.4).
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "picture.hpp"
#include "picture_order.hpp"

namespace vssbench::h264 {

/// Keeps references and decides what is output when.
class PictureBuffer {
 public:
  /// Starts the picture of this first slice header; `problem` tells what the stream lacks before it, if anything.
  std::shared_ptr<Picture> begin(const SliceHeader& header, std::string& problem);
  /// Goes on with the second field of the current picture.
  void begin_second_field(Picture& picture, const SliceHeader& header);
  /// Marks the picture, or the field, that ends (8.2.5).
  void mark(const std::shared_ptr<Picture>& picture, const SliceHeader& header);
  /// The picture is complete; what may go out goes out.
  void end(const std::shared_ptr<Picture>& picture, bool output);
  /// What follows does not refer to what came before.
  void end_of_sequence();
  /// Everything that still waits goes out.
  void flush();
  std::deque<std::shared_ptr<Picture>>& output() { return output_; }
  /// References and pictures that wait for output.
  const std::vector<std::shared_ptr<Picture>>& pictures() const { return pictures_; }
  /// FrameNumWrap (8-27) of every short-term reference, for the picture or field with this header.
  void number_frames(const SliceHeader& header);

 private:
  void fill_gap(const SliceHeader& header, std::string& problem);
  void slide(const Picture* keep, const Sps& sps);
  void adapt(Picture& current, const SliceHeader& header);
  void apply(const MarkingCommand& command, Picture& current, const SliceHeader& header);
  void free_long_term(unsigned index, const Picture* except);
  void forget_references();
  void finish_reset(Picture& current, const SliceHeader& header);
  void drop_unused();
  void bump_while_needed(size_t most);

  std::vector<std::shared_ptr<Picture>> pictures_;
  std::deque<std::shared_ptr<Picture>> output_;
  PictureOrder order_;
  int32_t previous_reference_frame_num_ = 0;
  bool restart_ = true;  ///< the next picture begins a coded sequence
  bool any_reference_ = false, previous_was_reference_ = false;
  int coded_sequence_ = -1;
  int next_decode_order_ = 0;
  uint32_t next_number_ = 0;
};

}  // namespace vssbench::h264
