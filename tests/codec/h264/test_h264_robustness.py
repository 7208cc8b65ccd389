"""Broken input ends in BitstreamError with its place, or in a partial result; never in a crash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vssbench.codec.h264 import LIMIT_LUMA_SAMPLES, read_motion
from vssbench.errors import BitstreamError
from vssbench.records import MODE_INTRA, NO_REFERENCE, MotionField

GOLDEN = Path(__file__).parent / "golden"
STREAM = GOLDEN / "v25_p4x4_cabac_8x8dct.h264"


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


def partial(source: bytes | Path, *, threads: int) -> None:
    """Read all that can be read; only a tool that is refused by name stops that."""
    fields, message = [], "not read"
    try:
        for field in read_motion(source, strict=False, threads=threads, details=True):
            fields.append(field)
    except BitstreamError as error:
        message = str(error)
    check(fields)
    assert "not read" in message


def test_truncation_keepsdef test_truncation_keeps_the_pictures_before_it_and_names_the_place() -> None:
    data = STREAM.read_bytes()
    slices = [offset for offset in nal_offsets(data) if data[offset] & 31 in (1, 5)]
    cut = data[: slices[4] + 60]
    fields, error = until_error(cut)
    assert error is not None
    assert "slice ends early" in str(error)
    assert error.byte_offset == slices[4]
    assert error.nal_type == 1
    assert 0 < len(fields) < 5
    partial = list(read_motion(cut, strict=False))
    in_order = sorted(partial, key=lambda f: f.decode_order)
    assert [field.lost is not None for field in in_order] == [False] * 4 + [True]
    check(partial)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no picture"),
        (b"\0" * 100, "no picture"),
        (b"hello, world" * 20, "start code"),
        (b"\0\0\1\xe5\xff\xff", "forbidden_zero_bit"),
        (b"\0\0\1\x65\x88\xff\xff", "picture parameter set 0, which is missing"),
        (b"\0\0\1\x67\x64", "ends inside"),
        (b"\0\0\1\x42\xff\xff", "data partitioning"),
    ],
)
def test_streams_without_pictures_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(BitstreamError, match=message):
        list(read_motion(data))


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


def sps(width: int, height: int, *, profile: int = 77, planes: bool = False, depth: int = 8) -> bytes:
    """A minimal sequence parameter set, sizes in macroblocks."""
    high = [ue(3 if planes else 1), *([(1, 1)] if planes else []), ue(depth - 8), ue(depth - 8), (0, 2)]
    return b"\0\0\1\x67" + bits(
        *[(profile, 8), (0, 8), (62, 8), ue(0), *(high if profile >= 100 else []), ue(0), ue(2)],
        *[ue(1), (0, 1), ue(width - 1), ue(height - 1), (1, 1), (1, 1), (0, 1), (0, 1)],
    )


def test_sizes_above_the_limit_are_refused_before_anything_is_allocated() -> None:
    with pytest.raises(BitstreamError, match=f"{LIMIT_LUMA_SAMPLES} luma samples"):
        list(read_motion(sps(512, 273)))
    with pytest.raises(BitstreamError, match="no picture"):  # the largest size passes, but nothing follows
        list(read_motion(sps(512, 272)))
    with pytest.raises(BitstreamError, match="pic_width_in_mbs_minus1 is 65534"):
        list(read_motion(sps(65535, 2)))


def test_what_is_valid_but_not_read_is_refused_by_name() -> None:
    groups = b"\0\0\1\x68" + bits(ue(0), ue(0), (0, 2), ue(1))
    for data, name in (
        (sps(4, 4, profile=244, planes=True), "separate colour planes"),
        (groups, r"slice groups \(flexible macroblock ordering\)"),
    ):
        for strict in (True, False):
            with pytest.raises(BitstreamError, match=name):
                list(read_motion(data, strict=strict))
    with pytest.raises(BitstreamError, match="bit_depth_luma_minus8 is 14, at most 6"):
        list(read_motion(sps(4, 4, profile=110, depth=22)))


@pytest.mark.parametrize(
    "name", ["v25_p4x4_cabac_8x8dct", "v24_p4x4_cavlc", "vj_jm_paff_mbaff_b_temporal", "v12_high444_cavlc_10"]
)
def test_mutations_end_well(name: str) -> None:
    data = (GOLDEN / f"{name}.h264").read_bytes()[:9000]
    generator = np.random.default_rng(1)
    errors = 0
    for number in range(100):
        mutated = bytearray(data)
        for _ in range(1 + number % 7):
            place = int(generator.integers(4, len(mutated)))
            if number % 3 == 0:
                mutated[place] ^= 1 << int(generator.integers(8))
            elif number % 3 == 1:
                mutated[place] = int(generator.integers(256))
            else:
                del mutated[place : place + int(generator.integers(1, 30))]
        partial(bytes(mutated), threads=1 + number % 2)
        fields, error = until_error(bytes(mutated))
        check(fields)
        if error is not None:
            errors += 1
            assert f"byte {error.byte_offset}" in str(error)
    assert errors > 50


@pytest.mark.needs_shared
def test_all_malformed_files_end_in_an_error_or_a_partial_result(shared: Path) -> None:
    folder = shared / "data" / "h264" / "malformed"
    files = [folder / file["file"] for file in json.loads((folder / "manifest.json").read_text())["files"]]
    assert len(files) == 49
    fine = set()
    for file in files:
        partial(file, threads=1)
        fields, error = until_error(file)
        check(fields)
        if error is None:
            fine.add(file.stem[:3])
    assert fine == {"m11", "m36", "m41"}  # entered at an I picture; whose slices are whole
