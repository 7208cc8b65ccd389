"""Where the loss at distance d comes from, as a figure file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vssbench.rendering.figures.axes import distance_ticks
from vssbench.rendering.figures.decomposition import LOOKS
from vssbench.rendering.figures.mpl import RC, shorten
from vssbench.analysis.decomposition import Decomposition

_PANEL = (2.3, 1.9)
_MARGINS = (0.5, 0.42, 0.1, 0.34)
"""Left, bottom, right, top of the axes inside a panel, inches."""
_FOOT = 0.4
_TITLE_LENGTH = 32
"""Characters that fit over a panel."""
_COLUMNS = 4


def decomposition_figure(found: Sequence[Decomposition]) -> Figure:
    """Stacked bars over d, a panel per method, dataset and codec: negative parts hang below zero, the line is the loss."""
    columns = min(len(found), _COLUMNS)
    rows = math.ceil(len(found) / columns)
    width, height = columns * _PANEL[0], rows * _PANEL[1] + _FOOT
    several = len({(one.dataset, one.codec) for one in found}) > 1
    with matplotlib.rc_context(RC):
        figure = Figure(figsize=(width, height))
        axes = []
        for number, one in enumerate(found):
            left = (number % columns) * _PANEL[0] + _MARGINS[0]
            bottom = height - (number // columns + 1) * _PANEL[1] + _MARGINS[1]
            inner = (_PANEL[0] - _MARGINS[0] - _MARGINS[2], _PANEL[1] - _MARGINS[1] - _MARGINS[3])
            place = (left / width, bottom / height, inner[0] / width, inner[1] / height)
            ax = figure.add_axes(place)
            _draw(ax, one)
            title = f"{one.method}, {one.codec}" if several else one.method
            ax.set_title(shorten(title, _TITLE_LENGTH), loc="left", fontsize=7.5)
            axes.append(ax)
        low, high = (
            f(edge)
            for f, edge in zip((min, max), zip(*(ax.get_ylim() for ax in axes), strict=True), strict=True)
        )
        for ax in axes:
            ax.set_ylim(low, high)
        handles: list[Any] = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
            for colour, hatch, name in LOOKS.values()
        ]
        handles.append(Line2D([], [], color="black", marker="o", markersize=3, linewidth=1, label="loss"))
        figure.legend(
            handles=handles, loc="lower center", ncols=3 if columns < 3 else 5, fontsize=7, handlelength=1.4
        )
    return figure


def _draw(ax: Any, one: Decomposition) -> None:
    x = np.array(one.distances)
    above, below = np.zeros(len(x)), np.zeros(len(x))
    for name, values in one.parts.items():
        points = 100 * values
        base = np.where(points >= 0, above, below)
        colour, hatch, _ = LOOKS[name]
        ax.bar(x, points, 0.82, bottom=base, color=colour, hatch=hatch, edgecolor="white", linewidth=0.3)
        above, below = above + points.clip(min=0), below + points.clip(max=0)
    ax.plot(x, 100 * one.loss, color="black", marker="o", markersize=2.5, linewidth=1)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set_xticks(distance_ticks(list(one.distances), count=7))
    ax.set_xlabel("keyframe distance d", fontsize=7)
    ax.set_ylabel("mIoU points", fontsize=7)
