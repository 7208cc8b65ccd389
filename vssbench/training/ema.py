"""Exponential moving average of trained parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Keeps average = decay * average + (1 - decay) * value for floating-point state, and copies the rest."""

    def __init__(self, parts: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self._average = _copy(parts)

    def update(self, parts: Mapping[str, nn.Module]) -> None:
        """Take in the present weights."""
        with torch.no_grad():
            for name, module in parts.items():
                for key, value in module.state_dict().items():
                    if value.is_floating_point():
                        self._average[name][key].lerp_(value, 1 - self.decay)
                    else:
                        self._average[name][key].copy_(value)

    @contextmanager
    def applied(self, parts: Mapping[str, nn.Module]) -> Iterator[None]:
        """Inside the block the parts hold the average; afterwards their own weights again."""
        own = _copy(parts)
        try:
            _load(parts, self._average)
            yield
        finally:
            _load(parts, own)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Copies on the CPU, for a checkpoint."""
        return {
            name: {k: v.cpu().clone() for k, v in values.items()} for name, values in self._average.items()
        }

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore what `state` returned."""
        for name, values in state.items():
            for key, value in values.items():
                self._average[name][key].copy_(value)


def _copy(parts: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    return {
        name: {key: value.detach().clone() for key, value in module.state_dict().items()}
        for name, module in parts.items()
    }


def _load(parts: Mapping[str, nn.Module], state: Mapping[str, Mapping[str, Tensor]]) -> None:
    with torch.no_grad():
        for name, module in parts.items():
            for key, value in module.state_dict().items():
                value.copy_(state[name][key])
