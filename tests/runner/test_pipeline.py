"""Around the steps: clips in lockstep, decoding ahead, memory that does not grow with the work."""

from __future__ import annotations

import json
import threading
import weakref

import numpy as np
import pytest

import vssbench
from vssbench.engine.ahead import run_ahead
from vssbench.errors import ConfigError
from vssbench.results.schema import from_json
from vssbench.runner import reader

SMALL = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 13, "size": [48, 64]}],
    "codecs": [{"codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 3},
    "pictures": {"per_codec": 0},
    "measure": {"macs": False},
}


def counts(path, method: str) -> np.ndarray:
    """Summed pixel counts of a method's units."""
    files = [
        file
        for file in (path / "units").rglob("*.json")
        if json.loads(file.read_text())["key"]["method"] == method
    ]
    return sum(from_json(file.read_text(), str(file)).counts.sum(0) for file in files)


def test_clips_in_lockstep_count_what_each_counts_alone(tmp_path):
    methods = [
        {"label": f"batch {b}", "name": "ar-seg", "width": 4, "window": 3, "inference": {"batch": b}}
        for b in (1, 3)
    ]
    run = vssbench.run({**SMALL, "methods": methods}, tmp_path, workers=1, device="cpu")
    alone, together = (counts(run.path, f"batch {b}") for b in (1, 3))
    assert alone.sum() == together.sum() > 0
    # batches sum in another order, which may tip a pixel between two equal classes
    assert int(np.abs(alone - together).sum()) <= 1e-3 * int(alone.sum())


def test_a_method_that_takes_one_clip_at_a_time_refuses_lockstep(tmp_path, monkeypatch):
    from vssbench.baselines.constant import ConstantResolution
    from vssbench.method import Needs

    monkeypatch.setattr(ConstantResolution, "needs", property(lambda self: Needs(batchable=False)))
    methods = [{"name": "constant", "width": 4, "inference": {"batch": 2}}]
    with pytest.raises(ConfigError, match=r"method constant, inference\.batch: 2 clips in lockstep"):
        vssbench.run({**SMALL, "methods": methods}, tmp_path, workers=1, device="cpu")


def most_pictures_alive(tmp_path, monkeypatch, frames: int) -> int:
    alive = most = 0

    def gone() -> None:
        nonlocal alive
        alive -= 1

    def counted(bitstream, motion, qp):
        nonlocal alive, most
        for frame in vssbench.codec.decode(bitstream, motion=motion, qp=qp):
            alive += 1
            most = max(most, alive)
            weakref.finalize(frame.image, gone)
            yield frame
            del frame

    monkeypatch.setattr(reader, "decode", counted)
    data = [{"name": "synthetic", "sequences": 1, "frames": frames, "size": [48, 64]}]
    methods = [{"name": "constant", "width": 4}]
    vssbench.run({**SMALL, "datasets": data, "methods": methods}, tmp_path, workers=1, device="cpu")
    return most


def test_ten_times_the_cases_hold_no_more_pictures(tmp_path, monkeypatch):
    few = most_pictures_alive(tmp_path / "few", monkeypatch, 12)
    many = most_pictures_alive(tmp_path / "many", monkeypatch, 120)
    assert many == few <= 9  # three GOPs at most


def test_items_made_ahead_keep_their_order_and_their_bound():
    made = 0

    def items():
        nonlocal made
        for index in range(50):
            made += 1
            yield index

    ahead, taken, furthest = run_ahead(items(), 4), [], 0
    for item in ahead:
        taken.append(item)
        furthest = max(furthest, made - len(taken))
    assert taken == list(range(50))
    assert furthest <= 6  # the queue, the one being handed over and the one being made


def test_what_the_decoder_raises_arrives_in_its_place():
    def items():
        yield 1
        raise ValueError("damaged")

    ahead = run_ahead(items(), 4)
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(ahead)


def test_stopping_early_ends_the_thread():
    ahead = run_ahead(iter(range(10**9)), 2)
    assert next(ahead) == 0
    ahead.close()
    assert not any(thread.name == "decode ahead" for thread in threading.enumerate())
