"""Markdown: pipe tables that read well as text, and escaping of names."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vssbench.rendering.tables.text_table import Cell, TextTable
from vssbench.rendering.text import printable

MARKS = "**bold**: best, *italics*: second best of its dataset and codec."
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$^-])")
_WRAPPED = {"best": "**{}**", "second": "*{}*"}


def escape(text: str) -> str:
    """The text as Markdown that renders as exactly these characters.

    >>> escape("<b>|_a")
    '\\\\<b\\\\>\\\\|\\\\_a'
    """
    return _SPECIAL.sub(r"\\\1", printable(text))


def pipe_table(table: TextTable) -> str:
    """The table with one heading line, numbers right-aligned, best in bold, second best in italics."""
    heads = [escape(column.title) for column in table.columns]
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    lines: list[Sequence[str]] = [heads, rule, *([_cell(cell) for cell in row.cells] for row in table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(cell: Cell) -> str:
    text = escape(cell.text) if cell.value is None else cell.text
    return _WRAPPED.get(cell.mark, "{}").format(text)


def section(table: TextTable, level: int = 2, caption: str = "") -> str:
    """Heading, caption, table and notes, with blank lines between them."""
    notes = [MARKS] * table.marked + [escape(note) for note in table.notes]
    listed = "\n".join(f"- {note}" for note in notes)
    body = pipe_table(table) if table.rows else ""
    parts = (f"{'#' * level} {escape(table.title)}", escape(caption), body, listed)
    return "\n\n".join(part for part in parts if part)
