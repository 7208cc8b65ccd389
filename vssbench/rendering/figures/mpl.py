"""Figures for papers: the charts of the page and the picture strip as SVG and PDF, the same bytes for the same run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vssbench.errors import VssbenchError
from vssbench.rendering.figures.axes import distance_ticks
from vssbench.rendering.figures.curves import Curve, Panel
from vssbench.rendering.images.colours import PictureCase, Rgb, error_image, label_image, motion_image
from vssbench.rendering.figures.styles import style_of
from vssbench.rendering.tables.summary import kbps_text, printable
from vssbench.results.store import storage_error

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
_PANEL_INCHES = (3.4, 2.6)
_MARGINS = (0.55, 0.5, 0.15, 0.3)
"""Left, bottom, right, top of the axes inside a panel, inches."""
_TILE = 2.0
"""Width of a picture in a strip, inches."""
_MARKER_SIZE = 4.5


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


def miou_d_figure(panels: Sequence[Panel]) -> Figure:
    """mIoU over keyframe distance with interval bands, a panel per dataset and codec."""
    with matplotlib.rc_context(RC):
        figure, axes = panel_grid(panels)
        for ax, panel in zip(axes, panels, strict=True):
            for curve in panel.curves:
                draw_curve(ax, curve, band=panel.has_bands)
            ax.set_xticks(distance_ticks([d for curve in panel.curves for d in curve.distances]))
            ax.set_xlabel("keyframe distance d (frames)")
            ax.set_ylabel("mIoU at d (%)")
        share_limits(axes, panels)
        draw_legend(figure, panels)
    return figure


def cost_figure(panels: Sequence[Panel]) -> Figure | None:
    """Mean mIoU over GMACs per frame, bars over the range of mIoU_d; None where no cost was measured."""
    measured = [p for p in panels if any(math.isfinite(c.gop_mean_gmacs) for c in p.curves)]
    if not measured:
        return None
    with matplotlib.rc_context(RC):
        figure, axes = panel_grid(measured)
        for ax, panel in zip(axes, measured, strict=True):
            for curve in panel.curves:
                _draw_operating_point(ax, curve)
            ax.set_xscale("log")
            ax.margins(x=0.15)
            plain_log_ticks(ax)
            ax.set_xlabel("GMACs per frame")
            ax.set_ylabel("mIoU (%), bars: range over d")
        share_limits(axes, measured)
        draw_legend(figure, measured)
    return figure


def strip_figure(case: PictureCase) -> Figure:
    """Decoded frame, motion and truth above; every method's prediction over its errors below; classes at the foot."""
    rows = _strip_rows(case)
    columns = max(len(row) for row in rows)
    height, width = case.truth.shape
    tile_height, title_height, head, foot = _TILE * height / width, 0.2, 0.28, 0.2
    entries_per_row = max(1, int(columns * _TILE / 0.9))
    legend_rows = math.ceil(len(case.class_names) / entries_per_row)
    legend = 0.17 * legend_rows
    inches = (columns * (_TILE + 0.06), head + len(rows) * (tile_height + title_height) + legend + foot)
    with matplotlib.rc_context({**RC, "axes.grid": False}):
        figure = Figure(figsize=inches)
        for r, row in enumerate(rows):
            for c, (title, image) in enumerate(row):
                left, top = c * (_TILE + 0.06) + 0.03, head + r * (tile_height + title_height) + title_height
                place = (
                    left / inches[0],
                    1 - (top + tile_height) / inches[1],
                    _TILE / inches[0],
                    tile_height / inches[1],
                )
                ax = figure.add_axes(place)
                ax.set_axis_off()
                ax.imshow(image, interpolation="nearest", aspect="auto")
                ax.set_title(shorten(title, 34), fontsize=7, pad=2)
        figure.text(0.5, 1 - 0.15 / inches[1], shorten(case.name, 90), ha="center", va="center", fontsize=8)
        colours = case.palette[: len(case.class_names)] / 255
        patches = [Patch(facecolor=tuple(c), edgecolor="#666666", linewidth=0.4) for c in colours]
        names = [shorten(name, 18) for name in case.class_names]
        figure.legend(
            patches, names, loc="lower center", ncols=math.ceil(len(names) / legend_rows), fontsize=6.5, handlelength=1,
            columnspacing=1, borderaxespad=0.2,
        )  # fmt: skip
    return figure


def _strip_rows(case: PictureCase) -> list[list[tuple[str, Rgb]]]:
    """Titled pictures of a strip, up to four in a row."""
    first = [
        ("decoded frame", case.decoded),
        ("motion to the keyframe", motion_image(case)),
        ("truth", label_image(case.truth, case)),
    ]
    rows = [[(title, image) for title, image in first if image is not None]]
    predictions = [
        (f"{m} ({100 * case.frame_miou(m):.1f} %)", label_image(p, case)) for m, p in case.predictions.items()
    ]
    errors = [(f"errors of {m}", error_image(case, m)) for m in case.predictions]
    for start in range(0, len(predictions), 4):
        rows += [predictions[start : start + 4], errors[start : start + 4]]
    return rows


def png(figure: Figure, path: Path) -> Path:
    """Write a raster copy, for looking at it. Raises StorageError."""
    try:
        with matplotlib.rc_context(RC):
            FigureCanvasAgg(figure)
            figure.savefig(path, metadata={"Software": None})
    except OSError as error:
        raise storage_error(path, error) from error
    return path


def panel_grid(panels: Sequence[Panel], legend_rows: int | None = None) -> tuple[Figure, list[Any]]:
    """A figure with one titled set of axes per panel, placed by inches.

    legend_rows: lines of legend to leave room for; default: one entry per method.
    Fixed places instead of a layout engine: they take a tenth of the time and do not move with the texts.
    """
    if not panels:
        raise VssbenchError(
            "this run holds no scored frame yet, so there is nothing to draw; run the experiment first"
        )
    columns = columns_of(panels)
    rows = math.ceil(len(panels) / columns)
    lines = _legend_rows(panels, columns) if legend_rows is None else legend_rows
    foot = 0.08 + 0.2 * lines
    width, height = columns * _PANEL_INCHES[0], rows * _PANEL_INCHES[1] + foot
    figure = Figure(figsize=(width, height))
    axes = []
    for number, panel in enumerate(panels):
        left = (number % columns) * _PANEL_INCHES[0] + _MARGINS[0]
        bottom = height - (number // columns + 1) * _PANEL_INCHES[1] + _MARGINS[1]
        inner = (_PANEL_INCHES[0] - _MARGINS[0] - _MARGINS[2], _PANEL_INCHES[1] - _MARGINS[1] - _MARGINS[3])
        ax = figure.add_axes((left / width, bottom / height, inner[0] / width, inner[1] / height))
        parts = [panel.dataset, panel.codec, kbps_text(panel.kbps)]
        ax.set_title(shorten(", ".join(p for p in parts if p), 46), loc="left")
        axes.append(ax)
    return figure, axes


def columns_of(panels: Sequence[Panel]) -> int:
    """Panels in a row: three at most, four as two by two."""
    return 2 if len(panels) == 4 else min(len(panels), 3)


def _methods(panels: Sequence[Panel]) -> dict[str, int]:
    return {curve.method: curve.series for panel in panels for curve in panel.curves}


def _legend_columns(panels: Sequence[Panel], columns: int) -> int:
    """Entries that fit side by side under `columns` panels."""
    longest = max(len(shorten(method, 40)) for method in _methods(panels))
    return max(1, int(columns * _PANEL_INCHES[0] / (0.55 + 0.075 * longest)))


def _legend_rows(panels: Sequence[Panel], columns: int) -> int:
    return math.ceil(len(_methods(panels)) / _legend_columns(panels, columns))


def draw_curve(ax: Any, curve: Curve, *, band: bool = True) -> None:
    """mIoU_d with its interval as a band."""
    style = style_of(curve.series)
    x, y = np.array(curve.distances), 100 * np.array(curve.miou_d)
    low, high = 100 * np.array(curve.low), 100 * np.array(curve.high)
    if band:
        ax.fill_between(x, low, high, color=style.colour, alpha=0.14, linewidth=0)
    ax.plot(x, y, **look(curve.series))


def look(series: int) -> dict[str, Any]:
    """matplotlib options of a series: colour, dashes, marker."""
    style = style_of(series)
    return {
        "color": style.colour,
        "linestyle": (0, style.dashes) if style.dashes else "-",
        "linewidth": 1.4,
        "marker": style.marker,
        "markersize": _MARKER_SIZE,
        "markeredgecolor": "white",
        "markeredgewidth": 0.5,
    }


def _draw_operating_point(ax: Any, curve: Curve) -> None:
    if not (math.isfinite(curve.gop_mean_gmacs) and curve.gop_mean_gmacs > 0 and math.isfinite(curve.miou)):
        return
    low, high = curve.spread
    mean = 100 * curve.miou
    style = style_of(curve.series)
    ax.errorbar(
        [curve.gop_mean_gmacs], [mean], yerr=[[mean - 100 * low], [100 * high - mean]], color=style.colour, capsize=3,
        elinewidth=1.2, marker=style.marker, markersize=6, markeredgecolor="white", markeredgewidth=0.5,
    )  # fmt: skip


def plain_log_ticks(ax: Any) -> None:
    """Ticks at 1, 2, 5 x 10^n written as plain numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = ax.get_xlim()
    subs = (1.0, 2.0, 5.0) if high / low < 300 else (1.0,)
    ax.xaxis.set_major_locator(LogLocator(base=10, subs=subs))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def share_limits(axes: Sequence[Any], panels: Sequence[Panel]) -> None:
    """One vertical scale per dataset, so that panels can be compared by eye."""
    for dataset in dict.fromkeys(panel.dataset for panel in panels):
        mine = [ax for ax, panel in zip(axes, panels, strict=True) if panel.dataset == dataset]
        low, high = min(ax.get_ylim()[0] for ax in mine), max(ax.get_ylim()[1] for ax in mine)
        for ax in mine:
            ax.set_ylim(low, high)


def draw_legend(figure: Figure, panels: Sequence[Panel]) -> None:
    """All methods of the panels below them."""
    methods = _methods(panels)
    handles = [Line2D([], [], **look(series)) for series in methods.values()]
    labels = [shorten(method, 40) for method in methods]
    columns = min(len(labels), _legend_columns(panels, columns_of(panels)))
    figure.legend(handles, labels, loc="lower center", ncols=columns, handlelength=3, borderaxespad=0.2)


def shorten(text: str, length: int) -> str:
    """The text on one line, cut to `length` characters."""
    clean = printable(text)
    return clean if len(clean) <= length else clean[: length - 1] + "…"
