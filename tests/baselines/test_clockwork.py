"""Clockwork and copy-last: ticks, reuse, cost, and the sanity triple on streets with exact flow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vssbench.baselines.clockwork import Clockwork
from vssbench.baselines.copy_last import CopyLast
from vssbench.conformance import CHECKS, Subject, make_clip, run_clip
from vssbench.cost import count_macs
from vssbench.cost.steps import count_method_macs
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame
from vssbench.networks import create

SIZE = (32, 48)
SUBJECTS = {
    "copy-last": Subject("copy-last", {"width": 8}, SIZE),
    "adaptive": Subject("clockwork", {"width": 8, "clock": "adaptive", "threshold": 0.5}, SIZE),
    "pipelined": Subject("clockwork", {"width": 8, "clock": "pipelined", "period": 2}, SIZE),
}


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_methods_keep_their_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def build(method_class, size=SIZE, interval=4, **options):
    torch.manual_seed(0)
    checked = validate(method_class.Options, {"width": 8, **options}, where="method")
    return method_class(checked, BuildContext(4, size, interval, torch.device("cpu")))


def frames(method, seed=1):
    return make_clip(Subject("clockwork", {}, SIZE), method.needs, seed=seed)


def test_a_clock_that_always_ticks_is_the_network():
    for options in ({"period": 1}, {"clock": "adaptive", "threshold": 0.0}):
        method = build(Clockwork, **options)
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in method.normalisation[:2])
        for frame, prediction in zip(clip := frames(method), run_clip(method, clip), strict=True):
            with torch.no_grad():
                labels = method.network((frame.image / 255 - mean) / deviation).argmax(1)
            assert torch.equal(prediction.labels, labels.byte())
            assert prediction.kind == "key"


def test_ticks_come_at_their_period():
    for period, expected in ((2, "key non_key key non_key"), (None, "key non_key non_key non_key")):
        method = build(Clockwork, period=period)
        assert [p.kind for p in run_clip(method, frames(method))] == expected.split()


def test_the_adaptive_clock_sleeps_while_nothing_moves_and_wakes_on_a_cut():
    method = build(Clockwork, clock="adaptive", threshold=0.3)
    still, other = frames(method)[0], frames(method, seed=7)[0]
    dark = torch.zeros_like(other.image)
    images = [still.image, still.image, still.image, dark]
    clip = [replace(still, index=i, keyframe_distance=i, image=image) for i, image in enumerate(images)]
    predictions = run_clip(method, clip)
    assert [p.kind for p in predictions] == ["key", "non_key", "non_key", "key"]
    assert all(torch.equal(p.labels, predictions[0].labels) for p in predictions[:3])


def test_the_pipelined_clock_is_one_frame_stale():
    """The deep stage at the second tick sees the frame before it: on standing pictures that makes no difference."""
    fixed, pipelined = (build(Clockwork, period=2, clock=clock) for clock in ("fixed", "pipelined"))
    clip = frames(fixed)
    still = [replace(clip[0], index=i, keyframe_distance=i) for i in range(4)]
    for ours, theirs in zip(run_clip(fixed, still), run_clip(pipelined, still), strict=True):
        assert torch.equal(ours.labels, theirs.labels)
    state = pipelined.begin(1)
    for frame in clip[:2]:
        pipelined.step(state, frame)
    before = state.shallow
    pipelined.step(state, clip[2])
    with torch.no_grad():
        assert torch.equal(state.deep, pipelined.network.deep(before))


def test_cost_is_the_shallow_stage_every_frame_and_the_deep_one_at_ticks():
    network = create("fcn18", 4, width=8)
    image = torch.zeros(1, 3, *SIZE)
    shallow = count_macs(network.shallow, image).total
    whole = count_macs(network, image).total
    deep = whole - shallow - count_macs(network.classifier, torch.zeros(1, 16, 4, 6)).total
    for period, ticks in ((None, 1), (2, 2), (1, 4)):
        cost = count_method_macs(build(Clockwork, period=period, padding="none"))
        assert cost.gop_mean == pytest.approx(whole - deep + deep * ticks / 4)
    copied = count_method_macs(build(CopyLast))
    assert (copied.non_key, copied.gop_mean) == (0, copied.key / 4)


@pytest.mark.parametrize("method_class", [Clockwork, CopyLast])
def test_a_frame_before_its_keyframe_is_an_error(method_class):
    method = build(method_class)
    with pytest.raises(ValueError, match="before any keyframe"):
        method.step(method.begin(1), Frame(1, 1, torch.zeros(1, 3, *SIZE, dtype=torch.uint8), "P", SIZE))


def test_wrong_sign_is_below_copy_last_is_below_the_right_sign_on_streets_with_exact_flow():
    """Labels of a synthetic street, moved by the exact flow of the renderer, by none, and by its negative."""
    from vssbench.ops import warp
    from vssbench.registry import datasets

    dataset = datasets.load("synthetic")
    streets = dataset(dataset.Options(sequences=1, frames=7, size=(96, 128), frame_rate_hz=15))
    sequence = streets.sequences("val")[0]
    key = torch.from_numpy(np.array(sequence.label(5))).float()[None, None]
    truth = torch.from_numpy(np.array(sequence.label(6)))
    exact = sequence.flow_to_previous(6)
    assert exact is not None
    flow = torch.from_numpy(np.array(exact.flow))[None]
    right = {}
    for name, sign in (("right", 1), ("copy", 0), ("wrong", -1)):
        moved = warp(key, sign * flow, sampling="exact", border="clamp", interpolation="nearest")
        right[name] = float((moved[0, 0].byte() == truth).float().mean())
    assert right["wrong"] < right["copy"] < right["right"]
