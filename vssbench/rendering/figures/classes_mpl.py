"""Per-class IoU as a heat map: which class a method loses, at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from vssbench.rendering.figures.curves import Panel
from vssbench.rendering.figures.mpl import RC, shorten
from vssbench.rendering.tables.summary import kbps_text, printable

_CELL_INCHES = (0.52, 0.24)
_LABEL_INCHES = (1.5, 0.95)
"""Room for method names at the left and class names below."""
_HEAD_INCHES = 0.3


def class_iou_figure(panels: Sequence[Panel], class_names: Mapping[str, Sequence[str]]) -> Figure:
    """IoU in percent of every class (columns) by every method (rows), mean over d; a block per dataset and codec.

    A class that never occurs is blank. Colour runs from dark to light with the value, so that it reads in grey.
    """
    widest = max(len(class_names[panel.dataset]) for panel in panels)
    heights = [_HEAD_INCHES + len(panel.curves) * _CELL_INCHES[1] + _LABEL_INCHES[1] for panel in panels]
    width, height = _LABEL_INCHES[0] + widest * _CELL_INCHES[0] + 0.1, sum(heights)
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = Figure(figsize=(width, height))
        top = height
        for panel, room in zip(panels, heights, strict=True):
            names = class_names[panel.dataset]
            values = 100 * np.array([curve.class_iou for curve in panel.curves])
            body = len(panel.curves) * _CELL_INCHES[1]
            across = len(names) * _CELL_INCHES[0]
            place = (_LABEL_INCHES[0], top - _HEAD_INCHES - body, across, body)
            ax = figure.add_axes((place[0] / width, place[1] / height, place[2] / width, place[3] / height))
            _draw_cells(ax, values)
            ax.set_xticks(
                np.arange(len(names)) + 0.5, [printable(name) for name in names], rotation=40, ha="right"
            )
            ax.set_yticks(
                np.arange(len(panel.curves)) + 0.5, [shorten(curve.method, 24) for curve in panel.curves]
            )
            ax.tick_params(length=0)
            parts = [panel.dataset, panel.codec, kbps_text(panel.kbps), "IoU (%) by class"]
            ax.set_title(printable(", ".join(part for part in parts if part)), loc="left")
            top -= room
    return figure


def _draw_cells(ax: Any, values: NDArray[np.float64]) -> None:
    """Coloured cells with the number in each, blank where NaN."""
    import seaborn  # here, because it is needed for this figure alone and slow to import

    seaborn.heatmap(
        values,
        ax=ax,
        vmin=0,
        vmax=100,
        annot=True,
        fmt=".0f",
        annot_kws={"fontsize": 7},
        cmap="cividis",
        cbar=False,
        linewidths=0.5,
        xticklabels=False,
        yticklabels=False,
    )
    ax.grid(visible=False)
