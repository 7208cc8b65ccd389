#include "bits/bindings.hpp"

#include "decoder.hpp"

using namespace vssbench::hevc;

NB_MODULE(_motion, module) {
  module.doc() = "HEVC motion syntax parser (Rec. ITU-T H.265).";
  bind_picture<Picture>(module)
      .def_prop_ro(
          "list_pocs", [](const Picture& p) { return std::make_tuple(p.list_pocs[0], p.list_pocs[1]); },
          "Reference picture order counts of the first slice, per list.")
      .def_ro("temporal_id", &Picture::temporal_id, "TemporalId.")
      .def_prop_ro("cu_log2", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->cu_log2); })
      .def_prop_ro("part_mode", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->part_mode); });
  bind_decoder<Decoder>(module);
}
