#include "bits/bindings.hpp"

#include "decoder.hpp"

using namespace vssbench::hevc;

NB_MODULE(_motion, module) {
  module.doc() = "HEVC motion syntax parser (Rec. ITU-T H.265).";
  bind_picture<Picture>(module)
      .def_ro("temporal_id", &Picture::temporal_id, "TemporalId.")
      .def_prop_ro("cu_log2", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->cu_log2); })
      .def_prop_ro("part_mode", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->part_mode); });
  bind_decoder<Decoder>(module);
}
