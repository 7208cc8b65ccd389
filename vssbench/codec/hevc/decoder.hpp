// The whole parser: NAL units in, pictures with motion out, in display order.
#pragma once
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "coding_tree.hpp"
#include "nal.hpp"
#include "parameter_sets.hpp"
#include "picture_buffer.hpp"
#include "slice_header.hpp"

namespace vssbench::hevc {

struct DecoderOptions {
  unsigned threads = 1;                         ///< 1: everything in the calling thread; n > 1: n pictures in flight
  bool strict = true;                           ///< stop at the first defect; otherwise go on and mark what is lost
  bool details = false;                         ///< also keep the optional block maps
  uint32_t max_luma_samples = kMaxLumaSamples;  ///< larger pictures are refused before anything is allocated
};

class Decoder {
 public:
  explicit Decoder(const DecoderOptions& options);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Appends bytes of an Annex B stream.
  void push(const uint8_t* data, size_t size) { splitter_.push(data, size); }
  /// Appends one NAL unit without start code; `offset` is where it stands in its file.
  void push_unit(const uint8_t* data, size_t size, uint64_t offset);
  /// No more data will come.
  void finish();
  /// The next picture in display order; null if more data is needed, at the end, or after a failure.
  std::shared_ptr<Picture> next();
  /// Why the parser stopped, or null.
  const Issue* failure() const { return failure_.get(); }
  /// Defects passed over so far (strict = false).
  const std::vector<Issue>& issues() const { return issues_; }
  /// NAL units of enhancement layers (multi-layer HEVC) that were passed over.
  uint64_t upper_layer_units() const { return upper_layer_units_; }

 private:
  bool process_one();
  void handle_unit(const NalSpan& nal);
  void handle_parameter_set(const Payload& payload);
  void handle_slice(Payload&& payload, unsigned temporal_id);
  bool begin_picture(const SliceHeader& header, uint64_t offset);
  void add_segment(SliceHeader&& header, Payload&& payload);
  void finish_picture();
  void submit(const std::shared_ptr<Picture>& picture);
  void report(uint64_t offset, int nal_type, const std::string& message, bool fatal = false);
  bool accept(Picture& picture);
  void fail(Issue issue);
  void collect_hidden(bool wait);
  void drop_done_jobs();
  void end_of_stream();
  void work();

  struct Unit {
    std::vector<uint8_t> bytes;
    uint64_t offset;
  };

  DecoderOptions options_;
  AnnexBSplitter splitter_;
  std::deque<Unit> units_;
  bool finished_ = false, flushed_ = false, stopped_ = false, any_picture_ = false;

  ParameterSets sets_;
  std::shared_ptr<const Layout> layout_;
  std::shared_ptr<const Sps> layout_sps_;
  std::shared_ptr<const Pps> layout_pps_;
  PictureBuffer buffer_;
  std::shared_ptr<Picture> current_;
  std::unique_ptr<SliceHeader> independent_;  ///< last independent header of the current picture
  bool skipping_ = true;                      ///< slices are ignored until the next picture begins
  bool explained_ = false;                    ///< and the reason is known: reported, or a RASL picture
  bool upper_layer_pictures_ = false;
  uint64_t upper_layer_units_ = 0;
  int32_t last_address_ts_ = -1;

  std::unique_ptr<Issue> pending_failure_;  ///< raised once the pictures before it are out
  std::unique_ptr<Issue> failure_;
  std::vector<Issue> issues_;
  std::deque<std::shared_ptr<Picture>> jobs_, hidden_;

  PictureDecoder own_decoder_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Picture>> queue_;
  bool quit_ = false;
};

}  // namespace vssbench::hevc
