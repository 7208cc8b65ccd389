"""Too little memory ends a run with one message and keeps what is done."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace

import pytest
import torch

import vssbench
from vssbench.baselines.constant import ConstantResolution
from vssbench.errors import OutOfMemoryError, out_of_memory
from vssbench.registry import Entry, methods
from vssbench.runner.reader import ClipReader

VALUES = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 8, "size": [32, 64]}],
    "codecs": [{"codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 4},
    "methods": [{"name": "hungry", "label": "mine", "network": "bisenet18", "width": 4}],
    "measure": {"macs": False},
    "pictures": {"per_codec": 0, "frames": 0},
}


class Hungry(ConstantResolution):
    """Wants a pebibyte from frame 4 on, which no CPU allocator gives."""

    def step(self, state, frame):
        if frame.time >= 4:
            torch.empty(2**50, dtype=torch.uint8)
        return super().step(state, frame)


@pytest.fixture
def hungry(monkeypatch):
    monkeypatch.setitem(methods.entries, "hungry", Entry("hungry", "hungry_plugin:Hungry", "test"))
    monkeypatch.setitem(sys.modules, "hungry_plugin", SimpleNamespace(Hungry=Hungry))


def test_a_step_that_does_not_fit_is_one_message_and_finished_units_stay(hungry, tmp_path):
    with pytest.raises(
        OutOfMemoryError,
        match=r"^method mine: a step on 1 frame\(s\) of 32x64: does not fit into the memory of cpu "
        r"\(.*allocate.*\); lower inference\.batch.*fewer --workers\. Finished units are kept",
    ) as caught:
        vssbench.run(VALUES, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")
    assert caught.value.exit_code == 3
    (unit,) = (tmp_path / "run" / "units").rglob("*.json")
    assert unit.name == "phase-00-gop-000000.json"
    assert "stopped: OutOfMemoryError" in (tmp_path / "run" / "log.txt").read_text()


def test_memory_that_ends_outside_of_a_step_names_sequence_and_size(hungry, monkeypatch, tmp_path):
    def exhausted(self, first, length):
        raise MemoryError

    monkeypatch.setattr(ClipReader, "fetch", exhausted)
    with pytest.raises(
        OutOfMemoryError,
        match=r"sequence .* of synthetic, frames of 32x64, keyframe interval 4: does not fit .*MemoryError",
    ):
        vssbench.run(VALUES, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")


def test_the_message_survives_the_way_between_processes():
    error = out_of_memory("a step", "cuda:0", RuntimeError("CUDA out of memory\nand more"), "do less")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (OutOfMemoryError, str(error))
    assert str(again) == "a step: does not fit into the memory of cuda:0 (CUDA out of memory); do less"
