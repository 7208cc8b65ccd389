"""The paper's counter: its formulas and its odd treatment of aliases, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.cost import count_macs
from vssbench.cost.thop_rule import parents_of

X = torch.zeros(1, 4, 12, 12)

MODULES = {
    "convolution with bias": (nn.Conv2d(4, 8, 3), 8 * 100 * (4 * 9 + 1)),
    "convolution without bias": (nn.Conv2d(4, 8, 3, bias=False), 8 * 100 * 4 * 9),
    "grouped convolution": (nn.Conv2d(4, 8, 3, groups=2), 8 * 100 * (2 * 9 + 1)),
    "transposed convolution, counted at its output": (
        nn.ConvTranspose2d(4, 2, 2, stride=2),
        2 * 24 * 24 * (4 * 4 + 1),
    ),
    "normalisation": (nn.BatchNorm2d(4), 2 * 4 * 144),
    "adaptive average pool": (nn.AdaptiveAvgPool2d(5), 4 * 25 * (2 * 2 + 1)),
    "average pool": (nn.AvgPool2d(2), 4 * 36),
    "bilinear upsample": (nn.Upsample(scale_factor=2, mode="bilinear"), 11 * 4 * 24 * 24),
    "nearest upsample": (nn.Upsample(scale_factor=2), 0),
    "linear": (nn.Linear(12, 3), 12 * 3 * 4 * 12),
    "leaky ReLU": (nn.LeakyReLU(), 4 * 144),
    "ReLU": (nn.ReLU(), 0),
}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_counts_by_its_formula(name):
    module, expected = MODULES[name]
    ledger = count_macs(nn.Sequential(module), X, rule="thop-0.0.31")
    assert ledger.total == expected
    assert ledger.uncounted == ()


def test_prelu_softmax_and_functional_calls_are_zero():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.activation = nn.PReLU()
            self.weight = nn.Parameter(torch.zeros(4, 4, 3, 3))

        def forward(self, x):
            return torch.softmax(self.activation(nn.functional.conv2d(x, self.weight)), dim=1)

    ledger = count_macs(Network(), X, rule="thop-0.0.31")
    assert ledger.total == 0
    assert [(o.name, o.calls) for o in ledger.unknown] == [("PReLU", 1)]


class _Aliased(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False))
        self.tail = nn.Sequential(self.head[0])
        self.other = nn.Conv2d(4, 4, 1, bias=False)

    def forward(self, x):
        return self.other(self.head(x))


def test_a_module_with_two_parents_counts_four_times():
    ledger = count_macs(_Aliased(), X, rule="thop-0.0.31")
    assert ledger.per_module == {"head.0": 4 * (16 * 144), "other": 16 * 144}


def test_two_names_in_one_parent_are_one_path():
    network = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False))
    network.again = network[0]
    assert parents_of(network)[id(network.again)] == 1


def test_aliases_of_the_reference_can_be_named():
    network = nn.Sequential(nn.Sequential(nn.Conv2d(4, 4, 1, bias=False)), nn.Conv2d(4, 4, 1, bias=False))
    ledger = count_macs(network, X, rule="thop-0.0.31", aliases={"0": 2})
    assert ledger.per_module == {"0.0": 4 * (16 * 144), "1": 16 * 144}


def test_training_mode_is_counted_as_evaluation():
    network = nn.Sequential(nn.BatchNorm2d(4)).train()
    assert count_macs(network, X, rule="thop-0.0.31").total == 2 * 4 * 144
    assert network.training
