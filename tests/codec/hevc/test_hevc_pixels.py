"""Our vectors, applied to FFmpeg's decoded luma, give FFmpeg's picture wherever there is no residual.

Skip blocks, and inter blocks whose coding block has no coefficient, equal their prediction (8.5.3.3.3) if there are
no loop filters and no weights; so neither needs a golden file, whatever the content and the encoder's settings.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec.hevc import read_motion
from vssbench.records import MODE_INTER, MODE_SKIP, NO_REFERENCE, MotionField

# Table 8-11: luma interpolation by quarter-sample fraction
TAPS = np.array(
    [
        [0, 0, 0, 64, 0, 0, 0, 0],
        [-1, 4, -10, 58, 17, -5, 1, 0],
        [-1, 4, -11, 40, 40, -11, 4, -1],
        [0, 1, -5, 17, 58, -10, 4, -1],
    ]
)
FILTERS_OFF = "no-deblock=1:no-sao=1:no-weightp=1:no-weightb=1"
SMALL = (74, 90)
"""Neither side is a multiple of a coding block: cropped and with incomplete coding tree blocks."""


class Luma(NamedTuple):
    """A decoded picture before cropping."""

    samples: NDArray[np.int64]
    bit_depth: int


def encode(frames: list[NDArray[np.uint8]], parameters: str, pixel_format: str = "yuv420p") -> bytes:
    """Annex B stream of tinted frames."""
    target = io.BytesIO()
    with av.open(target, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixel_format
        stream.options = {
            "preset": "medium",
            "x265-params": f"pools=none:frame-threads=1:log-level=none:{parameters}",
        }
        for luma in frames:
            colours = np.stack([luma, 255 - luma // 2, np.roll(luma, 3, 1)], axis=-1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(colours, format="rgb24")))
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
        top, start = height // 6 + 2 * index, width // 2 - 3 * index
        frame[top : top + 40, max(start, 0) : start + 40] += 30
        frames.append(frame.clip(0, 255).astype(np.uint8))
    return frames


def decoded_luma(data: bytes) -> list[Luma]:
    with av.open(io.BytesIO(data), format="hevc") as container:
        container.streams.video[0].codec_context.options = {"flags2": "+ignorecrop"}
        return [_plane(frame) for frame in container.decode(video=0)]


def _plane(frame: av.VideoFrame) -> Luma:
    """Luma samples as decoded; to_ndarray would change their range. Of gbrp the first plane, G, is coded as luma."""
    plane = frame.planes[0]
    depth = next((bits for bits in (10, 12) if f"{bits}le" in frame.format.name), 8)
    lines = np.frombuffer(plane, np.uint8 if depth == 8 else np.uint16).reshape(plane.height, -1)
    return Luma(lines[:, : plane.width].astype(np.int64), depth)


def predict(
    reference: Luma,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    vectors: NDArray[np.int64],
) -> NDArray[np.int64]:
    """14-bit predictions [n, 4, 4] of the 4x4 blocks at (rows, columns), 8.5.3.3.3.1."""
    height, width = reference.samples.shape
    reach = np.arange(-3, 8)
    y = (4 * rows + (vectors[:, 1] >> 2))[:, None] + reach
    x = (4 * columns + (vectors[:, 0] >> 2))[:, None] + reach
    window = reference.samples[y.clip(0, height - 1)[:, :, None], x.clip(0, width - 1)[:, None, :]]
    horizontal = sum(TAPS[vectors[:, 0] & 3, k][:, None, None] * window[:, :, k : k + 4] for k in range(8))
    horizontal = horizontal >> (reference.bit_depth - 8)
    vertical = sum(TAPS[vectors[:, 1] & 3, k][:, None, None] * horizontal[:, k : k + 4] for k in range(8))
    return np.asarray(vertical >> 6)


def without_residual(field: MotionField) -> NDArray[np.bool_]:
    """[H4, W4] True in skipped blocks and in inter coding blocks without a coefficient."""
    details = field.details
    assert details is not None
    side = (1 << details.cu_log2.astype(int)) // 4
    rows, columns = np.indices(field.mode.shape)
    first = rows // side * side, columns // side * side
    coefficients = np.zeros(field.mode.shape, np.int64)
    np.add.at(coefficients, first, details.nonzero_coefficients.astype(np.int64))
    return (field.mode == MODE_SKIP) | ((field.mode == MODE_INTER) & (coefficients[first] == 0))


def compensated(
    field: MotionField, lumas: dict[tuple[int, int], Luma], depth: int
) -> tuple[NDArray[np.int64], ...]:
    """Rows, columns and predicted samples [n, 4, 4] of all blocks of a picture that have no residual."""
    rows, columns = np.nonzero(without_residual(field))
    total = np.zeros((len(rows), 4, 4), np.int64)
    used = field.reference_poc[rows, columns] != NO_REFERENCE
    for number in (0, 1):
        pocs = field.reference_poc[rows, columns, number]
        for poc in set(pocs[used[:, number]].tolist()):
            chosen = used[:, number] & (pocs == poc)
            vectors = field.vectors_qpel[rows[chosen], columns[chosen], number].astype(np.int64)
            reference = lumas[field.coded_sequence, poc]
            total[chosen] += predict(reference, rows[chosen], columns[chosen], vectors)
    both = used.all(axis=1)[:, None, None]
    shift = 14 - depth
    samples = np.where(both, (total + (1 << shift)) >> (shift + 1), (total + (1 << shift >> 1)) >> shift)
    return rows, columns, samples.clip(0, (1 << depth) - 1)


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
    for field, (luma, depth) in zip(fields, lumas, strict=True):
        rows, columns, samples = compensated(field, by_poc, depth)
        blocks = luma.reshape(*(luma.shape[0] // 4, 4), *(luma.shape[1] // 4, 4)).swapaxes(1, 2)
        assert np.array_equal(samples, blocks[rows, columns]), f"picture {field.poc}"
        used = field.reference_poc[rows, columns] != NO_REFERENCE
        skipped = int((field.mode[rows, columns] == MODE_SKIP).sum())
        fractional = np.any(field.vectors_qpel[rows, columns] & 3, axis=(1, 2)).sum()
        counts += (skipped, len(rows) - skipped, int(fractional), int(used.all(axis=1).sum()))
    return Compared(*counts.tolist())


@pytest.mark.parametrize(
    "parameters",
    [
        "crf=30:bframes=0:ref=3:rect=1:amp=1",
        "crf=30:bframes=3:b-pyramid=1:ref=2:max-merge=4:ctu=32",
    ],
)
def test_skip_blocks_equal_the_motion_compensated_decoder_output(parameters: str) -> None:
    data = encode(moving_texture(8, 128, 192), f"{parameters}:{FILTERS_OFF}:keyint=100:scenecut=0")
    compared = compare(data)
    assert compared.skipped > 2000
    assert compared.fractional > 200
    if "bframes=3" in parameters:
        assert compared.bidirectional > 200


@pytest.mark.parametrize(
    ("parameters", "pixel_format"),
    [
        ("ctu=16:min-cu-size=8:rect=1:amp=1:max-merge=5:bframes=2", "yuv420p"),
        ("ctu=16:min-cu-size=16:max-merge=1:no-wpp=1", "yuv420p"),
        ("ctu=64:min-cu-size=32:rect=1:amp=1:limit-modes=1", "yuv420p"),
        ("ctu=32:max-tu-size=4:tu-inter-depth=4:tu-intra-depth=4", "yuv420p"),
        ("max-tu-size=8:tu-inter-depth=3:limit-tu=4:rd=5:max-merge=2", "yuv420p"),
        ("bframes=8:b-adapt=0:b-pyramid=1:ref=5:log2-max-poc-lsb=4", "yuv420p"),
        ("bframes=4:b-adapt=0:no-b-pyramid=1:no-temporal-mvp=1", "yuv420p"),
        ("temporal-layers=3:bframes=7:b-adapt=0:b-pyramid=1", "yuv420p"),
        ("keyint=5:min-keyint=1:open-gop=1:bframes=3:b-adapt=0:repeat-headers=1:aud=1", "yuv420p"),
        ("keyint=8:no-open-gop=1:radl=2:bframes=3:b-adapt=0", "yuv420p"),
        ("intra-refresh=1:keyint=4:bframes=0", "yuv420p"),
        ("constrained-intra=1:bframes=2:b-intra=1", "yuv420p"),
        ("lossless=1:rect=1", "yuv420p"),
        ("cu-lossless=1:tskip=1:crf=20", "yuv420p"),
        ("scaling-list=default:aq-mode=3:aq-strength=2:qg-size=8:cbqpoffs=-6", "yuv420p"),
        ("bitrate=150:hrd=1:vbv-bufsize=200:vbv-maxrate=200:opt-qp-pps=1:interlace=tff", "yuv420p"),
        ("no-signhide=1:rdoq-level=2:psy-rdoq=5:no-strong-intra-smoothing=1", "yuv420p"),
        ("rd=6:me=star:subme=5:rect=1:amp=1:bframes=4", "yuv420p10le"),
        ("bframes=2:tskip=1", "yuv420p12le"),
        ("bframes=2:rect=1", "yuv422p"),
        ("tu-inter-depth=3:tu-intra-depth=3", "yuv422p10le"),
        ("bframes=2:tskip=1:cu-lossless=1", "yuv444p"),
        ("tu-intra-depth=4", "yuv444p12le"),
        ("bframes=2", "gbrp"),
        ("bframes=2:rect=1:amp=1", "gray10le"),
    ],
)
def test_unusual_settings_are_read_as_exactly(parameters: str, pixel_format: str) -> None:
    """A compact form of a campaign over random settings, sizes and formats."""
    rate = "" if any(word in parameters for word in ("crf", "bitrate", "lossless=1:rect")) else "crf=30:"
    data = encode(moving_texture(9, *SMALL), f"{rate}{parameters}:{FILTERS_OFF}", pixel_format)
    compared = compare(data, threads=2)
    if not parameters.startswith("lossless"):
        assert compared.skipped + compared.coded > 300
