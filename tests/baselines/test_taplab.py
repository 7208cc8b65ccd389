"""TapLab: what it recomputes, when, and what that costs."""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from vssbench.baselines.taplab import TapLab, clip_energies, refresh_rate, scale_for_rate
from vssbench.baselines.taplab.policy import (
    FRAME_THRESHOLD,
    SUM_THRESHOLD,
    RefreshRule,
    block_energies,
    candidates,
    default_block,
)
from vssbench.codec import CodecSettings, decode, encode, flow_to_previous, prediction_residual
from vssbench.conformance import CHECKS, Subject
from vssbench.cost.steps import step_under_ledger
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame
from vssbench.ops import normalise_image, resize, warp
from vssbench.ops.compensation import compensated_difference, residual_energy

LONG = pytest.mark.skipif(
    "long" not in os.environ.get("VSSBENCH_REQUIRE", ""), reason="long form: VSSBENCH_REQUIRE=long runs it"
)
SIZE = (64, 96)
CONTEXT = BuildContext(4, SIZE, 12, torch.device("cpu"))
SUBJECTS = {
    "taplab": Subject("taplab", {"width": 4}),
    "taplab on the stream's residual": Subject(
        "taplab", {"width": 8, "network": "bisenet18", "residual": "references", "threshold_scale": 4.0}
    ),
}

LONGER = {"taplab on the stream's residual"}


def build(**options) -> TapLab:
    torch.manual_seed(0)
    return TapLab(validate(TapLab.Options, {"width": 4, **options}, where="taplab"), CONTEXT)


def images(count: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [
        torch.randint(0, 256, (1, 3, *SIZE), generator=generator, dtype=torch.uint8) for _ in range(count)
    ]


def frame(d: int, image: torch.Tensor, flow: torch.Tensor | None = None) -> Frame:
    return Frame(
        d, d, image, "P" if d else "I", SIZE, flow_previous=torch.zeros(1, 2, *SIZE) if flow is None else flow
    )


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[LONG] if n in LONGER else []) for n in sorted(SUBJECTS)]
)
def test_method_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def test_impossible_requests_are_refused():
    for options, words in (
        ({"block": 65}, "block 65 is larger than frames of 64x96"),
        ({"threshold_scale": -1}, "threshold_scale"),
        ({"threshold_scale": math.inf}, "threshold_scale"),
        ({"blend": 0}, "blend"),
        ({"residual": "coefficients"}, "residual"),
    ):
        with pytest.raises(ConfigError, match=words):
            build(**options)
    with pytest.raises(CapabilityError, match="TapLab takes one clip at a time"):
        build().begin(2)


def test_blocks_are_those_of_the_specification():
    assert default_block((1024, 2048)) == 512
    assert default_block((720, 960)) == 384
    assert len(candidates((1024, 2048), 512)) == 3 * 7
    assert candidates((720, 960), 384) == [(t, x) for t in (0, 192, 336) for x in (0, 192, 384, 576)]
    assert candidates((64, 64), 64) == [(0, 0)]


def test_block_energies_are_sums_inside_each_block():
    energy = torch.arange(24.0).view(4, 6)
    sums = block_energies(energy, [(0, 0), (2, 4)], 2)
    assert sums.tolist() == [0 + 1 + 6 + 7, 16 + 17 + 22 + 23]


def test_a_frame_is_due_by_its_own_energy_or_by_the_sum():
    assert pytest.approx(17.17, abs=0.01) == FRAME_THRESHOLD
    assert pytest.approx(47.68, abs=0.01) == SUM_THRESHOLD
    rule = RefreshRule(1.0)
    assert [rule.is_due(e) for e in (16.0, 16.0, 16.0, 16.0, 18.0, 1.0)] == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]
    assert rule.gathered == 1.0
    never, always = RefreshRule(math.inf), RefreshRule(0.0)
    assert not any(never.is_due(e) for e in (1e6, 1e6))
    assert [always.is_due(e) for e in (0.0, 0.1)] == [False, True]


def test_a_factor_is_found_for_a_wanted_rate():
    generator = np.random.default_rng(0)
    energies = [list(generator.gamma(2.0, 8.0, 11)) for _ in range(40)]
    for rate in (0.0, 0.2, 0.5):
        scale = scale_for_rate(energies, rate)
        assert refresh_rate(energies, scale) <= rate
        assert refresh_rate(energies, 0.97 * scale) > rate - 0.02
    assert refresh_rate(energies, 0.0) == 1.0
    with pytest.raises(ConfigError, match=r"rate 1\.5"):
        scale_for_rate(energies, 1.5)
    with pytest.raises(ConfigError, match="no frames"):
        refresh_rate([[]], 1.0)


def test_a_still_scene_is_never_recomputed_and_costs_nothing():
    method, image = build(threshold_scale=0.0), images(1)[0]
    state = method.begin(1)
    key = method.step(state, frame(0, image))[0].labels
    for d in (1, 2, 3):
        (prediction,), cost = step_under_ledger(method, state, frame(d, image))
        assert torch.equal(prediction.labels, key)
        assert (prediction.kind, cost.ledger.total) == ("non_key", 0)
    assert float(state.gathered.abs().max()) == 0.0


def test_motion_by_whole_pixels_has_no_residual_and_moves_the_scores():
    wide = torch.randint(0, 256, (1, 3, SIZE[0], SIZE[1] + 4), dtype=torch.uint8)
    method = build()
    state = method.begin(1)
    method.step(state, frame(0, wide[..., : SIZE[1]]))
    scores = state.scores
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = 4.0
    prediction = method.step(state, frame(1, wide[..., 4:], flow))[0]
    inside = compensated_difference(wide[..., 4:], wide[..., : SIZE[1]], flow)[..., :-4]
    assert int(inside.abs().max()) == 0
    assert prediction.kind in ("partial", "non_key", "key")
    moved = warp(scores, flow, sampling="exact")
    assert torch.equal(moved[..., :-4], scores[..., 4:])


def test_the_block_with_the_most_residual_is_segmented_and_blended():
    method = build(refresh=False, block=32)
    first = images(1)[0]
    second = first.clone()
    second[..., 40:60, 70:90] ^= 255  # inside the block at (32, 64)
    state = method.begin(1)
    method.step(state, frame(0, first))
    before = state.scores
    prediction = method.step(state, frame(1, second))[0]
    assert (prediction.kind, prediction.executed_share) == ("partial", 32 * 32 / (64 * 96))
    with torch.no_grad():
        crop = method.network(normalise_image(second[..., 32:64, 64:96], method.normalisation))
    fresh = torch.log_softmax(resize(crop, (32, 32)), dim=1)
    expected = before.clone()
    expected[..., 32:64, 64:96] = 0.4 * before[..., 32:64, 64:96] + 0.6 * fresh
    torch.testing.assert_close(state.scores, expected)
    chosen = method.blocks.index((32, 64))
    assert float(state.gathered[chosen]) == 0.0
    assert float(state.gathered.max()) > 0.0  # its neighbours overlap and keep theirs


def test_much_residual_segments_the_whole_frame():
    method = build()
    first, second = images(2)
    state = method.begin(1)
    method.step(state, frame(0, first))
    (prediction,), cost = step_under_ledger(method, state, frame(1, second))
    assert prediction.kind == "key"
    alone = method.step(method.begin(1), frame(0, second))[0].labels
    assert torch.equal(prediction.labels, alone)
    assert cost.ledger.total > 0


def test_wrong_sign_is_below_copying_which_is_below_the_right_sign():
    method = build(refresh=False, region_correction=False)
    image = images(1)[0]
    state = method.begin(1)
    method.step(state, frame(0, image))
    scores = state.scores
    truth = torch.roll(scores, -5, 3)
    error = {}
    for name, sign in (("right", 1), ("copy", 0), ("wrong", -1)):
        flow = torch.zeros(1, 2, *SIZE)
        flow[:, 0] = 5.0 * sign
        state.scores = scores
        method.step(state, frame(1, image, flow))
        error[name] = float((state.scores - truth)[..., 5:-5].square().mean())
    assert 0.0 == error["right"] < error["copy"] < error["wrong"]


def test_mean_cost_lies_in_the_published_range_for_published_refresh_rates():
    """Section 7: with a = b^2 / (H W), mean = (C + 11 (p C + (1 - p) a C)) / 12."""
    shares = {}
    for name, size in (("cityscapes", (1024, 2048)), ("camvid", (720, 960))):
        area = default_block(size) ** 2 / (size[0] * size[1])
        shares[name] = [(1 + 11 * (p + (1 - p) * area)) / 12 for p in (0.0, 0.27)]
    assert shares["cityscapes"] == pytest.approx([0.198, 0.41], abs=0.01)
    assert shares["camvid"] == pytest.approx([0.279, 0.47], abs=0.01)


@pytest.mark.parametrize("block", [32, 64])
def test_measured_mean_cost_of_a_gop_follows_the_formula(block):
    """Without refresh (p = 0) a GOP costs C + (L - 1) a C with a the block's share of the frame."""
    method = build(refresh=False, block=block)
    state = method.begin(1)
    costs = [
        step_under_ledger(method, state, frame(d, image))[1].ledger.total for d, image in enumerate(images(6))
    ]
    area = block * block / (SIZE[0] * SIZE[1])
    assert sum(costs) / len(costs) / costs[0] == pytest.approx((1 + 5 * area) / 6, rel=0.03)


def test_a_partial_step_costs_its_share_of_the_network():
    """Block 64 of frames of 64x96: the pyramid's pooled levels are all that does not scale."""
    method = build(refresh=False, block=64)
    first, second = images(2)
    state = method.begin(1)
    _, whole = step_under_ledger(method, state, frame(0, first))
    (prediction,), part = step_under_ledger(method, state, frame(1, second))
    assert part.ledger.total / whole.ledger.total == pytest.approx(prediction.executed_share, abs=0.01)


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4"])
def test_any_codec_gives_a_residual_below_the_frame_difference(codec):
    """Section 14: a translating texture; the wrong sign is worse than no compensation."""
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 255, (20, 30, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    clip = [texture[3 * i : 3 * i + 128, 5 * i : 5 * i + 192] for i in range(4)]
    settings = CodecSettings(codec=codec, bitrate_kbps=1500, keyframe_interval=12, references=1)
    decoded = list(decode(encode(clip, settings, 25.0)))
    flow = torch.from_numpy(flow_to_previous([d.motion for d in decoded], 2).copy())[None]
    image, previous = (torch.from_numpy(np.array(decoded[i].image)).permute(2, 0, 1)[None] for i in (2, 1))
    energies = {
        sign: float(residual_energy(compensated_difference(image, previous, sign * flow)).mean())
        for sign in (1, 0, -1)
    }
    assert energies[1] < 0.6 * energies[0] < 0.6 * energies[-1] * 1.05
    wanted = clip_energies(decoded)
    assert wanted[1] == pytest.approx(energies[1], rel=1e-6)
    references = residual_energy(torch.from_numpy(prediction_residual(decoded, 2))[None])
    assert float(references.mean()) == pytest.approx(energies[1], rel=0.1)


def test_energy_of_the_luma_is_three_times_its_magnitude():
    residual = torch.tensor([10, -20, 30], dtype=torch.int16).view(1, 3, 1, 1)
    assert float(residual_energy(residual)) == 60.0
    assert float(residual_energy(residual, space="luma")) == pytest.approx(3 * abs(2.99 - 11.74 + 3.42))


def test_sizes_that_the_network_rounds_up_still_give_scores_at_frame_size():
    context = replace(CONTEXT, size=(45, 67))
    method = TapLab(TapLab.Options(width=8, network="bisenet18", refresh=False), context)
    state = method.begin(1)
    clip = [torch.randint(0, 256, (1, 3, 45, 67), dtype=torch.uint8) for _ in range(2)]
    for d, image in enumerate(clip):
        given = Frame(d, d, image, "P" if d else "I", (45, 67), flow_previous=torch.zeros(1, 2, 45, 67))
        assert method.step(state, given)[0].labels.shape == (1, 45, 67)
