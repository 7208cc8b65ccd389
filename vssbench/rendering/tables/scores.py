"""Scores in detail as tables: by distance, by class, further metrics, and where the loss comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from vssbench.analysis.decomposition import Decomposition
from vssbench.analysis.run import Run
from vssbench.rendering.curves import Panel
from vssbench.rendering.styles import PARTS
from vssbench.rendering.tables.columns import QUALITY, RATE
from vssbench.rendering.tables.summary import column_marks
from vssbench.rendering.tables.text_table import (
    NO_LOOKS,
    PLACE,
    Cell,
    Column,
    Looks,
    TextRow,
    TextTable,
    row_about,
    text_column,
    texts,
)
from vssbench.rendering.text import printable
from vssbench.results.documents import DatasetRecord

POOLED = "pooled mIoU, "


def distance_table(panel: Panel) -> TextTable:
    """mIoU_d in percent, one row per method."""
    distances = sorted({d for curve in panel.curves for d in curve.distances})
    columns = [Column(f"miou_{d}", f"d={d}", scale=100) for d in distances]
    rows = []
    for curve in panel.curves:
        found = dict(zip(curve.distances, curve.miou_d, strict=True))
        cells = (c.cell(found.get(d, math.nan)) for c, d in zip(columns, distances, strict=True))
        rows.append(row_about(curve.dataset, curve.codec, curve.method, cells))
    title = f"{printable(panel.dataset)}, {printable(panel.codec)}"
    return TextTable(title, (*PLACE, *columns), (tuple(rows),)).without(("dataset", "codec"))


def class_table(panel: Panel, dataset: DatasetRecord, digits: int = 2) -> TextTable:
    """IoU per class in percent, mean over the distances at which it occurs; the best of each row is marked."""
    columns = [
        Column("iou", printable(c.method), "", "higher", digits, scale=100, method=c.method, series=c.series)
        for c in panel.curves
    ]
    rows = []
    for i, (name, colour) in enumerate(zip(dataset.class_names, dataset.palette, strict=True)):
        values = [curve.class_iou[i] for curve in panel.curves]
        marks = column_marks(columns[0], values)
        cells = [
            Cell(column.text(value), value, "best" if mark == "best" else "", bar=value)
            for column, value, mark in zip(columns, values, marks, strict=True)
        ]
        rows.append(TextRow((Cell(printable(name), colour=colour), *cells)))
    title = f"{printable(panel.dataset)}, {printable(panel.codec)}"
    return TextTable(title, (text_column("class"), *columns), (tuple(rows),))


def coded_table(run: Run) -> TextTable:
    """Bitrate, PSNR and SSIM of each coded sequence; empty where no quality is known."""
    frame, numbers = run.coded, (RATE, *QUALITY)
    if frame.empty or frame["psnr_db"].isna().all():
        return TextTable("What was coded", (), ())
    names = {"kbps": "achieved_kbps"}
    rows = []
    for record in frame.to_dict("records"):
        place = {"dataset": record["dataset"], "codec": record["codec"]}
        values = [replace(c, group="").cell(record[names.get(c.key, c.key)]) for c in numbers]
        rows.append(TextRow((*texts(*place.values(), record["sequence"]), *values), place))
    columns = (*PLACE[:2], text_column("sequence"), *(replace(c, group="") for c in numbers))
    note = "PSNR and SSIM of decoded luma against the frames that were encoded, for the bitstreams behind the scored frames."
    return TextTable("What was coded", columns, (tuple(rows),), (note,))


def further_tables(run: Run, looks: Looks = NO_LOOKS) -> list[TextTable]:
    """Contours and consistency, and mIoU by segment size and by motion; empty without further metrics."""
    values = {
        (g.dataset, g.codec, g.method): {
            row.metric: row.value for row in g.further if (row.distance, row.class_index) == (-1, -1)
        }
        for g in run.groups
        if g.further
    }
    metrics = list(dict.fromkeys(name for found in values.values() for name in found))
    others = (POOLED, "pooled mean recall", "share of pixels")
    titles = {"Contours and consistency over time": [(n, n) for n in metrics if not n.startswith(others)]}
    for name in metrics:
        if name.startswith(POOLED):
            quantity = _quantity(name)
            head = name.removeprefix(POOLED).removeprefix(quantity).strip()
            titles.setdefault(f"mIoU by {quantity}", []).append((name, head))
    found = []
    for title, named in titles.items():
        columns = tuple(Column(name, head, scale=100) for name, head in named)
        rows = [
            row_about(*place, [c.cell(own.get(c.key, math.nan)) for c in columns], looks)
            for place, own in values.items()
        ]
        if columns:
            found.append(TextTable(title, (*PLACE, *columns), (tuple(rows),)))
    return found


def _quantity(metric: str) -> str:
    """'motion px/frame (exact)' of 'pooled mIoU, motion px/frame (exact) 0.5 .. 1'."""
    text = metric.removeprefix(POOLED)
    return text[: text.index(")") + 1] if ")" in text else "true segment, share of frame"


def loss_table(found: Sequence[Decomposition], looks: Looks = NO_LOOKS) -> TextTable:
    """Means over the distances of the loss and its parts, points of mIoU."""
    names = ("loss", *(name for name, _, _ in PARTS.values()))
    numbers = [Column(name, name, scale=100, signed=True) for name in names]
    rows = []
    for one in found:
        values = (one.loss, *one.parts.values())
        cells = [c.cell(float(v.mean())) for c, v in zip(numbers, values, strict=True)]
        rows.append(row_about(one.dataset, one.codec, one.method, (*texts(one.reference), *cells), looks))
    note = "Mean over the distances, points of mIoU; the parts sum to the loss (docs/metrics.md)."
    columns = (*PLACE, text_column("against", "measured against"), *numbers)
    return TextTable("Where the loss comes from", columns, (tuple(rows),), (note,))
