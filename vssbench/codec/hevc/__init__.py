"""HEVC motion parser: Python face of the C++ extension `_motion`.

Only syntax is parsed (Rec. ITU-T H.265); no picture is reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import vssbench.codec.hevc._motion as _motion
from vssbench.codec.bits.reading import Parser, Source
from vssbench.records import BlockDetails, MotionField

__all__ = ["LIMIT_LUMA_SAMPLES", "PARSER", "read_motion"]

LIMIT_LUMA_SAMPLES: Final = 35_651_584
"""Larger pictures (8192 x 4352, level 6.2) are refused before anything is allocated."""


def _to_details(picture: Any) -> BlockDetails:
    return BlockDetails(
        cu_log2=picture.cu_log2,
        part_mode=picture.part_mode,
        qp=picture.qp,
        coded_bits=picture.coded_bits,
        nonzero_coefficients=picture.nonzero,
    )


PARSER: Final = Parser(
    codec="hevc",
    decoder=_motion.Decoder,
    nal_names={32: "VPS", 33: "SPS", 34: "PPS", 39: "SEI", 40: "SEI"},
    upper_layers="multi-layer HEVC",
    details=_to_details,
)


def read_motion(
    source: Source, *, strict: bool = True, threads: int = 1, details: bool = False
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
    return PARSER.read(source, strict, threads, details)
