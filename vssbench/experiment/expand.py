"""Entries of an experiment file that stand for several: `lr_scales` and `seeds` with their placeholders.

methods:     - {label: ar, lr_scales: [0.3, 0.5], seeds: [1, 2], ...}   ->   'ar 0.3 seed 1', 'ar 0.3 seed 2', 'ar 0.5 seed 1', ...
contestants: - {label: ar, lr_scales: [0.3, 0.5], ...}                  ->   ar-0.3 and ar-0.5, each with options.lr_scale
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vssbench.errors import ConfigError
from vssbench.experiment.overrides import address, entry_names
from vssbench.experiment.yaml import Entries, Keys, Place, origin_of, place_of


@dataclass(frozen=True, slots=True)
class ExpansionRule:
    """How the entries of one list are expanded."""

    called: str = "label"
    """Key that is made distinct: a scale without `{lr_scale}` in it goes behind it."""
    joint: str = " "
    """Between that name and the scale."""
    scale: Literal["option", "nested option", "nowhere"] = "option"
    """Where `lr_scale` is set: beside the other keys, below `options`, or only in texts."""
    seeds: bool = False
    """Whether entries take `seeds`."""


def substitute(value: Any, replacements: Mapping[str, str]) -> Any:
    """A copy of plain data in which `{name}` is replaced in every text, keys included.

    {"weights": "camvid480/ar-{lr_scale}"} with lr_scale = 0.5  ->  {"weights": "camvid480/ar-0.5"}
    """
    if isinstance(value, str):
        for name, text in replacements.items():
            value = value.replace("{" + name + "}", text)
        return value
    places: dict[Any, Place] = getattr(value, "places", {})
    if isinstance(value, Mapping):
        found = Keys({substitute(k, replacements): substitute(v, replacements) for k, v in value.items()})
        found.places = {substitute(key, replacements): place for key, place in places.items()}
        return found
    if isinstance(value, (list, tuple)):
        return Entries((substitute(item, replacements) for item in value), places)
    return copy.deepcopy(value)


def expand(document: dict[str, Any], rules: Mapping[str, ExpansionRule]) -> None:
    """Replace every entry of the lists named by `rules` by what it stands for, in place.

    The scale is written as a decimal number (1 becomes 1.0). Raises ConfigError for lists that are none.
    """
    for section, rule in rules.items():
        entries = document.get(section)
        if not isinstance(entries, list):
            continue
        found = Entries()
        for index, entry in enumerate(entries):
            for one in _stands_for(document, (section, index), entry, rule):
                place = place_of(document, (section, index))
                if place is not None:
                    found.places[len(found)] = place
                found.append(one)
        document[section] = found


def _stands_for(document: Any, location: tuple[str, int], entry: Any, rule: ExpansionRule) -> list[Any]:
    """The single entries, seeds of one scale beside each other."""
    wanted = ("lr_scales", "seeds") if rule.seeds else ("lr_scales",)
    if not isinstance(entry, Mapping) or not any(key in entry for key in wanted):
        return [entry]
    numbers = {key: _distinct(entry[key], key, document, (*location, key)) for key in wanted if key in entry}
    plain = substitute(entry, {})
    plain.origin = entry_names([entry])[0]
    for key in numbers:
        del plain[key]
    found = [plain]
    if "lr_scales" in numbers:
        found = [_at_scale(plain, float(scale), rule) for scale in numbers["lr_scales"]]
    if "seeds" in numbers:
        found = [_at_seed(one, seed) for one in found for seed in numbers["seeds"]]
    return found


def _derived(entry: Keys, replacements: Mapping[str, str]) -> Keys:
    found: Keys = substitute(entry, replacements)
    found.origin = entry.origin
    return found


def _at_scale(entry: Keys, scale: float, rule: ExpansionRule) -> Keys:
    name = str(entry.get(rule.called) or entry.get("name", ""))
    called = name if "{lr_scale}" in name else f"{name}{rule.joint}{{lr_scale}}"
    single = _derived(entry, {"lr_scale": str(scale)})
    single[rule.called] = called.replace("{lr_scale}", str(scale))
    if rule.scale == "option":
        single["lr_scale"] = scale
    elif rule.scale == "nested option":
        options = single.get("options")
        single["options"] = Keys(options, getattr(options, "places", {}))
        single["options"]["lr_scale"] = scale
    return single


def _at_seed(entry: Keys, seed: int) -> Keys:
    """The entry with the weights of one training; `seeds_of` is the title that its seeds share."""
    title = str(entry.get("label") or entry.get("name", ""))
    label = title if "{seed}" in title else f"{title} seed {{seed}}"
    single = _derived(entry, {"seed": str(seed)})
    single["label"] = label.replace("{seed}", str(seed))
    single["training_seed"] = seed
    single["seeds_of"] = label.replace("{seed}", "").strip().removesuffix("seed").strip() or title
    return single


def _distinct(values: Any, key: str, document: Any, location: tuple[str | int, ...]) -> list[Any]:
    where = f"{origin_of(document, location, 'experiment')}: {address(document, location)}"
    kinds = (int,) if key == "seeds" else (int, float)
    good = isinstance(values, (list, tuple)) and bool(values)
    if not good or any(type(value) not in kinds or not value >= 0 for value in values):
        raise ConfigError(f"{where}: expected a list of numbers like [1, 2, 3], got {values!r:.80}")
    if len(set(values)) != len(values):
        raise ConfigError(f"{where}: {values} holds a number twice")
    return list(values)
