// What both parsers do with NAL units and pictures: cut the stream into units, parse pictures in the calling thread or
// in several, give them out in display order, stop at the first defect or go on.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bits/nal.hpp"

namespace vssbench::bits {

/// Refused above these, before anything is allocated: level 6.2 of both standards.
constexpr uint32_t kMaxLumaSamples = 35651584;  // 8192 x 4352
constexpr uint32_t kMaxSide = 16888;            // Floor(Sqrt(8 * MaxLumaPs))

struct DecoderOptions {
  unsigned threads = 1;                         ///< 1: everything in the calling thread; n > 1: n pictures in flight
  bool strict = true;                           ///< stop at the first defect; otherwise go on and mark what is lost
  bool details = false;                         ///< also keep the optional block maps
  uint32_t max_luma_samples = kMaxLumaSamples;  ///< larger pictures are refused before anything is allocated
};

/// How far a picture is parsed, for those who wait for it. Rows are the codec's own: coding tree blocks, macroblocks.
class Progress {
 public:
  void wait_for_rows(int rows) {
    if (rows_done_.load(std::memory_order_acquire) >= rows) return;
    std::unique_lock<std::mutex> lock(mutex_);
    progress_.wait(lock, [&] { return rows_done_.load(std::memory_order_acquire) >= rows; });
  }
  void publish_rows(int rows) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      rows_done_.store(rows, std::memory_order_release);
    }
    progress_.notify_all();
  }
  bool done() const { return done_.load(std::memory_order_acquire); }
  void finish() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      rows_done_.store(1 << 30, std::memory_order_release);
      done_.store(true, std::memory_order_release);
    }
    progress_.notify_all();
  }
  void wait_done() {
    if (done()) return;
    std::unique_lock<std::mutex> lock(mutex_);
    progress_.wait(lock, [&] { return done(); });
  }

 private:
  std::atomic<int> rows_done_{0};
  std::atomic<bool> done_{false};
  std::mutex mutex_;
  std::condition_variable progress_;
};

/// `Picture` derives from Progress and has offset, nal_type, poc, issues, motion and settle(); `PictureDecoder` decodes
/// one after another; `PictureBuffer` has pictures(), output() and flush().
template <class Picture, class PictureDecoder, class PictureBuffer>
class Driver {
 public:
  explicit Driver(const DecoderOptions& options) : options_(options) {
    options_.threads = std::min(options_.threads, kMaxThreads);
    if (options_.threads <= 1) return;
    for (unsigned i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { work(); });
  }
  virtual ~Driver() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      quit_ = true;
      queue_.clear();
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// Appends bytes of an Annex B stream.
  void push(const uint8_t* data, size_t size) { splitter_.push(data, size); }
  /// Appends one NAL unit without start code; `offset` is where it stands in its file.
  void push_unit(const uint8_t* data, size_t size, uint64_t offset) {
    units_.push_back({std::vector<uint8_t>(data, data + size), offset});
  }
  /// No more data will come.
  void finish() {
    finished_ = true;
    splitter_.finish();
  }
  /// The next picture in display order; null if more data is needed, at the end, or after a failure.
  std::shared_ptr<Picture> next();
  /// Why the parser stopped, or null.
  const Issue* failure() const { return failure_.get(); }
  /// Defects passed over so far (strict = false).
  const std::vector<Issue>& issues() const { return issues_; }
  /// NAL units of enhancement layers or views that were passed over.
  uint64_t upper_layer_units() const { return upper_layer_units_; }

 protected:
  virtual void handle_unit(const NalSpan& nal) = 0;
  /// Hands the open picture, if any, to the buffer and to `submit`.
  virtual void finish_picture() = 0;
  /// What to say about a stream of enhancement layers alone.
  virtual const char* no_base_layer() const = 0;

  void submit(const std::shared_ptr<Picture>& picture) {
    if (workers_.empty()) {
      own_decoder_.decode(*picture);
      return;
    }
    jobs_.push_back(picture);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      queue_.push_back(picture);
    }
    wake_.notify_one();
  }
  void report(uint64_t offset, int nal_type, const std::string& message, bool fatal = false) {
    if (options_.strict || fatal) {
      if (!pending_failure_) pending_failure_ = std::make_unique<Issue>(Issue{offset, nal_type, message});
      stopped_ = true;
    } else if (issues_.size() < kMaxIssues) {
      issues_.push_back({offset, nal_type, message});
    }
  }

  DecoderOptions options_;
  PictureBuffer buffer_;
  std::deque<std::shared_ptr<Picture>> hidden_;  ///< parsed, but not output: their defects count
  bool any_picture_ = false, upper_layer_pictures_ = false;
  uint64_t upper_layer_units_ = 0;

 private:
  static constexpr size_t kMaxIssues = 10000;  // further ones are dropped
  static constexpr unsigned kMaxThreads = 64;
  struct Unit {
    std::vector<uint8_t> bytes;
    uint64_t offset;
  };

  bool process_one();
  bool accept(Picture& picture);
  void fail(Issue issue);
  void collect_hidden(bool wait);
  void end_of_stream();
  void work();

  AnnexBSplitter splitter_;
  std::deque<Unit> units_;
  bool finished_ = false, flushed_ = false, stopped_ = false;
  std::unique_ptr<Issue> pending_failure_;  ///< raised once the pictures before it are out
  std::unique_ptr<Issue> failure_;
  std::vector<Issue> issues_;
  std::deque<std::shared_ptr<Picture>> jobs_;

  PictureDecoder own_decoder_;
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Picture>> queue_;
  bool quit_ = false;
};

template <class Picture, class PictureDecoder, class PictureBuffer>
void Driver<Picture, PictureDecoder, PictureBuffer>::work() {
  PictureDecoder decoder;
  for (;;) {
    std::shared_ptr<Picture> picture;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [this] { return quit_ || !queue_.empty(); });
      if (quit_) return;
      // in decoding order, so that whoever waits for a reference waits for a picture that has begun
      picture = std::move(queue_.front());
      queue_.pop_front();
    }
    decoder.decode(*picture);
  }
}

template <class Picture, class PictureDecoder, class PictureBuffer>
bool Driver<Picture, PictureDecoder, PictureBuffer>::process_one() {
  if (stopped_) return false;
  if (!units_.empty()) {
    const Unit unit = std::move(units_.front());
    units_.pop_front();
    handle_unit({unit.bytes.data(), unit.bytes.size(), unit.offset});
    return true;
  }
  NalSpan nal;
  if (!splitter_.next(nal)) return false;
  handle_unit(nal);
  return true;
}

// Stops the stream. Pictures leave in display order, but the defect to name is the first one of the stream: a picture
// that was decoded before the failing one and is still waiting may have it.
template <class Picture, class PictureDecoder, class PictureBuffer>
void Driver<Picture, PictureDecoder, PictureBuffer>::fail(Issue issue) {
  const auto look_at = [&](const auto& pictures) {
    for (const auto& picture : pictures) {
      if (picture->offset >= issue.offset) continue;
      picture->wait_done();
      for (const Issue& other : picture->issues) {
        if (other.offset < issue.offset) issue = other;
      }
    }
  };
  look_at(buffer_.pictures());
  look_at(buffer_.output());
  look_at(hidden_);
  failure_ = std::make_unique<Issue>(std::move(issue));
  stopped_ = true;
}

// Moves the defects of a decoded picture to where the caller sees them; false if they end the stream.
template <class Picture, class PictureDecoder, class PictureBuffer>
bool Driver<Picture, PictureDecoder, PictureBuffer>::accept(Picture& picture) {
  picture.settle();
  for (Issue& issue : picture.issues) {
    if (options_.strict) {
      fail(std::move(issue));
      return false;
    }
    if (issues_.size() < kMaxIssues) issues_.push_back(std::move(issue));
  }
  picture.issues.clear();
  if (!options_.strict) return true;
  const bool lost = picture.motion && picture.motion->lost;
  if (!lost && !picture.unreliable) return true;
  const char* what = lost ? " lacks some of its slices" : " is predicted from motion that the stream lacks";
  fail({picture.offset, picture.nal_type, "picture " + std::to_string(picture.poc) + what});
  return false;
}

template <class Picture, class PictureDecoder, class PictureBuffer>
void Driver<Picture, PictureDecoder, PictureBuffer>::collect_hidden(bool wait) {
  while (!failure_ && !hidden_.empty() && (wait || hidden_.front()->done())) {
    hidden_.front()->wait_done();
    if (!accept(*hidden_.front())) return;
    hidden_.pop_front();
  }
}

template <class Picture, class PictureDecoder, class PictureBuffer>
void Driver<Picture, PictureDecoder, PictureBuffer>::end_of_stream() {
  flushed_ = true;
  finish_picture();
  buffer_.flush();
  if (!any_picture_ && upper_layer_pictures_) report(0, -1, no_base_layer(), true);
  if (options_.strict && !pending_failure_) {
    if (splitter_.garbage_before_first()) {
      report(0, -1, "the stream does not begin with a start code");
    } else if (!any_picture_) {
      report(0, -1, "the stream has no picture");
    }
  }
}

template <class Picture, class PictureDecoder, class PictureBuffer>
std::shared_ptr<Picture> Driver<Picture, PictureDecoder, PictureBuffer>::next() {
  for (;;) {
    if (failure_) return nullptr;
    collect_hidden(false);
    while (!jobs_.empty() && jobs_.front()->done()) jobs_.pop_front();
    auto& out = buffer_.output();
    const bool full = jobs_.size() > options_.threads + 1;  // two wait while the others are worked on
    if (out.empty() || (!out.front()->done() && !full)) {
      if (full) {
        jobs_.front()->wait_done();
        continue;
      }
      if (process_one()) continue;
      if (!flushed_ && (finished_ || stopped_)) {
        end_of_stream();
        continue;
      }
    }
    if (out.empty()) {
      if (flushed_) {
        collect_hidden(true);
        if (!failure_ && pending_failure_) failure_ = std::move(pending_failure_);
      }
      return nullptr;
    }
    std::shared_ptr<Picture> picture = std::move(out.front());
    out.pop_front();
    picture->wait_done();
    if (!accept(*picture)) return nullptr;
    if (!picture->motion) continue;
    return picture;
  }
}

}  // namespace vssbench::bits
