"""The paper's Figures 3 and 4 from a run: what frames look like, accuracy against cost and against distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vssbench.errors import VssbenchError
from vssbench.rendering.figures import mpl as figures
from vssbench.rendering.paper import tables as paper
from vssbench.rendering.figures.axes import distance_ticks
from vssbench.rendering.figures.curves import Curve, Panel, panels
from vssbench.rendering.page.frames import FrameCase, tracks
from vssbench.rendering.paper.identity import PaperIdentity, paper_identity
from vssbench.rendering.images.colours import PictureCase, Rgb, label_image
from vssbench.rendering.figures.styles import style_of
from vssbench.rendering.tables.summary import printable
from vssbench.results.published import read_published
from vssbench.analysis.run import Run
from vssbench.results.store import storage_error, write_atomically

_TILE = 1.7
_FEW = 6
"""Methods that one set of axes can hold."""
_HOLLOW: dict[str, Any] = {
    "linestyle": "none",
    "markerfacecolor": "none",
    "markeredgewidth": 1.0,
    "markersize": 6.5,
}


def write_paper(
    runs: Sequence[Run], output: Path, *, name: str = "ar-seg", pictures: bool = True
) -> list[Path]:
    """Tables 1-5 and Figures 3-4 of a paper from one run or several, ours beside theirs.

    Files in `output`: paper.md, paper.tex (all tables), table1.tex|csv ..., figure3|figure4a|figure4b.svg|pdf where the
    runs hold what they show. Raises VssbenchError for an unknown paper, StorageError if the folder cannot be written.
    """
    if name not in paper.PAPERS:
        raise VssbenchError(f"no layout of paper {name!r}; there is {', '.join(paper.PAPERS)}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(output, error) from error
    written, captions = [], []
    for stem, caption, figure in _figures(runs, pictures):
        written += figures.save(figure, output / stem)
        captions.append((caption, f"{stem}.svg"))
    for file, text in paper.texts(runs, captions):
        write_atomically(output / file, text.encode("utf-8"))
        written.append(output / file)
    return written


def _figures(runs: Sequence[Run], pictures: bool) -> list[tuple[str, str, Figure]]:
    found: list[tuple[str, str, Figure]] = []
    cases = [case for run in runs for case in figure3_cases(run)] if pictures else []
    if cases:
        found.append(("figure3", "Figure 3: what the methods see", figure3(cases)))
    drawn = [(run, panel) for run in runs for panel in panels(run)]
    costly = [(r, p) for r, p in drawn if any(math.isfinite(c.gop_mean_gmacs) for c in p.curves)]
    if costly:
        found.append(("figure4a", "Figure 4 (a): accuracy against cost", figure4a(costly)))
    if drawn:
        found.append(("figure4b", "Figure 4 (b): accuracy by keyframe distance", figure4b(drawn)))
    return found


def figure3_cases(run: Run, per_section: int = 1) -> list[FrameCase]:
    """Kept frames at the largest distance, evenly over each dataset and codec."""
    chosen = []
    sections: dict[tuple[str, str], list[FrameCase]] = {}
    for track in tracks(run):
        sections.setdefault((track.dataset, track.codec), []).extend(track.cases)
    for cases in sections.values():
        far = [case for case in cases if case.distance == max(c.distance for c in cases)]
        count = min(per_section, len(far))
        chosen += [far[(2 * k + 1) * len(far) // (2 * count)] for k in range(count)]
    return chosen


def figure3(cases: Sequence[FrameCase]) -> Figure:
    """A row per frame: the decoded frame, the truth, every method's answer."""
    rows = [_row_of(case.picture()) for case in cases]
    columns = max(len(row) for row in rows)
    heights = [_TILE * case_row[0][1].shape[0] / case_row[0][1].shape[1] for case_row in rows]
    gap, head = 0.05, 0.2
    width = columns * (_TILE + gap) + 0.25
    height = sum(heights) + len(rows) * (head + gap)
    with matplotlib.rc_context({**figures.RC, "axes.grid": False}):
        figure = Figure(figsize=(width, height))
        top = height
        for case, row, tall in zip(cases, rows, heights, strict=True):
            for column, (title, image) in enumerate(row):
                left = 0.22 + column * (_TILE + gap)
                ax = figure.add_axes(
                    (left / width, (top - head - tall) / height, _TILE / width, tall / height)
                )
                ax.set_axis_off()
                ax.imshow(image, interpolation="nearest", aspect="auto")
                ax.set_title(figures.shorten(title, 28), fontsize=7, pad=2)
            text = figures.shorten(f"{case.dataset}, {case.codec}, d = {case.distance}", 30)
            figure.text(
                0.11 / width,
                (top - head - tall / 2) / height,
                text,
                rotation=90,
                ha="center",
                va="center",
                fontsize=6.5,
            )
            top -= head + tall + gap
    return figure


def _row_of(case: PictureCase) -> list[tuple[str, Rgb]]:
    row = [("image", case.decoded), ("ground truth", label_image(case.truth, case))]
    return row + [(printable(title), label_image(labels, case)) for title, labels in case.predictions.items()]


Family = tuple[str, str]
"""(registered method, network): operating points that the paper joins by a line."""


def _families(run: Run, panel: Panel) -> dict[Family, list[tuple[Curve, float]]]:
    """Family -> its curves with their lr_scale, by ascending cost; methods without a cost are left out."""
    entries = {str(m.get("label") or m.get("name")): m for m in run.experiment["methods"]}
    found: dict[Family, list[tuple[Curve, float]]] = {}
    for curve in panel.curves:
        entry = entries.get(curve.method, {})
        if curve.gop_mean_gmacs > 0 and math.isfinite(curve.miou):
            family = (str(entry.get("name", "")), str(entry.get("network", "")))
            found.setdefault(family, []).append((curve, float(entry.get("lr_scale") or 1.0)))
    return {family: sorted(one, key=lambda pair: pair[0].gop_mean_gmacs) for family, one in found.items()}


def figure4a(drawn: Sequence[tuple[Run, Panel]]) -> Figure:
    """Mean mIoU over GMACs, bars over d >= 1, numbers are lr_scales; the paper's points hollow."""
    curved = [one for one in drawn if any(len(points) > 1 for points in _families(*one).values())] or drawn
    order = {
        family: i for i, family in enumerate(dict.fromkeys(f for one in curved for f in _families(*one)))
    }
    with matplotlib.rc_context(figures.RC):
        across = max(1, int(figures.columns_of([panel for _, panel in curved]) * 3.4 / 1.95))
        figure, axes = figures.panel_grid(
            [panel for _, panel in curved], math.ceil((len(order) + 1) / across)
        )
        hollow = False
        for ax, (run, panel) in zip(axes, curved, strict=True):
            for family, points in _families(run, panel).items():
                _draw_family(ax, points, order[family])
                theirs = [row for curve, _ in points for row in _published_point(run, curve)]
                hollow |= bool(theirs)
                if theirs:
                    style = style_of(order[family])
                    ax.plot(*zip(*theirs, strict=True), marker=style.marker, color=style.colour, **_HOLLOW)
            ax.set_xscale("log")
            ax.margins(x=0.15)
            figures.plain_log_ticks(ax)
            ax.set_xlabel("GMACs per frame")
            ax.set_ylabel("mIoU (%), bars: d = 1 to L - 1")
        names = [_family_name(family) for family in order]
        _family_legend(figure, names, hollow, across)
    return figure


def _family_name(family: Family) -> str:
    method, network = family
    return f"{method} ({network})" if network else method


def _family_legend(figure: Figure, names: Sequence[str], hollow: bool, across: int) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **figures.look(i)) for i in range(len(names))]
    labels = [figures.shorten(name, 40) for name in names]
    if hollow:
        handles.append(Line2D([], [], marker="o", color="#555555", **_HOLLOW))
        labels.append("published")
    figure.legend(
        handles, labels, loc="lower center", ncols=min(across, len(labels)), fontsize=6.5, borderaxespad=0.2
    )


def _draw_family(ax: Any, points: Sequence[tuple[Curve, float]], series: int) -> None:
    style = style_of(series)
    places = [(curve.gop_mean_gmacs, 100 * curve.miou) for curve, _ in points]
    for (cost, mean), (curve, scale) in zip(places, points, strict=True):
        far = [
            100 * v for d, v in zip(curve.distances, curve.miou_d, strict=True) if d > 0 and math.isfinite(v)
        ]
        low, high = (min(far), max(far)) if far else (mean, mean)
        ax.plot([cost] * 2, [low, high], color=style.colour, linewidth=4, alpha=0.3, solid_capstyle="butt")
        if len(points) > 1:
            ax.annotate(
                f"{scale:g}",
                (cost, low),
                xytext=(0, -2),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=5.5,
            )
    ax.plot(*zip(*places, strict=True), **figures.look(series))


def _identity(run: Run, curve: Curve) -> PaperIdentity | None:
    return paper_identity(run, curve.dataset, curve.codec, curve.method)


def _published_point(run: Run, curve: Curve) -> list[tuple[float, float]]:
    from vssbench.rendering.paper.published import published_counterpart

    found = published_counterpart(run, curve.dataset, curve.codec, curve.method)
    return [] if found is None else [(found.gflops, found.miou_percent)]


def figure4b(drawn: Sequence[tuple[Run, Panel]]) -> Figure:
    """mIoU_d with bands, ours; the released result files' values as hollow markers where a row has them."""
    drawn = [(run, _as_in_the_paper(run, panel)) for run, panel in drawn]
    only = [panel for _, panel in drawn]
    with matplotlib.rc_context(figures.RC):
        figure, axes = figures.panel_grid(only)
        for ax, (run, panel) in zip(axes, drawn, strict=True):
            theirs = False
            for curve in panel.curves:
                figures.draw_curve(ax, curve)
                released = _released(_identity(run, curve))
                if released:
                    style = style_of(curve.series)
                    ax.plot(*zip(*released, strict=True), marker=style.marker, color=style.colour, **_HOLLOW)
                    theirs = True
            if theirs:
                ax.plot([], [], marker="o", color="#555555", label="released results", **_HOLLOW)
                ax.legend(loc="lower left", fontsize=7)
            ax.set_xticks(distance_ticks([d for curve in panel.curves for d in curve.distances]))
            ax.set_xlabel("keyframe distance d (frames)")
            ax.set_ylabel("mIoU at d (%)")
        figures.share_limits(axes, only)
        figures.draw_legend(figure, only)
    return figure


def _as_in_the_paper(run: Run, panel: Panel) -> Panel:
    """Of many methods those that the paper draws: full and half resolution and AR-Seg at half of the first network."""
    if len(panel.curves) <= _FEW:
        return panel
    entries = {str(m.get("label") or m.get("name")): m for m in run.experiment["methods"]}
    network = entries.get(panel.curves[0].method, {}).get("network")
    shown = {("constant", 1.0), ("constant", 0.5), ("ar-seg", 0.5)}
    kept = [
        curve
        for curve in panel.curves
        if (one := entries.get(curve.method, {})).get("network") == network
        and (one.get("name"), float(one.get("lr_scale") or 1.0)) in shown
    ]
    return replace(panel, curves=tuple(kept or panel.curves[:_FEW]))


def _released(identity: PaperIdentity | None) -> list[tuple[float, float]]:
    """(d, mIoU in percent) of the released result file of this row; empty where there is none."""
    plain = identity is not None and identity.variant == "final" and identity.keyframe_interval == 12
    if identity is None or not plain or not identity.codec.startswith("HEVC@"):
        return []
    wanted = (identity.dataset, identity.backbone, identity.method, identity.lr_scale)
    rows = read_published("released_results")
    found = [r for r in rows if (r["dataset"], r["backbone"], r["method"], r["lr_scale"]) == wanted]
    points = [
        (float(str(r["keyframe_distance"])), float(r["miou_percent"] or np.nan))
        for r in found
        if r["keyframe_distance"] != "mean"
    ]
    usual = {"camvid": "HEVC@3Mbps", "cityscapes": "HEVC@5Mbps"}[identity.dataset]
    return points if identity.codec == usual else []
