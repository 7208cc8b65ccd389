"""Learning-rate schedule, parameter groups."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from vssbench.errors import ConfigError
from vssbench.experiment.training import StageSection
from vssbench.training.schedule import build_optimiser, parameter_groups, rate_factor, set_rate


def test_cosine_starts_at_one_and_would_end_at_zero() -> None:
    values = [rate_factor(step, 4) for step in range(5)]
    assert values == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0])


def test_warmup_rises_linearly_and_ends_at_one() -> None:
    assert [rate_factor(step, 10, 4) for step in range(4)] == [1 / 4, 2 / 4, 3 / 4, 1]
    assert rate_factor(4, 10, 4) == 1
    assert rate_factor(0, 10, 2, warmup_from=0.5) == 0.75


def parameters() -> dict[str, nn.Parameter]:
    shapes = {
        "lr.network.conv.weight": (2, 2),
        "lr.fusion.value.weight": (2, 2),
        "lr.fusion.value.bias": (2,),
    }
    return {name: nn.Parameter(torch.ones(shape)) for name, shape in shapes.items()}


def test_the_longest_prefix_decides_the_rate() -> None:
    section = StageSection(steps=10, learning_rate=0.1)
    named = parameters()
    groups = parameter_groups(named, {"lr.fusion": 8.0, "lr.fusion.value.bias": 2.0}, section)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    assert rates[id(named["lr.network.conv.weight"])] == pytest.approx(0.1)
    assert rates[id(named["lr.fusion.value.weight"])] == pytest.approx(0.8)
    assert rates[id(named["lr.fusion.value.bias"])] == pytest.approx(0.2)


def test_a_prefix_ends_at_a_dot() -> None:
    named = {"lr.fusion2.weight": nn.Parameter(torch.ones(1))}
    with pytest.raises(ConfigError, match=r"lr\.fusion"):
        parameter_groups(named, {"lr.fusion": 8.0}, StageSection(steps=1))


@pytest.mark.parametrize(("optimiser", "decayed"), [("adamw", 2), ("adam", 3), ("sgd", 3)])
def test_adamw_spares_vectors_from_weight_decay(optimiser: str, decayed: int) -> None:
    section = StageSection(steps=1, optimiser=optimiser, weight_decay=0.5)
    groups = parameter_groups(parameters(), {}, section)
    assert sum(len(g["params"]) for g in groups if g["weight_decay"] == 0.5) == decayed


def test_every_group_follows_the_schedule() -> None:
    section = StageSection(steps=4, learning_rate=0.1)
    optimiser = build_optimiser(parameter_groups(parameters(), {"lr.fusion": 8.0}, section), section)
    assert set_rate(optimiser, section, 2) == pytest.approx(0.05)
    assert sorted({round(group["lr"], 12) for group in optimiser.param_groups}) == [0.05, 0.4]
