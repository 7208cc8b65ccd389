"""Folding batch normalisation, and labels from scores that were never enlarged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.networks import create
from vssbench.networks.folding import fold_normalisation
from vssbench.ops import predict_labels


def trained_like(name: str, width: int) -> nn.Module:
    """A network whose normalisations do something, in eval mode."""
    torch.manual_seed(4)
    network = create(name, 5, width=width).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(norm.running_var, 0.5, 2.0)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    return network


@pytest.mark.parametrize("name", ["bisenet18", "pspnet18-camvid", "pspnet18-cityscapes", "lite0"])
def test_folding_changes_nothing_but_rounding(name):
    network = trained_like(name, 4)
    norms = sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = network(image)
        assert fold_normalisation(network) == norms
        after = network(image)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    assert float((after - before).abs().max()) < 2e-5 * float(before.abs().max())


@pytest.mark.parametrize("name", ["swiftnet18", "deeplab18", "deeplab101", "fcn18", "light-fpn18"])
@pytest.mark.parametrize("width", [4, 13])
def test_folding_changes_nothing_where_some_normalisations_come_before_their_convolution(name, width):
    network = trained_like(name, width)
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        before = network(image)
        assert fold_normalisation(network) > 0
        after = network(image)
    assert float((after - before).abs().max()) < 2e-5 * float(before.abs().max())


def test_folding_leaves_training_networks_alone():
    assert fold_normalisation(create("bisenet18", 5, width=4).train()) == 0


@pytest.mark.parametrize("size", [(64, 96), (45, 60), (90, 61)])
def test_labels_of_scores_in_one_step_are_those_of_two(size):
    network = trained_like("bisenet18", 6)
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        feature = network.features(image)
        lazily = predict_labels(network.inference_scores(feature, size), size)
        enlarged = network.classify(feature, size)
    # equal but where two classes are within rounding of each other
    top = torch.nn.functional.interpolate(enlarged, size=size, mode="bilinear", align_corners=True).topk(
        2, dim=1
    )
    close = (top.values[:, 0] - top.values[:, 1]) < 1e-5
    assert torch.equal(lazily[~close], predict_labels(enlarged, size)[~close])
    assert float(close.float().mean()) < 0.01
