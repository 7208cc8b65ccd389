"""Block-motion interpolation: both keyframes where they exist, the missing link, what it costs and how late it is."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
import torch

from vssbench.baselines.inter_bmv import InterBMV
from vssbench.baselines.inter_bmv.fusion import fuse
from vssbench.baselines.inter_bmv.propagation import carry
from vssbench.conformance import CHECKS, Subject, make_batch
from vssbench.cost.blank import building_on
from vssbench.cost.steps import count_method_macs
from vssbench.errors import ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame
from vssbench.ops import normalise_image, predict_labels

LONG = pytest.mark.skipif(
    "long" not in os.environ.get("VSSBENCH_REQUIRE", ""), reason="long form: VSSBENCH_REQUIRE=long runs it"
)
SIZE = (64, 96)
CONTEXT = BuildContext(4, SIZE, 4, torch.device("cpu"))
SLIM = {"width": 8, "network": "bisenet18", "search_radius": 1}
SUBJECTS = {
    "inter-bmv": Subject("inter-bmv", SLIM),
    "inter-bmv with a learned fusion": Subject(
        "inter-bmv", {**SLIM, "fusion": "conv", "missing_link": "zero"}
    ),
    "inter-bmv every 2, forward over missing links": Subject(
        "inter-bmv", {**SLIM, "key_interval": 2, "missing_link": "forward", "propagation": "recursive"}
    ),
    "inter-bmv forward only": Subject("inter-bmv", {**SLIM, "fusion": "forward"}),
}

LONGER = {"inter-bmv forward only", "inter-bmv every 2, forward over missing links"}


def build(context: BuildContext = CONTEXT, **options) -> InterBMV:
    torch.manual_seed(0)
    return InterBMV(validate(InterBMV.Options, {**SLIM, **options}, where="inter-bmv"), context)


def images(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


def frame(
    index: int, image: torch.Tensor | None, interval: int = 4, flow: tuple[float, float] = (0, 0)
) -> Frame:
    distance = index % interval
    dense = torch.tensor(flow, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, *SIZE)
    return Frame(index, distance, image, "P" if distance else "I", SIZE, flow_previous=dense)


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[LONG] if n in LONGER else []) for n in sorted(SUBJECTS)]
)
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def test_impossible_options_are_refused():
    for options, words in (
        ({"fusion": "median"}, "fusion"),
        ({"trains": "all"}, "trains: all belongs to fusion: conv"),
        ({"cut": "task"}, "cannot be fused before 'task'"),
        ({"search_radius": 0}, "search_radius"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(**options)


def test_what_it_asks_for_follows_from_its_options():
    needs = {
        "default": build().needs,
        "zero link": build(missing_link="zero").needs,
        "every 2": build(key_interval=2).needs,
        "causal": build(fusion="forward").needs,
    }
    assert {name: n.lookahead for name, n in needs.items()} == {
        "default": 3,
        "zero link": 3,
        "every 2": 1,
        "causal": 0,
    }
    assert {name: n.pixels for name, n in needs.items()} == {
        "default": True, "zero link": False, "every 2": True, "causal": False,
    }  # fmt: skip
    assert all(n.flow_previous and n.bridges_end for n in needs.values())


@pytest.mark.parametrize("link", ["block-matching", "zero", "forward"])
@pytest.mark.parametrize("propagation", ["composed", "recursive"])
def test_a_still_scene_repeats_its_keyframe(link, propagation):
    method, image = build(missing_link=link, propagation=propagation), images(1)[0]
    state = method.begin(1)
    answers = [p for i in range(5) for p in method.step(state, frame(i, image))]
    assert [p.index for p in answers] == [0, 1, 2, 3, 4]
    assert [p.kind for p in answers] == ["key", "non_key", "non_key", "non_key", "key"]
    for answer in answers[1:]:
        assert torch.equal(answer.labels, answers[0].labels)


def test_frames_wait_for_the_next_keyframe_and_no_longer():
    method, clip = build(missing_link="zero"), images(9)
    state = method.begin(1)
    came = [[p.index for p in method.step(state, frame(i, image))] for i, image in enumerate(clip)]
    assert came == [[0], [], [], [], [1, 2, 3, 4], [], [], [], [5, 6, 7, 8]]
    assert method.flush(state) == []


def test_the_middle_frame_is_the_mean_of_both_keyframes_and_the_ends_lean_to_theirs():
    method, (first, second) = build(missing_link="zero"), images(2)
    state = method.begin(1)
    answers = [p for i in range(5) for p in method.step(state, frame(i, first if i < 4 else second))]
    with torch.no_grad():
        before, after = (
            method.network.features(normalise_image(i, method.normalisation)) for i in (first, second)
        )
        for i in (1, 2, 3):
            mixed = (1 - i / 4) * before + i / 4 * after
            labels = predict_labels(method.network.classify(mixed, SIZE), SIZE)
            assert float((labels != answers[i].labels).float().mean()) < 0.01


def test_whole_cells_of_motion_bring_both_features_to_the_same_place():
    """Content moves one cell (8 px) to the left per frame; keyframes 0 and 4, the frame between is 2."""
    feature = torch.randn(1, 3, 8, 24)
    flow = torch.zeros(1, 2, 64, 192)
    flow[:, 0] = 8.0  # content was 8 px to the right one frame earlier
    forward = carry(feature, [flow] * 3, "composed", "nearest")
    later = torch.roll(feature, -4, 3)  # the same scene at the next keyframe
    backward = carry(later, [-flow] * 3, "composed", "nearest")[::-1]
    for i in (1, 2, 3):
        truth = torch.roll(feature, -i, 3)[..., 4:-4]
        assert torch.equal(forward[i - 1][..., 4:-4], truth)
        assert torch.equal(backward[i - 1][..., 4:-4], truth)


def test_recursive_steps_by_whole_cells_equal_one_composed_warp():
    feature = torch.randn(1, 3, 8, 24)
    flow = torch.full((1, 2, 64, 192), 8.0)
    steps = [carry(feature, [flow] * 4, rule, "nearest") for rule in ("composed", "recursive")]
    for first, second in zip(*steps, strict=True):
        assert torch.equal(first, second)


def test_wrong_sign_is_below_copying_which_is_below_the_right_sign():
    feature = torch.randn(1, 3, 8, 24)
    truth = torch.roll(feature, -2, 3)
    error = {}
    for name, sign in (("right", 1), ("copy", 0), ("wrong", -1)):
        flow = torch.zeros(1, 2, 64, 192)
        flow[:, 0] = sign * 8.0
        error[name] = float(
            (carry(feature, [flow, flow], "composed", "nearest")[-1] - truth)[..., 4:-4].square().mean()
        )
    assert 0.0 == error["right"] < error["copy"]
    smooth = torch.linspace(0, 1, 24).view(1, 1, 1, 24).expand(1, 1, 8, 24).contiguous()
    apart = {}
    for name, sign in (("copy", 0), ("wrong", -1)):
        flow = torch.zeros(1, 2, 64, 192)
        flow[:, 0] = sign * 8.0
        moved = carry(smooth, [flow, flow], "composed", "nearest")[-1]
        apart[name] = float((moved - torch.roll(smooth, -2, 3))[..., 4:-4].square().mean())
    assert apart["wrong"] == pytest.approx(4 * apart["copy"], rel=1e-4)  # twice the distance


def test_a_keyframe_on_a_p_frame_has_its_own_motion_and_needs_no_search(monkeypatch):
    monkeypatch.setattr("vssbench.baselines.inter_bmv.method.match_blocks", None)
    method, clip = build(key_interval=2), images(4)
    state = method.begin(1)
    came = [[p.index for p in method.step(state, frame(i, image))] for i, image in enumerate(clip)]
    assert came == [[0], [], [1, 2], []]
    assert [p.index for p in method.flush(state)] == [3]  # the sequence ended before the next keyframe


def test_the_missing_link_changes_what_it_should():
    clip = images(5)
    labels = {}
    for link in ("block-matching", "zero", "forward"):
        method = build(missing_link=link, search_radius=4)
        state = method.begin(1)
        answers = [p for i, image in enumerate(clip) for p in method.step(state, frame(i, image))]
        labels[link] = answers[3].labels
    causal = build(fusion="forward")
    state = causal.begin(1)
    alone = [p for i, image in enumerate(clip) for p in causal.step(state, frame(i, image))]
    assert torch.equal(labels["forward"], alone[3].labels)
    assert not torch.equal(labels["zero"], labels["forward"])


def test_fusion_rules_by_hand():
    before, after = torch.tensor([0.0, 4.0]), torch.tensor([8.0, 0.0])
    assert fuse("distance", before, after, 0.25, None).tolist() == [2.0, 3.0]
    assert fuse("average", before, after, 0.25, None).tolist() == [4.0, 2.0]
    assert fuse("max", before, after, 0.25, None).tolist() == [8.0, 4.0]
    assert fuse("forward", before, after, 0.25, None).tolist() == [0.0, 4.0]


@pytest.mark.parametrize(
    ("network", "cut", "size", "ratio"),
    [
        ("pspnet18-camvid", "task", (720, 960), 0.62),
        pytest.param("pspnet18-cityscapes", "task", (1024, 2048), 0.35, marks=LONG),
        ("pspnet18-camvid", "classifier", (720, 960), 0.085),
        pytest.param("deeplab101", "task", (720, 960), 0.12, marks=LONG),
    ],
)
def test_mean_cost_is_the_specifications_share_of_the_network(network, cut, size, ratio):
    """Section 8, n = 12: averaging; one keyframe per GOP although frames wait for the next one."""
    context = replace(CONTEXT, classes=12, size=size, keyframe_interval=2, device=torch.device("meta"))
    with building_on("meta"):
        cost = count_method_macs(build(context, network=network, cut=cut, width=64, missing_link="zero"))
        alone = count_method_macs(build(replace(context, keyframe_interval=1), network=network, width=64)).key
    task = 2 * cost.gop_mean - alone  # a GOP of 2 holds one keyframe and one frame between
    assert (alone + 11 * task) / 12 / alone == pytest.approx(ratio, abs=0.01)


def test_a_learned_fusion_is_counted_and_starts_as_the_mean():
    learned = build(fusion="conv", missing_link="zero")
    cost = count_method_macs(learned)
    channels, (rows, columns) = learned.network.feature_channels, learned.network.feature_size(SIZE)
    fusions = sum(s.ledger.per_part().get("fusion", 0) for s in cost.steps)
    assert fusions == 3 * 2 * channels * channels * rows * columns
    before, after = torch.randn(2, 1, channels, 4, 4)
    torch.testing.assert_close(learned.fusion(before, after), (before + after) / 2)


def test_the_triplet_of_the_fusion_stage_must_have_a_next_keyframe():
    method = build(fusion="conv", missing_link="zero")
    stage = method.stages()[-1]
    assert (stage.recipe, stage.parts) == ("triplet", ("fusion",))
    batch = make_batch(Subject("inter-bmv", {}, SIZE, 4), stage)
    assert float(stage.compute_loss(batch)["segmentation"].detach()) > 0
    with pytest.raises(ValueError, match="recipe 'triplet'"):
        stage.compute_loss(replace(batch, after=()))
