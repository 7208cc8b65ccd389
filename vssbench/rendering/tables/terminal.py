"""The comparison table that ends `vssbench run`, fitted to the width of the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from vssbench.rendering.tables.columns import COLUMNS, Column
from vssbench.rendering.tables.summary import (
    Row,
    Section,
    SummaryTable,
    interval_text,
    kbps_text,
    printable,
    summary_table,
)
from vssbench.analysis.run import Run

_SHORT_HEADINGS = {"gop_mean_gmacs": "GMACs", "key_ms": "key", "non_key_ms": "non-key"}
_STYLES = {"best": "bold", "second": "underline", None: ""}
_INTERVAL_PRIORITY = 2
_GAP = 3
"""Cells between two columns."""
_WIDEST_TITLE, _NARROWEST_TITLE = 32, 12


def comparison_table(run: Run, width: int | None = None) -> Table:
    """The summary of a run as a rich table that fits into `width` character cells (default: the terminal's).

    Columns are dropped by priority until the rest fits; mIoU, codec and method always stay. Best values are bold,
    second best underlined, per dataset and codec.
    """
    table = summary_table(run)
    available = width or shutil.get_terminal_size((80, 24)).columns
    dataset_shown = len({section.dataset for section in table.sections}) > 1
    columns, with_interval = _columns_that_fit(table, available, dataset_shown)
    view = Table(
        box=box.SIMPLE_HEAD,
        title=_title(run, table),
        title_justify="left",
        pad_edge=False,
        show_edge=False,
        title_style="bold",
    )
    if dataset_shown:
        view.add_column("dataset", overflow="fold", max_width=_WIDEST_TITLE)
    view.add_column("codec", overflow="fold", max_width=_WIDEST_TITLE)
    view.add_column("method", overflow="fold", min_width=_NARROWEST_TITLE, max_width=_WIDEST_TITLE)
    for column in columns:
        view.add_column(_heading(column), justify="right", no_wrap=True)
        if column.key == "miou" and with_interval:
            view.add_column("interval", justify="right", no_wrap=True)
    for section in table.sections:
        for number, row in enumerate(section.rows):
            view.add_row(*_cells(section, number, row, columns, dataset_shown, with_interval))
        view.add_section()
    view.caption = Text(_caption(table, columns, with_interval), style="dim")
    view.caption_justify = "left"
    return view


def _title(run: Run, table: SummaryTable) -> Text:
    title = printable(str(run.experiment.get("title") or run.path.name))
    names = {section.dataset for section in table.sections}
    return Text(f"{title}: {printable(names.pop())}" if len(names) == 1 else title)


def _caption(table: SummaryTable, columns: Sequence[Column], with_interval: bool) -> str:
    if not table.sections:
        return "no unit is stored yet"
    lines = "bold: best, underlined: second best of its codec"
    keys = {column.key for column in columns}
    if "cost_share" in keys:
        lines += "; cost: GMACs per frame, % of the dearest constant method"
    if "miou_last" in keys:
        lines += "; d: mIoU at that keyframe distance"
    return lines


def _heading(column: Column) -> Text:
    heading = _SHORT_HEADINGS.get(column.key, column.heading).replace("mIoU d=", "d=")
    return Text(f"{heading} {column.unit}".strip())


def _columns_that_fit(table: SummaryTable, available: int, dataset_shown: bool) -> tuple[list[Column], bool]:
    """The columns to show, in their order, and whether intervals have room."""
    left = available + _GAP - _title_width(table, dataset_shown)
    candidates: list[tuple[float, str, int]] = [
        (column.priority, column.key, _column_width(table, column)) for column in table.columns
    ]
    if table.has_intervals:
        width = max([len("interval"), *(len(interval_text(row, COLUMNS[0])) for row in table.rows)])
        candidates.append((_INTERVAL_PRIORITY - 0.5, "interval", width))
    chosen = set()
    for priority, key, width in sorted(candidates):
        left -= width + _GAP
        if left < 0 and priority > 0:
            break
        chosen.add(key)
    return [column for column in table.columns if column.key in chosen], "interval" in chosen


def _title_width(table: SummaryTable, dataset_shown: bool) -> int:
    """Cells the leading text columns take, padding included."""
    texts = [
        ("codec", *(line for s in table.sections for line in _codec_text(s).split("\n"))),
        ("method", " " * _NARROWEST_TITLE, *(printable(row.method) for row in table.rows)),
    ]
    if dataset_shown:
        texts.append(("dataset", *(printable(s.dataset) for s in table.sections)))
    return sum(min(_WIDEST_TITLE, max(cell_len(t) for t in column)) + _GAP for column in texts)


def _column_width(table: SummaryTable, column: Column) -> int:
    return max([len(_heading(column)), *(len(column.text(row.values[column.key])) for row in table.rows)])


def _codec_text(section: Section) -> str:
    return "\n".join(filter(None, (printable(section.codec), kbps_text(section.kbps))))


def _cells(
    section: Section,
    number: int,
    row: Row,
    columns: Sequence[Column],
    dataset_shown: bool,
    with_interval: bool,
) -> list[Text]:
    lines = _codec_text(section).split("\n")
    # codec and bitrate stand beside the first two methods; a lone method carries both in one cell
    codec = "\n".join(lines) if len(section.rows) == 1 else "".join(lines[number : number + 1])
    cells = [Text(printable(section.dataset) if number == 0 else "")] if dataset_shown else []
    cells += [Text(codec, style="" if number == 0 else "dim"), Text(printable(row.method))]
    for column in columns:
        cells.append(Text(column.text(row.values[column.key]), style=_STYLES[row.marks.get(column.key)]))
        if column.key == "miou" and with_interval:
            cells.append(Text(interval_text(row, column), style="dim"))
    return cells
