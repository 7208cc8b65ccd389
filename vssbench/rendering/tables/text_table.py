"""A table as plain data, the one shape that all writers take: Markdown, HTML, LaTeX, CSV and the terminal.

Makers of tables put numbers into cells through their column, so that a number is printed the same way everywhere.
Text is never escaped here; each writer does that for its own format.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from vssbench.rendering.text import MISSING, printable

Mark = Literal["", "best", "second", "good", "bad", "doubtful"]
"""What stands out in its column, and what is a verdict."""
Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Column:
    """What stands in a column, how its numbers are printed, and what writers need to know to place it."""

    key: str
    heading: str
    unit: str = ""
    """Printed behind the heading; '' for texts and counts."""
    better: Better = "neither"
    digits: int = 2
    """Digits after the decimal point."""
    priority: float = 0
    """Columns with larger numbers are dropped first where space is short; 0 is never dropped."""
    meaning: str = ""
    """One sentence for readers."""
    scale: float = 1.0
    """Shown value = stored value x scale."""
    group: str = ""
    """Heading under which the page lets readers hide it; '' is never hidden."""
    signed: bool = False
    """Printed with its sign."""
    words: tuple[str, str] | None = None
    """Printed for 0 and 1 instead of numbers."""
    numeric: bool = True
    """Right-aligned numbers; False: text."""
    small: bool = False
    """Belongs to the column before it and is printed smaller: an interval behind its number."""
    by: str = ""
    """Whose number it is, where a heading has columns of several: 'paper', 'ours'."""
    short: str = ""
    """Heading with unit where space is short; '' is the whole heading."""
    explained: bool = False
    """Whether the terminal prints its meaning below the table."""
    long: bool = False
    """Holds sentences: it is wrapped and does not ask for its full width."""
    method: str = ""
    """Whose numbers it holds, where each column is a method's."""
    series: int | None = None
    """Position of that method, whose line stands before the heading on the page."""

    def shown(self, value: float) -> float:
        """The value as printed: scaled and rounded; NaN and infinity stay."""
        return round(value * self.scale, self._digits(value))

    def _digits(self, value: float) -> int:
        """More than `digits` for small costs, so that none reads as 0.00."""
        shown = abs(value * self.scale)
        small = self.better == "lower" and not self.signed and 0 < shown < 0.1
        return self.digits + math.ceil(-math.log10(shown)) - 1 if small and shown > 1e-9 else self.digits

    def text(self, value: float) -> str:
        """The printed text, `MISSING` for NaN; the PSNR of what lost nothing is infinite.

        >>> Column("miou", "mIoU", "%", scale=100).text(0.67314)
        '67.31'
        """
        if not math.isfinite(value):
            return "∞" if value == math.inf else MISSING
        if self.words is not None:
            return self.words[int(value)]
        return f"{value * self.scale:{'+' if self.signed else ''}.{self._digits(value)}f}"

    def cell(self, value: float | None, mark: Mark = "") -> Cell:
        """A number of this column; None is a number that does not exist."""
        known = math.nan if value is None else float(value)
        return Cell(self.text(known), known, mark)

    def interval(self, low: float, high: float) -> Cell:
        """'[65.10, 69.43]' in this column's scale, '' where there is no interval."""
        known = math.isfinite(low) and math.isfinite(high)
        return Cell(f"[{self.text(low)}, {self.text(high)}]" if known else "")

    @property
    def title(self) -> str:
        """Heading with unit and owner."""
        return " ".join(filter(None, (self.heading, f"({self.unit})" if self.unit else "", self.by)))


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell; everything but the text is for writers that can show it."""

    text: str
    value: float | None = None
    """The number behind the text, stored and not rounded; NaN where it does not exist, None for text."""
    mark: Mark = ""
    series: int | None = None
    """Position of the method whose line stands before the text on the page."""
    colour: tuple[int, int, int] | None = None
    """A class colour that stands before the text on the page."""
    bar: float | None = None
    """A share of 1 that is drawn below the text on the page."""


@dataclass(frozen=True, slots=True)
class TextRow:
    """One row; `place` says what it is about (dataset, codec, method), for filters of the page."""

    cells: tuple[Cell, ...]
    place: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextTable:
    """Columns and rows of one table."""

    title: str
    columns: tuple[Column, ...]
    sections: tuple[tuple[TextRow, ...], ...]
    """A line is drawn between sections."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the table."""
    shared: int = 0
    """So many leading columns have one value in each section; writers may print it once."""

    @property
    def rows(self) -> tuple[TextRow, ...]:
        """Rows of all sections."""
        return tuple(row for section in self.sections for row in section)

    @property
    def marked(self) -> bool:
        """Whether any cell is second best, so that a reader must be told how best ones look."""
        return any(cell.mark == "second" for row in self.rows for cell in row.cells)

    def without(self, keys: Iterable[str]) -> TextTable:
        """The table without the columns of these keys."""
        dropped = set(keys)
        kept = [i for i, column in enumerate(self.columns) if column.key not in dropped]
        sections = tuple(
            tuple(replace(row, cells=tuple(row.cells[i] for i in kept)) for row in section)
            for section in self.sections
        )
        columns = tuple(self.columns[i] for i in kept)
        return replace(self, columns=columns, sections=sections, shared=sum(i < self.shared for i in kept))

    def without_lone(self, key: str) -> TextTable:
        """The table without that column if all its cells say the same."""
        i = next((i for i, column in enumerate(self.columns) if column.key == key), None)
        if i is None or len({row.cells[i].text for row in self.rows}) > 1:
            return self
        return self.without([key])


def texts(*cells: str) -> tuple[Cell, ...]:
    """Cells of text, each on one line."""
    return tuple(Cell(printable(text)) for text in cells)


def text_column(key: str, heading: str = "", *, long: bool = False) -> Column:
    """A column of text, headed by its key unless told otherwise."""
    return Column(key, heading or key, numeric=False, long=long)


PLACE = tuple(map(text_column, ("dataset", "codec", "method")))
"""The columns that say what a row is about."""
Looks = Mapping[str, tuple[str, int]]
"""Title of a method -> (name of the curve that it is drawn in, its series)."""
NO_LOOKS: Looks = {}


def row_about(
    dataset: str, codec: str, method: str, cells: Iterable[Cell], looks: Looks = NO_LOOKS
) -> TextRow:
    """A row under `PLACE` and further columns."""
    name, series = looks.get(method, (method, None))
    heads = (*texts(dataset, codec), Cell(printable(method), series=series))
    return TextRow((*heads, *cells), {"dataset": dataset, "codec": codec, "method": name})


def scored_by(score: str, table: TextTable) -> TextTable:
    """The table with another word for mIoU in its own texts; the cells, which name methods and data, stay."""

    def worded(text: str) -> str:
        return text.replace("mIoU", score)

    columns = tuple(
        replace(c, heading=worded(c.heading), short=worded(c.short), meaning=worded(c.meaning))
        for c in table.columns
    )
    return replace(
        table, title=worded(table.title), columns=columns, notes=tuple(worded(note) for note in table.notes)
    )
