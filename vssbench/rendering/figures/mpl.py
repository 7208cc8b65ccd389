"""Figure files: the charts drawn by matplotlib as SVG and PDF, the same bytes for the same data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vssbench.errors import VssbenchError
from vssbench.files import storage_error
from vssbench.rendering.figures.axes import Axis, distance_ticks
from vssbench.rendering.figures.charts import Chart, ClassChart, Line, LineChart, LossChart, WaterfallChart
from vssbench.rendering.images.tiles import TileSheet
from vssbench.rendering.styles import PARTS, STAGE_COLOURS, style_of
from vssbench.rendering.text import shorten

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.titley": 1.0,  # searching a free place above the ticks takes a sixth of the drawing; no axis has ticks there
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # embed TrueType, so that text stays text
    "svg.fonttype": "path",
    "svg.hashsalt": "vssbench",
    "text.usetex": False,
    "text.parse_math": False,  # a title with dollars is text
    "savefig.dpi": 150,
}
Margins = tuple[float, float, float, float]
"""Left, bottom, right, top of the axes inside a panel, inches."""
_PANEL, _MARGINS = (3.4, 2.6), (0.55, 0.5, 0.15, 0.3)
_LOSS_PANEL, _LOSS_MARGINS, _LOSS_COLUMNS = (2.3, 1.9), (0.5, 0.42, 0.1, 0.34), 4
_CELL = (0.52, 0.24)
"""Of the heat map, inches."""
_LABELS = (1.5, 0.95)
"""Room for method names at the left of the heat map and class names below it."""
_NAME_ROOM, _NAME_GAP, _NAME_LENGTH = 1.35, 0.12, 24
"""Names at the right of lines: room and distance from line to line in inches, characters."""
_MARKER = 4.5
"""Size in points."""
_TILE_GAP, _TILE_TITLE = 0.05, 0.2
"""Between pictures and above each, inches."""
_HOLLOW: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markerfacecolor": "none",
    "markeredgewidth": 1.0,
    "markersize": 6.5,
}


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write stem.svg and stem.pdf without dates. Raises StorageError."""
    written = []
    metadata = {
        ".svg": {"Date": None, "Creator": "vssbench"},
        ".pdf": {"CreationDate": None, "Creator": "vssbench", "Producer": None},
    }
    for suffix, entries in metadata.items():
        path = stem.with_suffix(suffix)
        try:
            with matplotlib.rc_context(RC):
                figure.savefig(path, metadata=entries)
        except OSError as error:
            raise storage_error(path, error) from error
        written.append(path)
    return written


def drawn(charts: Sequence[Chart] | TileSheet) -> Figure:
    """One figure of a sheet of pictures, or of charts of one kind. Raises VssbenchError where there is none."""
    with matplotlib.rc_context(RC):
        if isinstance(charts, TileSheet):
            return _sheet_figure(charts)
        if not charts:
            raise VssbenchError(
                "this run holds no scored frame yet, so there is nothing to draw; run the experiment first"
            )
        kinds: dict[type[Chart], Callable[[Any], Figure]] = {
            LineChart: _line_figure,
            ClassChart: _class_figure,
            LossChart: _loss_figure,
            WaterfallChart: _waterfall_figure,
        }
        return kinds[type(charts[0])](charts)


def _grid(
    count: int, columns: int, panel: tuple[float, float], margins: Margins, foot: float
) -> tuple[Figure, list[Any]]:
    """A figure with `count` sets of axes, placed by inches.

    Fixed places instead of a layout engine: they take a tenth of the time and do not move with the texts.
    """
    width, height = columns * panel[0], math.ceil(count / columns) * panel[1] + foot
    left, bottom, right, top = margins
    figure = Figure(figsize=(width, height))
    axes = []
    for number in range(count):
        x = (number % columns) * panel[0] + left
        y = height - (number // columns + 1) * panel[1] + bottom
        inner = (panel[0] - left - right, panel[1] - bottom - top)
        axes.append(figure.add_axes((x / width, y / height, inner[0] / width, inner[1] / height)))
    return figure, axes


def _line_figure(charts: Sequence[LineChart]) -> Figure:
    columns = 2 if len(charts) == 4 else min(len(charts), 3)
    names = {line.name: line for chart in charts if not chart.named_directly for line in chart.lines}
    longest = max((len(shorten(name, 40)) for name in names), default=0)
    across = max(1, int(columns * _PANEL[0] / (0.55 + 0.075 * longest)))
    foot = 0.08 + 0.2 * math.ceil(len(names) / across)
    panel, margins = _PANEL, _MARGINS
    if direct := max((len(chart.lines) for chart in charts if chart.named_directly), default=0):
        left, bottom, right, top = _MARGINS
        panel = (_PANEL[0] + _NAME_ROOM, max(_PANEL[1], bottom + top + _NAME_GAP * direct))
        margins = (left, bottom, right + _NAME_ROOM, top)
    figure, axes = _grid(len(charts), columns, panel, margins, foot)
    for ax, chart in zip(axes, charts, strict=True):
        ax.set_title(shorten(", ".join(chart.heading), 46), loc="left")
        ax.set_xlabel(chart.x_title.removesuffix(" (log scale)"))
        ax.set_ylabel(chart.y_title)
        if chart.log_x:
            ax.set_xscale("log")
        if chart.log_y:
            ax.set_yscale("log")
        for trace in chart.traces:
            points = [(point.x, point.y) for point in trace.points]
            ax.plot(*zip(*points, strict=True), color=style_of(trace.series).colour, linewidth=0.8, alpha=0.5)
        for line in chart.lines:
            _draw_line(ax, line)
        horizontal, vertical = chart.horizontal(0, 1), chart.vertical(0, 1)
        _set_axis(ax.xaxis, ax.set_xlim, horizontal)
        _set_axis(ax.yaxis, ax.set_ylim, vertical)
        if chart.named_directly:
            _name_lines(ax, chart, _NAME_GAP / (panel[1] - margins[1] - margins[3]))
    handles = [
        Line2D([], [], color="#555555", **_HOLLOW) if line.hollow else Line2D([], [], **_look(line.series))
        for line in names.values()
    ]
    labels = [shorten(name, 40) for name in names]
    columns = min(len(labels), across)
    if labels:
        figure.legend(handles, labels, loc="lower center", ncols=columns, handlelength=3, borderaxespad=0.2)
    return figure


def _name_lines(ax: Any, chart: LineChart, gap: float) -> None:
    """The name of each line at the right, tied to its last point; `gap` in heights of the axes."""
    places = chart.name_places(chart.vertical(0, 1).at, gap, 0.0, 1.0)
    for line, y in zip(chart.lines, places, strict=True):
        if line.points:
            last = line.points[-1]
            tie = {
                "arrowstyle": "-",
                "color": style_of(line.series).colour,
                "linewidth": 0.5,
                "alpha": 0.5,
                "shrinkA": 0,
            }
            ax.annotate("", (last.x, last.y), xytext=(1.03, y), textcoords="axes fraction", arrowprops=tie)
            ax.plot([1.03], [y], transform=ax.transAxes, clip_on=False, **_look(line.series))
            name = shorten(line.name, _NAME_LENGTH)
            ax.text(1.06, y, name, transform=ax.transAxes, va="center", fontsize=6.5)


def _set_axis(axis: Any, set_limits: Any, wanted: Axis) -> None:
    """The limits and ticks that the page has; a tick that would touch the one before it carries no number."""
    from matplotlib.ticker import NullLocator

    labels, last = [], -math.inf
    for tick in wanted.ticks:
        text, place = f"{tick:g}", wanted.at(tick)
        near = wanted.logarithmic and place - last < 0.045 * len(text)
        labels.append("" if near else text)
        last = last if near else place
    axis.set_ticks(wanted.ticks, labels)
    axis.set_minor_locator(NullLocator())
    set_limits(wanted.low, wanted.high)


def _look(series: int) -> dict[str, Any]:
    """matplotlib options of a series: colour, dashes, marker."""
    style = style_of(series)
    return {
        "color": style.colour,
        "linestyle": (0, style.dashes) if style.dashes else "-",
        "linewidth": 1.4,
        "marker": style.marker,
        "markersize": _MARKER,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _draw_line(ax: Any, line: Line) -> None:
    style = style_of(line.series)
    x, y, low, high = (np.array([getattr(p, key) for p in line.points]) for key in ("x", "y", "low", "high"))
    if line.hollow:
        ax.plot(x, y, color=style.colour, **{**_HOLLOW, "marker": style.marker})
        return
    if line.around == "band":
        ax.fill_between(x, low, high, color=style.colour, alpha=0.14, linewidth=0)
    elif line.around == "bars":
        ends = [np.nan_to_num(y - low), np.nan_to_num(high - y)]
        ax.errorbar(x, y, yerr=ends, color=style.colour, capsize=3, elinewidth=1.2, linestyle="none")
    elif line.around == "rods":
        ax.vlines(x, low, high, color=style.colour, linewidth=4, alpha=0.3)
    size = 6 if line.around == "bars" else _MARKER
    ax.plot(x, y, **{**_look(line.series), "markersize": size})
    for point in line.points:
        if point.note:
            foot = (point.x, point.low if math.isfinite(point.low) else point.y)
            style_ = {"ha": "center", "va": "top", "fontsize": 5.5}
            ax.annotate(point.note, foot, xytext=(0, -2), textcoords="offset points", **style_)


def _class_figure(charts: Sequence[ClassChart]) -> Figure:
    """A heat map per chart: classes across, methods down. Colour runs from dark to light, so that it reads in grey."""
    head = 0.3
    heights = [head + len(chart.methods) * _CELL[1] + _LABELS[1] for chart in charts]
    width = _LABELS[0] + max(len(chart.classes) for chart in charts) * _CELL[0] + 0.1
    height = sum(heights)
    figure = Figure(figsize=(width, height))
    top = height
    for chart, room in zip(charts, heights, strict=True):
        body, across = len(chart.methods) * _CELL[1], len(chart.classes) * _CELL[0]
        ax = figure.add_axes(
            (_LABELS[0] / width, (top - head - body) / height, across / width, body / height)
        )
        _draw_cells(ax, chart)
        names = [shorten(name, 24) for name, _ in chart.methods]
        ax.set_xticks(
            np.arange(len(chart.classes)) + 0.5,
            [shorten(n, 40) for n in chart.classes],
            rotation=40,
            ha="right",
        )
        ax.set_yticks(np.arange(len(names)) + 0.5, names)
        ax.tick_params(length=0)
        ax.set_title(
            ", ".join((*(shorten(t, 60) for t in chart.heading), f"{chart.score} (%) by class")), loc="left"
        )
        top -= room
    return figure


def _draw_cells(ax: Any, chart: ClassChart) -> None:
    """Coloured cells with the number in each, blank where a class never occurs."""
    import seaborn  # here, because it is needed for this figure alone and slow to import

    seaborn.heatmap(
        np.array(chart.values),
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


def _loss_figure(charts: Sequence[LossChart]) -> Figure:
    """Stacked bars over d: negative parts hang below zero, the line is the loss."""
    columns = min(len(charts), _LOSS_COLUMNS)
    several = len({(chart.dataset, chart.codec) for chart in charts}) > 1
    figure, axes = _grid(len(charts), columns, _LOSS_PANEL, _LOSS_MARGINS, 0.4)
    for ax, chart in zip(axes, charts, strict=True):
        for (_, colour, hatch), (_, values), bars in zip(
            PARTS.values(), chart.parts, chart.stacked(), strict=True
        ):
            bottoms = [start for start, _ in bars]
            options = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}
            ax.bar(chart.distances, values, 0.82, bottom=bottoms, **options)
        ax.plot(chart.distances, chart.loss, color="black", marker="o", markersize=2.5, linewidth=1)
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_xticks(distance_ticks(chart.distances, count=7))
        ax.set_xlabel("keyframe distance d", fontsize=7)
        ax.set_ylabel("mIoU points", fontsize=7)
        title = f"{chart.method}, {chart.codec}" if several else chart.method
        ax.set_title(shorten(title, 32), loc="left", fontsize=7.5)
    low, high = min(ax.get_ylim()[0] for ax in axes), max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(low, high)
    handles: list[Any] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=name)
        for name, colour, hatch in PARTS.values()
    ]
    handles.append(Line2D([], [], color="black", marker="o", markersize=3, linewidth=1, label="loss"))
    columns = 3 if columns < 3 else 5
    figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=7, handlelength=1.4)
    return figure


def _waterfall_figure(charts: Sequence[WaterfallChart]) -> Figure:
    """Stages end to end, a row per method and kind of frame, a panel per dataset."""
    row, most = 0.26, max(len(chart.rows) for chart in charts)
    panel = (6.8, 0.9 + row * most)
    figure, axes = _grid(len(charts), 1, panel, (2.2, 0.5, 0.3, 0.3), 0.3)
    names = charts[0].stage_names
    for ax, chart in zip(axes, charts, strict=True):
        for number, one in enumerate(chart.rows):
            before = 0.0
            for name, ms in one.stages:
                colour = STAGE_COLOURS[names.index(name) % len(STAGE_COLOURS)]
                ax.barh(number, ms, 0.7, left=before, color=colour, edgecolor="white", linewidth=0.3)
                before += ms
            ax.annotate(f" {before:.3g}", (before, number), va="center", fontsize=7)
        labels = [shorten(one.method, 26) + one.kind_text for one in chart.rows]
        ax.set_yticks(range(len(labels)), labels)
        ax.set_ylim(most - 0.5, -0.5)
        ax.set_xlim(0, 1.1 * max(one.total_ms for one in chart.rows))
        ax.set_xlabel("ms per frame")
        ax.grid(visible=False, axis="y")
        ax.set_title(shorten(f"{chart.dataset}, {chart.device}".strip(", "), 70), loc="left")
    handles = [
        Patch(facecolor=STAGE_COLOURS[i % len(STAGE_COLOURS)], label=shorten(name, 24))
        for i, name in enumerate(names)
    ]
    figure.legend(handles=handles, loc="lower center", ncols=min(6, len(handles)), fontsize=7)
    return figure


def _sheet_figure(sheet: TileSheet) -> Figure:
    """The sheet, tiles placed by inches."""
    wide = sheet.tile_inches
    side, head = 0.22 * bool(sheet.row_titles), 0.28 * bool(sheet.title)
    columns = max(len(row) for row in sheet.rows)
    heights = [wide * row[0][1].shape[0] / row[0][1].shape[1] for row in sheet.rows]
    lines = math.ceil(len(sheet.legend) / max(1, int(columns * wide / 0.9)))
    width = side + columns * (wide + _TILE_GAP)
    height = (
        head + sum(heights) + len(heights) * (_TILE_TITLE + _TILE_GAP) + (0.2 + 0.17 * lines) * bool(lines)
    )
    with matplotlib.rc_context({"axes.grid": False}):
        figure = Figure(figsize=(width, height))
        top = height - head
        for number, (row, tall) in enumerate(zip(sheet.rows, heights, strict=True)):
            bottom = top - _TILE_TITLE - tall
            for column, (title, image) in enumerate(row):
                left = side + column * (wide + _TILE_GAP)
                ax = figure.add_axes((left / width, bottom / height, wide / width, tall / height))
                ax.set_axis_off()
                ax.imshow(image, interpolation="nearest", aspect="auto")
                ax.set_title(shorten(title, round(17 * wide)), fontsize=7, pad=2)
            if sheet.row_titles:
                place = (side / 2 / width, (bottom + tall / 2) / height)
                text = shorten(sheet.row_titles[number], 30)
                figure.text(*place, text, rotation=90, ha="center", va="center", fontsize=6.5)
            top = bottom - _TILE_GAP
        if sheet.title:
            text = shorten(sheet.title, 90)
            figure.text(0.5, 1 - 0.15 / height, text, ha="center", va="center", fontsize=8)
        if lines:
            _sheet_legend(figure, sheet, lines)
    return figure


def _sheet_legend(figure: Figure, sheet: TileSheet, lines: int) -> None:
    patches = [Patch(facecolor=colour, edgecolor="#666666", linewidth=0.4) for _, colour in sheet.legend]
    figure.legend(
        patches, [shorten(name, 18) for name, _ in sheet.legend], loc="lower center",
        ncols=math.ceil(len(patches) / lines), fontsize=6.5, handlelength=1, columnspacing=1, borderaxespad=0.2,
    )  # fmt: skip
