"""PSNR and SSIM of what was coded, against the definition written out, FFmpeg's own filters, and across a run."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec import BitstreamCache, CodecSettings, encode
from vssbench.codec.colour import ToYuv
from vssbench.codec.encode import Bitstream, compare_planes, luma
from vssbench.records import CodedQuality

Plane = NDArray[np.uint8]


def frames(count: int = 5, size: tuple[int, int] = (67, 98)) -> list[Plane]:
    """Moving texture with noise, so that coding loses something; both sides need padding somewhere."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[: size[0], : size[1]]
    made = []
    for t in range(count):
        wave = 127 + 90 * np.sin((columns + 3 * t) / 7) * np.cos(rows / 5)
        noise = random.normal(0, 9, (*size, 3))
        made.append(np.clip(wave[..., None] + noise, 0, 255).astype(np.uint8))
    return made


def psnr_by_definition(pairs: Sequence[tuple[Plane, Plane]]) -> float:
    """10 log10(255^2 / MSE), one sample after the other in Python integers."""
    error = Fraction(
        sum((int(a) - int(b)) ** 2 for x, y in pairs for a, b in zip(x.flat, y.flat, strict=True))
    )
    return 10 * math.log10(255**2 / (error / sum(x.size for x, _ in pairs)))


def ssim_by_definition(one: Plane, two: Plane) -> float:
    """Equation 13 of Wang et al. (2004) window by window."""
    found = []
    for top in range(0, one.shape[0] - 7, 4):
        for left in range(0, one.shape[1] - 7, 4):
            a, b = (p[top : top + 8, left : left + 8].astype(float).ravel() for p in (one, two))
            covariance = np.cov(a, b)
            c1, c2 = 6.5025, 58.5225
            found.append(
                (2 * a.mean() * b.mean() + c1) * (2 * covariance[0, 1] + c2)
                / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2))
            )  # fmt: skip
    return float(np.mean(found))


def lumas(pictures: Sequence[Plane]) -> list[Plane]:
    convert = ToYuv()
    size = pictures[0].shape[:2]
    return [luma(convert(picture), (size[0], size[1])).copy() for picture in pictures]


def decoded_lumas(bitstream: Bitstream) -> list[Plane]:
    """By a decoder of its own, from a file with a demuxer."""
    form = {"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}[bitstream.settings.codec]
    height, width = bitstream.size
    with av.open(io.BytesIO(bitstream.data), format=form) as file:
        return [p.to_ndarray()[:height, :width] for p in file.decode(video=0)]


@pytest.mark.parametrize(
    "settings",
    [
        CodecSettings(codec="hevc", crf=32, b_frames=2, keyframe_interval=4),
        CodecSettings(codec="h264", crf=34, b_frames=2, keyframe_interval=4),
        CodecSettings(codec="mpeg4", qp=9, references=1, keyframe_interval=4),
    ],
    ids=lambda settings: settings.codec,
)
def test_quality_is_that_of_the_decoded_luma(settings: CodecSettings) -> None:
    pictures = frames()
    made = encode(pictures, settings, 25.0)
    pairs = list(zip(lumas(pictures), decoded_lumas(made), strict=True))
    assert made.quality.samples == 5 * 67 * 98
    assert made.quality.pictures == 5
    assert made.quality.psnr_db == pytest.approx(psnr_by_definition(pairs), abs=1e-9)
    assert made.quality.ssim == pytest.approx(np.mean([ssim_by_definition(*p) for p in pairs]), abs=1e-9)
    assert 20 < made.quality.psnr_db < 50


def test_fewer_bits_are_worse_and_none_lost_is_infinite() -> None:
    made = [
        encode(frames(), CodecSettings(codec="h264", qp=qp, keyframe_interval=5), 25.0).quality
        for qp in (0, 20, 40)
    ]
    assert made[0].psnr_db == math.inf
    assert made[0].ssim == 1.0
    assert made[0].psnr_db > made[1].psnr_db > made[2].psnr_db
    assert made[0].ssim > made[1].ssim > made[2].ssim


def through_filter(name: str, one: Plane, two: Plane) -> dict[str, str]:
    """What FFmpeg's filter notes on the second input."""
    graph = av.filter.Graph()
    height, width = one.shape
    inputs = [
        graph.add_buffer(width=width, height=height, format="gray", time_base=Fraction(1, 25)) for _ in "ab"
    ]
    compared, sink = graph.add(name), graph.add("buffersink")
    for number, source in enumerate(inputs):
        source.link_to(compared, 0, number)
    compared.link_to(sink)
    graph.configure()
    for source, plane in zip(inputs, (one, two), strict=True):
        frame = av.VideoFrame.from_ndarray(plane, format="gray")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        source.push(frame)
        source.push(None)
    return dict(sink.pull().metadata)


def test_the_filters_of_ffmpeg_agree() -> None:
    one, two = lumas(frames(2, (64, 96)))
    error, similarity = compare_planes(one, two)
    assert error / one.size == pytest.approx(
        float(through_filter("psnr", one, two)["lavfi.psnr.mse.y"]), abs=0.01
    )
    # FFmpeg rounds the constants of the formula to integers
    assert similarity == pytest.approx(float(through_filter("ssim", one, two)["lavfi.ssim.Y"]), abs=2e-4)


def test_planes_narrower_than_a_window_are_extended() -> None:
    one, two = (np.random.default_rng(i).integers(0, 256, (4, 6)).astype(np.uint8) for i in (1, 2))
    padded = [np.pad(p, ((0, 4), (0, 2)), mode="edge") for p in (one, two)]
    error, similarity = compare_planes(one, two)
    assert error == int(((one.astype(int) - two) ** 2).sum())
    assert similarity == pytest.approx(ssim_by_definition(*padded), abs=1e-12)


def test_it_is_stored_with_the_stream(tmp_path: Path) -> None:
    cache, settings = BitstreamCache(tmp_path), CodecSettings(codec="h264", crf=30, keyframe_interval=5)
    made = cache.fetch("clip", frames, settings, 25.0)
    again = cache.fetch("clip", lambda: pytest.fail("encoded twice"), settings, 25.0)
    assert again.quality == made.quality == encode(frames(), settings, 25.0).quality


def test_parts_are_pooled_by_their_samples() -> None:
    small, large = CodedQuality(300, 100, 0.5, 1), CodedQuality(100, 300, 2.5, 3)
    pooled = CodedQuality.pooled([small, large])
    assert pooled is not None
    assert pooled.psnr_db == pytest.approx(10 * math.log10(255**2))
    assert pooled.ssim == 3 / 4
    assert CodedQuality.pooled([small, None]) is None
    assert CodedQuality.pooled([]) is None
