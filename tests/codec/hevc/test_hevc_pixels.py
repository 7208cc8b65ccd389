"""Our vectors, applied to FFmpeg's decoded luma, give FFmpeg's skip blocks exactly.

Skip blocks have no residual, so without loop filters and weights they equal their prediction (8.5.3.3.3).
"""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec.hevc import read_motion
from vssbench.records import MODE_SKIP, NO_REFERENCE, MotionField

# Table 8-11: luma interpolation by quarter-sample fraction
TAPS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ]
)


def encode(frames: list[NDArray[np.uint8]], parameters: str) -> bytes:
    """Annex B stream of grey frames."""
    target = io.BytesIO()
    with av.open(target, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "yuv420p"
        stream.options = {
            "preset": "medium",
            "x265-params": f"pools=none:frame-threads=1:log-level=none:{parameters}",
        }
        for luma in frames:
            frame = av.VideoFrame.from_ndarray(np.stack([luma] * 3, axis=-1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return target.getvalue()


def moving_texture(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """Smooth noise that moves by a fraction of a sample per frame, and a square that moves against it."""
    generator = np.random.default_rng(3)
    coarse = generator.uniform(40, 215, (height // 8 + 20, width // 8 + 20))
    fine = np.kron(coarse, np.ones((8, 8)))
    for axis in (0, 1):
        for _ in range(3):
            fine = (np.roll(fine, 2, axis) + fine + np.roll(fine, -2, axis)) / 3
    frames = []
    for index in range(count):
        x, whole = divmod(1.25 * index, 1)
        x = int(x)
        left, right = (fine[8 + index : 8 + index + height, 8 + x + s : 8 + x + s + width] for s in (0, 1))
        frame = (1 - whole) * left + whole * right
        frame[20 + 2 * index : 60 + 2 * index, 100 - 3 * index : 140 - 3 * index] += 30
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def decoded_luma(data: bytes) -> list[NDArray[np.int64]]:
    with av.open(io.BytesIO(data), format="hevc") as container:
        return [_plane(frame) for frame in container.decode(video=0)]


def _plane(frame: av.VideoFrame) -> NDArray[np.int64]:
    """Luma samples as decoded; to_ndarray would change their range."""
    plane = frame.planes[0]
    lines = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
    return lines[:, : plane.width].astype(np.int64)


def predict(
    reference: NDArray[np.int64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    vectors: NDArray[np.int64],
) -> NDArray[np.int64]:
    """14-bit predictions [n, 4, 4] of the 4x4 blocks at (rows, columns), 8.5.3.3.3.1."""
    height, width = reference.shape
    reach = np.arange(-3, 8)
    y = (4 * rows + (vectors[:, 1] >> 2))[:, None] + reach
    x = (4 * columns + (vectors[:, 0] >> 2))[:, None] + reach
    window = reference[y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]]
    horizontal = sum(TAPS[vectors[:, 0] & 3, k][:, None, None] * window[:, :, k : k + 4] for k in range(8))
    vertical = sum(TAPS[vectors[:, 1] & 3, k][:, None, None] * horizontal[:, k : k + 4] for k in range(8))
    return np.asarray(vertical >> 6)


def compensated(field: MotionField, lumas: dict[int, NDArray[np.int64]]) -> tuple[NDArray[np.int64], ...]:
    """Rows, columns and predicted samples [n, 4, 4] of all skip blocks of a picture."""
    rows, columns = np.nonzero(field.mode == MODE_SKIP)
    total = np.zeros((len(rows), 4, 4), np.int64)
    used = field.reference_poc[rows, columns] != NO_REFERENCE
    for number in (0, 1):
        pocs = field.reference_poc[rows, columns, number]
        for poc in set(pocs[used[:, number]].tolist()):
            chosen = used[:, number] & (pocs == poc)
            vectors = field.vectors_qpel[rows[chosen], columns[chosen], number].astype(np.int64)
            total[chosen] += predict(lumas[poc], rows[chosen], columns[chosen], vectors)
    both = used.all(axis=1)[:, None, None]
    samples = np.where(both, (total + 64) >> 7, (total + 32) >> 6)
    return rows, columns, samples.clip(0, 255)


@pytest.mark.parametrize(
    "parameters",
    [
        "crf=30:bframes=0:ref=3:rect=1:amp=1",
        "crf=30:bframes=3:b-pyramid=1:ref=2:max-merge=4:ctu=32",
    ],
)
def test_skip_blocks_equal_the_motion_compensated_decoder_output(parameters: str) -> None:
    filters_off = "no-deblock=1:no-sao=1:no-weightp=1:no-weightb=1:keyint=100:scenecut=0"
    data = encode(moving_texture(8, 128, 192), f"{parameters}:{filters_off}")
    lumas = decoded_luma(data)
    fields = list(read_motion(data))
    assert len(fields) == len(lumas) == 8
    by_poc = {field.poc: luma for field, luma in zip(fields, lumas, strict=True)}
    compared = fractional = bidirectional = 0
    for field, luma in zip(fields, lumas, strict=True):
        rows, columns, samples = compensated(field, by_poc)
        actual = luma.reshape(luma.shape[0] // 4, 4, luma.shape[1] // 4, 4).swapaxes(1, 2)[rows, columns]
        assert np.array_equal(samples, actual), f"picture {field.poc}"
        compared += len(rows)
        fractional += int(np.any(field.vectors_qpel[rows, columns] & 3, axis=(1, 2)).sum())
        bidirectional += int(np.all(field.reference_poc[rows, columns] != NO_REFERENCE, axis=1).sum())
    assert compared > 2000
    assert fractional > 200
    if "bframes=3" in parameters:
        assert bidirectional > 200
