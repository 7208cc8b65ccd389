"""The summary table as plain data: which rows, which numbers, which of them are best. No text formats here."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pandas as pd

from vssbench.metrics.bjontegaard import BDResult
from vssbench.rendering.tables.columns import COLUMNS, MISSING, Column
from vssbench.rendering.tables.derived import derived_rows
from vssbench.analysis.differences import SectionDifferences, constant_methods
from vssbench.analysis.families import FamilyComparison
from vssbench.analysis.run import Run

Mark = Literal["best", "second"]


@dataclass(frozen=True, slots=True)
class Row:
    """One method on one dataset and codec."""

    dataset: str
    codec: str
    method: str
    kbps: float
    """Achieved bitrate, kb/s; NaN where unknown."""
    values: dict[str, float]
    """Stored value by column key, NaN where not measured; never rounded."""
    low: float = math.nan
    """Lower end of the interval of mIoU, 0..1."""
    high: float = math.nan
    marks: dict[str, Mark] = field(default_factory=dict)
    """Column key -> best or second best of its dataset and codec."""


@dataclass(frozen=True, slots=True)
class Section:
    """The rows of one dataset and codec setting: methods that saw identical bits."""

    dataset: str
    codec: str
    kbps: float
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class SummaryTable:
    """All sections of a run and the columns that hold at least one number."""

    columns: tuple[Column, ...]
    sections: tuple[Section, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)

    @property
    def has_intervals(self) -> bool:
        """True if any mIoU has an interval."""
        return any(math.isfinite(row.low) for row in self.rows)


def summary_table(run: Run, families: Sequence[FamilyComparison] = ()) -> SummaryTable:
    """The summary of a run, rows in the order of the experiment; families give their Bjontegaard columns."""
    frame = run.summary
    if frame.empty:
        return SummaryTable(COLUMNS[:1], ())
    shares = _cost_shares(frame, constant_methods(run))
    sections = []
    for (dataset, codec), part in frame.groupby(["dataset", "codec"], sort=False):
        rows = [_row(record, shares) for record in part.to_dict("records")]
        rows = derived_rows(run, rows, families)
        rows = mark_best(rows, COLUMNS)
        sections.append(Section(str(dataset), str(codec), _mean_kbps(rows), tuple(rows)))
    used = tuple(
        c for c in _columns_of(run) if any(math.isfinite(r.values[c.key]) for s in sections for r in s.rows)
    )
    return SummaryTable(used or COLUMNS[:1], tuple(sections))


def _columns_of(run: Run) -> list[Column]:
    """All columns, with the largest distance written out where every group shares it."""
    last = {group.distances[-1] for group in run.groups}
    if len(last) != 1:
        return list(COLUMNS)
    return [replace(c, heading=f"mIoU d={last.copy().pop()}") if c.key == "miou_last" else c for c in COLUMNS]


def _cost_shares(frame: pd.DataFrame, anchors: set[str]) -> dict[tuple[str, str, str], float]:
    """(dataset, codec, method) -> GOP mean over that of the dataset's most expensive constant method."""
    dearest = frame[frame["method"].isin(anchors)].groupby("dataset")["gop_mean_gmacs"].max().to_dict()
    shares = {}
    for record in frame.to_dict("records"):
        anchor = dearest.get(record["dataset"], math.nan)
        share = record["gop_mean_gmacs"] / anchor if anchor > 0 else math.nan
        shares[record["dataset"], record["codec"], record["method"]] = share
    return shares


def _row(record: dict[Any, Any], shares: dict[tuple[str, str, str], float]) -> Row:
    place = (record["dataset"], record["codec"], record["method"])
    values = {column.key: float(record.get(column.key, math.nan)) for column in COLUMNS}
    values["cost_share"] = float(shares[place])
    return Row(
        *place,
        kbps=float(record.get("achieved_kbps", math.nan)),
        values=values,
        low=float(record.get("miou_low", math.nan)),
        high=float(record.get("miou_high", math.nan)),
    )


def _mean_kbps(rows: Sequence[Row]) -> float:
    known = [row.kbps for row in rows if math.isfinite(row.kbps)]
    return sum(known) / len(known) if known else math.nan


def mark_best(rows: Sequence[Row], columns: Sequence[Column]) -> list[Row]:
    """The rows with best and second best marked per column; ties as printed share a mark.

    A column in which all printed values agree, or with fewer than two numbers, carries no mark.
    """
    marks: list[dict[str, Mark]] = [{} for _ in rows]
    for column in columns:
        if column.better == "neither":
            continue
        shown = [column.shown(row.values[column.key]) for row in rows]
        ranking = sorted({v for v in shown if math.isfinite(v)}, reverse=column.better == "higher")
        if len(ranking) < 2:
            continue
        for value, found in zip(shown, marks, strict=True):
            if value == ranking[0]:
                found[column.key] = "best"
            elif value == ranking[1]:
                found[column.key] = "second"
    return [
        Row(r.dataset, r.codec, r.method, r.kbps, r.values, r.low, r.high, found)
        for r, found in zip(rows, marks, strict=True)
    ]


def interval_text(row: Row, column: Column) -> str:
    """'[65.10, 69.43]' in the column's scale, '' where there is no interval."""
    if not (math.isfinite(row.low) and math.isfinite(row.high)):
        return ""
    return f"[{column.text(row.low)}, {column.text(row.high)}]"


@dataclass(frozen=True, slots=True)
class DifferenceRow:
    """mIoU of a method minus that of the reference, in percentage points, ready to print."""

    dataset: str
    codec: str
    method: str
    reference: str
    points: str
    interval: str
    p_value: str
    verdict: str


VERDICTS = {"+": "better", "-": "worse", "~": "not told apart"}


def difference_rows(sections: Sequence[SectionDifferences]) -> list[DifferenceRow]:
    """All paired differences as text.

    A verdict other than 'not told apart' needs an adjusted p-value below 1 - level of the interval.
    """
    rows = []
    for section in sections:
        for found in section.differences:
            ends = (100 * found.miou.low, 100 * found.miou.high)
            rows.append(
                DifferenceRow(
                    section.dataset,
                    section.codec,
                    found.test,
                    section.reference,
                    f"{100 * found.miou.estimate:+.2f}",
                    f"[{ends[0]:+.2f}, {ends[1]:+.2f}]" if math.isfinite(ends[0]) else "",
                    "< 0.001" if found.adjusted_p_value < 0.001 else f"{found.adjusted_p_value:.3f}",
                    VERDICTS[found.mark],
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class FamilyRow:
    """Bjontegaard differences of a family of methods against constant resolution, ready to print."""

    dataset: str
    codec: str
    family: str
    points: str
    anchor: str
    bd_flops: str
    bd_miou: str
    note: str


def family_rows(comparisons: Sequence[FamilyComparison]) -> list[FamilyRow]:
    """BD-FLOPs in percent and BD-mIoU in percentage points, with intervals where they exist."""
    return [
        FamilyRow(
            c.dataset,
            c.codec,
            c.family,
            ", ".join(c.points),
            ", ".join(c.anchor_points),
            _bd_text(c.flops, " %"),
            _bd_text(c.miou, ""),
            "; ".join(filter(None, (c.note, _overlap_note(c.flops), _other_flags(c), _seed_note(c)))),
        )
        for c in comparisons
    ]


def _bd_text(result: BDResult | None, unit: str) -> str:
    if result is None:
        return MISSING
    text = f"{100 * result.value:+.2f}{unit}"
    if result.interval is not None:
        text += f" [{100 * result.interval[0]:+.2f}, {100 * result.interval[1]:+.2f}]"
    return text


def _overlap_note(result: BDResult | None) -> str:
    return "" if result is None else f"{100 * result.overlap_share:.0f} % of the mIoU range is shared"


def _other_flags(comparison: FamilyComparison) -> str:
    """Few points and dominated points, of either number; the overlap is told anyway."""
    results = [result for result in (comparison.flops, comparison.miou) if result is not None]
    flags = dict.fromkeys(flag for result in results for flag in result.flags)
    return "; ".join(flag for flag in flags if not flag.startswith("overlap"))


def _seed_note(comparison: FamilyComparison) -> str:
    flops, miou = comparison.flops_seeds, comparison.miou_seeds
    if flops is None or miou is None:
        return ""
    return (
        f"over {flops.seeds} seeds: BD-FLOPs {100 * flops.mean:+.2f} % [{100 * flops.low:+.2f}, {100 * flops.high:+.2f}], "
        f"BD-mIoU {100 * miou.mean:+.2f} [{100 * miou.low:+.2f}, {100 * miou.high:+.2f}]"
    )


def kbps_text(kbps: float) -> str:
    """'702 kb/s', '' where the bitrate is unknown.

    >>> kbps_text(702.4), kbps_text(8.25), kbps_text(float("nan"))
    ('702 kb/s', '8.2 kb/s', '')
    """
    if not math.isfinite(kbps):
        return ""
    return f"{kbps:.0f} kb/s" if kbps >= 10 else f"{kbps:.1f} kb/s"


def printable(text: str) -> str:
    """The text on one line without control characters, so that a title can neither move a cursor nor break a row."""
    return "".join(
        " " if c in "\n\r\t" else "\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c
        for c in text
    )
