// Pictures, reference picture sets and lists, output order (8.1.3, 8.3.1 to 8.3.4, C.5.2).
#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "bits/driver.hpp"
#include "motion.hpp"
#include "slice_header.hpp"

namespace vssbench::hevc {

struct Picture;

/// One entry of a reference picture list (8.3.4).
struct Reference {
  int32_t poc = 0;
  bool long_term = false;
  std::shared_ptr<Picture> picture;  ///< null if the stream lacks it
};

/// A slice segment waiting to be decoded, with the lists of its slice.
struct SliceSegment {
  SliceHeader header;
  Payload payload;
  std::vector<Reference> lists[2];
};

struct Picture : Progress {
  // fixed when decoding begins
  int32_t poc = 0;
  int coded_sequence = 0;
  int decode_order = -1;  ///< rank among the pictures that are output
  int decode_index = 0;   ///< index of its access unit in decoding order; what is never output counts
  uint64_t offset = 0;    ///< of its first slice in the stream
  uint8_t nal_type = 0, temporal_id = 0;
  uint8_t slice_type = kSliceI;  ///< the most inter type of its slices
  int slices = 0;                ///< independent ones
  uint64_t coded_bytes = 0;      ///< of its slice NAL units
  bool output = false;
  std::vector<int32_t> list_pocs[2];  ///< of the first slice
  std::shared_ptr<const Sps> sps;
  std::shared_ptr<const Pps> pps;
  std::shared_ptr<const Layout> layout;
  std::vector<std::unique_ptr<SliceSegment>> segments;
  std::vector<Issue> issues;
  bool with_details = false;

  // state in the picture buffer (control thread only)
  bool is_reference = false, is_long_term = false, waits_for_output = false;

  // decoded motion; rows of coding tree blocks below `rows_done` are final
  std::shared_ptr<MotionStore> motion;
  std::vector<uint8_t> parsed;  ///< per coding tree block (raster): 1 if its syntax was read

  // how far the motion can be trusted; see settle()
  bool unreliable = false;                        ///< temporal candidates came from motion that the stream lacks
  std::vector<std::shared_ptr<Picture>> sources;  ///< collocated pictures of the slices, until settled

  /// Decides `unreliable` of a decoded picture from its collocated pictures. Control thread only.
  void settle();
};

/// The decoded picture buffer: keeps references, decides what is output when.
class PictureBuffer {
 public:
  /// Starts the picture of this first slice header; null if it is skipped (RASL without its references).
  std::shared_ptr<Picture> begin(const SliceHeader& header, bool details);
  /// True while RASL pictures are skipped, because what they refer to precedes the stream or its last break (8.1.3).
  bool skips_rasl() const { return skip_rasl_; }
  /// Derives the lists of one slice of the current picture. Reports missing references.
  void make_lists(const SliceHeader& header, std::vector<Reference> (&lists)[2],
                  std::vector<std::string>& missing) const;
  /// Moves the current picture into the buffer and bumps (C.5.2.3).
  void end(const std::shared_ptr<Picture>& picture);
  void end_of_sequence() { after_end_of_sequence_ = true; }
  /// Everything that still waits goes out.
  void flush();
  std::deque<std::shared_ptr<Picture>>& output() { return output_; }
  /// References and pictures that wait for output.
  const std::vector<std::shared_ptr<Picture>>& pictures() const { return pictures_; }

 private:
  struct Wanted {
    int32_t poc;
    bool full_poc;  ///< false: compare least significant bits only
    std::shared_ptr<Picture> picture;
  };
  int32_t derive_poc(const SliceHeader& header, bool restart);
  void apply_reference_set(const SliceHeader& header, int32_t poc);
  void drop_unused();
  void bump();
  void bump_while_needed(const Sps& sps);

  std::vector<std::shared_ptr<Picture>> pictures_;
  std::deque<std::shared_ptr<Picture>> output_;
  std::vector<Wanted> before_, after_, long_term_;  // RefPicSetStCurrBefore, StCurrAfter, LtCurr
  int32_t previous_tid0_poc_ = 0;
  bool after_end_of_sequence_ = true;
  bool skip_rasl_ = true;
  int coded_sequence_ = -1;
  int next_decode_order_ = 0;
};

}  // namespace vssbench::hevc
