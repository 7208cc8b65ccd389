"""Where a stream may begin, what is left out there, and what is still right when coded slices are missing."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from vssbench.codec.h264 import read_motion
from vssbench.errors import BitstreamError
from vssbench.records import MotionField

GOLDEN = Path(__file__).parent / "golden"
SLICE, IDR, END_OF_SEQUENCE = 1, 5, b"\0\0\1\x0a"


def encode(frames: list[NDArray[np.uint8]], parameters: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "32", "x264-params": f"threads=1:b-adapt=0:scenecut=0:{parameters}"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def units(data: bytes) -> list[bytes]:
    """NAL units with their start codes."""
    return [b"\0\0\1" + piece for piece in data.split(b"\0\0\1")[1:]]


def kind(unit: bytes) -> int:
    return unit[3] & 31


def is_intra(unit: bytes) -> bool:
    """Whether slice_type, behind first_mb_in_slice 0, is I for this or all slices (codes 011 and 0001000)."""
    bits = f"{unit[4]:08b}"[1:]
    return bits.startswith(("011", "0001000"))


def same(first: MotionField, second: MotionField) -> bool:
    return first.frame_type == second.frame_type and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("vectors_qpel", "reference_poc", "mode")
    )


@pytest.fixture(scope="module")
def open_gop(pan: Callable[..., list[NDArray[np.uint8]]]) -> bytes:
    """IBBBP..., an I picture that is no IDR picture at every sixth, with B pictures before it in display order."""
    return encode(pan((80, 112), 20), "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-pyramid=normal:ref=3")


@pytest.fixture(scope="module")
def cut(open_gop: bytes) -> bytes:
    """Parameter sets, then everything from the first I picture behind the IDR picture on."""
    parts = units(open_gop)
    begin = next(index for index, unit in enumerate(parts) if kind(unit) == SLICE and is_intra(unit))
    return b"".join(unit for unit in parts if kind(unit) in (7, 8)) + b"".join(parts[begin:])


def test_a_stream_may_begin_at_an_i_picture_and_loses_only_what_leads_it(open_gop: bytes, cut: bytes) -> None:
    whole = list(read_motion(open_gop))
    fields = list(read_motion(cut))
    assert fields[0].frame_type == "I"
    assert 0 < len(fields) < 18
    for field, other in zip(fields, whole[-len(fields) :], strict=True):
        assert np.array_equal(field.vectors_qpel, other.vectors_qpel)
        assert np.array_equal(field.mode, other.mode)
        assert not field.unreliable
    # without `strict` the leading pictures are kept, those that need what is absent as unreliable
    kept = list(read_motion(cut, strict=False))
    assert len(kept) > len(fields)
    for field, other in zip(kept, whole[-len(kept) :], strict=True):
        assert np.array_equal(field.mode, other.mode)
        assert field.unreliable or np.array_equal(field.vectors_qpel, other.vectors_qpel)


def test_pictures_behind_a_joint_are_treated_alike(open_gop: bytes, cut: bytes) -> None:
    fields = list(read_motion(open_gop + END_OF_SEQUENCE + cut))
    alone = list(read_motion(cut))
    assert len(fields) == 20 + len(alone)
    assert all(same(field, other) for field, other in zip(fields[20:], alone, strict=True))


def until_error(data: bytes) -> tuple[list[MotionField], BitstreamError | None]:
    fields = []
    try:
        for field in read_motion(data):
            fields.append(field)
    except BitstreamError as error:
        return fields, error
    return fields, None


def assert_right_where_it_says_so(field: MotionField, whole: MotionField) -> None:
    """Blocks that are not lost, in a picture that is not unreliable, are those of the undamaged stream."""
    if field.unreliable:
        return
    kept = np.ones(field.mode.shape, bool) if field.lost is None else ~field.lost
    for name in ("vectors_qpel", "reference_poc", "mode"):
        assert np.array_equal(getattr(field, name)[kept], getattr(whole, name)[kept]), (field.poc, name)


def check_every_loss(data: bytes, *, threads: int) -> tuple[int, int, int]:
    """Leave out each slice in turn; counts of strict errors, pictures found right in full, and unreliable ones."""
    parts = units(data)
    whole = {(field.coded_sequence, field.poc): field for field in read_motion(data)}
    errors = right = unreliable = 0
    for dropped in [index for index, unit in enumerate(parts) if kind(unit) in (SLICE, IDR)][1:]:
        if kind(parts[dropped]) == IDR:
            continue  # without it what follows belongs to the sequence before
        damaged = b"".join(parts[:dropped] + parts[dropped + 1 :])
        before, error = until_error(damaged)
        for field in before:
            assert same(field, whole[field.coded_sequence, field.poc])
        errors += error is not None
        for field in read_motion(damaged, strict=False, threads=threads):
            if (field.coded_sequence, field.poc) not in whole:
                assert field.unreliable  # its order count itself depends on what is missing
                continue
            assert_right_where_it_says_so(field, whole[field.coded_sequence, field.poc])
            right += not field.unreliable and field.lost is None
            unreliable += field.unreliable
    return errors, right, unreliable


def test_whatever_slice_is_missing_what_is_not_flagged_is_right(open_gop: bytes) -> None:
    errors, right, unreliable = check_every_loss(open_gop, threads=2)
    assert errors > 3  # the others are referred to by nothing
    assert right > 60
    assert unreliable > 10


@pytest.mark.parametrize(
    "name", ["v49_mbaff_slices3_b_cabac", "vr_rw_b_temporal_slicelists", "vj_jm_longterm_b_temporal"]
)
def test_a_missing_slice_is_noticed_and_costs_what_depends_on_it(name: str) -> None:
    """Several slices per picture, field macroblocks, long-term references, temporal direct prediction."""
    errors, right, _ = check_every_loss((GOLDEN / f"{name}.h264").read_bytes(), threads=1)
    assert errors > 3
    assert right > 0
