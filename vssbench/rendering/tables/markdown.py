"""Markdown: the report as text that reads well in a terminal and on a code host."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import astuple

from vssbench.rendering.tables.columns import COLUMNS, MISSING, Column
from vssbench.rendering.figures.curves import Panel
from vssbench.rendering.page.provenance import Provenance
from vssbench.rendering.tables.seeds import HEADS, NOTE, SeedTextRow
from vssbench.rendering.tables.summary import (
    DifferenceRow,
    FamilyRow,
    Row,
    SummaryTable,
    interval_text,
    kbps_text,
    printable,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|<>~&$^-])")


def escape(text: str) -> str:
    """The text as Markdown that renders as exactly these characters.

    >>> escape("<b>|_a")
    '\\\\<b\\\\>\\\\|\\\\_a'
    """
    return _SPECIAL.sub(r"\\\1", printable(text))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> str:
    """A pipe table of finished cells; columns from `numbers_from` on are right-aligned."""
    rule = ["---" if i < numbers_from else "---:" for i in range(len(heads))]
    return "\n".join("| " + " | ".join(line) + " |" for line in (heads, rule, *rows))


def summary_markdown(summary: SummaryTable) -> str:
    """The summary table with one row per method; best in bold, second best in italics."""
    heads = ["dataset", "codec", "achieved", "method"]
    for column in summary.columns:
        heads.append(escape(column.title))
        if column.key == "miou" and summary.has_intervals:
            heads.append("interval")
    rows = [_summary_row(summary, row) for row in summary.rows]
    return table(heads, rows, numbers_from=4)


def _summary_row(summary: SummaryTable, row: Row) -> list[str]:
    cells = [escape(row.dataset), escape(row.codec), kbps_text(row.kbps), escape(row.method)]
    for column in summary.columns:
        cells.append(_number(row, column))
        if column.key == "miou" and summary.has_intervals:
            cells.append(escape(interval_text(row, column)))
    return cells


def _number(row: Row, column: Column) -> str:
    text = column.text(row.values[column.key])
    return {"best": f"**{text}**", "second": f"*{text}*"}.get(row.marks.get(column.key, ""), text)


def difference_markdown(rows: Sequence[DifferenceRow]) -> str:
    """Method minus reference on the same frames, with intervals and Holm-adjusted p-values."""
    heads = ["dataset", "codec", "method", "minus", "difference", "interval", "adjusted p", "verdict"]
    cells = [
        [
            escape(r.dataset),
            escape(r.codec),
            escape(r.method),
            escape(r.reference),
            r.points,
            escape(r.interval),
            escape(r.p_value),
            r.verdict,
        ]
        for r in rows
    ]
    return table(heads, cells, numbers_from=4)


def family_markdown(rows: Sequence[FamilyRow]) -> str:
    """BD-FLOPs and BD-mIoU of each family of methods."""
    heads = ["dataset", "codec", "methods", "BD-FLOPs", "BD-mIoU (points)", "note"]
    cells = [[*map(escape, (r.dataset, r.codec, r.points, r.bd_flops, r.bd_miou, r.note))] for r in rows]
    return table(heads, cells, numbers_from=6)


def seed_markdown(rows: Sequence[SeedTextRow]) -> str:
    """Methods over their training seeds."""
    cells = [[escape(text) for text in astuple(row)] for row in rows]
    return table(list(HEADS), cells, numbers_from=4)


def class_markdown(panel: Panel, names: Sequence[str]) -> str:
    """IoU per class in percent, mean over the distances."""
    heads = ["class", *(escape(curve.method) for curve in panel.curves)]
    rows = [[escape(name), *(_percent(c.class_iou[i]) for c in panel.curves)] for i, name in enumerate(names)]
    return table(heads, rows)


def distance_markdown(panel: Panel) -> str:
    """mIoU_d in percent, one row per method."""
    distances = sorted({d for curve in panel.curves for d in curve.distances})
    rows = []
    for curve in panel.curves:
        found = dict(zip(curve.distances, curve.miou_d, strict=True))
        rows.append([escape(curve.method), *(_percent(found.get(d, math.nan)) for d in distances)])
    return table(["method", *(f"d={d}" for d in distances)], rows)


def _percent(value: float) -> str:
    return f"{100 * value:.2f}" if math.isfinite(value) else MISSING


def report_markdown(
    title: str,
    summary: SummaryTable,
    panels: Sequence[Panel],
    class_names: dict[str, list[str]],
    provenance: Provenance,
    figures: Sequence[tuple[str, str]],
    differences: Sequence[DifferenceRow] = (),
    families: Sequence[FamilyRow] = (),
    seeds: Sequence[SeedTextRow] = (),
) -> str:
    """The whole report. figures: (caption, path relative to the report)."""
    parts = [f"# {escape(title)}"]
    if provenance.warnings:
        parts.append("**Read first**\n\n" + "\n".join(f"- {escape(line)}" for line in provenance.warnings))
    parts.append("## Summary\n\n" + summary_markdown(summary))
    notes = [
        f"{escape(c.heading)}: {escape(c.meaning)}"
        for c in COLUMNS
        if c.key in {u.key for u in summary.columns}
    ]
    notes += [f"{escape(key)}: {escape(value)}" for key, value in provenance.interval_notes]
    parts.append(
        "\n".join(
            f"- {line}"
            for line in ["**bold**: best, *italics*: second best of its dataset and codec.", *notes]
        )
    )
    if seeds:
        parts.append(f"## Over training seeds (%)\n\n{escape(NOTE)}\n\n{seed_markdown(seeds)}")
    if differences:
        parts.append(
            "## Paired differences in mIoU (percentage points)\n\n" + difference_markdown(differences)
        )
    if families:
        parts.append("## Bjontegaard differences against constant resolution\n\n" + family_markdown(families))
    parts += [f"## {escape(caption)}\n\n![{escape(caption)}]({path})" for caption, path in figures]
    parts.append("## mIoU by keyframe distance (%)")
    for panel in panels:
        parts.append(f"### {escape(panel.dataset)}, {escape(panel.codec)}\n\n{distance_markdown(panel)}")
    parts.append("## IoU by class (%, mean over d)")
    for panel in panels:
        heading = f"### {escape(panel.dataset)}, {escape(panel.codec)}"
        parts.append(f"{heading}\n\n{class_markdown(panel, class_names[panel.dataset])}")
    parts.append("## Provenance")
    for name, lines in provenance.sections:
        rows = [[escape(key), escape(value)] for key, value in lines]
        parts.append(f"### {escape(name)}\n\n{table(['what', 'value'], rows, numbers_from=2)}")
    return "\n\n".join(parts) + "\n"
