"""Learning-rate schedule and optimiser of one stage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from vssbench.errors import ConfigError
from vssbench.experiment.training import StageSection
from vssbench.registry import nearest


@dataclass(frozen=True, slots=True)
class Span:
    """Where a stage lies in its schedule."""

    steps: int
    """Optimiser steps of the stage."""
    start: int
    """Steps before it under the same schedule."""
    total: int
    """Step of the schedule at which the cosine reaches 0."""
    epoch: int | None = None
    """Steps of one pass over the samples where the length was given in epochs."""


def spans(sections: Mapping[str, StageSection], samples: Mapping[str, int]) -> dict[str, Span]:
    """The span of every stage, in order; stages that continue one another share a schedule.

    100 samples, batch 8:  50 epochs -> 600 steps, then `continues` with 50 epochs -> steps 600..1199; the cosine ends
    at 50 * 13 + 50 * 13 = 1300.  Source: specification sections 5.1 and 5.2. Raises ConfigError for fewer samples than a
    batch has.
    """
    lengths = {name: _length(name, section, samples[name]) for name, section in sections.items()}
    chains: list[list[str]] = []
    for name, section in sections.items():
        if section.continues is not None:
            chains[-1].append(name)
        else:
            chains.append([name])
    found = {}
    for chain in chains:
        total = sum(lengths[name][1] for name in chain)
        start = 0
        for name in chain:
            steps, _, epoch = lengths[name]
            found[name] = Span(steps, start, total, epoch)
            start += steps
    return found


def _length(name: str, section: StageSection, samples: int) -> tuple[int, int, int | None]:
    """Steps, steps of the schedule, steps of an epoch."""
    if section.epochs is None:
        return section.length, section.length, None
    epoch = samples // section.batch
    if epoch == 0:
        raise ConfigError(f"stage {name}: an epoch of {samples} samples has no batch of {section.batch}")
    return section.epochs * epoch, section.epochs * (epoch + 1), epoch


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
    """Adam, AdamW (torch's fused form: one pass over each parameter) or SGD over groups of `parameter_groups`."""
    if section.optimiser == "sgd":
        # torch 2.13's fused form fails on a parameter that gets its first gradient later than others
        return torch.optim.SGD(groups, lr=section.learning_rate, momentum=section.momentum)
    kind = torch.optim.Adam if section.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=section.learning_rate, fused=True)


def set_rate(
    optimiser: torch.optim.Optimizer, section: StageSection, step: int, span: Span | None = None
) -> float:
    """Set every group's rate for optimiser step `step` of the stage; returns the base rate."""
    start, total = (span.start, span.total) if span is not None else (0, section.length)
    factor = rate_factor(start + step, total, section.warmup_steps, section.warmup_from)
    base = section.learning_rate * factor
    for group in optimiser.param_groups:
        group["lr"] = base * group["factor"]
    return base
