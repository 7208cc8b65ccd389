"""What a training reached, as a table: mIoU of every contestant by distance to the keyframe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable, text_column
from vssbench.rendering.text import percent, printable


def contestant_table(title: str, contestants: Mapping[str, Mapping[str, Any]]) -> TextTable:
    """A row per contestant of a training's summary.json; where there are several seeds, mean and half the interval."""
    keys = list(dict.fromkeys(key for row in contestants.values() for key in row["final"]))
    columns = [Column(key, "mean" if key == "miou" else key.removeprefix("miou_")) for key in keys]
    rows = [
        TextRow((Cell(printable(label)), *(_score(row["final"].get(key)) for key in keys)))
        for label, row in contestants.items()
    ]
    return TextTable(title, (text_column("contestant"), *columns), (tuple(rows),))


def _score(value: float | Mapping[str, float] | None) -> Cell:
    if value is None:
        return Cell("")
    if isinstance(value, Mapping):
        half = f" ± {percent((value['high'] - value['low']) / 2)}" if "high" in value else ""
        return Cell(f"{percent(value['mean'])}{half}", value["mean"])
    return Cell(percent(value), value)
