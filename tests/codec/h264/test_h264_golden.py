"""Every array of the golden streams is reproduced bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.codec.bits.container import is_container, read_units
from vssbench.codec.h264 import _motion
from vssbench.records import NO_REFERENCE

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(path.stem for path in GOLDEN.glob("*.h264"))
PER_PICTURE = {
    "poc": "poc",
    "cvs": "coded_sequence",
    "decode_order": "decode_order",
    "slice_type": "slice_type",
    "nal_type": "nal_type",
    "bit_depth": "bit_depth",
    "reference": "reference",
    "n_slices": "slices",
    "coded_wh": "coded_size",
    "crop_ltwh": "crop",
}
OF_FIELDS = {"structure": "structure", "field_poc": "field_poc", "first_field": "first_field"}
PER_BLOCK = {"pred_mode": "mode", "ref_idx": "reference_index", "mv": "vectors", "ref_poc": "reference_poc"}
REFUSED = {"vj_jm_fmo_dispersed": "slice groups", "vj_jm_extended_dp_b": "data partitioning"}
"""Valid streams with tools that are refused by name."""
PER_MACROBLOCK = {"mb_type": "mb_type", "mb_qp": "qp", "mb_t8x8": "transform_8x8", "mb_slice": "slice"}


def parse(path: Path, *, threads: int = 1, pieces: int = 1, strict: bool = True) -> list[Any]:
    decoder = _motion.Decoder(threads=threads, details=True, strict=strict)
    data = path.read_bytes()
    pictures = []
    if is_container(data[:512]):
        for unit, offset in read_units(path, "h264"):
            decoder.push_unit(unit, offset)
        pieces = 0
    size = -(-len(data) // pieces) if pieces else 0
    for begin in range(0, len(data) if pieces else 0, size or 1):
        decoder.push(data[begin : begin + size])
        while (picture := decoder.next()) is not None:
            pictures.append(picture)
    decoder.finish()
    while (picture := decoder.next()) is not None:
        pictures.append(picture)
    assert decoder.failure is None, decoder.failure
    return pictures


def lists_of(pictures: list[Any], field: int, absent: int) -> Any:
    lists = np.full((len(pictures), 2, 32), absent, np.int64)
    for index, picture in enumerate(pictures):
        for number, entries in enumerate(picture.list_references):
            lists[index, number, : len(entries)] = [entry[field] for entry in entries]
    return lists


def differences(pictures: list[Any], golden: Any) -> list[str]:
    """Names of the golden arrays that the pictures do not reproduce."""
    count = len(golden["poc"])
    if len(pictures) != count:
        return [f"{len(pictures)} pictures instead of {count}"]
    interlaced = "structure" in golden
    wrong = [
        key
        for key, name in {**PER_PICTURE, **(OF_FIELDS if interlaced else {})}.items()
        if not np.array_equal(golden[key], np.array([getattr(p, name) for p in pictures]))
    ]
    if not np.array_equal(lists_of(pictures, 0, NO_REFERENCE), golden["ref_list_poc"]):
        wrong.append("ref_list_poc")
    if not np.array_equal(lists_of(pictures, 1, 0), golden["ref_list_long"]):
        wrong.append("ref_list_long")
    if interlaced and not np.array_equal(lists_of(pictures, 2, 0), golden["ref_list_parity"]):
        wrong.append("ref_list_parity")
    blocks = {**PER_BLOCK, **({"ref_parity": "reference_parity"} if interlaced else {})}
    begins = [*golden["segments"][:, 0].tolist(), count]
    for number in range(len(begins) - 1):
        suffix = f"__s{number}" if len(begins) > 2 else ""
        part = pictures[begins[number] : begins[number + 1]]

        def compare(key: str, name: str, step: int, part: list[Any] = part, suffix: str = suffix) -> None:
            found = np.stack([getattr(p, name) for p in part])[:, ::step, ::step]
            if not np.array_equal(found, golden[key + suffix]):
                wrong.append(key + suffix)

        for key, name in PER_MACROBLOCK.items():
            compare(key, name, 4)
        compare("sub_type", "sub_type", 2)
        if interlaced:
            compare("mb_field", "field", 1)
        for key, name in blocks.items():
            compare(key, name, 1)
    return wrong


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 3])
def test_golden_streams_are_reproduced_exactly(name: str, threads: int) -> None:
    pictures = parse(GOLDEN / f"{name}.h264", threads=threads)
    assert differences(pictures, np.load(GOLDEN / f"{name}.npz")) == []


@pytest.mark.needs_shared
def test_all_visible_streams_are_reproduced_exactly(shared: Path) -> None:
    folder = shared / "data" / "h264" / "visible"
    streams = json.loads((folder / "manifest.json").read_text())["streams"]
    assert len(streams) == 118
    wrong = {}
    for stream in streams:
        if stream["name"] in REFUSED:
            with pytest.raises(AssertionError, match=REFUSED[stream["name"]]):
                parse(folder / stream["file"])
            continue
        found = differences(parse(folder / stream["file"]), np.load(folder / stream["arrays"]))
        if found:
            wrong[stream["name"]] = found
    assert wrong == {}
