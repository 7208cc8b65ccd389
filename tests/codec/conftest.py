"""Synthetic content that the codec tests encode. Nothing here comes from a dataset."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Frames = list[NDArray[np.uint8]]


def _smooth_noise(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Texture with detail at all scales, so that motion search finds the true vector; 0..255."""
    generator = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(generator.normal(size=shape))
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    texture = np.fft.irfft2(spectrum / (1 + 2000 * (x**2 + y**2)), s=shape)
    return ((texture - texture.mean()) / texture.std() * 45 + 128).clip(0, 255)


@pytest.fixture(scope="session")
def pan() -> Callable[..., Frames]:
    """pan(size, count, step, seed): a texture of which frame n shows the part at n * step (x, y), whole samples.

    Content at (x, y) of a frame was at (x, y) + step in the frame before: that is the flow to expect.
    """

    def make(size: tuple[int, int], count: int, step: tuple[int, int] = (5, 3), seed: int = 0) -> Frames:
        height, width = size
        room = (height + abs(step[1]) * count, width + abs(step[0]) * count)
        luma, tint = _smooth_noise(room, 2 * seed), _smooth_noise(room, 2 * seed + 1)
        bands = [
            0.8 * luma + share * tint for share in (0.05, 0.1, 0.2)
        ]  # chroma is coded at half resolution
        scene = np.stack(bands, axis=-1).astype(np.uint8)
        frames = []
        for index in range(count):
            y = index * step[1] if step[1] >= 0 else (count - 1 - index) * -step[1]
            x = index * step[0] if step[0] >= 0 else (count - 1 - index) * -step[0]
            frames.append(scene[y : y + height, x : x + width].copy())
        return frames

    return make


@pytest.fixture(scope="session")
def cut(pan: Callable[..., Frames]) -> Callable[..., Frames]:
    """cut(size, count, at): like pan, but all content changes at frame `at`: a scene cut."""

    def make(size: tuple[int, int], count: int, at: int) -> Frames:
        return pan(size, count)[:at] + pan(size, count, seed=7)[at:]

    return make


Film = Callable[..., Path]

X265 = "log-level=none:frame-threads=1:pools=1:scenecut=0"
X264 = "threads=1:scenecut=0"


@pytest.fixture(scope="session")
def film() -> Film:
    """film(path, frames, codec, ...): a video file as FFmpeg's muxers write it, `delay` seconds late (or early)."""

    def make(
        path: Path,
        frames: Frames,
        codec: str = "hevc",
        params: str = "bframes=0:keyint=40",
        *,
        rotation: int | None = None,
        matrix: tuple[int, ...] | None = None,
        pixels: str = "yuv420p",
        delay: float = 0,
        **options: str,
    ) -> Path:
        encoder = {"hevc": "libx265", "h264": "libx264"}.get(codec, codec)
        if codec in ("hevc", "h264"):
            fixed = X265 if codec == "hevc" else X264
            options = {"x265-params" if codec == "hevc" else "x264-params": f"{fixed}:{params}", **options}
        with av.open(str(path), "w") as file:
            stream = file.add_stream(
                encoder, rate=25, options={"crf": "16", **options} if codec in ("hevc", "h264") else options
            )
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
            stream.codec_context.thread_count = 1
            if rotation is not None:
                stream.set_display_rotation(rotation)
            if matrix is not None:
                stream.set_display_matrix(matrix)
            for index, image in enumerate([*frames, None]):
                picture = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
                if picture is not None:
                    picture.pts, picture.time_base = index, Fraction(1, 25)
                for packet in stream.encode(picture):
                    late = round(delay / packet.time_base)
                    packet.pts, packet.dts = packet.pts + late, packet.dts + late
                    file.mux(packet)
        return path

    return make


@pytest.fixture(scope="session")
def remuxed() -> Film:
    """remuxed(source, target, keep=..., delay=...): the packets that `keep(number, packet)` wants, not coded again."""

    def make(
        source: Path,
        target: Path,
        keep: Callable[[int, Any], bool] = lambda number, packet: True,
        delay: float = 0,
        **options: Any,
    ) -> Path:
        with av.open(str(source)) as old, av.open(str(target), "w", **options) as new:
            stream = old.streams.video[0]
            copy = new.add_stream_from_template(stream)
            late = round(delay / stream.time_base)
            number = 0
            for packet in old.demux(stream):
                if not packet.size:
                    continue
                if keep(number, packet):
                    if packet.pts is None:
                        packet.pts = packet.dts = number
                        packet.time_base = Fraction(1, 25)
                    else:
                        packet.pts, packet.dts = packet.pts + late, packet.dts + late
                    packet.stream = copy
                    new.mux(packet)
                number += 1
        return target

    return make


def _boxes(data: bytes) -> list[bytes]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "big")
        found.append(data[:size])
        data = data[size:]
    return found


def _box(name: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I", len(body) + 8) + name + body


@pytest.fixture(scope="session")
def edited() -> Film:
    """edited(source, target, edits): an mp4 with this edit list: (seconds shown, first media time in seconds or None)."""

    def make(
        source: Path, target: Path, edits: list[tuple[float, float | None]], media_scale: int = 12800
    ) -> Path:
        def entry(seconds: float, begin: float | None) -> bytes:
            media = -1 if begin is None else round(begin * media_scale)
            return struct.pack(">Iihh", round(seconds * 1000), media, 1, 0)

        edit_list = _box(b"elst", bytes(4), struct.pack(">I", len(edits)), *(entry(*edit) for edit in edits))

        def rewritten(box: bytes) -> bytes:
            name = box[4:8]
            if name == b"edts":
                return b""
            if name == b"moov":
                return _box(name, *map(rewritten, _boxes(box[8:])))
            if name == b"trak":
                header, *rest = (rewritten(inner) for inner in _boxes(box[8:]))
                return _box(name, header, _box(b"edts", edit_list), *rest)
            return box

        data = source.read_bytes()
        assert data.index(b"moov") > data.index(b"mdat")  # so that no offset moves
        target.write_bytes(b"".join(map(rewritten, _boxes(data))))
        return target

    return make
