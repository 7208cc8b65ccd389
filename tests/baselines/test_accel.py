"""Accel: the reference branch on keyframes, both branches between them, priced against the update network."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from vssbench.baselines.accel import Accel, ScoreFusion
from vssbench.conformance import CHECKS, Subject, make_batch
from vssbench.cost import count_macs
from vssbench.cost.blank import building_on
from vssbench.cost.steps import count_method_macs
from vssbench.errors import ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame
from vssbench.networks import create
from vssbench.ops import normalise_image, predict_labels, resize

LONG = pytest.mark.skipif(
    "long" not in os.environ.get("VSSBENCH_REQUIRE", ""), reason="long form: VSSBENCH_REQUIRE=long runs it"
)
SIZE = (64, 96)
CONTEXT = BuildContext(4, SIZE, 4, torch.device("cpu"))
SLIM = {"reference_network": "deeplab18", "update_network": "deeplab18", "width": 4, "reference_width": 8}
SUBJECTS = {
    "accel": Subject("accel", SLIM),
    "accel composed": Subject("accel", {**SLIM, "propagation": "composed", "trains": "all"}),
    "accel on the codec's flow": Subject("accel", {**SLIM, "flow": "codec", "initialisation": "average"}),
    "accel every 2": Subject("accel", {**SLIM, "flow": "codec", "key_interval": 2, "fusion_at": "update"}),
}

LONGER = {"accel composed", "accel every 2"}


def build(context: BuildContext = CONTEXT, **options) -> Accel:
    torch.manual_seed(0)
    return Accel(validate(Accel.Options, {**SLIM, **options}, where="accel"), context)


def images(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


def frame(d: int, image: torch.Tensor, flow: torch.Tensor | None = None) -> Frame:
    return Frame(d, d, image, "P" if d else "I", SIZE, flow_previous=flow)


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[LONG] if n in LONGER else []) for n in sorted(SUBJECTS)]
)
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def test_impossible_options_are_refused():
    for options, words in (
        ({"flow": "codec", "propagation": "composed", "key_interval": 3}, "key_interval 3 needs"),
        ({"reference_network": "bisenet18", "cut": "task"}, "cannot be fused before 'task'"),
        ({"update_network": "deeplab"}, "did you mean deeplab1"),
        ({"initialisation": "zero"}, "initialisation"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(**options)


def test_keyframes_are_the_reference_network_and_run_no_update_branch(monkeypatch):
    method = build()
    monkeypatch.setattr(method.update, "partial", None)
    image = images(1)[0]
    labels = method.step(method.start(1), frame(0, image))[0].labels
    with torch.no_grad():
        expected = method.reference(normalise_image(image, method.normalisation))
    assert torch.equal(labels, predict_labels(expected, SIZE))


def test_without_motion_the_scores_are_those_of_keyframe_and_current_frame():
    method = build(flow="codec", initialisation="average")
    first, second = images(2)
    state = method.start(1)
    method.step(state, frame(0, first))
    labels = method.step(state, frame(1, second, torch.zeros(1, 2, *SIZE)))[0].labels
    with torch.no_grad():
        both = [
            resize(network(normalise_image(image, method.normalisation)), SIZE)
            for network, image in ((method.reference, first), (method.update, second))
        ]
    share = float((predict_labels(0.5 * both[0] + 0.5 * both[1], SIZE) != labels).float().mean())
    assert share < 0.002  # rounding of the convolution against a plain mean


def test_one_step_after_another_shifts_the_reference_map_by_their_sum():
    method = build(flow="codec")
    state, frames = method.start(1), images(3)
    method.step(state, frame(0, frames[0]))
    start = state.feature.clone()
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0], flow[:, 1] = 16.0, -16.0  # one cell of stride 16 right and up
    for d in (1, 2):
        method.step(state, frame(d, frames[d], flow))
    assert torch.equal(state.feature[..., 2:, :-2], start[..., :-2, 2:])


def test_wrong_sign_is_below_copying_which_is_below_the_right_sign():
    """Reference map alone (the fusion ignores the update branch) on a picture that moves by whole cells."""
    method = build(flow="codec", reference_network="bisenet18", reference_width=16, key_interval=None)
    with torch.no_grad():
        method.fusion.join.weight.zero_()
        method.fusion.join.weight[:, :4, 0, 0] = torch.eye(4)
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (1, 3, 8, 12), generator=generator, dtype=torch.uint8)
    image = image.repeat_interleave(8, 2).repeat_interleave(8, 3)
    state = method.start(1)
    method.step(state, frame(0, image))
    feature = state.feature
    shift = 2
    truth = torch.roll(feature, -shift, 3)
    agreement = {}
    for name, sign in (("right", 1), ("copy", 0), ("wrong", -1)):
        flow = torch.zeros(1, 2, *SIZE)
        flow[:, 0] = sign * shift * SIZE[1] / feature.shape[-1]
        moved = method._carry(feature, image, image, flow)
        agreement[name] = -float((moved - truth)[..., shift:-shift].square().mean())
    assert agreement["wrong"] < agreement["copy"] < agreement["right"] == 0.0


def test_joining_before_or_after_the_resize_gives_the_same_labels():
    """A 1x1 convolution and a bilinear resize commute."""
    clip = images(2)
    labels = []
    for at in ("frame", "update"):
        method = build(
            flow="codec", fusion_at=at, update_network="light-fpn18", reference_network="light-fpn18"
        )
        state = method.start(1)
        method.step(state, frame(0, clip[0]))
        labels.append(method.step(state, frame(1, clip[1], torch.zeros(1, 2, *SIZE)))[0].labels)
    assert float((labels[0] != labels[1]).float().mean()) < 0.05


@pytest.mark.parametrize(
    ("size", "classes", "ratio"), [((720, 960), 12, 1.63), pytest.param((1024, 2048), 19, 1.64, marks=LONG)]
)
def test_mean_cost_is_the_specifications_multiple_of_the_update_network(size, classes, ratio):
    """Section 4: 62.5 / 188.4 G between keyframes (plus DCN offsets on keys, which we do not have), 1.63 x DL18."""
    context = replace(CONTEXT, classes=classes, size=size, keyframe_interval=2, device=torch.device("meta"))
    published = {"reference_network": "deeplab101", "width": 64, "reference_width": 64}
    with building_on("meta"):
        cost = count_method_macs(build(context, **published))
        base = count_macs(create("deeplab18", classes).eval(), torch.empty(1, 3, *size, device="meta"))
    mean = (cost.key + 11 * cost.non_key) / 12  # all frames between keyframes cost the same
    assert mean / base.total == pytest.approx(ratio, abs=0.02)
    assert mean / base.total > 1.5
    fusion = 2 * classes * classes * size[0] * size[1]
    assert cost.ledgers["non_key"].per_part()["fusion"] == fusion


def test_the_fusion_starts_as_released_or_as_the_mean():
    torch.manual_seed(0)
    released, mean = ScoreFusion(19), ScoreFusion(19, "average")
    assert released.join.weight.std().item() == pytest.approx(0.01, rel=0.1)
    scores = torch.randn(2, 19, 3, 5), torch.randn(2, 19, 3, 5)
    torch.testing.assert_close(mean(*scores), (scores[0] + scores[1]) / 2)


def test_only_the_fusion_trains_by_default_and_its_sequence_must_have_motion():
    stages = {stage.name: stage for stage in build().stages()}
    assert stages["fusion"].parts == ("fusion",)
    assert stages["fusion"].recipe == "window"
    assert set(stages) == {"reference", "update", "flow", "fusion"}
    batch = make_batch(Subject("accel", {}, SIZE, 4), stages["update"])
    with pytest.raises(ValueError, match="recipe 'window'"):
        stages["fusion"].compute_loss(batch)
