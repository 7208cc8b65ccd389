"""Options, needs, motion and training stages of the three methods."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vssbench.baselines.ar_seg import VARIANTS, ARSeg
from vssbench.baselines.constant import ConstantResolution
from vssbench.baselines.warp_only import WarpOnly
from vssbench.conformance import Subject, make_batch, make_clip, run_clip
from vssbench.cost.steps import count_method_macs
from vssbench.errors import ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame, Method

SIZE = (64, 96)
CONTEXT = BuildContext(4, SIZE, 4, torch.device("cpu"))


def build(method_class: type[Method], size: tuple[int, int] = SIZE, **options) -> Method:
    torch.manual_seed(0)
    checked = validate(method_class.Options, {"width": 8, **options}, where="method")
    return method_class(checked, replace(CONTEXT, size=size))


def images(count: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("method_class", "options", "words"),
    [
        (ARSeg, {"window": 6}, "odd"),
        (ARSeg, {"lr_scale": 0.0}, "lr_scale"),
        (ARSeg, {"lr_scale": -1}, "lr_scale"),
        (ARSeg, {"lr_scale": 0.01}, "empty"),
        (ARSeg, {"window": 9}, "larger than the 8x12 feature"),
        (ARSeg, {"variant": "before-task"}, "cannot be fused before 'task'"),
        (ARSeg, {"switches": {"bordr": "zero"}}, "did you mean border"),
        (ARSeg, {"switches": {"border": "mirror"}}, "known: exclude, zero"),
        (ARSeg, {"windw": 7}, "window"),
        (ARSeg, {"network": "bisenet"}, "did you mean bisenet18"),
        (ConstantResolution, {"lr_scale": 0.01}, "empty"),
        (ConstantResolution, {"lr_scale": float("nan")}, "lr_scale"),
        (WarpOnly, {"what": "logits"}, "what"),
    ],
)
def test_impossible_options_are_refused(method_class, options, words):
    with pytest.raises(ConfigError, match=words):
        build(method_class, **options)


def test_constant_at_full_scale_is_the_network():
    method = build(ConstantResolution, normalisation=((0, 0, 0), (1 / 255, 1 / 255, 1 / 255)))
    image = images(1)[0]
    with torch.no_grad():
        expected = method.network(image.float()).argmax(1)
    assert torch.equal(method.step(None, Frame(3, 3, image, "P", SIZE))[0].labels, expected.byte())


@pytest.mark.parametrize(("mode", "rows"), [("paper", 44), ("corrected", 45)])
def test_constant_input_size_follows_the_mode(mode, rows, monkeypatch):
    method = build(ConstantResolution, lr_scale=0.7, mode=mode)
    seen = []
    partial = method.network.partial
    monkeypatch.setattr(
        method.network, "partial", lambda x, *cut: seen.append(tuple(x.shape)) or partial(x, *cut)
    )
    method.step(None, Frame(0, 0, images(1)[0], "I", SIZE))
    assert seen == [(1, 3, rows, 67)]


@pytest.mark.parametrize("what", ["feature", "scores", "labels"])
@pytest.mark.parametrize("propagation", ["composed", "recursive"])
def test_without_motion_warp_only_repeats_the_keyframe(what, propagation):
    method = build(WarpOnly, what=what, propagation=propagation)
    still = torch.zeros(1, 2, *SIZE)
    state = method.start(1)
    key = method.step(state, Frame(0, 0, images(1)[0], "I", SIZE))[0]
    for index in (1, 2):
        labels = method.step(state, Frame(index, index, None, "P", SIZE, still, still))[0].labels
        assert torch.equal(labels, key.labels)


@pytest.mark.parametrize("what", ["scores", "labels"])
def test_recursive_unit_steps_equal_one_composed_shift(what):
    composed, recursive = (build(WarpOnly, what=what, propagation=p) for p in ("composed", "recursive"))
    image, step = images(1)[0], torch.zeros(1, 2, *SIZE)
    step[:, 0], step[:, 1] = 2.0, -1.0
    last = []
    for method in (composed, recursive):
        state = method.start(1)
        key = method.step(state, Frame(0, 0, image, "I", SIZE))[0].labels
        for d in (1, 2, 3):
            last_prediction = method.step(state, Frame(d, d, None, "P", SIZE, step, step * d))[0].labels
        last.append(last_prediction)
    assert torch.equal(last[0], last[1])
    assert torch.equal(last[0][:, 3:, :-6], key[:, :-3, 6:])  # content was 6 to the right and 3 above


def test_wrong_sign_is_worse_than_copying_which_is_worse_than_the_right_sign():
    """A picture that moves by whole pixels: the sanity triple of the baselines specification."""
    method = build(WarpOnly, what="labels")
    large = (
        torch.randint(0, 256, (1, 3, 16, 24), dtype=torch.uint8)
        .repeat_interleave(8, 2)
        .repeat_interleave(8, 3)
    )
    large = large[:, :, : SIZE[0] + 8, : SIZE[1] + 16]
    key = large[:, :, :64, :96]
    scores = {}
    for name, sign in (("right", 1), ("copy", 0), ("wrong", -1)):
        state = method.start(1)
        truth = torch.zeros(1, *SIZE, dtype=torch.uint8)
        method.step(state, Frame(0, 0, key, "I", SIZE))
        reference = state.carried[0, 0]
        truth[0, :, :-5] = reference[:, 5:].byte()  # the content of the key moved 5 to the left
        flow = torch.zeros(1, 2, *SIZE)
        flow[:, 0] = 5.0 * sign
        labels = method.step(state, Frame(1, 1, None, "P", SIZE, None, flow))[0].labels
        scores[name] = float((labels[0, :, 5:-5] == truth[0, :, 5:-5]).float().mean())
    assert scores["right"] == 1.0
    assert scores["wrong"] <= scores["copy"] < scores["right"]


@pytest.mark.parametrize("method_class", [ARSeg, WarpOnly])
def test_invalid_flow_is_followed_as_in_training(method_class):
    method = build(method_class)
    flow = torch.full((1, 2, *SIZE), 3.0)
    labels = []
    for share in (0.0, 1.0):
        state = method.start(1)
        method.step(state, Frame(0, 0, images(1)[0], "I", SIZE))
        valid = torch.full((1, *SIZE), bool(share))
        frame = Frame(1, 1, images(1, seed=1)[0], "P", SIZE, None, flow, valid)
        labels.append(method.step(state, frame)[0].labels)
    assert torch.equal(*labels)


@pytest.mark.parametrize(
    ("options", "pixels", "flow_key", "rule"),
    [
        ({}, True, True, "paper"),
        ({"mode": "corrected"}, True, True, "exact"),
        ({"switches": {"flow_rule": "exact"}}, True, True, "exact"),
        ({"variant": "la-only"}, True, False, "paper"),
        ({"variant": "without-creff"}, True, False, "paper"),
        ({"variant": "mv-only"}, False, True, "paper"),
    ],
)
def test_ar_seg_asks_for_what_its_variant_uses(options, pixels, flow_key, rule):
    needs = build(ARSeg, **options).needs
    assert (needs.pixels, needs.flow_key, needs.flow_rule, needs.every_frame) == (
        pixels,
        flow_key,
        rule,
        False,
    )


def test_keyframes_of_ar_seg_are_the_hr_network():
    method = build(ARSeg)
    constant = build(ConstantResolution)
    constant.network.load_state_dict(method.hr.state_dict())
    frame = Frame(0, 0, images(1)[0], "I", SIZE)
    assert torch.equal(method.step(method.start(1), frame)[0].labels, constant.step(None, frame)[0].labels)


def test_mv_only_equals_warp_only_with_the_papers_settings():
    ours = build(ARSeg, variant="mv-only")
    other = build(WarpOnly, sampling="paper", flow_rule="paper", flow_resample="bilinear")
    other.network.load_state_dict(ours.hr.state_dict())
    assert list(ours.parts()) == ["hr"]
    clip = make_clip(Subject("ar-seg", {}, SIZE, 4), ours.needs, seed=4)
    for first, second in zip(run_clip(ours, clip), run_clip(other, clip), strict=True):
        assert torch.equal(first.labels, second.labels)


def test_a_frame_before_its_keyframe_is_an_error():
    for method_class in (ARSeg, WarpOnly):
        method = build(method_class)
        with pytest.raises(ValueError, match="before any keyframe"):
            method.step(method.start(1), Frame(1, 1, images(1)[0], "P", SIZE))


@pytest.mark.parametrize("network", ["pspnet18-camvid", "pspnet18-cityscapes", "bisenet18"])
@pytest.mark.parametrize("variant", ["final", "before-task", "without-creff"])
def test_odd_frame_sizes_and_alpha_07_run(network, variant):
    if network == "bisenet18" and variant == "before-task":
        pytest.skip("BiSeNet has no such cut")
    subject = Subject(
        "ar-seg", {"network": network, "width": 8, "variant": variant, "lr_scale": 0.7}, (75, 101), 4, 2
    )
    method = subject.build()
    for prediction in run_clip(method, make_clip(subject, method.needs, seed=1)):
        assert prediction.labels.shape == (1, 75, 101)


def test_non_keyframes_cost_about_a_third_at_half_resolution():
    method = ARSeg(
        ARSeg.Options(width=64), replace(CONTEXT, classes=12, size=(720, 960), keyframe_interval=12)
    )
    cost = count_method_macs(method)
    assert cost.key / 1e9 == pytest.approx(39.119, abs=0.001)  # specification section 7.3
    assert cost.non_key / 1e9 == pytest.approx(10.304, abs=0.001)
    assert cost.gop_mean / 1e9 == pytest.approx(12.705, abs=0.001)


@pytest.mark.parametrize("variant", sorted(set(VARIANTS) - {"global-attention", "window-11"}))
def test_every_variant_trains_its_lr_part(variant):
    method = build(ARSeg, network="pspnet18-camvid", variant=variant)
    subject = Subject("ar-seg", {}, SIZE, 4)
    names = [stage.name for stage in method.stages()]
    assert names == (["hr"] if variant == "mv-only" else ["hr", "lr-image", "fusion"])
    stage = method.stages()[-1]
    losses = stage.compute_loss(make_batch(subject, stage))
    assert set(losses) == (
        {"segmentation", "presence"} if variant == "mv-only" else {"segmentation", "presence", "feature"}
    )


@pytest.mark.parametrize(
    ("fst", "feature", "shared"),
    [
        ("mse+shared", True, True),
        ("none", False, False),
        ("shared", False, True),
        ("mse", True, False),
        ("kl+shared", True, True),
    ],
)
def test_fst_rows_switch_feature_loss_and_shared_classifier(fst, feature, shared):
    method = build(ARSeg, fst=fst)
    for stage in method.stages()[1:]:
        assert ("lr.network.classifier." in stage.frozen) == shared
        assert (stage.prepare is not None) == shared
        losses = stage.compute_loss(make_batch(Subject("ar-seg", {}, SIZE, 4), stage))
        assert ("feature" in losses) == feature
        if stage.prepare is not None:
            stage.prepare()
            assert torch.equal(method.lr.network.classifier.weight, method.hr.classifier.weight)


def test_balanced_initialisation_gives_the_lr_feature_a_quarter():
    method = build(ARSeg, initialisation="balanced")
    stage = method.stages()[-1]
    image = make_batch(Subject("ar-seg", {}, SIZE, 4), stage).image
    with torch.no_grad():
        before = method.lr.network.features(image)
        stage.prepare()
        after = method.lr.network.features(image)
    torch.testing.assert_close(after, before / 4)
    lr_image = next(stage for stage in method.stages() if stage.name == "lr-image")
    lr_image.prepare()
    with torch.no_grad():
        torch.testing.assert_close(method.lr.network.features(image), after)


def test_the_fusion_learns_faster_when_kaiming_initialised():
    factors = [
        build(ARSeg, **options).stages()[-1].lr_multipliers
        for options in (
            {},
            {"initialisation": "identity-like"},
            {"fusion_lr_multiplier": 3.0},
            {"variant": "without-creff"},
        )
    ]
    assert factors == [{"lr.fusion": 8.0}, {}, {"lr.fusion": 3.0}, {}]


def test_feature_loss_compares_with_the_hr_feature_of_the_current_frame():
    method = build(ARSeg, loss="cross-entropy")
    stage = method.stages()[-1]
    batch = make_batch(Subject("ar-seg", {}, SIZE, 4), stage)
    with torch.no_grad():
        target = method.hr.features(batch.image)
        reference = method.hr.features(batch.reference)
        warped = method.warp_reference(reference, batch.flow_key, training=True)
        fused = method.lr(method.lr_input(batch.image), warped, SIZE).feature
    expected = ((target - fused) ** 2).mean()
    torch.testing.assert_close(stage.compute_loss(batch)["feature"], expected)
    assert set(stage.monitors(batch)) == {"lr_feature_mse", "warped_feature_mse", "fused_feature_mse"}
    assert stage.monitors(batch)["fused_feature_mse"] == pytest.approx(float(expected), rel=1e-5)


def test_class_weights_of_the_batch_reach_the_loss():
    method = build(ConstantResolution, loss="cross-entropy")
    stage = method.stages()[0]
    batch = make_batch(Subject("constant", {}, SIZE, 4), stage)
    plain = stage.compute_loss(batch)["segmentation"]
    weighted = stage.compute_loss(replace(batch, class_weights=torch.tensor([1.0, 5.0, 0.1, 2.0])))[
        "segmentation"
    ]
    assert not torch.isclose(plain, weighted)
