"""Work that the ledger cannot count is listed, so that no total is low without a word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from vssbench.cost import count_macs, count_method_macs
from vssbench.method import BuildContext, Method, MethodOptions, Needs, Prediction


@torch.library.custom_op("vssbenchtest::mystery", mutates_args=())
def mystery(x: torch.Tensor) -> torch.Tensor:
    return x @ x.mT


@mystery.register_fake
def _(x):
    return x.new_empty(*x.shape[:-1], x.shape[-2])


def by_numpy(x):
    return torch.from_numpy(x.numpy() @ np.ones((6, 6), np.float32))


def by_array(x):
    return torch.from_numpy(np.asarray(x) @ np.ones((6, 6), np.float32))


def by_sparse(x):
    return x.to_sparse() @ torch.ones(6, 6)


WAYS = {
    "numpy": (by_numpy, "Tensor.numpy"),
    "array": (by_array, "Tensor.__array__"),
    "dlpack": (lambda x: torch.from_numpy(np.from_dlpack(x) + 1), "Tensor.__dlpack__"),
    "fft": (lambda x: torch.fft.ifft2(torch.fft.fft2(x)).real, "fft"),
    "custom": (lambda x: mystery(x), "vssbenchtest::mystery"),
    "sparse": (by_sparse, "sparse|aten::mm"),
}


class Layer(nn.Module):
    """A convolution of 6 x 6 x 9 MACs, then work that nobody can count."""

    def __init__(self, way):
        super().__init__()
        self.way, self.convolution = way, nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.way(self.convolution(x)[0, 0].detach())


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_counted_is_listed_and_the_rest_is_counted(way):
    import re

    call, name = WAYS[way]
    ledger = count_macs(Layer(call), torch.ones(1, 1, 6, 6))
    assert ledger.per_module.get("convolution") == 6 * 6 * 9
    assert any(re.search(name, one.name) for one in ledger.unknown), ledger.uncounted


def test_a_network_without_such_work_lists_nothing():
    assert count_macs(Layer(lambda x: x.relu().sum()), torch.ones(1, 1, 6, 6)).unknown == ()


class ByNumpy(Method):
    """Its step goes through numpy, which the meta device refuses with a TypeError."""

    Options = MethodOptions

    def __init__(self, options, context):
        super().__init__(options, context)
        self.network = nn.Conv2d(3, context.classes, 1)

    @property
    def needs(self):
        return Needs()

    def parts(self):
        return {"network": self.network}

    def start(self, batch):
        return None

    def step(self, state, frame):
        scores = self.network(frame.image / 255)
        labels = torch.from_numpy(scores.numpy().argmax(1).astype(np.uint8))
        return [Prediction(frame.index, labels, "key" if frame.is_key else "non_key")]


def test_a_step_through_numpy_is_counted_on_the_cpu_and_says_what_is_missing():
    context = BuildContext(4, (8, 12), 3, torch.device("cpu"))
    cost = count_method_macs(ByNumpy(MethodOptions(), context))
    assert cost.measured_on == "cpu"
    assert cost.uncounted == ("Tensor.numpy",)
    assert [step.ledger.total for step in cost.steps] == [8 * 12 * 3 * 4] * 3
    assert cost.as_dict()["uncounted"] == ["Tensor.numpy"]
