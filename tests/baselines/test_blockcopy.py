"""BlockCopy: emulation against block-by-block execution, counted shares, policies, learning, memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.baselines.blockcopy import BlockCopy, BlockExecution, BlockGrid, BlockPolicy
from vssbench.baselines.blockcopy.blocks import Stored
from vssbench.baselines.blockcopy.learning import information_gain, policy_loss
from vssbench.baselines.blockcopy.method import executed_blocks
from vssbench.conformance import CHECKS, Subject, make_batch, make_clip, run_clip
from vssbench.cost import count_macs
from vssbench.cost.blank import building_on
from vssbench.cost.steps import count_method_macs, step_under_ledger
from vssbench.errors import CapabilityError, ConfigError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame

SMALL = {"width": 8, "block": 32, "policy_width": 4, "clip_frames": 3}
SUBJECTS = {
    "learned": Subject("blockcopy", {**SMALL, "policy_reset": "clip"}, (50, 64), keyframe_interval=3),
}


@pytest.mark.parametrize("check", sorted(CHECKS))
@pytest.mark.parametrize("name", sorted(SUBJECTS))
def test_blockcopy_keeps_its_contract(name, check):
    CHECKS[check].examine(SUBJECTS[name])


def build(size=(64, 96), interval=4, **options) -> BlockCopy:
    torch.manual_seed(0)
    checked = validate(BlockCopy.Options, {**SMALL, **options}, where="method")
    method = BlockCopy(checked, BuildContext(4, size, interval, torch.device("cpu")))
    for part in method.parts().values():
        part.eval()
    return method


class Toy(nn.Module):
    """What a block cannot do alone: padded convolutions with and without stride, max pooling, enlarging."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, stride=2, padding=1)
        self.last = nn.Conv2d(5, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        maps = F.max_pool2d(F.relu(self.first(image)), 3, stride=2, padding=1)
        maps = F.interpolate(self.second(maps), scale_factor=2, mode="nearest")
        return self.last(maps)


def by_blocks(toy: Toy, image: Tensor, grid: Tensor, store: dict[str, Tensor]) -> Tensor:
    """Each executed block on its own: cut it out with a halo of stored or fresh neighbours, run the layer without
    padding (zeros, or -inf for max pooling, only beyond the image), put the result in its place."""
    side = 32

    def layer(name: str, maps: Tensor, run, stride: int, outside: float) -> Tensor:
        scale = image.shape[-1] // maps.shape[-1]
        block = side // scale
        known = store.get(f"{name} in", maps).clone()
        for r, c in torch.nonzero(grid).tolist():
            place = (..., slice(r * block, (r + 1) * block), slice(c * block, (c + 1) * block))
            known[place] = maps[place]
        store[f"{name} in"] = known
        around = F.pad(known, (1, 1, 1, 1), value=outside)
        result = None
        for r, c in torch.nonzero(grid).tolist():
            cut = around[..., r * block : (r + 1) * block + 2, c * block : (c + 1) * block + 2]
            done = run(cut)[..., : block // stride, : block // stride]
            if result is None:
                shape = (*done.shape[:2], maps.shape[-2] // stride, maps.shape[-1] // stride)
                result = torch.full(shape, float("nan"))  # never executed, never read
            small = block // stride
            result[..., r * small : (r + 1) * small, c * small : (c + 1) * small] = done
        assert result is not None
        return result

    first, second = toy.first, toy.second
    maps = layer("first", image, lambda x: F.conv2d(x, first.weight, first.bias), 1, 0.0)
    maps = layer("pool", F.relu(maps), lambda x: F.max_pool2d(x, 3, stride=2), 2, -float("inf"))
    maps = layer("second", maps, lambda x: F.conv2d(x, second.weight, second.bias, stride=2), 2, 0.0)
    return F.conv2d(maps.repeat_interleave(2, -1).repeat_interleave(2, -2), toy.last.weight, toy.last.bias)


@pytest.mark.parametrize("seed", range(2))
def test_dense_emulation_equals_block_sparse_execution(seed):
    torch.manual_seed(seed)
    toy, layout = Toy().eval(), BlockGrid(32, (3, 4))
    stored, store = Stored(), {}
    answer = expected = None
    for frame in range(4):
        image = torch.randn(1, 3, *layout.padded)
        grid = torch.rand(3, 4) < 0.5 if frame else torch.ones(3, 4, dtype=torch.bool)
        grid[0, 0] = True
        with torch.no_grad():
            with BlockExecution(layout, grid, stored):
                fresh = toy(image)
            sparse = by_blocks(toy, image, grid, store)
        mask = layout.spread(grid, fresh.shape[-2:])
        answer = fresh if answer is None else torch.where(mask, fresh, answer)
        expected = sparse if expected is None else torch.where(mask, sparse, expected)
        torch.testing.assert_close(answer, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("network", ["swiftnet18", "bisenet18"])
def test_all_blocks_executed_equals_the_network(network):
    method = build(network=network, policy="all")
    normal = method.normalisation
    for frame, prediction in zip(
        clip := make_clip(Subject("blockcopy", {}, (64, 96)), method.needs, seed=1),
        run_clip(method, clip),
        strict=True,
    ):
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in normal[:2])
        with torch.no_grad():
            output = method.network((frame.image / 255 - mean) / deviation)
        assert torch.equal(prediction.labels, output.argmax(1).byte())
        assert prediction.executed_share == 1


def test_no_block_executed_repeats_the_keyframe():
    method = build(policy="none")
    first, *others = run_clip(method, make_clip(Subject("blockcopy", {}, (64, 96)), method.needs, seed=2))
    assert all(torch.equal(p.labels, first.labels) and p.executed_share == 0 for p in others)


def test_a_standing_picture_gives_no_information_and_keeps_its_labels():
    method = build(policy="random")
    frame = make_clip(Subject("blockcopy", {}, (64, 96)), method.needs, seed=3)[0]
    state = method.begin(1)
    key = method.step(state, frame)[0]
    before = state.output
    for index in (1, 2):
        again = method.step(state, replace(frame, index=index, keyframe_distance=index))[0]
        assert torch.equal(again.labels, key.labels)
        assert again.executed_share == 0.5
    assert information_gain(before, state.output, method.layout.shape).abs().max() < 1e-6


def test_counted_macs_are_the_executed_share_of_the_network():
    """Fixed policies: key C, others share * C, whatever the pictures; half of 6 blocks -> (C + 3 C / 2) / 4."""
    whole = count_macs(build().network.features, torch.zeros(1, 3, 64, 96)).total
    classifier = 32 // 32 * 4 * 16 * (64 // 4) * (96 // 4)  # 128 * 8 / 64 = 16 channels, 4 classes, stride 4
    pooled = _pooled_macs(build().network)
    cost = count_method_macs(build(policy="random"))
    assert cost.key == whole + classifier
    assert cost.non_key == pytest.approx((whole + classifier - pooled) / 2 + pooled, rel=1e-6)
    assert cost.gop_mean == pytest.approx((cost.key + 3 * cost.non_key) / 4)
    assert count_method_macs(build(policy="none")).non_key == 0


def _pooled_macs(network) -> int:
    """1x1 convolutions on the pyramid's pooled grids belong to no block and run whole: rows 2, 2, 2, 1 of 2x3."""
    grids = [(min(rows, 2), min(max(1, round(rows * 3 / 2)), 3)) for rows in (8, 4, 2, 1)]
    own = [r * c for r, c in grids if (r, c) != (2, 3)]  # a grid as large as the map itself is one of blocks
    level = network.pyramid.levels[0].conv
    return sum(own) * level.in_channels * level.out_channels


def test_the_policy_network_is_counted_where_it_decides():
    method = build(policy="threshold", learn=False, size=(64, 96))
    clip = make_clip(Subject("blockcopy", {}, (64, 96)), method.needs, seed=4)
    state = method.begin(1)
    key = step_under_ledger(method, state, clip[0])[1]
    predictions, other = step_under_ledger(method, state, clip[1])
    policy = count_macs(BlockPolicy(4, width=4), torch.zeros(1, 11, 64, 96)).total
    share = predictions[0].executed_share
    pooled = _pooled_macs(method.network) if share else 0
    expected = policy + share * (key.ledger.total - pooled) + pooled
    assert other.ledger.total == pytest.approx(expected, rel=1e-6)


def test_published_sizes_give_the_published_cost():
    """SwiftNet-RN18 at 1024x2048 has 103.6 G; the policy costs 7.5 G there (specification section 6)."""
    options = validate(BlockCopy.Options, {"policy": "random"}, where="method")
    context = BuildContext(19, (1024, 2048), 12, torch.device("meta"))
    with building_on("meta"):
        method = BlockCopy(options, context)
    cost = count_method_macs(method)
    policy = count_macs(BlockPolicy(19), torch.zeros(1, 26, 256, 512)).total
    assert cost.key / 1e9 == pytest.approx(103.6, abs=0.05)
    assert cost.gop_mean / cost.key == pytest.approx((1 + 11 * 0.5) / 12, abs=1e-3)
    assert policy / 1e9 == pytest.approx(7.5, abs=0.05)


def test_frames_are_padded_to_whole_blocks():
    assert BlockGrid.over((360, 480), 96) == BlockGrid(96, (4, 5))
    assert BlockGrid.over((720, 960), 96).padded == (768, 960)
    method = build(size=(50, 64))
    assert method.layout.padded == (64, 64)
    padded = method.pad(torch.arange(50.0).view(1, 1, 50, 1).expand(1, 1, 50, 64))
    assert padded[0, 0, 49:, 0].tolist() == [49.0] * 15


def test_fixed_policies_execute_their_share_where_the_picture_changed():
    assert [executed_blocks(0.5, 20), executed_blocks(0.5, 5), executed_blocks(0.01, 20)] == [10, 3, 1]
    method = build(policy="difference", target=1 / 6)
    frame = make_clip(Subject("blockcopy", {}, (64, 96)), method.needs, seed=5)[0]
    changed = frame.image.clone()
    changed[:, :, 40:50, 70:80] = 255 - changed[:, :, 40:50, 70:80]
    state = method.begin(1)
    method.step(state, frame)
    method.step(state, Frame(1, 1, changed, "P", (64, 96)))
    assert state.grid.int().tolist() == [[0, 0, 0], [0, 0, 1]]
    method = build(policy="residual", target=1 / 6)
    state = method.begin(1)
    residual = torch.zeros(1, 3, 64, 96, dtype=torch.int16)
    residual[:, :, :20, :20] = -90
    method.step(state, frame)
    method.step(state, replace(frame, index=1, keyframe_distance=1, residual=residual))
    assert state.grid.int().tolist() == [[1, 0, 0], [0, 0, 0]]


def test_rounding_up_switches_on_random_blocks():
    method = build(size=(256, 256), quantise=True)  # 64 blocks in units of 4
    grid = torch.zeros(8, 8, dtype=torch.bool)
    grid[0, :5] = True
    rounded = method._quantised(grid, torch.Generator().manual_seed(0))
    assert int(rounded.sum()) == 8
    assert bool((rounded & grid).sum() == 5)


def test_rewards_push_informative_blocks_up_and_hold_the_budget():
    logits = torch.zeros(2, 2, requires_grad=True)
    grid = torch.tensor([[True, True], [False, False]])
    gain = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    policy_loss(logits, grid, gain, 0.5, target=0.5, weight=5).backward()
    assert logits.grad[0, 0] < 0  # on the budget only the information counts
    assert logits.grad[0, 1] == logits.grad[1, 0] == 0
    logits.grad = None
    policy_loss(logits, grid, torch.zeros(2, 2), 0.9, target=0.5, weight=5).backward()
    assert (logits.grad > 0).all()  # above it every block becomes less likely: 5 * 0.4^2 / 2 / 4 each
    assert logits.grad[0, 0] == pytest.approx(5 * 0.16 * 0.5 / 4)


def test_online_learning_brings_the_share_to_the_target():
    """A policy that starts out executing nearly everything comes down when pictures hardly change."""
    method = build(size=(32, 64), target=0.5, train_interval=1, learning_rate=3e-3)
    nn.init.constant_(method.policy.score.bias, 2.0)
    memory = method.create_memory()
    frame = make_clip(Subject("blockcopy", {}, (32, 64)), method.needs, seed=6)[0]
    shares = []
    for _ in range(12):
        state = method.begin(1, memory)
        for index in range(5):
            answered = method.step(state, replace(frame, index=index, keyframe_distance=index))
            shares += [one.executed_share for one in answered if one.kind == "partial"]
    early = sum(shares[:12]) / 12
    assert early < 0.75  # of sigmoid(2) = 0.88 at the start
    assert not any(
        p.grad is not None for p in method.policy.parameters()
    )  # the method's own policy never learns


def test_the_training_stage_changes_the_policy_alone():
    method = build(size=(32, 64))
    stage = next(s for s in method.stages() if s.name == "policy")
    assert (stage.recipe, stage.parts, stage.window) == ("online", ("policy",), 2)
    loss = stage.compute_loss(make_batch(Subject("blockcopy", {}, (32, 64)), stage, batch=1))
    loss["policy"].backward()
    assert all(p.grad is None for p in method.network.parameters())
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in method.policy.parameters())


def test_impossible_requests_are_refused_by_name():
    for block in (48, 0, -32):
        with pytest.raises(ConfigError, match="block"):
            build(block=block)
    with pytest.raises(CapabilityError, match="BlockCopy takes one clip at a time"):
        build(policy="random").begin(2)
