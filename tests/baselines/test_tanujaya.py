"""Tanujaya et al.: holes, guided copying, pixel-adaptive convolution, and the chain of repairs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from vssbench.baselines.tanujaya import GuidedRepair, PixelAdaptiveConvolution
from vssbench.conformance import CHECKS, Subject, make_clip, run_clip
from vssbench.conformance.building import make_batch
from vssbench.cost import count_macs
from vssbench.engine.build import untrained_method
from vssbench.method import BuildContext, Frame

SIZE = (64, 64)
SLIM = {"network": "swiftnet18", "width": 4, "repair_width": 4}


@pytest.mark.parametrize("check", sorted(CHECKS))
def test_method_keeps_its_contract(check):
    CHECKS[check].examine(Subject("tanujaya", SLIM, SIZE))


def build(**options):
    context = BuildContext(4, SIZE, 4, torch.device("cpu"))
    return untrained_method("tanujaya", {**SLIM, **options}, context, where="tanujaya")


def test_the_adaptive_convolution_weighs_neighbours_by_their_guidance():
    torch.manual_seed(0)
    adaptive = PixelAdaptiveConvolution(2, 3)
    features = torch.randn(1, 2, 4, 5)
    with torch.no_grad():
        plain = F.conv2d(features, adaptive.kernel.weight, adaptive.kernel.bias, padding=1)
        torch.testing.assert_close(adaptive(features, torch.full((1, 2, 4, 5), 0.7)), plain)
        guidance = torch.randn(1, 2, 4, 5)
        found = adaptive(features, guidance)[0, :, 1, 2]
        expected = adaptive.kernel.bias.clone()
        for row in range(3):
            for column in range(3):
                there = (row, column + 1)
                distance = float((guidance[0, :, 1, 2] - guidance[0, :, *there]).square().sum())
                weight = adaptive.kernel.weight[:, :, row, column] * math.exp(-distance / 2)
                expected += weight @ features[0, :, *there]
    torch.testing.assert_close(found, expected)


def test_a_hole_takes_the_class_of_the_known_cells_that_look_like_it():
    """Four coarse cells, two looks. The hole looks like the cell of class 2, the other known cells are of class 0."""
    repair = GuidedRepair(3, 1)
    for layer in (repair.query, repair.key):
        torch.nn.init.constant_(layer.weight, 10.0)
        torch.nn.init.zeros_(layer.bias)
    looks = (
        torch.tensor([[1.0, -1.0], [1.0, -1.0]]).repeat_interleave(4, 0).repeat_interleave(4, 1)[None, None]
    )
    classes = F.one_hot(torch.tensor([[2, 0], [1, 0]]), 3).permute(2, 0, 1).float()
    moved = classes.repeat_interleave(4, 1).repeat_interleave(4, 2)[None]
    holes = torch.zeros(1, 1, 8, 8)
    holes[..., 4:, :4] = 1
    with torch.no_grad():
        copied = repair.copied(moved, holes, looks)
        nothing = repair.copied(moved, torch.ones_like(holes), looks)
    assert copied[0, :, 7, 0].tolist() == pytest.approx([0, 0, 1], abs=1e-4)
    assert copied[0, :, 7, 7].tolist() == pytest.approx([1, 0, 0], abs=1e-4)
    torch.testing.assert_close(nothing, torch.full_like(nothing, 1 / 3))


def test_holes_are_cells_without_motion_and_cells_that_changed():
    method = build(threshold=0.5)
    earlier, flow = torch.zeros(1, 3, 8, 12), torch.zeros(1, 2, 8, 12)
    image, valid = earlier.clone(), torch.ones(1, 8, 12, dtype=torch.bool)
    image[..., :4, :4] = 0.6
    image[..., :4, 4:8] = 0.4
    valid[..., 4:, :2] = False
    valid[..., 4:, 4:5] = False
    assert method.holes(image, earlier, flow, valid)[0, 0].tolist() == [[1, 0, 0], [1, 0, 0]]
    assert method.holes(image, earlier, flow, None)[0, 0].tolist() == [[1, 0, 0], [0, 0, 0]]
    earlier[..., 4:, 8:] = 9.0
    flow[:, 0] = (
        4.0  # every cell looks right of itself, where only the last column's clamped neighbour has changed
    )
    found = method.holes(torch.zeros_like(image), earlier, flow, None)[0, 0]
    assert found.tolist() == [[0, 0, 0], [0, 1, 1]]


def test_a_blend_of_the_carried_maps_alone_is_a_chain_of_warps():
    """With the blend shut, labels are those of the keyframe's quarter-size probabilities, moved step by step."""
    method = build()
    torch.nn.init.zeros_(method.repair.blend.weight)
    torch.nn.init.constant_(method.repair.blend.bias, 100.0)
    clip = make_clip(Subject("tanujaya", {}, SIZE), method.needs, seed=1)
    state = method.begin(1)
    method.step(state, clip[0])
    moved = state.classes
    shift = torch.zeros(1, 2, *SIZE)
    shift[:, 0] = 8.0  # two cells
    for index in (1, 2):
        frame = Frame(index, index, clip[index].image, "P", SIZE, flow_previous=shift)
        method.step(state, frame)
        moved = torch.cat([moved[..., 2:], moved[..., -1:].expand(-1, -1, -1, 2)], -1)
        torch.testing.assert_close(state.classes, moved)


def test_macs_of_the_repair_are_those_of_its_convolutions_and_its_attention():
    classes, width, rows, columns = 5, 6, 16, 24
    cells, coarse = rows * columns, rows * columns // 16
    torch.manual_seed(0)
    maps = torch.softmax(torch.randn(1, classes, rows, columns), 1)
    counted = count_macs(
        GuidedRepair(classes, width), maps, torch.zeros(1, 1, rows, columns), torch.randn(1, 3, rows, columns)
    )
    inputs = 3 + width + (classes + 1 + width) + width  # of the 3x3 convolutions to `width` channels
    threes = 9 * cells * (inputs * width + width * classes + (2 * classes + 1 + width))
    attention = 2 * coarse * width * width + coarse * coarse * (width + classes)
    assert counted.total == threes + attention
    assert not counted.unknown


def test_the_loss_of_the_repair_falls_and_the_network_stays():
    torch.manual_seed(0)
    method = build()
    stage = method.stages()[1]
    batch = make_batch(Subject("tanujaya", {}, SIZE), stage)
    split = (torch.arange(SIZE[1]) // (SIZE[1] // 2)).expand(2, *SIZE).contiguous()
    batch = replace(batch, label=split)
    before = {name: value.clone() for name, value in method.network.state_dict().items()}
    optimiser = torch.optim.Adam(method.repair.parameters(), 0.02)
    losses = []
    for _ in range(15):
        torch.manual_seed(0)
        terms = stage.compute_loss(batch)
        optimiser.zero_grad()
        sum(terms.values()).backward()
        optimiser.step()
        losses.append(sum(term.item() for term in terms.values()))
    assert set(terms) == {"segmentation", "inpainting"}
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in method.network.state_dict().items())


def test_a_frame_before_its_keyframe_is_an_error():
    method = build()
    image = torch.zeros(1, 3, *SIZE, dtype=torch.uint8)
    with pytest.raises(ValueError, match="before any keyframe"):
        method.step(method.begin(1), Frame(1, 1, image, "P", SIZE))
    clip = make_clip(Subject("tanujaya", {}, SIZE), method.needs, seed=0)
    assert len(run_clip(method, clip)) == 4
