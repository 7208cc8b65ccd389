"""Our vectors, applied to FFmpeg's decoded luma, give FFmpeg's picture wherever there is no residual.

Skipped macroblocks, and inter macroblocks without a coefficient, equal their prediction (8.4.2.2.1) if there is no
deblocking filter and no weighting; so neither needs a golden file, whatever the content and the encoder's settings.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec.h264 import read_motion
from vssbench.records import MODE_INTER, MODE_SKIP, NO_REFERENCE, MotionField

HALF = np.array([1, -5, 20, 20, -5, 1])
FILTERS_OFF = "no-deblock=1:weightp=0:no-weightb=1:threads=1"
SMALL = (96, 80)
"""Whole macroblock pairs: FFmpeg does not give the samples of H.264 pictures outside the cropping window."""


class Luma(NamedTuple):
    """A decoded picture."""

    samples: NDArray[np.int64]
    bit_depth: int


def encode(frames: list[NDArray[np.uint8]], parameters: str, pixel_format: str = "yuv420p") -> bytes:
    """Annex B stream of tinted frames."""
    target = io.BytesIO()
    with av.open(target, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixel_format
        stream.options = {"preset": "medium", "x264-params": f"{FILTERS_OFF}:{parameters}"}
        for luma in frames:
            colours = np.stack([luma, 255 - luma // 2, np.roll(luma, 3, 1)], axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colours, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def moving_texture(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Smooth noise that moves by a fraction of a sample per frame, and a square that moves against it."""
    coarse = np.random.default_rng(3).uniform(40, 215, (height // 8 + 20, width // 8 + 20))
    fine = np.kron(coarse, np.ones((8, 8)))
    for axis in (0, 1):
        for _ in range(3):
            fine = (np.roll(fine, 2, axis) + fine + np.roll(fine, -2, axis)) / 3
    frames = []
    for index in range(count):
        x, part = divmod(1.25 * index, 1)
        left, right = (fine[8 + index : 8 + index + height, 8 + int(x) + s :][:, :width] for s in (0, 1))
        frame = (1 - part) * left + part * right
        top, start = height // 6 + 2 * index, width // 2 - 3 * index
        frame[top : top + 40, max(start, 0) : start + 40] += 30
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def decoded_luma(data: bytes) -> list[Luma]:
    with av.open(io.BytesIO(data), format="h264") as container:
        return [_plane(frame) for frame in container.decode(video=0)]


def _plane(frame: av.VideoFrame) -> Luma:
    """Luma samples as decoded; to_ndarray would change their range."""
    plane = frame.planes[0]
    depth = 10 if "10le" in frame.format.name else 8
    lines = np.frombuffer(plane, np.uint8 if depth == 8 else np.uint16).reshape(plane.height, -1)
    return Luma(lines[:, : plane.width].astype(np.int64), depth)


def predict(
    reference: Luma, rows: NDArray[np.int64], columns: NDArray[np.int64], vectors: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Predictions [n, 4, 4] of the 4x4 blocks at (rows, columns): 8.4.2.2.1, by quarter-sample position."""
    (height, width), most = reference.samples.shape, (1 << reference.bit_depth) - 1
    y = (4 * rows + (vectors[:, 1] >> 2))[:, None] + np.arange(-2, 8)
    x = (4 * columns + (vectors[:, 0] >> 2))[:, None] + np.arange(-2, 8)
    window = reference.samples[y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]]

    def half(values: NDArray[np.int64], axis: int) -> NDArray[np.int64]:
        shape = np.moveaxis(values, axis, 0)
        found = sum(HALF[k] * shape[k : shape.shape[0] - 5 + k] for k in range(6))
        return np.moveaxis(np.asarray(found), 0, axis)

    def rounded(values: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
        return ((values + (1 << shift >> 1)) >> shift).clip(0, most)

    across = half(window, 2)  # [n, 10, 5]: between columns
    down = half(window, 1)  # [n, 5, 10]: between rows
    g = [[window[:, 2 + i : 6 + i, 2 + j : 6 + j] for j in (0, 1)] for i in (0, 1)]
    b = [rounded(across[:, 2 + i : 6 + i, :4], 5) for i in (0, 1)]
    h = [rounded(down[:, :4, 2 + j : 6 + j], 5) for j in (0, 1)]
    centre = rounded(half(across, 1)[:, :4, :4], 10)
    # the two samples whose average each position is (Table 8-12), [y][x]
    pairs = [
        [(g[0][0], g[0][0]), (g[0][0], b[0]), (b[0], b[0]), (b[0], g[0][1])],
        [(g[0][0], h[0]), (b[0], h[0]), (b[0], centre), (b[0], h[1])],
        [(h[0], h[0]), (h[0], centre), (centre, centre), (centre, h[1])],
        [(h[0], g[1][0]), (h[0], b[1]), (centre, b[1]), (h[1], b[1])],
    ]
    result = np.zeros((len(rows), 4, 4), np.int64)
    for fy in range(4):
        for fx in range(4):
            chosen = ((vectors[:, 1] & 3) == fy) & ((vectors[:, 0] & 3) == fx)
            one, other = (samples[chosen] for samples in pairs[fy][fx])
            result[chosen] = (one + other + 1) >> 1
    return result


def without_residual(field: MotionField) -> NDArray[np.bool_]:
    """[H4, W4] True in skipped macroblocks and in inter macroblocks without a coefficient."""
    assert field.details is not None
    rows, columns = (side // 4 for side in field.mode.shape)
    per_macroblock = field.details.nonzero_coefficients.reshape(rows, 4, columns, 4).sum(axis=(1, 3))
    coefficients = per_macroblock.repeat(4, axis=0).repeat(4, axis=1)
    return (field.mode == MODE_SKIP) | ((field.mode == MODE_INTER) & (coefficients == 0))


class Compared(NamedTuple):
    """How many blocks were compared, and of which kinds."""

    skipped: int
    coded: int
    fractional: int
    bidirectional: int


def compare(data: bytes, *, threads: int = 1) -> Compared:
    """Assert that every block without residual is reproduced."""
    lumas = decoded_luma(data)
    fields = list(read_motion(data, details=True, threads=threads))
    assert len(fields) == len(lumas) > 0
    by_poc = {(f.coded_sequence, f.poc): luma for f, luma in zip(fields, lumas, strict=True)}
    counts = np.zeros(4, int)
    for field, luma in zip(fields, lumas, strict=True):
        assert field.field_macroblocks is None
        rows, columns = np.nonzero(without_residual(field))
        used = field.reference_poc[rows, columns] != NO_REFERENCE
        total = np.zeros((len(rows), 4, 4), np.int64)
        for number in (0, 1):
            pocs = field.reference_poc[rows, columns, number]
            for poc in set(pocs[used[:, number]].tolist()):
                chosen = used[:, number] & (pocs == poc)
                vectors = field.vectors_qpel[rows[chosen], columns[chosen], number].astype(np.int64)
                total[chosen] += predict(
                    by_poc[field.coded_sequence, poc], rows[chosen], columns[chosen], vectors
                )
        both = used.all(axis=1)
        samples = np.where(both[:, None, None], (total + 1) >> 1, total)
        shape = luma.samples.shape
        blocks = luma.samples.reshape(shape[0] // 4, 4, shape[1] // 4, 4).swapaxes(1, 2)
        assert np.array_equal(samples, blocks[rows, columns]), f"picture {field.poc}"
        skipped = int((field.mode[rows, columns] == MODE_SKIP).sum())
        fractional = int(np.any(field.vectors_qpel[rows, columns] & 3, axis=(1, 2)).sum())
        counts += (skipped, len(rows) - skipped, fractional, int(both.sum()))
    return Compared(*counts.tolist())


@pytest.mark.parametrize("parameters", ["crf=30:bframes=0:ref=3", "crf=30:bframes=3:b-pyramid=normal:ref=4"])
def test_blocks_without_residual_equal_the_motion_compensated_decoder_output(parameters: str) -> None:
    compared = compare(encode(moving_texture(8, 128, 192), f"{parameters}:keyint=100:scenecut=0"))
    assert compared.skipped > 1500
    assert compared.fractional > 200
    assert compared.bidirectional > 200 or "bframes=0" in parameters


@pytest.mark.parametrize(
    ("parameters", "pixel_format"),
    [
        ("bframes=8:b-adapt=0:b-pyramid=strict:ref=16:direct=temporal", "yuv420p"),
        ("bframes=2:direct=spatial:partitions=all:no-8x8dct=1:no-cabac=1", "yuv420p"),
        ("bframes=3:direct=auto:ref=5:partitions=all", "yuv420p"),
        ("bframes=4:b-adapt=0:direct=temporal:partitions=all:no-8x8dct=1", "yuv420p"),
        ("bframes=4:b-adapt=0:b-pyramid=none:direct=none", "yuv420p"),
        ("ref=8:mixed-refs=1:bframes=0:subme=9:me=umh", "yuv420p"),
        ("no-mixed-refs=1:ref=2:partitions=none", "yuv420p"),
        ("partitions=p8x8,p4x4:bframes=0:subme=7", "yuv420p"),
        ("no-cabac=1:partitions=p8x8,p4x4,b8x8:bframes=2", "yuv420p"),
        ("slices=4:bframes=2", "yuv420p"),
        ("slice-max-size=200:bframes=1", "yuv420p"),
        ("slice-max-mbs=5:no-cabac=1:bframes=1", "yuv420p"),
        ("keyint=5:min-keyint=1:open-gop=1:bframes=3:b-adapt=0:repeat-headers=1:aud=1", "yuv420p"),
        ("keyint=4:min-keyint=4:bframes=2:b-adapt=0", "yuv420p"),
        ("intra-refresh=1:keyint=6:bframes=0", "yuv420p"),
        ("constrained-intra=1:bframes=2", "yuv420p"),
        ("cqm=jvt:8x8dct=1:aq-mode=3:aq-strength=2:chroma-qp-offset=-6", "yuv420p"),
        ("bitrate=150:vbv-bufsize=200:vbv-maxrate=200:nal-hrd=vbr:pic-struct=1", "yuv420p"),
        ("fake-interlaced=1:bframes=2", "yuv420p"),
        ("no-psy=1:trellis=2:no-fast-pskip=1:no-dct-decimate=1:bframes=2", "yuv420p"),
        ("bframes=2:partitions=all", "yuv420p10le"),
        ("no-cabac=1:bframes=1", "yuv420p10le"),
        ("bframes=2", "yuv422p"),
        ("bframes=2:no-cabac=1", "yuv422p10le"),
        ("bframes=2", "yuv444p"),
        ("no-cabac=1:bframes=1:8x8dct=1", "yuv444p10le"),
        ("bframes=2", "gray"),
    ],
)
def test_unusual_settings_are_read_as_exactly(parameters: str, pixel_format: str) -> None:
    """A compact form of a campaign over random settings, sizes and formats."""
    rate = "" if "bitrate" in parameters else "crf=30:"
    compared = compare(encode(moving_texture(9, *SMALL), rate + parameters, pixel_format), threads=2)
    assert compared.skipped + compared.coded > 300
