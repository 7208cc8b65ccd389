"""AR-Seg on a schedule: its ends are AR-Seg and warp-only, between them every frame is one or the other, chosen causally."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import pytest
import torch

from vssbench.baselines.scheduled.method import CORRECTION
from vssbench.baselines.scheduled.predictor import FLOOR, SIGNALS, GainPredictor, signals_of
from vssbench.conformance import CHECKS, Subject, make_clip, run_clip
from vssbench.cost.steps import count_method_macs, step_under_ledger
from vssbench.engine.build import untrained_method
from vssbench.errors import ConfigError
from vssbench.method import BuildContext, Frame
from vssbench.records import MODE_INTRA

LONG = pytest.mark.skipif(
    "long" not in os.environ.get("VSSBENCH_REQUIRE", ""), reason="long form: VSSBENCH_REQUIRE=long runs it"
)
SIZE = (64, 64)
SLIM = {"network": "swiftnet18", "width": 4}
FUSING = {**SLIM, "window": 1, "mode": "corrected"}
SILENT = dict.fromkeys(("constant", *SIGNALS, "mean"), 0.0) | {"deviation": 1.0}
"""A predictor that promises nothing."""
ADAPTIVE = {**FUSING, "schedule": "adaptive", "target": 0.15}
SUBJECTS = {
    "by distance": Subject("scheduled", {**FUSING, "carry_until": 2}, SIZE),
    "adaptive": Subject("scheduled", ADAPTIVE, SIZE),
}


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("name", ["adaptive", pytest.param("by distance", marks=LONG)])
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def build(name, **options):
    return untrained_method(name, options, BuildContext(4, SIZE, 6, torch.device("cpu")), where=name)


def trio():
    """Scheduled, AR-Seg and warp-only with the same weights."""
    fused, carried = build("ar-seg", **FUSING), build("warp-only", **SLIM)
    carried.network.load_state_dict(fused.hr.state_dict())

    def scheduled(carry_until):
        method = build("scheduled", **FUSING, carry_until=carry_until)
        for name, part in fused.parts().items():
            method.parts()[name].load_state_dict(part.state_dict())
        return method

    return scheduled, fused, carried


def answers(method, needs):
    clip = make_clip(Subject("scheduled", {}, SIZE, keyframe_interval=6), needs, seed=1)
    return [prediction.labels for prediction in run_clip(method, clip)]


def test_every_frame_is_warp_onlys_up_to_the_distance_and_ar_segs_behind_it():
    scheduled, fused, carried = trio()
    theirs, moved = answers(fused, fused.needs), answers(carried, fused.needs)
    assert any(not torch.equal(one, two) for one, two in zip(theirs[1:], moved[1:], strict=True))
    for carry_until in (0, 2, 5):
        ours = answers(scheduled(carry_until), fused.needs)
        for distance, labels in enumerate(ours):
            expected = moved if distance <= carry_until else theirs
            assert torch.equal(labels, expected[distance]), (carry_until, distance)


def test_macs_of_a_gop_are_those_of_its_carried_and_fused_frames():
    scheduled, fused, carried = trio()
    fuse, carry = count_method_macs(fused), count_method_macs(carried)
    assert carry.non_key < fuse.non_key < fuse.key
    for carry_until in (0, 2, 5):
        cost = count_method_macs(scheduled(carry_until))
        total = fuse.key + carry_until * carry.non_key + (5 - carry_until) * fuse.non_key
        assert cost.gop_mean == pytest.approx(total / 6, rel=1e-12)
        assert [step.executed_share for step in cost.steps] == [1] + [0] * carry_until + [0.25] * (
            5 - carry_until
        )


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ({"window": 4}, "positive odd number"),
        ({"switches": {"bordr": "zero"}}, "did you mean border"),
        ({"carry_until": -1}, "carry_until"),
        ({"variant": "mv-only"}, "variant"),
        ({"schedule": "adaptive", "predictor": {"age": 1}}, "predictor"),
    ],
)
def test_options_that_ar_seg_or_the_schedule_refuse(option, told):
    with pytest.raises(ConfigError, match=told):
        build("scheduled", **{**FUSING, **option})


def signalled(method, gops=1):
    """A clip whose frames carry the decoder's signals."""
    return make_clip(Subject("scheduled", {}, SIZE, keyframe_interval=6), method.needs, seed=1, gops=gops)


def fused(method, frames, memory=None):
    """Which of the frames between keyframes the method fuses."""
    predictions = run_clip(method, frames, memory)
    return [prediction.executed_share > 0 for prediction in predictions if prediction.kind != "key"]


def test_signals_are_what_they_say():
    flow = torch.zeros(1, 2, 6, 8)
    flow[0, 0, :3] = 3.0
    flow[0, 1, :3] = 4.0
    valid = torch.ones(1, 6, 8, dtype=torch.bool)
    valid[0, :, :2] = False
    blocks = torch.tensor([[[MODE_INTRA, 1], [2, 2]]], dtype=torch.uint8)
    qp = torch.tensor([[[17, 34], [34, 17]]], dtype=torch.int8)
    frame = Frame(3, 3, None, "P", (6, 8), flow_key=flow, flow_valid_key=valid, block_types=blocks, qp=qp)
    # half of the pixels move by 5 of the diagonal's 10, a quarter is invalid, one block of four intra, 96 bits of 48 pixels
    shares = (0.25, 0.25, 0.25, 2)
    expected = (math.log(3), *(math.log(FLOOR + share) for share in shares), 25.5 / 51)
    assert signals_of(frame, 96) == pytest.approx(expected)
    with pytest.raises(ValueError, match="lacks decoder signals"):
        signals_of(replace(frame, qp=None), 96)


def test_a_predictor_is_a_linear_map_and_its_threshold_a_quantile():
    predictor = GainPredictor(
        **{**SILENT, "constant": 1, "age": 2, "quantiser": -4, "mean": 3, "deviation": 0.5}
    )
    assert predictor.gain((1.5, 9, 9, 9, 9, 0.25)) == 1 + 2 * 1.5 - 4 * 0.25
    assert predictor.threshold(0.5) == 3
    assert predictor.threshold(0.158655254) == pytest.approx(3.5)
    assert (predictor.threshold(0), predictor.threshold(1.2)) == (math.inf, -math.inf)


def test_the_target_is_met_whatever_the_signals_promise():
    """Predictors that promise far too much, or nothing, leave it CORRECTION frames ahead or behind at most."""
    cost = count_method_macs(build("ar-seg", **FUSING)), count_method_macs(build("warp-only", **SLIM))
    for mean in (-50.0, 50.0):
        method = build("scheduled", **ADAPTIVE, predictor={**SILENT, "mean": mean})
        memory, spent = method.create_memory(), []
        frames = signalled(method, gops=20)
        state = method.begin(1, memory)
        for frame in frames:
            _, counted = step_under_ledger(method, state, frame)
            spent += [counted.ledger.total] if frame.keyframe_distance else []
            assert counted.ledger.total in {cost[0].key, cost[0].non_key, cost[1].non_key}
        low, high = cost[1].non_key / cost[0].key, cost[0].non_key / cost[0].key
        share = (0.15 - low) / (high - low)
        ahead = (sum(spent) / cost[0].key - 0.15 * len(spent)) / (high - low)  # in fused frames
        expected = CORRECTION * share if mean < 0 else CORRECTION * (share - 1)
        assert ahead == pytest.approx(expected, abs=1)
        assert memory.frames == 100


def test_frames_that_promise_most_are_fused_before_a_network_has_seen_them():
    """By age alone the oldest frames win; pixels decide nothing."""
    method = build("scheduled", **ADAPTIVE, predictor={**SILENT, "age": 1, "mean": 1.0, "deviation": 0.4})
    frames = signalled(method)
    choices = fused(method, frames)
    assert choices == sorted(choices)
    assert len(set(choices)) == 2
    dark = [replace(frame, image=torch.zeros_like(frame.image)) for frame in frames]
    assert fused(method, dark) == choices


@pytest.mark.parametrize("target", [0.001, 0.9])
def test_a_target_that_no_choice_reaches_names_the_range(target):
    carry, fuse = (
        count_method_macs(build(name, **options))
        for name, options in (("warp-only", SLIM), ("ar-seg", FUSING))
    )
    words = f"carrying takes {carry.non_key / carry.key:.4f} of them and fusing {fuse.non_key / fuse.key:.4f}"
    with pytest.raises(ConfigError, match=words):
        build("scheduled", **{**ADAPTIVE, "target": target})
