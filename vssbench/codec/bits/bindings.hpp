// Python bindings of both parsers: a streaming decoder whose pictures expose their arrays without copying.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bits/driver.hpp"

namespace vssbench::bits {

namespace nb = nanobind;
using IssueTuple = std::tuple<std::string, uint64_t, int>;

// The array keeps the picture's memory alive; it is read-only because later pictures still predict from it.
template <typename Scalar, typename Store, typename Element>
nb::object view(const std::shared_ptr<Store>& motion, const std::unique_ptr<Element[]>& data, int rows, int columns,
                std::initializer_list<size_t> inner) {
  if (!motion || !data) return nb::none();
  auto* keep = new std::shared_ptr<Store>(motion);
  nb::capsule owner(keep, [](void* p) noexcept { delete static_cast<std::shared_ptr<Store>*>(p); });
  size_t shape[4] = {static_cast<size_t>(rows), static_cast<size_t>(columns), 0, 0};
  size_t dimensions = 2;
  for (size_t extent : inner) shape[dimensions++] = extent;
  return nb::cast(nb::ndarray<nb::numpy, const Scalar>(data.get(), dimensions, shape, owner));
}

/// [H4, W4, inner...]
template <typename Scalar, typename Store, typename Element>
nb::object view(const std::shared_ptr<Store>& motion, const std::unique_ptr<Element[]>& data,
                std::initializer_list<size_t> inner = {}) {
  return view<Scalar>(motion, data, motion ? motion->rows : 0, motion ? motion->columns : 0, inner);
}

/// What pictures of both codecs tell; the caller adds the rest.
template <class Picture>
nb::class_<Picture> bind_picture(nb::module_& module) {
  return nb::class_<Picture>(module, "Picture",
                             "One parsed picture; arrays lie on the 4x4 luma grid of the coded picture.")
      .def_ro("poc", &Picture::poc, "Picture order count.")
      .def_ro("coded_sequence", &Picture::coded_sequence, "Index of the coded video sequence.")
      .def_ro("decode_order", &Picture::decode_order, "Rank in decoding order among output pictures.")
      .def_ro("decode_index", &Picture::decode_index,
              "Index of its access unit in decoding order; pictures that are never output count.")
      .def_ro("nal_type", &Picture::nal_type, "nal_unit_type of its slices.")
      .def_ro("slice_type", &Picture::slice_type, "0 B, 1 P, 2 I: the most inter type of its slices.")
      .def_ro("slices", &Picture::slices, "Independent slices.")
      .def_ro("coded_bytes", &Picture::coded_bytes, "Bytes of its slice NAL units.")
      .def_prop_ro(
          "bit_depth", [](const Picture& p) { return p.sps->bit_depth_luma; }, "Luma bit depth.")
      .def_prop_ro(
          "coded_size", [](const Picture& p) { return std::make_tuple(p.sps->width, p.sps->height); },
          "(width, height) before cropping.")
      .def_prop_ro(
          "crop",
          [](const Picture& p) {
            return std::make_tuple(p.sps->crop_left, p.sps->crop_top, p.sps->crop_width, p.sps->crop_height);
          },
          "(left, top, width, height) of the cropping window in luma samples.")
      .def_prop_ro(
          "vectors", [](const Picture& p) { return view<int16_t>(p.motion, p.motion->vectors, {2, 2}); },
          "int16 [H4, W4, 2 (list), 2 (x, y)], quarter luma samples.")
      .def_prop_ro(
          "reference_poc", [](const Picture& p) { return view<int32_t>(p.motion, p.motion->pocs, {2}); },
          "int32 [H4, W4, 2 (list)], -2^31 where the list is unused.")
      .def_prop_ro(
          "mode", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->mode); },
          "uint8 [H4, W4]: 0 intra, 1 inter, 2 skip.")
      .def_prop_ro(
          "lost", [](const Picture& p) { return view<uint8_t>(p.motion, p.motion->lost); },
          "uint8 [H4, W4], 1 where the bitstream was broken; None if it was not.")
      .def_ro("unreliable", &Picture::unreliable,
              "Whether prediction drew on motion that the stream lacks; only after defects.")
      .def_prop_ro("qp", [](const Picture& p) { return view<int8_t>(p.motion, p.motion->qp); })
      .def_prop_ro("coded_bits", [](const Picture& p) { return view<uint32_t>(p.motion, p.motion->coded_bits); })
      .def_prop_ro("nonzero", [](const Picture& p) { return view<uint16_t>(p.motion, p.motion->nonzero); });
}

template <class Decoder>
nb::class_<Decoder> bind_decoder(nb::module_& module) {
  return nb::class_<Decoder>(module, "Decoder",
                             "NAL units in, pictures in display order out. The GIL is released while parsing.")
      .def(
          "__init__",
          [](Decoder* self, unsigned threads, bool strict, bool details) {
            DecoderOptions options;
            options.threads = threads;
            options.strict = strict;
            options.details = details;
            new (self) Decoder(options);
          },
          nb::arg("threads") = 1, nb::arg("strict") = true, nb::arg("details") = false)
      .def(
          "push",
          [](Decoder& self, nb::bytes data) {
            const auto* bytes = static_cast<const uint8_t*>(data.data());
            const size_t size = data.size();
            nb::gil_scoped_release release;
            self.push(bytes, size);
          },
          nb::arg("data"), "Appends bytes of an Annex B stream.")
      .def(
          "push_unit",
          [](Decoder& self, nb::bytes data, uint64_t offset) {
            self.push_unit(static_cast<const uint8_t*>(data.data()), data.size(), offset);
          },
          nb::arg("data"), nb::arg("offset"), "Appends one NAL unit that has no start code.")
      .def("finish", &Decoder::finish, "No more data will come.")
      .def("next", &Decoder::next, nb::call_guard<nb::gil_scoped_release>(),
           "The next picture; None if more data is needed, at the end, or after a failure.")
      .def_prop_ro(
          "failure",
          [](const Decoder& self) -> std::optional<IssueTuple> {
            const Issue* issue = self.failure();
            if (issue == nullptr) return std::nullopt;
            return IssueTuple{issue->message, issue->offset, issue->nal_type};
          },
          "(message, byte offset, NAL type or -1) of what stopped the parser, or None.")
      .def_prop_ro("upper_layer_units", &Decoder::upper_layer_units,
                   "NAL units of enhancement layers or views that were passed over.")
      .def_prop_ro(
          "issues",
          [](const Decoder& self) {
            std::vector<IssueTuple> issues;
            for (const Issue& issue : self.issues()) issues.emplace_back(issue.message, issue.offset, issue.nal_type);
            return issues;
          },
          "Defects passed over with strict=False, as (message, byte offset, NAL type or -1).");
}

}  // namespace vssbench::bits
