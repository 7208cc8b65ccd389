"""Quantisation parameters of coded pictures, for showing beside a frame."""

from __future__ import annotations

import io
import struct
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type

from vssbench.codec.encode import Bitstream

_CONTAINERS = {"h264": "h264", "mpeg4": "m4v"}
_HEADER = struct.Struct("@IQQii")
"""AVVideoEncParams up to `qp`: number of blocks, offset and size of one, codec type, base QP."""
_DELTA_COLUMN = 4
"""AVVideoBlockParams is x, y, w, h, delta_qp as 32-bit integers."""


def read_qp(bitstream: Bitstream) -> list[float | None]:
    """Mean luma quantisation parameter of every picture in display order, over its area.

    0..51 for HEVC and H.264, the quantiser 1..31 for MPEG-4 Part 2; None where a picture does not tell.
    HEVC is parsed by our own parser, the others are decoded once more with FFmpeg's coding parameters exported.
    Raises BitstreamError if an HEVC stream is damaged.
    """
    codec = bitstream.settings.codec
    if codec == "hevc":
        from vssbench.codec.hevc import read_motion

        fields = read_motion(bitstream.data, details=True)
        return [None if field.details is None else float(field.details.qp.mean()) for field in fields]
    found: list[float | None] = []
    with av.open(io.BytesIO(bitstream.data), "r", format=_CONTAINERS[codec]) as container:
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
