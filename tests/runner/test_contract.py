"""What the runner gives methods with history, memory and adaptive work, and what it refuses before work starts."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

import vssbench
from vssbench.baselines.constant import ConstantResolution
from vssbench.engine.build import check_lookahead
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.clips import Clip, Encode
from vssbench.method import BuildContext, Needs
from vssbench.registry import Entry, methods
from vssbench.runner.observers.macs import gop_figures

BLOCKS = {"name": "blockcopy", "network": "bisenet18", "width": 4, "block": 32, "policy_width": 2}
BASE = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 8, "size": [32, 64]}],
    "codecs": [
        {"label": "h264", "codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}
    ],
    "protocol": {"kind": "stream", "keyframe_interval": 4},
    "pictures": {"per_codec": 0},
}


def records(path):
    found = {}
    for file in sorted((path / "units").rglob("*.json")):
        values = json.loads(file.read_text())
        del values["timings"], values["timings_digest"]
        found[str(file.relative_to(path))] = values
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_adaptive_steps_are_counted_on_the_frames_and_a_memory_is_replayed_on_resume(tmp_path, cache):
    methods = [
        {"label": "half", **BLOCKS, "policy": "difference"},
        {"label": "learned", **BLOCKS, "train_interval": 1},
    ]
    experiment = {**BASE, "methods": methods}
    run = vssbench.run(experiment, tmp_path / "run", workers=1, cache=cache, device="cpu")
    cost = run.costs["synthetic", "half"]
    assert cost.counted_on == "the frames of the run"
    # one of two blocks of 32x64 executed in each of three frames; 1x1 convolutions on pooled means run whole
    assert cost.gop_mean_gmacs / cost.key_gmacs == pytest.approx((1 + 3 / 2) / 4, rel=0.05)
    steps = {len(values["step_macs"]) for values in records(tmp_path / "run").values()}
    assert steps == {4}
    before = records(tmp_path / "run")
    last = max(file for file in (tmp_path / "run" / "units").rglob("*.json") if "learned" in str(file))
    last.unlink()
    vssbench.run(experiment, tmp_path / "run", workers=1, cache=cache, device="cpu")
    assert records(tmp_path / "run") == before  # the policy had to live through the first GOP again


def test_history_under_the_protocol_clip_leaves_the_bits_as_they_are(tmp_path, cache):
    """TDNet gets the frames before the keyframe; the clip's own bits are those that a per-frame method sees."""
    protocol = {"kind": "clip", "keyframe_interval": 4, "distances": [1], "labelled_stride": 4}
    td2 = {"name": "tdnet", "network": "bisenet18", "width": 4, "paths": 2}
    constant = {"name": "constant", "network": "bisenet18", "width": 4}
    digests = {}
    for title, chosen in (("alone", [constant]), ("both", [constant, td2])):
        experiment = {**BASE, "protocol": protocol, "methods": chosen, "measure": {"macs": False}}
        run = vssbench.run(experiment, tmp_path / title, workers=1, cache=cache, device="cpu")
        assert run.complete
        for group in run.groups:
            digests[title, group.method] = group.decoded_digests
    assert digests["alone", "constant"] == digests["both", "constant"] == digests["both", "tdnet"]


def test_a_memory_over_a_sequence_is_refused_under_the_protocol_clip(tmp_path, cache):
    experiment = {**BASE, "protocol": {"kind": "clip", "keyframe_interval": 4}, "methods": [BLOCKS]}
    with pytest.raises(CapabilityError, match="blockcopy keeps a memory over a sequence"):
        vssbench.run(experiment, tmp_path / "run", workers=1, cache=cache, device="cpu")


class Late:
    context = BuildContext(2, (32, 64), 4, torch.device("cpu"))

    def __init__(self, **needs) -> None:
        self.needs = Needs(lookahead=3, **needs)


class Eight:
    name = "street"

    def __len__(self) -> int:
        return 8


def test_lookahead_past_the_end_of_a_sequence_is_refused_by_name():
    def encodes(first: int, *scored: int) -> tuple[Encode, ...]:
        return (Encode(first, 4, (Clip("unit", first, 4, scored),)),)

    check_lookahead(Late(), "late", Eight(), encodes(0, 0, 3))  # frame 3 waits for frame 6
    check_lookahead(Late(), "late", Eight(), encodes(4, 0))  # keyframes answer themselves
    check_lookahead(Late(bridges_end=True), "late", Eight(), encodes(4, 0, 3))
    with pytest.raises(
        CapabilityError, match="method late answers 3 frames late, but frame 7 of sequence street"
    ):
        check_lookahead(Late(), "late", Eight(), encodes(4, 0, 3))


def test_every_distance_weighs_alike_in_the_mean_of_what_was_executed():
    giga = 10**9
    figures = gop_figures({0: (2, 20 * giga), 1: (2, 8 * giga), 2: (1, 6 * giga)}, 3)
    assert figures == {"key_gmacs": 10.0, "non_key_gmacs": 5.0, "gop_mean_gmacs": 20 / 3}
    assert gop_figures({1: (1, giga)}, 3) is None


class Choosy(ConstantResolution):
    """Per-frame network with one need that the data of these tests cannot meet."""

    wanted: ClassVar[dict] = {}

    @property
    def needs(self) -> Needs:
        return replace(super().needs, **self.wanted)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"size_multiple": 48}, "method choosy needs frame sides that are multiples of 48, got 32x64"),
        (
            {"lookahead": 3, "stateless": False},
            "method choosy answers 3 frames late, but frame .* of sequence",
        ),
        ({"batchable": False}, r"method choosy, inference\.batch: 4 clips"),
    ],
)
def test_what_a_method_cannot_have_is_refused_before_work_starts(
    monkeypatch, tmp_path, cache, wanted, message
):
    monkeypatch.setattr(Choosy, "wanted", wanted)
    monkeypatch.setitem(methods.entries, "choosy", Entry("choosy", "choosy_plugin:Choosy", "test"))
    monkeypatch.setitem(sys.modules, "choosy_plugin", SimpleNamespace(Choosy=Choosy))
    method = {"name": "choosy", "network": "bisenet18", "width": 4}
    if "batchable" in wanted:
        method["inference"] = {"batch": 4}
    with pytest.raises((CapabilityError, ConfigError), match=message):
        vssbench.run({**BASE, "methods": [method]}, tmp_path / "run", workers=1, cache=cache, device="cpu")
    assert not (tmp_path / "run" / "units").exists()
