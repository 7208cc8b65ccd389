"""Broken input ends in BitstreamError with its place, or in a partial result; never in a crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vssbench.codec.hevc import LIMIT_LUMA_SAMPLES, read_motion
from vssbench.errors import BitstreamError
from vssbench.records import MODE_INTRA, NO_REFERENCE, MotionField

GOLDEN = Path(__file__).parent / "golden"
STREAM = GOLDEN / "v25_gray.hevc"


def nal_offsets(data: bytes) -> list[int]:
    """Positions of the NAL unit headers."""
    offsets, position = [], data.find(b"\0\0\1")
    while position >= 0:
        offsets.append(position + 3)
        position = data.find(b"\0\0\1", position + 3)
    return offsets


def check(fields: list[MotionField]) -> None:
    """What holds for every field, however damaged its stream is."""
    for field in fields:
        unused = field.reference_poc == NO_REFERENCE
        assert not field.vectors_qpel[unused].any()
        assert unused[field.mode == MODE_INTRA].all()
        assert (~unused[field.mode != MODE_INTRA]).any(axis=-1).all()
        if field.lost is not None:
            assert field.lost.any()
            assert (field.mode[field.lost] == MODE_INTRA).all()


def until_error(source: bytes | Path) -> tuple[list[MotionField], BitstreamError | None]:
    """The fields before the first defect, and the error that reports it."""
    fields = []
    try:
        for field in read_motion(source):
            fields.append(field)
    except BitstreamError as error:
        return fields, error
    return fields, None


def test_truncation_keeps_the_pictures_before_it_and_names_the_place() -> None:
    data = STREAM.read_bytes()
    slices = [offset for offset in nal_offsets(data) if data[offset] >> 1 < 32]
    fields, error = until_error(data[: slices[4] + 20])
    assert error is not None
    assert "slice data end" in str(error)
    assert error.byte_offset == slices[4]
    assert error.nal_type == data[slices[4]] >> 1
    whole = list(read_motion(data))
    assert 0 < len(fields) < len(whole)
    partial = list(read_motion(data[: slices[4] + 20], strict=False))
    assert len(partial) == 5
    assert [field.lost is not None for field in sorted(partial, key=lambda f: f.decode_order)] == [
        False
    ] * 4 + [True]
    check(partial)


def test_a_missing_reference_is_an_error_unless_partial_results_are_asked_for() -> None:
    data = STREAM.read_bytes()
    begins = [offset - 3 for offset in nal_offsets(data)]
    slices = [n for n, offset in enumerate(nal_offsets(data)) if data[offset] >> 1 < 32]
    second = slices[1]
    without = data[: begins[second]] + data[begins[second + 1] :]
    with pytest.raises(BitstreamError, match="refers to missing picture"):
        list(read_motion(without))
    assert len(list(read_motion(without, strict=False))) == len(slices) - 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no picture"),
        (b"\0" * 100, "no picture"),
        (b"hello, world" * 20, "start code"),
        (b"\0\0\1\x26", "no header"),
        (b"\0\0\1\x26\0\xff\xff", "nuh_temporal_id_plus1 is 0"),
        (b"\0\0\1\xa6\1\xff\xff", "forbidden_zero_bit"),
        (b"\0\0\1\x26\1\xff\xff", "picture parameter set 0, which is missing"),
        (b"\0\0\1\x42\1\x01", "ends inside"),
    ],
)
def test_streams_without_pictures_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        list(read_motion(data))
    assert list(read_motion(data, strict=False)) == []


def bits(*fields: tuple[int, int]) -> bytes:
    """Concatenate (value, width) fields, then a stop bit and alignment."""
    text = "".join(f"{value:0{width}b}" for value, width in fields) + "1"
    text += "0" * (-len(text) % 8)
    raw = int(text, 2).to_bytes(len(text) // 8, "big")
    escaped = bytearray()
    for byte in raw:
        if byte <= 3 and escaped[-2:] == b"\0\0":
            escaped.append(3)
        escaped.append(byte)
    return bytes(escaped)


def ue(value: int) -> tuple[int, int]:
    """Unsigned Exp-Golomb code as a (value, width) field."""
    return value + 1, 2 * (value + 1).bit_length() - 1


def sps(width: int, height: int, *, scc: bool = False) -> bytes:
    """A minimal sequence parameter set of a 4:2:0 8-bit sequence."""
    return b"\0\0\1\x42\1" + bits(
        *[(0, 4), (0, 3), (1, 1), (0, 32), (0, 32), (0, 32), ue(0), ue(1), ue(width), ue(height), (0, 1)],
        *[ue(0), ue(0), ue(0), (1, 1), ue(0), ue(0), ue(0)],  # depths, log2 poc, ordering
        *[ue(0), ue(2), ue(0), ue(2), ue(0), ue(0)],  # block sizes: 8..32, 4..16
        *[
            (0, 4),
            ue(0),
            (0, 1),
            (0, 1),
            (0, 1),
            (0, 1),
        ],  # lists, amp, sao, pcm, sets, long-term, tmvp, smoothing, vui
        *([(1, 1), (0b00010000, 8)] if scc else [(0, 1)]),
    )


def test_screen_content_coding_is_refused_by_name() -> None:
    for strict in (True, False):
        with pytest.raises(BitstreamError, match="screen content coding"):
            list(read_motion(sps(64, 64, scc=True), strict=strict))


def test_sizes_above_the_limit_are_refused_before_anything_is_allocated() -> None:
    with pytest.raises(BitstreamError, match=f"{LIMIT_LUMA_SAMPLES} luma samples"):
        list(read_motion(sps(8192, 4360)))
    with pytest.raises(BitstreamError, match="no picture"):  # the largest size passes, but nothing follows
        list(read_motion(sps(8192, 4352)))


@pytest.mark.parametrize("name", ["v25_gray", "vs05_parmrg5"])
def test_three_hundred_mutations_end_well(name: str) -> None:
    data = (GOLDEN / f"{name}.hevc").read_bytes()[:9000]
    generator = np.random.default_rng(1)
    errors = 0
    for number in range(150):
        mutated = bytearray(data)
        for _ in range(1 + number % 7):
            place = int(generator.integers(4, len(mutated)))
            if number % 3 == 0:
                mutated[place] ^= 1 << int(generator.integers(8))
            elif number % 3 == 1:
                mutated[place] = int(generator.integers(256))
            else:
                del mutated[place : place + int(generator.integers(1, 30))]
        check(list(read_motion(bytes(mutated), strict=False, threads=1 + number % 2, details=True)))
        fields, error = until_error(bytes(mutated))
        check(fields)
        if error is not None:
            errors += 1
            assert f"byte {error.byte_offset}" in str(error)
    assert errors > 100


@pytest.mark.needs_shared
def test_all_malformed_files_end_in_an_error_or_a_partial_result(shared: Path) -> None:
    folder = shared / "data" / "hevc" / "malformed"
    files = sorted(folder.glob("*.hevc"))
    assert len(files) == 33
    fine = set()
    for file in files:
        check(list(read_motion(file, strict=False)))
        fields, error = until_error(file)
        check(fields)
        if error is None:
            fine.add(file.stem)
        else:
            assert error.byte_offset is not None
    assert fine == {"m09_no_vps", "m33_trailing_garbage"}  # whose slices are whole
