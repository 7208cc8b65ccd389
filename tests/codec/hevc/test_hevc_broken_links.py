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

from vssbench.codec.hevc import read_motion
from vssbench.errors import BitstreamError
from vssbench.records import MotionField

GOLDEN = Path(__file__).parent / "golden"
RADL, RASL, BLA_W_LP, IDR, CRA, END_OF_SEQUENCE = (6, 7), (8, 9), 16, (19, 20), 21, b"\0\0\1\x48\1"
FIRST_CODED_NON_SLICE = 32


def encode(frames: list[NDArray[np.uint8]], parameters: str) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format="hevc") as container:
        stream = container.add_stream("libx265", rate=Fraction(25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        fixed = "pools=none:frame-threads=1:log-level=none:info=0:b-adapt=0:scenecut=0"
        stream.options = {"crf": "32", "x265-params": f"{fixed}:{parameters}"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return target.getvalue()


def units(data: bytes) -> list[bytes]:
    """NAL units with their start codes."""
    return [b"\0\0\1" + piece for piece in data.split(b"\0\0\1")[1:]]


def kind(unit: bytes) -> int:
    return unit[3] >> 1


def headers(data: bytes) -> bytes:
    """The parameter sets in front."""
    return b"".join(unit for unit in units(data) if 32 <= kind(unit) <= 34)


def from_nth(data: bytes, nal_types: tuple[int, ...], number: int) -> bytes:
    """Parameter sets, then everything from the n-th slice of these types on."""
    parts = units(data)
    begin = [index for index, unit in enumerate(parts) if kind(unit) in nal_types][number]
    return headers(data) + b"".join(parts[begin:])


def same(first: MotionField, second: MotionField) -> bool:
    return first.frame_type == second.frame_type and all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("vectors_qpel", "reference_poc", "mode")
    )


def decoded_count(data: bytes) -> int:
    with av.open(io.BytesIO(data), format="hevc") as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.fixture(scope="module")
def open_gop(pan: Callable[..., list[NDArray[np.uint8]]]) -> bytes:
    """IBBBP..., CRA at every sixth picture with RASL pictures before it in display order."""
    data = encode(pan((80, 112), 20), "keyint=6:min-keyint=6:open-gop=1:bframes=3:b-pyramid=1:ref=3")
    kinds = [kind(unit) for unit in units(data)]
    assert kinds.count(CRA) >= 2
    assert any(nal_type in RASL for nal_type in kinds)
    return data


def test_a_stream_may_begin_at_a_cra_picture_and_loses_only_its_rasl_pictures(open_gop: bytes) -> None:
    cut = from_nth(open_gop, (CRA,), 0)
    whole = {field.poc: field for field in read_motion(open_gop)}
    for strict in (True, False):
        fields = list(read_motion(cut, strict=strict))
        assert len(fields) == decoded_count(cut)
        cra = fields[0].poc
        assert fields[0].frame_type == "I"
        assert [field.poc for field in fields] == [poc for poc in whole if poc >= cra]
        assert all(same(field, whole[field.poc]) for field in fields)
        assert not any(field.unreliable for field in fields)


@pytest.mark.parametrize("joint", ["end of sequence", "broken link"])
def test_rasl_pictures_behind_a_joint_are_left_out(open_gop: bytes, joint: str) -> None:
    cut = from_nth(open_gop, (CRA,), 0)
    if joint == "end of sequence":
        joined = open_gop + END_OF_SEQUENCE + cut
    else:
        parts = units(cut)
        at = next(index for index, unit in enumerate(parts) if kind(unit) == CRA)
        parts[at] = b"\0\0\1" + bytes([BLA_W_LP << 1]) + parts[at][4:]
        joined = open_gop + b"".join(parts)
    fields = list(read_motion(joined))
    alone = list(read_motion(cut))
    second = [field for field in fields if field.coded_sequence == 1]
    assert len(fields) == 20 + len(alone)
    assert all(same(field, other) for field, other in zip(second, alone, strict=True))


def test_radl_pictures_are_kept_at_the_beginning(pan: Callable[..., list[NDArray[np.uint8]]]) -> None:
    data = encode(pan((80, 112), 16), "keyint=8:min-keyint=8:no-open-gop=1:radl=2:bframes=3")
    assert any(kind(unit) in RADL for unit in units(data))
    cut = from_nth(data, IDR, 1)
    fields = list(read_motion(cut))
    assert len(fields) == decoded_count(cut)
    last = list(read_motion(data))[-len(fields) :]
    assert all(same(field, other) for field, other in zip(fields, last, strict=True))


def test_a_missing_reference_is_named_with_its_place(open_gop: bytes) -> None:
    """Trailing P pictures are referred to by what follows, so leaving the first one out must be noticed."""
    parts = units(open_gop)
    slices = [index for index, unit in enumerate(parts) if kind(unit) < FIRST_CODED_NON_SLICE]
    dropped = slices[1]  # the P behind the first I in decoding order
    offset = sum(len(unit) for unit in parts[:dropped]) + 3
    damaged = b"".join(parts[:dropped] + parts[dropped + 1 :])
    with pytest.raises(BitstreamError, match=r"refers to missing picture\(s\) 4") as caught:
        list(read_motion(damaged))
    assert caught.value.byte_offset == offset  # the unit that takes the dropped one's place
    assert caught.value.nal_type == kind(parts[slices[2]])


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
    whole = {field.poc: field for field in read_motion(data)}
    errors = right = unreliable = 0
    slices = [index for index, unit in enumerate(parts) if kind(unit) < FIRST_CODED_NON_SLICE]
    for dropped in slices[1:]:
        damaged = b"".join(parts[:dropped] + parts[dropped + 1 :])
        before, error = until_error(damaged)
        for field in before:
            assert same(field, whole[field.poc])
        errors += error is not None
        for field in read_motion(damaged, strict=False, threads=threads):
            assert_right_where_it_says_so(field, whole[field.poc])
            right += not field.unreliable and field.lost is None
            unreliable += field.unreliable
    return errors, right, unreliable


def test_whatever_slice_is_missing_what_is_not_flagged_is_right(open_gop: bytes) -> None:
    closed = from_nth(open_gop, (CRA,), 0)
    errors, right, unreliable = check_every_loss(closed, threads=2)
    assert errors > 3  # the others are referred to by nothing
    assert right > 60
    assert unreliable > 10


@pytest.mark.parametrize("name", ["vs03_wpp_dep", "vs02_tiles_pps_switch_dep"])
def test_a_missing_slice_segment_is_noticed_and_costs_what_depends_on_it(name: str) -> None:
    """Pictures of many slices and dependent slice segments; some of the random slices are alone in a picture."""
    data = (GOLDEN / f"{name}.hevc").read_bytes()
    parts = units(data)
    slices = sum(kind(unit) < FIRST_CODED_NON_SLICE for unit in parts)
    errors, right, _ = check_every_loss(data, threads=1)
    assert errors >= 0.9 * (slices - 1)
    assert right > 0


def test_enhancement_layers_are_named_and_passed_over(
    open_gop: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """As in MV-HEVC and SHVC: nuh_layer_id 1 beside every unit of the base layer, or alone."""
    upper = [unit[:4] + bytes([unit[4] | 8]) + unit[5:] for unit in units(open_gop)]
    both = b"".join(a + b for a, b in zip(units(open_gop), upper, strict=True))
    fields = list(read_motion(both))
    assert f"multi-layer HEVC: {len(upper)} NAL units of layers above 0" in caplog.text
    assert all(same(field, other) for field, other in zip(fields, read_motion(open_gop), strict=True))
    for strict in (True, False):
        with pytest.raises(BitstreamError, match=r"multi-layer HEVC.*does not read"):
            list(read_motion(b"".join(upper), strict=strict))
