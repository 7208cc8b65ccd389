"""Starting a network with values of its own kind, of a part of it, or of another network's backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.baselines.ar_seg.creff import CReFF
from vssbench.baselines.ar_seg.fusion import FusionNetwork
from vssbench.errors import CheckpointError
from vssbench.networks import SegmentationNetwork, create
from vssbench.networks.adoption import start_from


def network(name: str, width: int = 8, seed: int = 0) -> SegmentationNetwork:
    torch.manual_seed(seed)
    return create(name, 5, width=width)


def state(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("source", ["bisenet18", "swiftnet18"])
@pytest.mark.parametrize("target", ["deeplab18", "light-fpn18", "fcn18"])
def test_the_backbone_of_another_network_is_taken_and_nothing_else(source: str, target: str) -> None:
    giver, taker = state(network(source, seed=1)), network(target, seed=2)
    before = state(taker)
    assert start_from(taker, giver, "there")  # the backbone alone
    prefix = "context." if source == "bisenet18" else ""
    for name, value in taker.state_dict().items():
        expected = giver[prefix + name] if name.startswith("backbone.") else before[name]
        assert torch.equal(value, expected), name


def test_bisenet_takes_a_backbone_too() -> None:
    giver, taker = state(network("swiftnet18", seed=1)), network("bisenet18", seed=2)
    start_from(taker, giver, "there")
    name = "backbone.stem.conv.weight"
    assert torch.equal(taker.state_dict()[f"context.{name}"], giver[name])


def test_a_network_of_the_same_kind_is_taken_whole() -> None:
    giver, taker = state(network("swiftnet18", seed=1)), network("swiftnet18", seed=2)
    assert not start_from(taker, giver, "there")
    assert all(torch.equal(value, giver[name]) for name, value in taker.state_dict().items())


def test_a_network_with_more_than_is_wanted_is_taken_whole_too() -> None:
    giver, taker = state(network("swiftnet18", seed=1)), network("swiftnet18", seed=2)
    assert not start_from(taker, {**giver, "more.weight": torch.ones(1)}, "there")
    assert all(torch.equal(value, giver[name]) for name, value in taker.state_dict().items())


def test_a_network_begins_the_network_of_a_fusion_and_leaves_the_rest() -> None:
    giver, inner, fusion = network("bisenet18", seed=1), network("bisenet18", seed=2), CReFF(8, window=3)
    taker, before = FusionNetwork(inner, fusion), state(fusion)
    assert not start_from(taker, state(giver), "there")
    assert all(torch.equal(value, giver.state_dict()[name]) for name, value in inner.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in fusion.state_dict().items())
    truncated = {name: value for name, value in state(giver).items() if "classifier" not in name}
    with pytest.raises(CheckpointError, match=r"missing \['network\.classifier"):
        start_from(taker, truncated, "there")


def test_a_state_with_a_hole_is_refused() -> None:
    giver, taker = state(network("swiftnet18", seed=1)), network("swiftnet18", seed=2)
    giver.pop("classifier.weight")
    with pytest.raises(CheckpointError, match=r"missing \['classifier\.weight'\]"):
        start_from(taker, giver, "there")


@pytest.mark.parametrize("wrong", ["width", "names"])
def test_what_does_not_fit_changes_nothing(wrong: str) -> None:
    taker = network("swiftnet18", seed=2)
    giver = state(network("swiftnet18", width=4)) if wrong == "width" else state(nn.Linear(2, 2))
    before = state(taker)
    with pytest.raises(CheckpointError, match="does not fit there"):
        start_from(taker, giver, "there")
    assert all(torch.equal(value, before[name]) for name, value in taker.state_dict().items())
