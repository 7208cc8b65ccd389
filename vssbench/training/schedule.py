"""Learning-rate schedule and optimiser of one stage."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

from vssbench.errors import ConfigError
from vssbench.registry import nearest
from vssbench.training.config import StageSection


def rate_factor(step: int, steps: int, warmup_steps: int = 0, warmup_from: float = 0.0) -> float:
    """Factor on the learning rate at optimiser step `step` of `steps`: linear warm-up, then cosine to 0.

    steps = 4, warmup_steps = 0:   step 0 1 2 3  ->  1, 0.854, 0.5, 0.146
    The cosine runs over the steps after the warm-up; the warm-up's last step has factor 1.
    """
    if step < warmup_steps:
        return warmup_from + (1 - warmup_from) * (step + 1) / warmup_steps
    span = max(steps - warmup_steps, 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / span))


def parameter_groups(
    parameters: Mapping[str, nn.Parameter], multipliers: Mapping[str, float], section: StageSection
) -> list[dict[str, object]]:
    """Optimiser groups: one per learning-rate factor and weight-decay kind.

    `parameters` maps 'part.parameter' to those that train. The longest matching prefix of `multipliers` wins.
    AdamW does not decay one-dimensional parameters (biases, normalisation); Adam and SGD decay all, as the
    reference recipes do. Raises ConfigError for a prefix that fits nothing.
    """
    unused = set(multipliers)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        fitting = [prefix for prefix in multipliers if _is_prefix(prefix, name)]
        unused -= set(fitting)
        factor = multipliers[max(fitting, key=len)] if fitting else 1.0
        spared = section.optimiser == "adamw" and parameter.ndim <= 1
        decay = 0.0 if spared else section.weight_decay
        groups.setdefault((factor, decay), []).append(parameter)
    if unused:
        prefix = sorted(unused)[0]
        raise ConfigError(
            f"lr_multipliers: no trained parameter begins with {prefix!r}; {nearest(prefix, list(parameters))}"
        )
    return [
        {
            "params": members,
            "weight_decay": decay,
            "factor": factor,
            "lr": section.learning_rate * factor,
        }
        for (factor, decay), members in groups.items()
    ]


def _is_prefix(prefix: str, name: str) -> bool:
    return name == prefix or name.startswith(prefix if prefix.endswith(".") else prefix + ".")


def build_optimiser(groups: list[dict[str, object]], section: StageSection) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD over groups of `parameter_groups`, in torch's fused form: one pass over each parameter."""
    if section.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=section.learning_rate, momentum=section.momentum, fused=True)
    kind = torch.optim.Adam if section.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=section.learning_rate, fused=True)


def set_rate(optimiser: torch.optim.Optimizer, section: StageSection, step: int) -> float:
    """Set every group's rate for optimiser step `step`; returns the base rate."""
    base = section.learning_rate * rate_factor(step, section.steps, section.warmup_steps, section.warmup_from)
    for group in optimiser.param_groups:
        group["lr"] = base * group["factor"]
    return base
