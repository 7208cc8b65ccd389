"""Make seeds for the fuzzer: tiny encoded streams of synthetic content, and given streams cut short.

Usage: python make_corpus.py hevc|h264 OUTPUT_FOLDER [STREAM...]
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
# No width of 48 or below: libx265 damages its own memory there.
_SIZES = ((64, 64), (96, 56), (40, 72))
_PARAMETERS = {
    "hevc": (
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
    ),
    "h264": (
        "bframes=0:ref=1:no-cabac=1:keyint=6",
        "bframes=3:b-pyramid=normal:ref=4:direct=auto:weightp=2",
        "bframes=2:open-gop=1:keyint=4:min-keyint=2:direct=temporal",
        "bframes=2:direct=spatial:no-8x8dct=1:partitions=all:slices=3",
        "interlaced=1:bframes=2:direct=temporal",
        "tff=1:no-cabac=1:bframes=1:direct=spatial:slices=2",
        "qp=0:bframes=1",
        "intra-refresh=1:bframes=0:keyint=5",
        "qp=1:no-cabac=1:bframes=1",
        "fake-interlaced=1:bframes=1:constrained-intra=1",
        "weightp=1:weightb=1:bframes=2:aq-mode=2:slice-max-size=300",
        "no-cabac=1:8x8dct=1:partitions=all:ref=5:bframes=1:direct=temporal",
    ),
}
_FORMATS = ("yuv420p", "yuv422p", "yuv444p", "yuv420p")


def encode(codec: str, parameters: str, size: tuple[int, int], pixel_format: str) -> bytes:
    """Seven pictures of a moving, fading texture."""
    height, width = size
    texture = (
        np.random.default_rng(1).integers(60, 200, (height // 4 + 8, width // 4 + 8, 3)).astype(np.uint8)
    )
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    target = io.BytesIO()
    with av.open(target, "w", format=codec) as container:
        stream = container.add_stream("libx265" if codec == "hevc" else "libx264", rate=Fraction(25))
        stream.height, stream.width, stream.pix_fmt = height, width, pixel_format
        if codec == "hevc":
            fixed = "pools=none:frame-threads=1:log-level=none:info=0:"
            stream.options = {"crf": "38", "x265-params": fixed + parameters}
        else:
            stream.options = {"crf": "38", "x264-params": "threads=1:" + parameters}
        for index in range(7):
            image = texture[2 * index : 2 * index + height, index : index + width] - 5 * index
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def shortened(codec: str, data: bytes, limit: int) -> bytes:
    """Leading NAL units of an Annex B stream, as many as fit, without SEI; parameter sets always."""
    kept = b""
    for piece in data.split(b"\0\0\1")[1:]:
        if codec == "hevc":
            kind = piece[0] >> 1 if piece else 63
            is_sei, is_slice = kind in (39, 40), kind < 32
        else:
            kind = piece[0] & 31 if piece else 0
            is_sei, is_slice = kind == 6, kind in (1, 5)
        if is_sei or (is_slice and len(kept) + len(piece) > limit):
            continue
        kept += b"\0\0\1" + piece
    return kept


def main() -> None:
    """Write the seeds."""
    codec, target = sys.argv[1], Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    for number, parameters in enumerate(_PARAMETERS[codec]):
        data = encode(codec, parameters, _SIZES[number % len(_SIZES)], _FORMATS[number % len(_FORMATS)])
        for option in (0x04, 0x80, 0x03):
            seed = shortened(codec, data, LIMIT_BYTES) + bytes([option])
            (target / f"{codec}_{number}_{option}").write_bytes(seed)
    for name in sys.argv[3:]:
        data = Path(name).read_bytes()
        for option in (0x04, 0x83):
            seed = shortened(codec, data, LIMIT_BYTES) + bytes([option])
            (target / f"{Path(name).stem}_{option}").write_bytes(seed)


if __name__ == "__main__":
    main()
