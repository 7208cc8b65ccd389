"""Starting a network with values of its own kind, of a part of it, or of another network's backbone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

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
    start_from(taker, giver, "there")
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
    start_from(taker, giver, "there")
    assert all(torch.equal(value, giver[name]) for name, value in taker.state_dict().items())


@pytest.mark.parametrize("wrong", ["width", "names"])
def test_what_does_not_fit_changes_nothing(wrong: str) -> None:
    taker = network("swiftnet18", seed=2)
    giver = state(network("swiftnet18", width=4)) if wrong == "width" else state(nn.Linear(2, 2))
    before = state(taker)
    with pytest.raises(CheckpointError, match="does not fit there"):
        start_from(taker, giver, "there")
    assert all(torch.equal(value, before[name]) for name, value in taker.state_dict().items())
