"""Every array of the golden streams is reproduced bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.codec.hevc import _motion, read_motion
from vssbench.records import NO_REFERENCE

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.hevc"))
PER_PICTURE = {
    "poc": "poc",
    "cvs": "coded_sequence",
    "decode_order": "decode_order",
    "slice_type": "slice_type",
    "nal_type": "nal_type",
    "temporal_id": "temporal_id",
    "bit_depth": "bit_depth",
    "n_slices": "slices",
    "coded_wh": "coded_size",
    "crop_ltwh": "crop",
}
PER_BLOCK = {
    "mv": "vectors",
    "ref_poc": "reference_poc",
    "pred_mode": "mode",
    "cu_log2": "cu_log2",
    "part_mode": "part_mode",
}


def parse(data: bytes, *, threads: int = 1, pieces: int = 1) -> list[Any]:
    decoder = _motion.Decoder(threads=threads, details=True)
    pictures = []
    size = -(-len(data) // pieces)
    for begin in range(0, len(data), size):
        decoder.push(data[begin : begin + size])
        while (picture := decoder.next()) is not None:
            pictures.append(picture)
    decoder.finish()
    while (picture := decoder.next()) is not None:
        pictures.append(picture)
    assert decoder.failure is None
    return pictures


def differences(pictures: list[Any], golden: Any) -> list[str]:
    """Names of the golden arrays that the pictures do not reproduce."""
    count = len(golden["poc"])
    if len(pictures) != count:
        return [f"{len(pictures)} pictures instead of {count}"]
    wrong = [
        key
        for key, name in PER_PICTURE.items()
        if not np.array_equal(golden[key], np.array([getattr(p, name) for p in pictures]))
    ]
    lists = np.full((count, 2, 16), NO_REFERENCE, np.int32)
    for index, picture in enumerate(pictures):
        for number, pocs in enumerate(picture.list_pocs):
            lists[index, number, : len(pocs)] = pocs
    if not np.array_equal(lists, golden["ref_list_poc"]):
        wrong.append("ref_list_poc")
    begins = [*golden["segments"][:, 0].tolist(), count]
    for number in range(len(begins) - 1):
        suffix = f"__s{number}" if len(begins) > 2 else ""
        part = pictures[begins[number] : begins[number + 1]]
        for key, name in PER_BLOCK.items():
            found = np.stack([getattr(p, name) for p in part])
            expected = golden[key + suffix]
            if found.dtype != expected.dtype or not np.array_equal(found, expected):
                wrong.append(key + suffix)
    return wrong


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 2])
def test_golden_streams_are_reproduced_exactly(name: str, threads: int) -> None:
    pictures = parse((GOLDEN / f"{name}.hevc").read_bytes(), threads=threads)
    assert differences(pictures, np.load(GOLDEN / f"{name}.npz")) == []


def test_pieces_of_any_size_give_the_same_pictures() -> None:
    data = (GOLDEN / "v25_gray.hevc").read_bytes()
    golden = np.load(GOLDEN / "v25_gray.npz")
    for pieces in (2, 7, 1000, len(data)):
        assert differences(parse(data, pieces=pieces), golden) == []


@pytest.mark.needs_shared
def test_all_visible_streams_are_reproduced_exactly(shared: Path) -> None:
    folder = shared / "data" / "hevc" / "visible"
    streams = sorted(folder.glob("*.hevc"))
    assert len(streams) == 42
    wrong = {}
    for stream in streams:
        found = differences(parse(stream.read_bytes()), np.load(stream.with_suffix(".npz")))
        if found:
            wrong[stream.stem] = found
    assert wrong == {}


@pytest.mark.needs_shared
def test_the_motion_of_the_paper_clips_is_reproduced_exactly(shared: Path) -> None:
    for number in range(3):
        stream = shared / "data" / "hevc" / "ar-seg" / f"arseg{number}.hevc"
        golden = np.load(stream.with_suffix(".npz"))
        fields = list(read_motion(stream))
        assert [field.poc for field in fields] == golden["poc"].tolist()
        for key, name in (("mv", "vectors_qpel"), ("ref_poc", "reference_poc"), ("pred_mode", "mode")):
            assert np.array_equal(np.stack([getattr(field, name) for field in fields]), golden[key]), key
