"""Quantisation parameters of coded pictures, for showing beside a frame."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from vssbench.codec.encode import Bitstream
from vssbench.records import MotionField

_HEADER = struct.Struct("@IQQii")
"""AVVideoEncParams up to `qp`: number of blocks, offset and size of one, codec type, base QP."""
_DELTA_COLUMN = 4
"""AVVideoBlockParams is x, y, w, h, delta_qp as 32-bit integers."""


def read_qp(bitstream: Bitstream) -> list[float | None]:
    """Mean luma quantisation parameter of every picture in display order, over its area.

    0..51 for HEVC and H.264, the quantiser 1..31 for MPEG-4 Part 2; None where a picture does not tell.
    HEVC and H.264 are parsed, MPEG-4 is decoded once more with FFmpeg's coding parameters exported. Raises BitstreamError
    if a parsed stream is damaged.
    """
    codec = bitstream.settings.codec
    if codec != "mpeg4":
        read_motion = import_module(f"vssbench.codec.{codec}").read_motion
        fields: Iterator[MotionField] = read_motion(bitstream.data, details=True)
        return [None if field.details is None else float(field.details.qp.mean()) for field in fields]
    found: list[float | None] = []
    with av.open(io.BytesIO(bitstream.data), "r", format="m4v") as container:
        context = container.streams.video[0].codec_context
        context.options = {"export_side_data": "+venc_params"}
        for frame in container.decode(video=0):
            side: Any = frame.side_data  # its stub is narrower than the mapping
            found.append(_exported_qp(side.get(Type.VIDEO_ENC_PARAMS)))
    return found


def _exported_qp(data: Any) -> float | None:
    """Base QP plus the mean of the blocks' differences; blocks of one picture are equally large."""
    if data is None:
        return None
    raw = bytes(data)
    count, offset, size, _, base = _HEADER.unpack_from(raw)
    if count == 0:
        return float(base)
    blocks = np.frombuffer(raw, dtype=np.int32, count=count * size // 4, offset=offset).reshape(count, -1)
    return float(base + blocks[:, _DELTA_COLUMN].mean())
