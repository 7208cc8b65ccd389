"""CSV whose text cells a spreadsheet shows instead of running them."""

from __future__ import annotations

import csv
import io
from typing import Any

import pandas as pd

from vssbench.rendering.tables.text_table import TextTable
from vssbench.rendering.text import printable

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def guarded(value: Any) -> Any:
    """The value; text is printable, and behind an apostrophe where a spreadsheet would take it for a formula.

    >>> guarded("=1+1"), guarded("AR-Seg 0.5"), guarded("-0.25"), guarded(-0.25)
    ("'=1+1", 'AR-Seg 0.5', '-0.25', -0.25)
    """
    if not isinstance(value, str):
        return value
    if not value.startswith(_STARTS_A_FORMULA):
        return printable(value)
    try:
        float(value)
    except ValueError:
        return f"'{printable(value)}"
    return value


def frame_csv(frame: pd.DataFrame) -> str:
    """Stored numbers as CSV text, guarded and not rounded."""
    texts = {name: frame[name].map(guarded) for name in frame.columns if frame[name].dtype.kind not in "iufb"}
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def table_csv(table: TextTable) -> str:
    """The cells of a table as printed."""
    buffer = io.StringIO()
    rows = [[guarded(cell.text) for cell in row.cells] for row in table.rows]
    csv.writer(buffer, lineterminator="\n").writerows([[c.title for c in table.columns], *rows])
    return buffer.getvalue()
