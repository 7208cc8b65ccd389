"""The summary: a row per dataset, codec and method with all measured columns, and which of them are best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from vssbench.analysis.families import FamilyComparison
from vssbench.analysis.remarks import noisy_stopwatch, noisy_times
from vssbench.analysis.run import GMACS, Run
from vssbench.rendering.tables.columns import COLUMNS, INTERVAL, MIOU, QUALITY, RATE
from vssbench.rendering.tables.derived import SummaryRow, derived_rows
from vssbench.rendering.tables.text_table import (
    NO_LOOKS,
    PLACE,
    Cell,
    Column,
    Looks,
    Mark,
    TextRow,
    TextTable,
    row_about,
    scored_by,
)
from vssbench.rendering.text import kbps_text, printable
from vssbench.results.latency_records import latency_records


@dataclass(frozen=True, slots=True)
class Summary:
    """All rows of a run by dataset and codec, and the columns that hold at least one number."""

    columns: tuple[Column, ...]
    sections: tuple[tuple[SummaryRow, ...], ...]
    """Methods that saw identical bits."""
    unranked: frozenset[str] = frozenset()
    """Keys of columns of times that were too noisy to say which is best."""
    score: str = "mIoU"
    """What it calls the columns of mIoU (`Roster.score`)."""
    reference: str = ""
    """Title of the method whose answers are the truth, which is no best of anything it is scored by."""

    @property
    def rows(self) -> tuple[SummaryRow, ...]:
        """Rows of all sections."""
        return tuple(row for section in self.sections for row in section)

    @property
    def has_intervals(self) -> bool:
        """True if any mIoU has an interval."""
        return any(math.isfinite(row.low) for row in self.rows)


def summary_of(run: Run, families: Sequence[FamilyComparison] = ()) -> Summary:
    """The summary of a run, rows in the order of the experiment; families give their Bjontegaard columns."""
    frame = run.summary.rename(columns=lambda name: name.replace("agreement", "miou"))
    if frame.empty:
        return Summary((MIOU,), ())
    shares = _cost_shares(run, frame)
    sections = []
    for _, part in frame.groupby(["dataset", "codec"], sort=False):
        rows = [_row(record, shares) for record in part.to_dict("records")]
        sections.append(tuple(derived_rows(run, rows, families)))
    columns = [
        c for c in _columns_of(run) if any(math.isfinite(r.values[c.key]) for s in sections for r in s)
    ]
    score, reference = run.roster.score, run.roster.truth
    return Summary(tuple(columns) or (MIOU,), tuple(sections), _unranked(run), score, reference)


def _unranked(run: Run) -> frozenset[str]:
    watched = STOPWATCH if noisy_stopwatch(latency_records(run.folder, run.basis)) else ()
    return frozenset((*(STEP_TIMES if noisy_times(run.groups) else ()), *watched))


def _columns_of(run: Run) -> list[Column]:
    """All columns, with the largest distance written out where every group shares it."""
    last = {group.distances[-1] for group in run.groups}
    if len(last) != 1:
        return list(COLUMNS)
    (d,) = last
    return [
        replace(c, heading=f"mIoU d={d}", short=f"d={d} %") if c.key == "miou_last" else c for c in COLUMNS
    ]


def _cost_shares(run: Run, frame: pd.DataFrame) -> dict[tuple[str, str, str], float]:
    """(dataset, codec, method) -> mean cost over that of the most expensive constant method there."""
    costs: dict[tuple[str, str, str], float] = {
        (record["dataset"], record["codec"], record["method"]): float(record["gop_mean_gmacs"])
        for record in frame.to_dict("records")
    }
    dearest: dict[tuple[str, str], float] = {}
    for (dataset, codec, method), cost in costs.items():
        if run.roster.method(dataset, method).is_constant and math.isfinite(cost):
            dearest[dataset, codec] = max(cost, dearest.get((dataset, codec), 0.0))
    return {
        place: cost / dearest[place[:2]] if dearest.get(place[:2], 0.0) > 0 else math.nan
        for place, cost in costs.items()
    }


def _row(record: Mapping[Any, Any], shares: Mapping[tuple[str, str, str], float]) -> SummaryRow:
    values = {column.key: float(record.get(column.key, math.nan)) for column in COLUMNS}
    values["cost_share"] = shares[record["dataset"], record["codec"], record["method"]]
    return SummaryRow(
        record["dataset"],
        record["codec"],
        record["method"],
        kbps=float(record.get("achieved_kbps", math.nan)),
        values=values,
        quality={column.key: float(record.get(column.key, math.nan)) for column in QUALITY},
        low=float(record.get("miou_low", math.nan)),
        high=float(record.get("miou_high", math.nan)),
        uncounted=record["uncounted"],
        untrained=record["untrained"],
    )


STEP_TIMES = ("key_ms", "non_key_ms", "gop_ms", "fps")
"""Columns of times that were taken while the run was made."""
STOPWATCH = ("watch_ms", "fps")
"""Columns of times that a stopwatch took after the run."""
LOWER_BOUNDS = (*GMACS, "gop_mean_thop_gmacs")
"""Columns whose numbers are lower bounds where some work cannot be counted."""


def column_marks(column: Column, values: Sequence[float]) -> list[Mark]:
    """Which of the values are best and second best; ties as printed share a mark.

    A column in which all printed values agree, or with fewer than two numbers, carries no mark.
    """
    shown = [column.shown(value) for value in values]
    ranking = sorted({v for v in shown if math.isfinite(v)}, reverse=column.better == "higher")
    if column.better == "neither" or len(ranking) < 2:
        return [""] * len(shown)
    names: dict[float, Mark] = {ranking[0]: "best", ranking[1]: "second"}
    return [names.get(value, "") for value in shown]


def summary_table(summary: Summary, looks: Looks = NO_LOOKS) -> TextTable:
    """The summary as a table; what the rows of a section share are dataset, codec and bitrate."""
    coded = _coded_columns(summary)
    columns = [*PLACE[:2], *coded, PLACE[2]]
    for column in summary.columns:
        columns += [column, INTERVAL] if column is MIOU and summary.has_intervals else [column]
    sections = tuple(_section(summary, rows, looks) for rows in summary.sections)
    alike = all(
        len({row.cells[i].text for row in rows}) == 1 for rows in sections for i in range(2, 2 + len(coded))
    )
    table = TextTable("Summary", tuple(columns), sections, shared=2 + len(coded) if alike else 2)
    return scored_by(summary.score, table)


def _coded_columns(summary: Summary) -> tuple[Column, ...]:
    """Of what all methods of a section saw: the bitrate, and its quality where that is known."""
    known = [c for c in QUALITY if any(not math.isnan(row.quality[c.key]) for row in summary.rows)]
    return (RATE, *known)


def _section(summary: Summary, rows: Sequence[SummaryRow], looks: Looks) -> tuple[TextRow, ...]:
    marks: dict[str, list[Mark]] = {
        c.key: column_marks(c, [_ranked(summary, row, c) for row in rows])
        for c in summary.columns
        if c.key not in summary.unranked
    }
    made, coded_columns = [], _coded_columns(summary)
    for number, row in enumerate(rows):
        cells = []
        for column in summary.columns:
            cell = column.cell(
                row.values[column.key], marks[column.key][number] if column.key in marks else ""
            )
            if row.uncounted and column.key in LOWER_BOUNDS and math.isfinite(row.values[column.key]):
                cell = replace(cell, text=f">= {cell.text}", mark="")
            cells.append(cell)
            if column is MIOU and summary.has_intervals:
                cells.append(MIOU.interval(row.low, row.high))
        plain = row_about(row.dataset, row.codec, row.method, cells, looks)
        name = plain.cells[2]
        remark = "reference" if row.method == summary.reference else row.untrained
        if remark:
            name = replace(name, text=f"{name.text} ({remark})")
        coded = [Cell(kbps_text(row.kbps).removesuffix(" kb/s"), row.kbps)]
        coded += [column.cell(row.quality[column.key]) for column in coded_columns[1:]]
        ordered = (*plain.cells[:2], *coded, name, *plain.cells[3:])
        made.append(TextRow(ordered, {**plain.place, "kbps": str(row.kbps)}))
    return tuple(made)


def _ranked(summary: Summary, row: SummaryRow, column: Column) -> float:
    """The value that competes for the marks of its column."""
    itself = row.method == summary.reference and "miou" in column.key
    return math.nan if itself else row.values[column.key]


def titled_summary(run: Run) -> TextTable:
    """The summary under the title of its run, for the terminal."""
    table = summary_table(summary_of(run))
    title = printable(run.title)
    datasets = {group.dataset for group in run.groups}
    notes = () if table.sections else ("no unit is stored yet",)
    named = f"{title}: {printable(datasets.pop())}" if len(datasets) == 1 else title
    return replace(table.without_lone("dataset"), title=named, notes=notes)


def summary_frame(run: Run, summary: Summary) -> pd.DataFrame:
    """The summary for CSV: stored values, mIoU in 0..1; published numbers are in columns of their own."""
    frame = run.summary.copy()
    for name in ("uncounted", "untrained", "psnr_db", "ssim"):
        if not frame.empty and not frame[name].fillna(0).any():
            del frame[name]
    rows = {(row.dataset, row.codec, row.method): row.values for row in summary.rows}
    places = list(zip(frame["dataset"], frame["codec"], frame["method"], strict=True))
    for column in summary.columns:
        key = column.key.replace("miou", summary.score.lower())
        if key not in frame.columns:
            frame[key] = [rows[place][column.key] for place in places]
    return frame
