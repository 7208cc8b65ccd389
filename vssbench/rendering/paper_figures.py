"""The paper's Figures 3 and 4 from a run: what frames look like, accuracy against cost and against distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from vssbench.errors import VssbenchError
from vssbench.rendering import figures, paper
from vssbench.rendering.axes import distance_ticks
from vssbench.rendering.curves import Curve, Panel, panels
from vssbench.rendering.frames import FrameCase, tracks
from vssbench.rendering.paper_identity import PaperIdentity, paper_identity
from vssbench.rendering.pictures import PictureCase, Rgb, label_image
from vssbench.rendering.styles import style_of
from vssbench.rendering.tables import printable
from vssbench.results.published import read_published
from vssbench.results.run import Run
from vssbench.results.store import storage_error, write_atomically

_TILE = 1.7
_HOLLOW = {"linestyle": "none", "markerfacecolor": "none", "markeredgewidth": 1.0, "markersize": 6.5}


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


def figure4a(drawn: Sequence[tuple[Run, Panel]]) -> Figure:
    """Mean mIoU over GMACs, bars over d >= 1; operating points of one kind joined; the paper's points hollow."""
    with matplotlib.rc_context(figures.RC):
        figure, axes = figures.panel_grid([panel for _, panel in drawn])
        for ax, (run, panel) in zip(axes, drawn, strict=True):
            kinds = {
                str(m.get("label") or m.get("name")): str(m.get("name")) for m in run.experiment["methods"]
            }
            for kind in dict.fromkeys(kinds.get(c.method, "") for c in panel.curves):
                _draw_kind(ax, [c for c in panel.curves if kinds.get(c.method, "") == kind])
            published = [row for c in panel.curves for row in _published_point(run, c)]
            if published:
                ax.plot(*zip(*published, strict=True), marker="o", color="#555555", label="paper", **_HOLLOW)
                ax.legend(loc="lower right", fontsize=7)
            ax.set_xscale("log")
            ax.margins(x=0.15)
            figures.plain_log_ticks(ax)
            ax.set_xlabel("GMACs per frame")
            ax.set_ylabel("mIoU (%), bars: d = 1 to L - 1")
        figures.draw_legend(figure, [panel for _, panel in drawn])
    return figure


def _draw_kind(ax: Any, curves: Sequence[Curve]) -> None:
    known = sorted(
        (c for c in curves if c.gop_mean_gmacs > 0 and math.isfinite(c.miou)), key=lambda c: c.gop_mean_gmacs
    )
    if len(known) > 1:
        points = [(c.gop_mean_gmacs, 100 * c.miou) for c in known]
        ax.plot(*zip(*points, strict=True), color=style_of(known[0].series).colour, linewidth=0.9, zorder=1)
    for curve in known:
        style = style_of(curve.series)
        far = [
            100 * v for d, v in zip(curve.distances, curve.miou_d, strict=True) if d > 0 and math.isfinite(v)
        ]
        mean = 100 * curve.miou
        low, high = (min(far), max(far)) if far else (mean, mean)
        ax.plot(
            [curve.gop_mean_gmacs] * 2,
            [low, high],
            color=style.colour,
            linewidth=3,
            alpha=0.35,
            solid_capstyle="butt",
        )
        ax.plot([curve.gop_mean_gmacs], [mean], **figures.look(curve.series))


def _identity(run: Run, curve: Curve) -> PaperIdentity | None:
    return paper_identity(run, curve.dataset, curve.codec, curve.method)


def _published_point(run: Run, curve: Curve) -> list[tuple[float, float]]:
    from vssbench.rendering.published import published_counterpart

    found = published_counterpart(run, curve.dataset, curve.codec, curve.method)
    return [] if found is None else [(found.gflops, found.miou_percent)]


def figure4b(drawn: Sequence[tuple[Run, Panel]]) -> Figure:
    """mIoU_d with bands, ours; the released result files' values as hollow markers where a row has them."""
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
