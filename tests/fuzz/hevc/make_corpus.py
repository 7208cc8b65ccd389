"""Make seeds for the fuzzer: tiny encoded streams of synthetic content, and given streams cut short.

Usage: python make_corpus.py OUTPUT_FOLDER [STREAM...]
Every seed ends in one byte that chooses how the target uses the parser (see fuzz_motion.cpp).
"""

from __future__ import annotations

import io
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LIMIT_BYTES = 4000
_SEI_TYPES = (39, 40)
# No width of 48 or below: libx265 damages its own memory there.
_SIZES = ((64, 64), (96, 56), (40, 72))
_PARAMETERS = (
    "bframes=0:rect=1:amp=1:keyint=6",
    "bframes=3:b-pyramid=1:ref=3:max-merge=5",
    "bframes=2:open-gop=1:keyint=4:min-keyint=2",
    "ctu=16:min-cu-size=8:wpp=1:bframes=1",
    "ctu=32:min-cu-size=16:no-wpp=1:tu-inter-depth=3:tu-intra-depth=3",
    "lossless=1:bframes=0",
    "cu-lossless=1:tskip=1:bframes=1",
    "scaling-list=default:no-sao=1:no-deblock=1",
    "intra-refresh=1:bframes=0:keyint=5",
    "temporal-layers=2:bframes=3:b-pyramid=1:hrd=1:vbv-maxrate=300:vbv-bufsize=300:bitrate=100",
    "no-signhide=1:no-temporal-mvp=1:constrained-intra=1:cbqpoffs=3",
    "weightp=1:weightb=1:bframes=2:aq-mode=2:qg-size=8",
)
_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p")


def encode(parameters: str, size: tuple[int, int], pixel_format: str) -> bytes:
    """Seven pictures of a moving, fading texture."""
    height, width = size
    texture = (
        np.random.default_rng(1).integers(60, 200, (height // 4 + 8, width // 4 + 8, 3)).astype(np.uint8)
    )
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    target = io.BytesIO()
    with av.open(target, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        stream.options = {
            "crf": "38",
            "x265-params": f"pools=none:frame-threads=1:log-level=none:info=0:{parameters}",
        }
        for index in range(7):
            image = texture[2 * index : 2 * index + height, index : index + width] - 5 * index
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def shortened(data: bytes, limit: int) -> bytes:
    """Leading NAL units of an Annex B stream, as many as fit, without SEI; parameter sets always."""
    kept = b""
    for piece in data.split(b"\0\0\1")[1:]:
        kind = piece[0] >> 1 if piece else 63
        if kind in _SEI_TYPES or (kind < 32 and len(kept) + len(piece) > limit):
            continue
        kept += b"\0\0\1" + piece
    return kept


def main() -> None:
    """Write the seeds."""
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for number, parameters in enumerate(_PARAMETERS):
        data = encode(parameters, _SIZES[number % len(_SIZES)], _FORMATS[number % len(_FORMATS)])
        for option in (0x04, 0x80, 0x03):
            (target / f"x265_{number}_{option}").write_bytes(shortened(data, LIMIT_BYTES) + bytes([option]))
    for name in sys.argv[2:]:
        data = Path(name).read_bytes()
        for option in (0x04, 0x83):
            (target / f"{Path(name).stem}_{option}").write_bytes(
                shortened(data, LIMIT_BYTES) + bytes([option])
            )


if __name__ == "__main__":
    main()
