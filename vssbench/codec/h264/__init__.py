"""H.264 motion parser: Python face of the C++ extension `_motion`.

Only syntax is parsed (Rec. ITU-T H.264); no picture is reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

import vssbench.codec.h264._motion as _motion
from vssbench.codec.bits.reading import Parser, Source
from vssbench.records import BlockDetails, MotionField

__all__ = ["LIMIT_LUMA_SAMPLES", "read_motion"]

LIMIT_LUMA_SAMPLES: Final = 35_651_584
"""Larger pictures (8192 x 4352, level 6.2) are refused before anything is allocated."""

_MACROBLOCK_LOG2: Final = 4
# part_mode of the macroblock types: intra 4x4 and 8x8 are NxN
_PART_MODES: Final = np.array([3, 3, 0, 0, 0, 1, 2, 3, 0, 0, 0], np.uint8)


def _to_details(picture: Any) -> BlockDetails:
    return BlockDetails(
        cu_log2=np.full(picture.mb_type.shape, _MACROBLOCK_LOG2, np.uint8),
        part_mode=_PART_MODES[picture.mb_type],
        qp=picture.qp,
        coded_bits=picture.coded_bits,
        nonzero_coefficients=picture.nonzero,
        macroblock_type=picture.mb_type,
        sub_macroblock_type=picture.sub_type,
        transform_8x8=picture.transform_8x8.view(np.bool_),
    )


def _interlacing(picture: Any) -> dict[str, Any]:
    parity = picture.reference_parity
    if parity is None or picture.structure == 0:
        return {}
    fields = picture.field.view(np.bool_)
    return {"reference_parity": parity, "field_macroblocks": fields if fields.any() else None}


_PARSER: Final = Parser(
    codec="h264",
    decoder=_motion.Decoder,
    nal_names={1: "slice", 5: "IDR slice", 6: "SEI", 7: "SPS", 8: "PPS"},
    upper_layers="scalable or multiview H.264 (SVC, MVC)",
    details=_to_details,
    extras=_interlacing,
)


def read_motion(
    source: Source, *, strict: bool = True, threads: int = 1, details: bool = False
) -> Iterator[MotionField]:
    """Parse the motion of every output picture of an H.264 stream, in display order.

    source: Annex B bytes, or a path to an Annex B file or to an mp4, mov, mkv or ts file with an H.264 track.
    strict: stop at the first defect with `BitstreamError` (after the pictures that precede it); a reference picture
    that the stream lacks is one. Otherwise go on: blocks whose syntax is lost count as intra and are marked in
    `MotionField.lost`; pictures whose vectors or references may differ from the undamaged stream's are
    `MotionField.unreliable`. A stream may begin at an I picture that is no IDR picture: pictures that are output before
    it, whose references precede it, are then left out, or without `strict` kept as unreliable where they use those.
    threads: pictures parsed at the same time; 1 works in the calling thread. The result does not depend on it.
    details: also fill `MotionField.details`.

    Memory is bounded by 16 reference pictures and 16 that wait for output, 19 bytes per 4x4 block each (30 with
    details), and the largest NAL unit.
    Raises BitstreamError with byte offset and NAL type; InputError if the file cannot be opened.
    Source: Rec. ITU-T H.264 (08/2021), clauses 7.3, 8.2, 8.4.1, 9.1 to 9.3 and C.4.
    """
    return _PARSER.read(source, strict, threads, details)
