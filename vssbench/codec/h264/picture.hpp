// Pictures, what is kept per block, and what travels from slice headers to the decoding of slice data.
#pragma once
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "bits/driver.hpp"
#include "slice_header.hpp"

namespace vssbench::h264 {

constexpr int32_t kNoReference = std::numeric_limits<int32_t>::min();
/// Picture order count of references that the stream lacks; only in damaged streams.
constexpr int32_t kUnknownReference = kNoReference + 1;

struct alignas(4) Vector {
  int16_t x = 0, y = 0;
};
inline bool operator==(Vector a, Vector b) {
  return a.x == b.x && a.y == b.y;
}
struct alignas(8) VectorPair {
  Vector list[2];
};
struct alignas(8) PocPair {
  int32_t list[2];
};
/// Reference index per list as the block uses it (fields in field macroblocks); -1 where the list is unused.
struct alignas(2) RefPair {
  int8_t list[2];
};

/// Golden codes of macroblock types.
enum MacroblockType : uint8_t {
  kI4x4 = 0,
  kI8x8 = 1,
  kI16x16 = 2,
  kPcm = 3,
  k16x16 = 4,
  k16x8 = 5,
  k8x16 = 6,
  k8x8 = 7,
  kPSkip = 8,
  kBSkip = 9,
  kBDirect = 10,
};
enum SubType : uint8_t { kSub8x8 = 0, kSub8x4 = 1, kSub4x8 = 2, kSub4x4 = 3, kSubDirect = 4, kNoSub = 255 };

/// References of one slice by index; pictures by their unique number, so that nothing is kept alive.
struct SliceReferences {
  uint32_t key[2][kMaxReferences] = {};  ///< 4 * number + parity (0 frame, 1 top, 2 bottom)
};

/// Kept per picture for output and for the direct prediction of later pictures. Macroblock rows lie in the order of
/// macroblock addresses: of field macroblocks (also of field pictures) the upper row of a pair is the top field's.
struct MotionStore {
  MotionStore(int width, int height, bool interlaced, bool with_details);
  void clear_macroblock(int mb_x, int mb_y);

  int columns, rows;        ///< 4x4 blocks
  int mb_columns, mb_rows;  ///< macroblocks
  std::unique_ptr<VectorPair[]> vectors;
  std::unique_ptr<PocPair[]> pocs;
  std::unique_ptr<RefPair[]> refs;
  std::unique_ptr<uint8_t[]> mode;       ///< 0 intra, 1 inter, 2 skip
  std::unique_ptr<uint8_t[]> mb_field;   ///< per macroblock: a field macroblock
  std::unique_ptr<uint16_t[]> mb_slice;  ///< per macroblock: index into `slices`
  std::vector<SliceReferences> slices;
  // optional by-products, per 4x4 block
  std::unique_ptr<uint8_t[]> mb_type, sub_type, transform_8x8;
  std::unique_ptr<uint16_t[]> slice;  ///< number in its picture or field
  std::unique_ptr<int8_t[]> qp;
  std::unique_ptr<uint32_t[]> coded_bits;
  std::unique_ptr<uint16_t[]> nonzero;
  std::unique_ptr<uint8_t[]> ref_parity;  ///< per 4x4 block and list: 0 frame, 1 top, 2 bottom field; if interlaced
  std::unique_ptr<uint8_t[]> lost;        ///< 1 where the bitstream was broken; allocated only then
};

struct Picture;

/// One entry of a reference picture list.
struct Reference {
  std::shared_ptr<Picture> picture;  ///< null if the stream lacks it
  Structure parity = kFrame;
  bool long_term = false;
  int32_t poc = kUnknownReference;  ///< of its frame, as it was when the slice began
  int32_t field_poc[2] = {kUnknownReference, kUnknownReference};
};

/// A slice waiting to be decoded, with its lists.
struct SliceSegment {
  SliceHeader header;
  Payload payload;
  std::vector<Reference> lists[2];
  int32_t field_poc[2] = {0, 0};  ///< of the current picture, as far as known
  int number = 0;                 ///< in its picture or field
};

struct Picture : Progress {
  // fixed when decoding begins, or completed by the second field
  uint32_t number = 0;  ///< unique
  int32_t poc = 0;      ///< the smaller one of its fields
  int32_t field_poc[2] = {std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::max()};
  int coded_sequence = 0;
  int decode_order = -1;  ///< rank among the pictures that are output
  int decode_index = 0;   ///< index of its access unit in decoding order; what is never output counts
  uint64_t offset = 0;    ///< of its first slice in the stream
  uint8_t nal_type = 0;
  uint8_t slice_type = kSliceI;  ///< the most inter type of its slices
  int slices = 0;
  uint64_t coded_bytes = 0;  ///< of its slice NAL units
  bool reference = false;    ///< nal_ref_idc of the first field is not 0
  bool fields = false;       ///< coded as fields
  bool mbaff = false;
  Structure first_field = kFrame;
  uint8_t decoded = 0;  ///< fields that have arrived: bit 0 top, bit 1 bottom
  struct ListEntry {
    int32_t poc;
    bool long_term;
    uint8_t parity;  ///< 0 frame, 1 top, 2 bottom field
  };
  std::vector<ListEntry> list_references[2];  ///< of the first slice
  std::shared_ptr<const Sps> sps;
  std::vector<std::unique_ptr<SliceSegment>> segments;
  std::vector<Issue> issues;
  bool with_details = false;

  // state in the picture buffer (control thread only)
  int32_t frame_num = 0, frame_num_wrap = 0;
  uint8_t short_term = 0, long_term = 0;  ///< marked fields: bit 0 top, bit 1 bottom
  unsigned long_term_index = 0;
  bool non_existing = false, waits_for_output = false, current = false;

  std::shared_ptr<MotionStore> motion;

  // how far the motion can be trusted; see settle()
  bool unreliable = false;
  std::vector<std::shared_ptr<Picture>> sources;  ///< co-located pictures of the slices, until settled

  /// Decides `unreliable` of a decoded picture from its co-located pictures. Control thread only.
  void settle();
};

}  // namespace vssbench::h264
