"""Tables for the terminal, fitted to its width."""

from __future__ import annotations

import shutil

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from vssbench.rendering.tables.text_table import Cell, Column, TextTable
from vssbench.rendering.text import printable

MARKS = "bold: best, underlined: second best of its codec"
_STYLES = {
    "": "",
    "best": "bold",
    "second": "underline",
    "good": "green",
    "bad": "red",
    "doubtful": "yellow",
}
_GAP, _NARROW_GAP = 3, 2
"""Cells between two columns; where room is short."""
_WIDEST_TEXT, _NARROWEST_TEXT, _NARROWEST_FOLDED = 32, 12, 6


def terminal_table(table: TextTable, width: int | None = None) -> Table:
    """A rich table that fits into `width` character cells (default: the terminal's).

    Columns are dropped by priority until the rest fits. Best values are bold, second best underlined; what a section
    shares is printed once.
    """
    available = width or shutil.get_terminal_size((80, 24)).columns
    shown = _that_fit(table, available)
    gap = _GAP if _width(table, shown, _GAP) <= available else _NARROW_GAP
    view = Table(
        box=box.SIMPLE_HEAD,
        title=Text(printable(table.title), style="bold"),
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, gap - _NARROW_GAP),
        show_edge=False,
        caption_justify="left",
    )
    columns = [table.columns[i] for i in shown]
    folded = _folded(table, shown, available, gap)
    for i, column in zip(shown, columns, strict=True):
        view.add_column(
            _heading(column),
            justify="right" if column.numeric else "left",
            overflow="fold",
            no_wrap=i not in folded,
            max_width=None if column.numeric or column.long else _WIDEST_TEXT,
        )
    for rows in table.sections:
        for number, row in enumerate(rows):
            view.add_row(
                *("" if number and i < table.shared else _text(table.columns[i], row.cells[i]) for i in shown)
            )
        view.add_section()
    notes = [MARKS] * table.marked
    notes += [f"{_heading(c)}: {c.meaning.rstrip('.')}" for c in columns if c.explained]
    view.caption = Text("; ".join(notes + [printable(note) for note in table.notes]), style="dim")
    return view


def _heading(column: Column) -> str:
    return column.short or " ".join(filter(None, (column.heading, column.unit, column.by)))


def _text(column: Column, cell: Cell) -> Text:
    return Text(printable(cell.text), style="dim" if column.small else _STYLES[cell.mark])


def _that_fit(table: TextTable, available: int) -> list[int]:
    """Positions of the columns to show."""
    left = available + _GAP
    chosen = []
    for priority, i in sorted((column.priority, i) for i, column in enumerate(table.columns)):
        column, longest = table.columns[i], _longest(table, i)
        if not column.numeric:
            longest = _NARROWEST_TEXT if column.long else min(_WIDEST_TEXT, longest)
        left -= _GAP + longest
        if left < 0 and priority > 0:
            break
        chosen.append(i)
    return sorted(chosen)


def _width(table: TextTable, shown: list[int], gap: int) -> int:
    """Character cells of these columns with nothing folded."""
    return sum(_longest(table, i) for i in shown) + gap * (len(shown) - 1)


def _folded(table: TextTable, shown: list[int], available: int, gap: int) -> set[int]:
    """Columns whose cells may take several lines: long texts, all texts where room is short, else all columns."""
    widths = {i: _longest(table, i) for i in shown}
    room = available - gap * (len(shown) - 1)
    texts = {i for i in shown if not table.columns[i].numeric}
    for folded in ({i for i in texts if widths[i] > _NARROWEST_TEXT}, texts):
        if sum(_NARROWEST_FOLDED if i in folded else widths[i] for i in shown) <= room:
            return folded
    return set(shown)


def _longest(table: TextTable, i: int) -> int:
    """Character cells of the longest text of a column, its heading included."""
    cells = [printable(row.cells[i].text) for row in table.rows]
    return max(cell_len(text) for text in (_heading(table.columns[i]), *cells))
