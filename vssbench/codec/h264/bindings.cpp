#include "bits/bindings.hpp"

#include "decoder.hpp"
#include "visibility.hpp"

using namespace vssbench::h264;

namespace {

// (poc, long-term, parity) per entry
std::vector<std::tuple<int32_t, bool, int>> list_references(const Picture& picture, unsigned list) {
  std::vector<std::tuple<int32_t, bool, int>> entries;
  for (const auto& entry : picture.list_references[list])
    entries.emplace_back(entry.poc, entry.long_term, entry.parity);
  return entries;
}

}  // namespace

NB_MODULE(_motion, module) {
  module.doc() = "H.264 motion syntax parser (Rec. ITU-T H.264).";
  bind_picture<Picture>(module)
      .def_ro("reference", &Picture::reference, "Whether nal_ref_idc is not 0.")
      .def_prop_ro(
          "structure", [](const Picture& p) { return p.fields  ? 2
                                                     : p.mbaff ? 1
                                                               : 0; },
          "0 frame, 1 frame with field macroblocks allowed, 2 fields.")
      .def_prop_ro(
          "first_field", [](const Picture& p) { return static_cast<int>(p.first_field); },
          "0 frame, 1 top, 2 bottom field.")
      .def_prop_ro(
          "field_poc", [](const Picture& p) { return std::make_tuple(p.field_poc[0], p.field_poc[1]); },
          "Picture order counts of the top and the bottom field.")
      .def_prop_ro(
          "list_references",
          [](const Picture& p) { return std::make_tuple(list_references(p, 0), list_references(p, 1)); },
          "(picture order count, long-term, parity) per reference of the first slice, per list.")
      .def_prop_ro("reference_index", [](const Picture& p) { return view<int8_t>(p.motion, p.motion->refs, {2}); })
      .def_prop_ro(
          "reference_parity", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->ref_parity, {2}); },
          "uint8 [H4, W4, 2 (list)]: 0 frame, 1 top, 2 bottom field; None for progressive sequences.")
      .def_prop_ro("mb_type", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->mb_type); })
      .def_prop_ro("sub_type", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->sub_type); })
      .def_prop_ro("transform_8x8", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->transform_8x8); })
      .def_prop_ro(
          "field",
          [](const Picture& p) {
            return view<uint8_t>(p.motion, p.motion->mb_field, p.motion->mb_rows, p.motion->mb_columns, {});
          },
          "uint8 [H16, W16], 1 for field macroblocks and those of field pictures.")
      .def_prop_ro("slice", [](const Picture& p) { return view<uint16_t>(p.motion, p.motion->slice); });
  bind_decoder<Decoder>(module);
  namespace nb = nanobind;
  nb::class_<Visibility>(module, "Visibility", "Which packets give a picture of their own, told from headers.")
      .def(nb::init<>())
      .def(
          "__call__",
          [](Visibility& self, const std::vector<nb::bytes>& units) {
            for (const nb::bytes& unit : units) self.push(static_cast<const uint8_t*>(unit.data()), unit.size());
            return static_cast<int>(self.take());
          },
          nb::arg("units"),
          "Of the units of a packet: 0 shown; 1 the second field of a frame; 2 leads an I picture at which the stream "
          "is "
          "entered, and refers to what precedes it; 3 reference pictures are missing before it.");
}
