"""HEVC motion parser: Python face of the C++ extension `_motion`.

Only syntax is parsed (Rec. ITU-T H.265); no picture is reconstructed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from os import PathLike, fspath
from typing import Any, Final, Literal

import numpy as np

import vssbench.codec.hevc._motion as _motion
from vssbench.codec.hevc.container import is_container, read_units
from vssbench.errors import BitstreamError, InputError
from vssbench.records import BlockDetails, MotionField

__all__ = ["LIMIT_LUMA_SAMPLES", "read_motion"]

LIMIT_LUMA_SAMPLES: Final = 35_651_584
"""Larger pictures (8192 x 4352, level 6.2) are refused before anything is allocated."""

_CHUNK_BYTES: Final = 1 << 18
_FRAME_TYPES: Final[tuple[Literal["B", "P", "I"], ...]] = ("B", "P", "I")
_NAL_NAMES: Final = {32: "VPS", 33: "SPS", 34: "PPS", 39: "SEI", 40: "SEI"}
_LOG: Final = logging.getLogger(__name__)


def read_motion(
    source: bytes | str | PathLike[str], *, strict: bool = True, threads: int = 1, details: bool = False
) -> Iterator[MotionField]:
    """Parse the motion of every output picture of an HEVC stream, in display order.

    source: Annex B bytes, or a path to an Annex B file or to an mp4, mov, mkv or ts file with an HEVC track.
    strict: stop at the first defect with `BitstreamError` (after the pictures that precede it); a reference picture
    that the stream lacks is one. Otherwise go on: blocks whose syntax is lost count as intra and are marked in
    `MotionField.lost`; pictures whose vectors may differ from the undamaged stream's are `MotionField.unreliable`.
    A stream may begin at any IRAP picture: RASL pictures, whose references precede it, are left out in both modes.
    threads: pictures parsed at the same time; 1 works in the calling thread. The result does not depend on it.
    details: also fill `MotionField.details`.

    Memory is bounded by the decoded picture buffer that the stream declares (at most 16 pictures and as many
    waiting for output, 19 bytes per 4x4 block each, 28 with details) and the largest NAL unit.
    Raises BitstreamError with byte offset and NAL type; InputError if the file cannot be opened.
    Source: Rec. ITU-T H.265 v4 (12/2016), clauses 7.3, 8.1, 8.3, 8.5.3.2, 9.3 and C.5.2.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    name = "<bytes>" if isinstance(source, bytes) else fspath(source)
    decoder = _motion.Decoder(threads=threads, strict=strict, details=details)
    for _ in _feed(decoder, source, strict):
        yield from _drain(decoder, name, details)
    decoder.finish()
    yield from _drain(decoder, name, details)
    for message, offset, nal_type in decoder.issues:
        _LOG.warning("%s", _describe(name, message, offset, nal_type))
    if decoder.upper_layer_units:
        _LOG.warning(
            "%s: multi-layer HEVC: %d NAL units of layers above 0 were passed over; the motion is the base layer's",
            name,
            decoder.upper_layer_units,
        )


def _feed(decoder: _motion.Decoder, source: bytes | str | PathLike[str], strict: bool) -> Iterator[None]:
    """Hand the source to the decoder piece by piece."""
    if isinstance(source, bytes):
        if is_container(source[:512]):
            for unit, offset in read_units(source, strict=strict):
                decoder.push_unit(unit, offset)
                yield
            return
        view = memoryview(source)
        for begin in range(0, len(source), _CHUNK_BYTES):
            decoder.push(bytes(view[begin : begin + _CHUNK_BYTES]))
            yield
        return
    try:
        with open(source, "rb") as file:
            head = file.read(512)
            if is_container(head):
                for unit, offset in read_units(source, strict=strict):
                    decoder.push_unit(unit, offset)
                    yield
                return
            chunk = head
            while chunk:
                decoder.push(chunk)
                yield
                chunk = file.read(_CHUNK_BYTES)
    except OSError as error:
        raise InputError(f"{fspath(source)} cannot be read: {error.strerror or error}") from error


def _drain(decoder: _motion.Decoder, name: str, details: bool) -> Iterator[MotionField]:
    while (picture := decoder.next()) is not None:
        yield _to_field(picture, details)
    if decoder.failure is not None:
        message, offset, nal_type = decoder.failure
        raise BitstreamError(
            f"{_describe(name, message, offset, nal_type)}. Repair or re-encode the file, or pass strict=False "
            "to keep what can be read",
            byte_offset=offset,
            nal_type=None if nal_type < 0 else nal_type,
        )


def _describe(name: str, message: str, offset: int, nal_type: int) -> str:
    unit = "" if nal_type < 0 else f", {_NAL_NAMES.get(nal_type, 'NAL unit')} of type {nal_type}"
    return f"{name}: byte {offset}{unit}: {message}"


def _to_field(picture: Any, details: bool) -> MotionField:
    # Any: the stub cannot tell the element types of the arrays; MotionField checks them
    left, top, width, height = picture.crop
    lost = picture.lost
    return MotionField(
        poc=picture.poc,
        frame_type=_FRAME_TYPES[picture.slice_type],
        size=(height, width),
        vectors_qpel=picture.vectors,
        reference_poc=picture.reference_poc,
        mode=picture.mode,
        crop_left_top=(left, top),
        coded_sequence=picture.coded_sequence,
        decode_order=picture.decode_order,
        coded_bits=8 * picture.coded_bytes,
        details=_to_details(picture) if details else None,
        lost=None if lost is None else lost.view(np.bool_),
        unreliable=picture.unreliable,
    )


def _to_details(picture: Any) -> BlockDetails:
    return BlockDetails(
        cu_log2=picture.cu_log2,
        part_mode=picture.part_mode,
        qp=picture.qp,
        coded_bits=picture.coded_bits,
        nonzero_coefficients=picture.nonzero,
    )
