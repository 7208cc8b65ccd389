"""Deep Feature Flow: exact where motion is known, priced as published, trained where it says."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from vssbench.baselines.dff import DeepFeatureFlow
from vssbench.conformance import CHECKS, Subject, make_batch
from vssbench.cost.blank import building_on
from vssbench.cost.steps import count_method_macs
from vssbench.errors import ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame
from vssbench.networks import FlowEstimate

LONG = pytest.mark.skipif(
    "long" not in os.environ.get("VSSBENCH_REQUIRE", ""), reason="long form: VSSBENCH_REQUIRE=long runs it"
)
SIZE = (64, 96)
CONTEXT = BuildContext(4, SIZE, 4, torch.device("cpu"))
SUBJECTS = {
    "dff": Subject("dff", {"width": 4, "network": "deeplab18"}),
    "dff on BiSeNet, flow trained": Subject(
        "dff",
        {
            "width": 8,
            "network": "bisenet18",
            "flow_network": "flownet-tiny",
            "trains": "flow",
            "scale_field": "single",
        },
    ),
    "dff every 2": Subject("dff", {"width": 4, "network": "deeplab18", "key_interval": 2}),
    "dff on the codec's flow": Subject("dff", {"width": 4, "network": "deeplab18", "flow": "codec"}),
}

LONGER = {"dff every 2", "dff on BiSeNet, flow trained"}


def build(context: BuildContext = CONTEXT, **options) -> DeepFeatureFlow:
    torch.manual_seed(0)
    checked = validate(DeepFeatureFlow.Options, {"width": 8, "network": "bisenet18", **options}, where="dff")
    return DeepFeatureFlow(checked, context)


def images(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[LONG] if n in LONGER else []) for n in sorted(SUBJECTS)]
)
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def test_impossible_options_are_refused():
    for options, words in (
        ({"flow": "codec", "key_interval": 3}, "key_interval 3 needs flow: network"),
        ({"cut": "task"}, "cannot be fused before 'task'"),
        ({"flow_network": "flownet"}, "did you mean flownet-"),
        ({"key_interval": 0}, "key_interval"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(**options)


def flow_of(cells: tuple[float, float], scale: float | None = None):
    """A flow network's answer: the same motion everywhere."""

    def answer(image, reference, size):
        flow = torch.tensor(cells).view(1, 2, 1, 1).expand(1, 2, *size)
        return FlowEstimate(flow, None if scale is None else torch.full((1, 1, *size), scale))

    return answer


def test_without_motion_the_keyframe_is_repeated(monkeypatch):
    method = build()
    monkeypatch.setattr(method.flow, "forward", flow_of((0.0, 0.0), 1.0))
    state, (first, second) = method.start(1), images(2)
    key = method.step(state, Frame(0, 0, first, "I", SIZE))[0].labels
    assert torch.equal(method.step(state, Frame(1, 1, second, "P", SIZE))[0].labels, key)


def test_motion_by_whole_cells_shifts_the_carried_map_exactly():
    feature = torch.randn(1, 5, 8, 12)
    moved = DeepFeatureFlow.carry(feature, flow_of((2.0, -1.0), 0.5)(None, None, (8, 12)))
    assert torch.equal(moved[..., 1:, :-2], 0.5 * feature[..., :-1, 2:])


def test_wrong_sign_is_below_copy_is_below_the_right_sign():
    """The picture moves by two cells of the feature map; labels carried by `step` against those of the picture itself."""
    method = build(flow="codec", cut="classifier")
    first = torch.from_numpy(
        np.random.default_rng(1).integers(0, 256, (1, 3, 4, 6)).repeat(16, 2).repeat(16, 3).astype(np.uint8)
    )
    second = torch.roll(first, 16, 3)  # content at x now was at x - 16
    truth = method.step(method.start(1), Frame(0, 0, second, "I", SIZE))[0].labels
    assert truth.unique().numel() > 1
    right = {}
    for name, pixels in (("right", -16.0), ("copy", 0.0), ("wrong", 16.0)):
        state = method.start(1)
        method.step(state, Frame(0, 0, first, "I", SIZE))
        flow = torch.zeros(1, 2, *SIZE)
        flow[:, 0] = pixels
        moved = method.step(state, Frame(1, 1, None, "P", SIZE, flow_key=flow))[0].labels
        right[name] = float((moved == truth)[..., 24:-24].float().mean())
    assert right["wrong"] < right["copy"] < right["right"]


def test_the_flow_leads_to_the_keyframe_whatever_came_between(monkeypatch):
    method = build()
    references = []
    forward = method.flow.forward
    monkeypatch.setattr(
        method.flow,
        "forward",
        lambda image, reference, size: references.append(reference) or forward(image, reference, size),
    )
    state, frames = method.start(1), images(4)
    for d, image in enumerate(frames):
        method.step(state, Frame(d, d, image, "P" if d else "I", SIZE))
    assert len(references) == 3
    assert all(torch.equal(reference, references[0]) for reference in references)


def test_its_own_keyframes_fall_on_every_nth_frame():
    method = build(key_interval=3)
    state = method.start(1)
    kinds = [method.step(state, Frame(d, d, image, "P", SIZE))[0].kind for d, image in enumerate(images(8))]
    assert kinds == ["key", "non_key", "non_key"] * 2 + ["key", "non_key"]


def test_mean_cost_on_deeplab101_is_the_specifications_share_of_it():
    """Section 3: 0.21 of the base at L = 12, 0.31 at n = 5; all frames between keyframes cost the same."""
    context = replace(CONTEXT, classes=12, size=(720, 960), keyframe_interval=2, device=torch.device("meta"))
    with building_on("meta"):
        cost = count_method_macs(build(context, width=64, network="deeplab101"))
    for n, ratio in ((12, 0.21), (5, 0.31)):
        assert (cost.key + (n - 1) * cost.non_key) / n / cost.key == pytest.approx(ratio, abs=0.01)
    assert cost.non_key / 1e9 == pytest.approx(14.2 + 5.7 + 1.07, abs=0.1)  # flow, task, a scale per channel


def test_flow_learns_from_the_codec_and_the_network_stays_when_only_flow_trains():
    method = build(trains="flow", scale_field="single", loss="cross-entropy", flow_network="flownet-tiny")
    stages = {stage.name: stage for stage in method.stages()}
    assert {name: stage.parts for name, stage in stages.items()} == {
        "image": ("network",), "flow": ("flow",), "pair": ("flow",),
    }  # fmt: skip
    batch = make_batch(Subject("dff", {}, SIZE, 4), stages["flow"])
    optimiser = torch.optim.Adam(method.flow.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        loss = stages["flow"].compute_loss(replace(batch, flow_key=torch.full_like(batch.flow_key, 8.0)))[
            "flow"
        ]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]
