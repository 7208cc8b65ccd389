"""Contestants, evaluations and outputs that stand for a list of lr_scales.

contestants: - {label: ar, lr_scales: [0.3, 0.5], ...}   ->   ar-0.3 and ar-0.5, each with options.lr_scale
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vssbench.experiment.expand import scales_of, substitute

_NAMED_BY = {"contestants": "label", "evaluations": "label", "outputs": "weights"}


def expand_scales(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with every entry that has `lr_scales` replaced by one entry a scale, in the order of the list.

    `{lr_scale}` is replaced in all texts of the entry; a label or packaged name without it gets '-<scale>' behind it.
    The scale is written as a decimal number (1 becomes 1.0). Raises ConfigError for a list that is none.
    """
    expanded = dict(document)
    for section, key in _NAMED_BY.items():
        entries = document.get(section)
        if isinstance(entries, list):
            expanded[section] = [one for entry in entries for one in _expand(entry, section, key)]
    return expanded


def _expand(entry: Any, section: str, key: str) -> list[Any]:
    if not isinstance(entry, Mapping):
        return [entry]
    scales = scales_of(entry, f"{section}.{entry.get(key, '')}")
    if scales is None:
        return [entry]
    rest = {name: value for name, value in entry.items() if name != "lr_scales"}
    name = str(rest.get(key, ""))
    if "{lr_scale}" not in name:
        rest[key] = f"{name}-{{lr_scale}}"
    return [_at(rest, scale, with_options=section != "outputs") for scale in scales]


def _at(entry: Mapping[str, Any], scale: float, *, with_options: bool) -> dict[str, Any]:
    single: dict[str, Any] = substitute(entry, {"lr_scale": str(scale)})
    if with_options:
        single["options"] = {**(single.get("options") or {}), "lr_scale": scale}
    return single
