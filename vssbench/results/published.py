"""Published numbers that ship with vssbench: every row carries its kind and its source."""

from __future__ import annotations

import csv
import io
from importlib.resources import files

from vssbench.errors import ConfigError, InputError
from vssbench.registry import nearest

PUBLISHED = ("table1", "table2", "table3", "table4", "table5", "figure4", "released_results")
"""Names for `read_published`: the paper's tables, its BD figures and the result files of the released code."""

TEXT_COLUMNS = frozenset(
    (
        "dataset",
        "backbone",
        "method",
        "experiment",
        "codec",
        "device",
        "note",
        "keyframe_distance",
        "kind",
        "source",
    )
)
"""Columns that stay text (keyframe_distance is a number or 'mean'); all others are numbers, None where empty."""

PublishedRow = dict[str, "str | float | None"]


def read_published(name: str) -> list[PublishedRow]:
    """Rows of one published table, in printed order.

    Units are in the column names; `gflops` is what the paper prints, i.e. 1e9 counts of thop 0.0.31, close to
    multiply-accumulates and not twice that (docs/macs.md). Raises ConfigError for an unknown name.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"unknown published table {name!r}; {nearest(name, list(PUBLISHED))}")
    resource = files("vssbench.reports.ar_seg") / "published" / f"{name}.csv"
    reader = csv.DictReader(io.StringIO(resource.read_text(encoding="utf-8")))
    return [
        {column: _value(name, line, column, text) for column, text in row.items()}
        for line, row in enumerate(reader, start=2)
    ]


def _value(name: str, line: int, column: str, text: str | None) -> str | float | None:
    if text is None:
        raise InputError(f"published/{name}.csv line {line}: no value for column {column!r}")
    if column in TEXT_COLUMNS:
        return text
    if not text:
        return None
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"published/{name}.csv line {line}: {column} = {text!r} is not a number") from error
