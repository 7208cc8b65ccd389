"""One entry of an experiment file that stands for several: `lr_scales` and `seeds` with their placeholders."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from vssbench.errors import ConfigError


def substitute(value: Any, replacements: Mapping[str, str]) -> Any:
    """A copy of plain data in which `{name}` is replaced in every text, keys included.

    {"weights": "camvid480/ar-{lr_scale}"} with lr_scale = 0.5  ->  {"weights": "camvid480/ar-0.5"}
    """
    if isinstance(value, str):
        for name, text in replacements.items():
            value = value.replace("{" + name + "}", text)
        return value
    if isinstance(value, Mapping):
        return {substitute(k, replacements): substitute(v, replacements) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [substitute(item, replacements) for item in value]
    return copy.deepcopy(value)


def scales_of(entry: Mapping[str, Any], where: str) -> list[float] | None:
    """The `lr_scales` of an entry as numbers, None if it has none. Raises ConfigError naming the entry."""
    if "lr_scales" not in entry:
        return None
    return [float(value) for value in _distinct(entry["lr_scales"], (int, float), f"{where}.lr_scales")]


def seeds_of(entry: Mapping[str, Any], where: str) -> list[int] | None:
    """The `seeds` of an entry, None if it has none. Raises ConfigError naming the entry."""
    if "seeds" not in entry:
        return None
    return [int(value) for value in _distinct(entry["seeds"], (int,), f"{where}.seeds")]


def _distinct(values: Any, kinds: tuple[type, ...], where: str) -> list[Any]:
    good = isinstance(values, (list, tuple)) and bool(values)
    if not good or any(isinstance(v, bool) or not isinstance(v, kinds) or v < 0 for v in values):
        raise ConfigError(f"{where}: expected a list of numbers like [1, 2, 3], got {values!r}")
    if len(set(values)) != len(values):
        raise ConfigError(f"{where}: {values} holds a number twice")
    return list(values)
