"""One entry of an experiment file that stands for several: `lr_scales` and `seeds` with their placeholders."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from vssbench.errors import ConfigError, nearest


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


def named_weights(entry: Any) -> Any:
    """The method with `weights: NAME` replaced by what the name stands for, part by part.

    Raises ConfigError for a name that the manifest of packaged weights does not list as an alias.
    """
    if not isinstance(entry, Mapping) or not isinstance(entry.get("weights"), str):
        return entry
    manifest = json.loads((files("vssbench.baselines.weights") / "manifest.json").read_text("utf-8"))
    aliases, name = manifest.get("aliases", {}), entry["weights"]
    if name not in aliases:
        raise ConfigError(
            f"method {entry.get('label') or entry.get('name')}: no packaged weights are called {name!r}; "
            f"{nearest(name, list(aliases))}. Files and single packages are given part by part (weights: {{part: NAME}})"
        )
    return {**entry, "weights": dict(aliases[name])}


def expand_method(entry: Any) -> list[Any]:
    """The methods that one entry of a run experiment stands for, seeds of one scale beside each other.

    `lr_scales: [0.3, 0.5]` sets lr_scale and, where the label has no `{lr_scale}`, puts it behind the label.
    `seeds: [1, 2]` puts 'seed <n>' behind the label where it has no `{seed}`; `training_seed` and `seeds_of` (the label without)
    are what tables over seeds go by. Raises ConfigError for lists that are none.
    """
    if not isinstance(entry, Mapping):
        return [entry]
    title = str(entry.get("label") or entry.get("name", ""))
    scales, seeds = scales_of(entry, f"method {title}"), seeds_of(entry, f"method {title}")
    plain = {key: value for key, value in entry.items() if key not in ("lr_scales", "seeds")}
    if scales is not None:
        if "{lr_scale}" not in title:
            plain["label"] = title = f"{title} {{lr_scale}}"
        found = [{**substitute(plain, {"lr_scale": str(scale)}), "lr_scale": scale} for scale in scales]
    else:
        found = [plain]
    return [single for one in found for single in (_seeded(one, seeds) if seeds else [one])]


def _seeded(entry: Mapping[str, Any], seeds: list[int]) -> list[dict[str, Any]]:
    title = str(entry.get("label") or entry.get("name", ""))
    label = title if "{seed}" in title else f"{title} seed {{seed}}"
    base = label.replace("{seed}", "").strip().removesuffix("seed").strip() or title
    return [
        {
            **substitute({**entry, "label": label}, {"seed": str(seed)}),
            "training_seed": seed,
            "seeds_of": base,
        }
        for seed in seeds
    ]


def _distinct(values: Any, kinds: tuple[type[float], ...], where: str) -> list[Any]:
    good = isinstance(values, (list, tuple)) and bool(values)
    if not good or any(isinstance(v, bool) or not isinstance(v, kinds) or v < 0 for v in values):
        raise ConfigError(f"{where}: expected a list of numbers like [1, 2, 3], got {values!r}")
    if len(set(values)) != len(values):
        raise ConfigError(f"{where}: {values} holds a number twice")
    return list(values)
