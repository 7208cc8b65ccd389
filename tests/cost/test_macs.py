"""The exact MACs ledger: hand-computed operators, attribution to modules, nothing silently zero, nothing mutated."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vssbench.cost import combine, count_macs, meta_copy
from vssbench.errors import ConfigError
from vssbench.ops import accounting

X = torch.zeros(1, 16, 32, 32)
QKV = torch.zeros(1, 2, 8, 16)
STRIDED = torch.zeros(1, 2, 16, 8).transpose(2, 3)

HAND_COUNTED = {
    "functional convolution": (
        lambda: F.conv2d(X, torch.zeros(8, 16, 3, 3), padding=1),
        8 * 16 * 9 * 32 * 32,
    ),
    "grouped convolution": (
        lambda: F.conv2d(X, torch.zeros(16, 1, 3, 3), padding=1, groups=16),
        16 * 9 * 32 * 32,
    ),
    "strided convolution": (
        lambda: F.conv2d(X, torch.zeros(8, 16, 3, 3), stride=2, padding=1),
        8 * 16 * 9 * 16 * 16,
    ),
    "transposed convolution": (
        lambda: F.conv_transpose2d(X, torch.zeros(16, 5, 2, 2), stride=2),
        32 * 32 * 16 * 5 * 4,
    ),
    "3-d convolution": (
        lambda: F.conv3d(torch.zeros(1, 2, 4, 4, 4), torch.zeros(3, 2, 3, 3, 3)),
        3 * 2 * 27 * 8,
    ),
    "linear on 3 dimensions": (
        lambda: F.linear(torch.zeros(2, 5, 6), torch.zeros(7, 6), torch.zeros(7)),
        2 * 5 * 6 * 7,
    ),
    "matmul": (lambda: torch.zeros(3, 4, 5) @ torch.zeros(3, 5, 6), 3 * 4 * 5 * 6),
    "matrix times vector": (lambda: torch.zeros(4, 5) @ torch.zeros(5), 4 * 5),
    "dot": (lambda: torch.dot(torch.zeros(9), torch.zeros(9)), 9),
    "einsum": (lambda: torch.einsum("bij,kj->bik", torch.zeros(2, 5, 6), torch.zeros(7, 6)), 2 * 5 * 6 * 7),
    "baddbmm": (
        lambda: torch.baddbmm(torch.zeros(2, 5, 5), torch.zeros(2, 5, 6), torch.zeros(2, 6, 5)),
        2 * 5 * 6 * 5,
    ),
    "attention, flash on CPU": (lambda: F.scaled_dot_product_attention(QKV, QKV, QKV), 2 * 8 * 8 * (16 + 16)),
    "attention, strided": (
        lambda: F.scaled_dot_product_attention(STRIDED, STRIDED, STRIDED),
        2 * 8 * 8 * (16 + 16),
    ),
    "attention, fewer value channels": (
        lambda: F.scaled_dot_product_attention(QKV, QKV, QKV[..., :4]),
        2 * 8 * 8 * (16 + 4),
    ),
    "LSTM": (lambda: nn.LSTM(4, 5)(torch.zeros(3, 2, 4)), 3 * 2 * 4 * 5 * (4 + 5)),
    "GRU cell": (lambda: nn.GRUCell(4, 5)(torch.zeros(3, 4)), 3 * 3 * 5 * (4 + 5)),
}


@pytest.mark.parametrize("name", HAND_COUNTED)
def test_an_operator_counts_its_products(name):
    run, expected = HAND_COUNTED[name]
    ledger = count_macs(run)
    assert ledger.total == expected
    assert ledger.unknown == ()


@pytest.mark.parametrize("name", HAND_COUNTED)
def test_inference_mode_does_not_hide_products(name):
    run, expected = HAND_COUNTED[name]
    with torch.inference_mode():
        assert count_macs(run).total == expected


def test_multihead_attention_counts_four_projections_and_two_products():
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.zeros(1, 5, 8)
    assert (
        count_macs(attention, tokens, tokens, tokens, need_weights=False).total
        == 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8
    )
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.fixture
def deterministic(request):
    torch.use_deterministic_algorithms(request.param)
    yield request.param
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("deterministic", [False, True], indirect=True)
def test_bias_normalisation_activation_pooling_and_resize_are_listed_not_counted(inference, deterministic):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="bilinear"),
    ).eval()
    with torch.inference_mode(inference):
        ledger = count_macs(network, torch.zeros(1, 3, 8, 8))
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert ledger.total == 4 * 3 * 9 * 64
    categories = {operator.category: operator for operator in ledger.uncounted}
    assert set(categories) == {"normalisation", "activation", "pooling", "resize"}
    assert categories["resize"].macs == 4 * (4 * 8 * 8)
    assert categories["normalisation"].elements == 4 * 8 * 8


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (lambda: F.bilinear(torch.zeros(2, 5), torch.zeros(2, 5), torch.zeros(3, 5, 5)), "aten::_trilinear"),
        (lambda: torch.fft.rfft(torch.zeros(8)), "aten::_fft_r2c"),
        (lambda: torch.sparse.mm(torch.eye(4).to_sparse(), torch.zeros(4, 3)), "aten::_sparse_addmm"),
        (lambda: torch.cdist(torch.zeros(3, 4), torch.zeros(5, 4)), "aten::_cdist_forward"),
    ],
)
def test_products_without_a_formula_are_listed_as_unknown(run, name):
    ledger = count_macs(run)
    assert name in [operator.name for operator in ledger.unknown]
    assert ledger.uncounted[0].category == "unknown"


def test_products_written_as_multiply_and_sum_stay_visible():
    ledger = count_macs(lambda: (X * X).sum())
    assert ledger.total == 0
    assert ("aten::mul", "elementwise", X.numel()) in [
        (o.name, o.category, o.elements) for o in ledger.uncounted
    ]


def test_an_operator_of_ours_counts_by_its_formula_and_hides_its_own_torch_calls():
    def attend():
        with accounting.operation("local_attention", macs=1234, kind="attention"):
            torch.zeros(4, 5) @ torch.zeros(5, 6)
        with accounting.operation("warp", macs=4 * 10, kind="warp"):
            F.grid_sample(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, 2), align_corners=False)

    ledger = count_macs(attend)
    assert ledger.per_operator == {"local_attention": 1234}
    assert [(o.name, o.elements, o.macs) for o in ledger.uncounted] == [("warp", 10, 40)]


def test_nobody_listens_outside_a_count():
    accounting.record("anything", 5)
    assert count_macs(lambda: None).total == 0


class _Shared(nn.Module):
    """One convolution under two names, run three times; a functional product in the parent."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(4, 4, 1, bias=False)
        self.inner = nn.Sequential(nn.Conv2d(4, 2, 1))
        self.alias = self.first

    def forward(self, x):
        y = self.alias(self.first(self.first(x)))
        return self.inner(y).flatten(1) @ torch.zeros(2 * 9, 5, device=x.device)

    def features(self, x):
        return self.first(x)


def test_a_shared_module_counts_once_per_execution_under_its_first_name():
    ledger = count_macs(_Shared(), torch.zeros(1, 4, 3, 3))
    assert list(ledger.per_module.items()) == [("", 18 * 5), ("first", 3 * 4 * 4 * 9), ("inner.0", 4 * 2 * 9)]
    assert sum(ledger.per_module.values()) == ledger.total == sum(ledger.per_operator.values())
    assert ledger.per_part() == {"": 90, "first": 432, "inner": 72}
    assert ledger.calls["aten::convolution"] == 4


def test_a_bound_method_counts_like_its_module():
    ledger = count_macs(_Shared().features, torch.zeros(1, 4, 3, 3))
    assert ledger.per_module == {"first": 4 * 4 * 9}


def test_modules_inside_a_plain_function_get_names_of_their_own():
    first, second = nn.Linear(2, 3), nn.Linear(3, 4)
    ledger = count_macs(lambda: second(first(torch.zeros(1, 2))))
    assert ledger.per_module == {"Linear": 6, "Linear_2": 12}


def test_counting_changes_nothing_in_the_module():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout()
    )  # training mode would update statistics
    before = copy.deepcopy(network.state_dict())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    random_state = torch.get_rng_state()
    for rule in ("exact", "thop-0.0.31"):
        count_macs(network, torch.ones(2, 3, 8, 8), rule=rule)
    assert network.training
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules()]
    assert torch.equal(random_state, torch.get_rng_state())
    assert not list(nn.modules.module._global_forward_hooks)
    assert not list(nn.modules.module._global_forward_pre_hooks)


def test_an_exception_inside_leaves_no_hooks_behind():
    def fail():
        nn.Linear(2, 2)(torch.zeros(1, 3))

    with pytest.raises(RuntimeError):
        count_macs(fail)
    assert not list(nn.modules.module._global_forward_hooks)
    assert torch.backends.mha.get_fastpath_enabled()


class _LooksAtValues(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x):
        return self.layer(x[x.sum(dim=1) > 0])


def test_data_dependent_modules_run_on_real_values_and_say_so():
    ledger = count_macs(_LooksAtValues(), torch.tensor([[1.0] * 4, [-1.0] * 4]))
    assert (ledger.total, ledger.measured_on) == (16, "cpu")


def test_plain_modules_are_counted_without_computing():
    network = nn.Conv2d(64, 512, 7, padding=3)
    ledger = count_macs(network, torch.zeros(1, 64, 1024, 2048))
    assert (ledger.total, ledger.measured_on) == (64 * 512 * 49 * 1024 * 2048, "meta")


def test_a_meta_copy_keeps_sharing_between_parameters():
    first = nn.Linear(3, 3)
    second = nn.Linear(3, 3)
    second.weight = first.weight
    twin = meta_copy(nn.Sequential(first, second))
    assert twin[0].weight is twin[1].weight
    assert twin[0].weight.device.type == "meta"
    assert first.weight.device.type == "cpu"


def test_training_steps_count_both_gradients_of_a_convolution():
    layer = nn.Conv2d(3, 8, 3, padding=1)

    def train():
        with torch.enable_grad():
            layer(torch.zeros(1, 3, 8, 8, requires_grad=True)).sum().backward()

    assert count_macs(train).total == 3 * (8 * 3 * 9 * 64)


def test_ledgers_add_up():
    one = count_macs(nn.Linear(2, 3), torch.zeros(1, 2))
    both = combine([one, one])
    assert both.total == 2 * one.total
    assert both.calls == {"aten::addmm": 2}
    with pytest.raises(ValueError, match="0 rules"):
        combine([])


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigError, match=r"unknown MACs rule 'thop'; known: exact, thop-0\.0\.31"):
        count_macs(nn.Linear(2, 3), torch.zeros(1, 2), rule="thop")


def test_the_papers_counter_needs_a_module():
    with pytest.raises(ConfigError, match="pass the module or use rule 'exact'"):
        count_macs(lambda: None, rule="thop-0.0.31")
