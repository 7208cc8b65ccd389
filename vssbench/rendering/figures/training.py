"""The training curves of all contestants in one figure: validation mIoU by step, and feature distances where logged."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from vssbench.rendering.figures.mpl import RC, save
from vssbench.rendering.figures.styles import style_of

_PANEL_INCHES = (5.0, 2.8)
"""With the legend beside the axes: many contestants leave no free place inside."""


@dataclass(frozen=True, slots=True)
class TrainingCurve:
    """One column of a validation.csv."""

    name: str
    steps: tuple[float, ...]
    values: tuple[float, ...]


def read_curves(
    folder: Path, stages: Sequence[tuple[str, str]]
) -> tuple[list[TrainingCurve], list[TrainingCurve]]:
    """MIoU curves (in %) and feature-distance curves of (label, stage) below a training folder.

    Stages of one contestant follow one another on the step axis; stages without a log are left out.
    """
    accuracy: dict[str, tuple[list[float], list[float]]] = {}
    distance: dict[str, tuple[list[float], list[float]]] = {}
    offsets: dict[str, float] = {}
    for label, stage in stages:
        rows = _rows(folder / label / stage / "validation.csv")
        start = offsets.get(label, 0.0)
        for row in rows:
            for key, value in row.items():
                where, name, factor = accuracy, label, 100.0
                if key.endswith("_feature_mse"):
                    where, name, factor = distance, f"{label}: {key.removesuffix('_feature_mse')}", 1.0
                elif key != "miou":
                    continue
                steps, values = where.setdefault(name, ([], []))
                steps.append(start + row["step"])
                values.append(factor * value)
        offsets[label] = start + (rows[-1]["step"] if rows else 0.0)
    return tuple(  # type: ignore[return-value]
        [TrainingCurve(name, tuple(s), tuple(v)) for name, (s, v) in found.items()]
        for found in (accuracy, distance)
    )


def _rows(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [{k: float(v) for k, v in row.items() if k and v} for row in csv.DictReader(stream)]


def training_figure(accuracy: Sequence[TrainingCurve], distance: Sequence[TrainingCurve]) -> Figure:
    """One panel of mIoU by step, and a second one (logarithmic) of feature distances if there are any."""
    panels = [("validation mIoU (%)", accuracy)]
    if distance:
        panels.append(("squared distance to the HR feature", distance))
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(_PANEL_INCHES[0] * len(panels), _PANEL_INCHES[1]), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, (title, curves) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _draw(axes, title, curves, logarithmic=curves is distance)
    return figure


def _draw(axes: Any, title: str, curves: Sequence[TrainingCurve], *, logarithmic: bool) -> None:
    for series, curve in enumerate(curves):
        style = style_of(series)
        dashes = (0, style.dashes) if style.dashes else "-"
        axes.plot(
            curve.steps, curve.values, color=style.colour, linestyle=dashes, marker=style.marker, markersize=3,
            label=curve.name,
        )  # fmt: skip
    axes.set_xlabel("optimiser step of the contestant")
    axes.set_ylabel(title)
    if logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")  # powers of ten would be mathtext, which is off
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def write_training_figure(folder: Path, stages: Sequence[tuple[str, str]]) -> list[Path]:
    """curves.svg and curves.pdf in a training folder; nothing if no stage was validated yet. Raises StorageError."""
    accuracy, distance = read_curves(folder, stages)
    if not accuracy:
        return []
    return save(training_figure(accuracy, distance), folder / "curves")
