"""Where the loss at distance d comes from: a stacked figure and a table of the oracle runs' staircase."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vssbench.rendering.axes import distance_ticks
from vssbench.rendering.figures import RC
from vssbench.rendering.tables import printable
from vssbench.results.decomposition import PARTS, Decomposition
from vssbench.results.run import Run

LOOKS = {
    "motion": ("#d55e00", "////", "wrong motion"),
    "disocclusion": ("#e9c46a", "....", "disocclusion"),
    "resolution": ("#0072b2", "", "resolution and fusion"),
    "compression": ("#9a9a9a", "\\\\\\\\", "compression"),
}
"""Colour, hatch (the figure can be read in grey) and name of each part."""
_PANEL = (2.3, 1.9)
_MARGINS = (0.5, 0.42, 0.1, 0.34)
"""Left, bottom, right, top of the axes inside a panel, inches."""
_FOOT = 0.4
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
            ax.set_title(printable(title)[:34], loc="left", fontsize=7.5)
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
    ax.set_xticks(distance_ticks(list(one.distances)))
    ax.set_xlabel("keyframe distance d", fontsize=7)
    ax.set_ylabel("mIoU points", fontsize=7)


def decomposition_charts(run: Run, series: Mapping[str, int]) -> list[Markup]:
    """For the page: the figure as an embedded SVG and the means over d as a table; empty without oracle runs.

    series: position of each method in the experiment, for the order of the panels.
    """
    found = sorted(run.decompositions, key=lambda one: series.get(one.method, len(series)))
    if not found:
        return []
    drawing = io.BytesIO()
    with matplotlib.rc_context(RC):
        metadata = {"Date": None, "Creator": "vssbench"}
        decomposition_figure(found).savefig(drawing, format="svg", metadata=metadata)
    picture = base64.b64encode(drawing.getvalue()).decode("ascii")
    heads = ("dataset", "codec", "method", "loss", *(LOOKS[name][2] for name in PARTS), "measured against")
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(text) for text in heads)
    return [
        Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">\n').format(
            "Stacked bars: parts of the loss by keyframe distance, one panel per method", Markup(picture)
        ),
        Markup(
            '<div class="wide" tabindex="0" role="region" aria-label="Loss by cause"><table>'
            "<caption>Mean over the distances, points of mIoU; the parts sum to the loss</caption>"
            "<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n"
        ).format(head, Markup("").join(_row(one) for one in found)),
    ]


def _row(one: Decomposition) -> Markup:
    numbers = [one.loss.mean(), *(values.mean() for values in one.parts.values())]
    cells = Markup("").join(Markup('<td class="number">{}</td>').format(f"{100 * v:+.2f}") for v in numbers)
    names = Markup("<td>{}</td><td>{}</td>").format(printable(one.dataset), printable(one.codec))
    method = escape(printable(one.method))
    return Markup('<tr>{}<th scope="row">{}</th>{}<td>{}</td></tr>\n').format(
        names, method, cells, printable(one.reference)
    )


def decomposition_markdown(found: Sequence[Decomposition]) -> str:
    """The same table as Markdown; '' without oracle runs."""
    from vssbench.rendering import markdown

    if not found:
        return ""
    heads = ("dataset", "codec", "method", "against", "loss", *(LOOKS[name][2] for name in PARTS))
    cells = [
        [
            *(markdown.escape(printable(t)) for t in (one.dataset, one.codec, one.method, one.reference)),
            *(f"{100 * v.mean():+.2f}" for v in (one.loss, *one.parts.values())),
        ]
        for one in found
    ]
    table = markdown.table(heads, cells, numbers_from=4)
    return f"## Where the loss comes from\n\nMean over the distances, mIoU points (docs/metrics.md).\n\n{table}\n"
