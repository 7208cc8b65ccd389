"""The networks behind Accel, DFF and TapLab: published cost, sizes, cuts."""

from __future__ import annotations

import pytest
import torch

from vssbench import networks
from vssbench.cost import count_macs
from vssbench.cost.blank import building_on

NAMES = ("deeplab18", "deeplab101", "light-fpn18")
COSTS = [  # baselines specification sections 0.5, 3, 4 and 7
    ("deeplab18", 42.5, 127.5),
    ("deeplab101", 142.3, 431.9),
    ("light-fpn18", 29.5, 89.6),
]


@pytest.mark.parametrize(("name", "camvid", "cityscapes"), COSTS)
def test_costs_are_those_of_the_specification(name, camvid, cityscapes):
    for size, classes, gmacs in (((720, 960), 12, camvid), ((1024, 2048), 19, cityscapes)):
        with building_on("meta"):
            network = networks.create(name, classes).eval()
        counted = count_macs(network, torch.empty(1, 3, *size, device="meta")).gmacs
        assert counted == pytest.approx(gmacs, rel=0.003)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(64, 96), (75, 101), (90, 120)])
def test_features_and_logits_have_the_declared_sizes(name, size):
    network = networks.create(name, 5, width=4).eval()
    image = torch.randn(1, 3, *size)
    with torch.no_grad():
        feature = network.features(image)
        assert tuple(feature.shape[1:]) == (network.feature_channels, *network.feature_size(size))
        assert tuple(network(image).shape) == (1, 5, *size)
        assert network.classify(feature, None).shape[-2:] == feature.shape[-2:]


@pytest.mark.parametrize("name", NAMES[:2])
def test_running_up_to_the_task_cut_and_on_equals_running_through(name):
    network = networks.create(name, 4, width=4).eval()
    image = torch.randn(1, 3, 45, 67)
    with torch.no_grad():
        partial = network.partial(image, "task")
        assert partial.feature.shape[1] == network.cut_channels("task") == 2048 * 4 // 64
        assert torch.equal(network.resume(partial, "task").feature, network.features(image))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_parameter(name):
    torch.manual_seed(1)
    network = networks.create(name, 4, width=4)
    label = torch.randint(0, 4, (2, 64, 96))
    output = network.forward_training(torch.randn(2, 3, 64, 96))
    sum(output.losses(network.loss, label).values()).backward()
    assert [key for key, value in network.named_parameters() if value.grad is None] == []
