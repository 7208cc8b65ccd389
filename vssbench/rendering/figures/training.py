"""The training curves of all contestants: validation mIoU by step, and feature distances where they were logged."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from vssbench.rendering.figures.charts import Line, LineChart, Point, extent

_DISTANCE = "_feature_mse"
"""End of the columns that hold feature distances."""
_TITLES = (
    ("mIoU by step", "validation mIoU (%)"),
    ("feature distance by step", "squared distance to the HR feature"),
)


def training_charts(folder: Path, stages: Sequence[tuple[str, str]]) -> list[LineChart]:
    """mIoU, and feature distances on a logarithmic axis, of (label, stage) below a training folder; as far as logged.

    Stages of one contestant follow one another on the step axis; stages without a log are left out.
    """
    scores: dict[str, list[Point]] = {}
    distances: dict[str, list[Point]] = {}
    ends: dict[str, float] = {}
    for label, stage in stages:
        rows = _rows(folder / label / stage / "validation.csv")
        start = ends.get(label, 0.0)
        for row in rows:
            for key, value in row.items():
                if key == "miou":
                    scores.setdefault(label, []).append(Point(start + row["step"], 100 * value))
                elif key.endswith(_DISTANCE):
                    name = f"{label}: {key.removesuffix(_DISTANCE)}"
                    distances.setdefault(name, []).append(Point(start + row["step"], value))
        ends[label] = start + (rows[-1]["step"] if rows else 0.0)
    found = zip(_TITLES, (scores, distances), strict=True)
    return [_chart(*titles, curves, log_y=curves is distances) for titles, curves in found if curves]


def _chart(what: str, y_title: str, curves: dict[str, list[Point]], *, log_y: bool) -> LineChart:
    points = [point for line in curves.values() for point in line]
    return LineChart(
        what,
        (),
        "",
        "",
        "optimiser step of the contestant",
        y_title,
        tuple(Line(name, series, tuple(line)) for series, (name, line) in enumerate(curves.items())),
        extent(point.x for point in points),
        extent(point.y for point in points),
        log_y=log_y,
    )


def _rows(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(stream)]


def write_training_figure(folder: Path, stages: Sequence[tuple[str, str]]) -> list[Path]:
    """curves.svg and curves.pdf in a training folder; nothing if no stage was validated yet. Raises StorageError."""
    charts = training_charts(folder, stages)
    if not charts:
        return []
    from vssbench.rendering.figures import mpl

    return mpl.save(mpl.drawn(charts), folder / "curves")
