"""HTML: tables of the page, with what its script needs to filter, hide and sort them."""

from __future__ import annotations

import math

from markupsafe import Markup

from vssbench.rendering.marks import legend_mark, share_bar, swatch
from vssbench.rendering.tables.columns import PUBLISHED
from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable

ROW_HEADS = ("method", "methods", "class")
"""Columns whose cells name the row."""
Attributes = dict[str, str | float | None]


def html_table(table: TextTable, *, sortable: bool = False, caption: bool = False) -> Markup:
    """The table in a box that scrolls by itself where it is wider than the screen."""
    heads = [_head(column, sortable) for column in table.columns if not column.small]
    bodies = [
        Markup("<tbody>\n{}</tbody>\n").format(Markup("").join(_row(table, row) for row in section))
        for section in table.sections
    ]
    return Markup(
        '<div class="wide" tabindex="0" role="region" aria-label="{}"><table{}>{}<thead><tr>{}</tr></thead>\n'
        "{}</table></div>\n"
    ).format(
        table.title,
        Markup(' class="sortable"') if sortable else "",
        Markup("<caption>{}</caption>").format(table.title) if caption else "",
        Markup("").join(heads),
        Markup("").join(bodies),
    )


def _attributes(values: Attributes) -> Markup:
    """Those with a value, each with a leading space."""
    kept = [(name, value) for name, value in values.items() if value not in (None, "")]
    return Markup("").join(Markup(' {}="{}"').format(name, value) for name, value in kept)


def _column(column: Column) -> Attributes:
    return {"data-group": column.group, "data-method": column.method}


def _classes(column: Column, cell: Cell | None = None) -> str:
    kinds = ("number" if column.numeric else "", cell.mark if cell else "", "free" if column.long else "")
    return " ".join(filter(None, (*kinds, PUBLISHED if column.group == PUBLISHED else "")))


def _head(column: Column, sortable: bool) -> Markup:
    unit = Markup(" <small>{}</small>").format(column.unit) if column.unit else ""
    mark = legend_mark(column.series) + " " if column.series is not None else Markup("")
    text = Markup("{}{}{}").format(mark, column.heading, unit)
    found: Attributes = {"scope": "col", "class": _classes(column), **_column(column)}
    if sortable:
        text = Markup('<button type="button">{}</button>').format(text)
        found |= {
            "data-sort": "number" if column.numeric else "text",
            "data-better": column.better,
            "title": column.meaning,
        }
    return Markup("<th{}>{}</th>").format(_attributes(found), text)


def _row(table: TextTable, row: TextRow) -> Markup:
    place: Attributes = {f"data-{key}": value for key, value in row.place.items()}
    cells = []
    pairs = list(zip(table.columns, row.cells, strict=True))
    for number, (column, cell) in enumerate(pairs):
        if not column.small:
            after = pairs[number + 1] if number + 1 < len(pairs) else None
            cells.append(_cell(column, cell, after[1] if after and after[0].small else None))
    return Markup("<tr{}>{}</tr>\n").format(_attributes(place), Markup("").join(cells))


def _cell(column: Column, cell: Cell, small: Cell | None) -> Markup:
    before = legend_mark(cell.series) + " " if cell.series is not None else Markup("")
    if cell.colour is not None:
        before = swatch(cell.colour) + " "
    text = before + (Markup("<span>{}</span>").format(cell.text) if column.numeric else cell.text)
    if small is not None and small.text:
        text += Markup(' <small class="interval">{}</small>').format(small.text)
    if cell.bar is not None:
        text += share_bar(cell.bar)
    found: Attributes = {
        "class": _classes(column, cell),
        **_column(column),
        "data-value": None if cell.value is None or math.isnan(cell.value) else cell.value,
    }
    if column.key in ROW_HEADS:
        return Markup('<th scope="row"{}>{}</th>').format(_attributes(found), text)
    return Markup("<td{}>{}</td>").format(_attributes(found), text)
