"""The paper's Figures 3 and 4 from a run: what frames look like, accuracy against cost and against distance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vssbench.analysis.run import Run
from vssbench.errors import VssbenchError
from vssbench.files import storage_error, write_atomically
from vssbench.rendering.curves import MethodCurve, Panel, panels
from vssbench.rendering.figures.charts import Line, LineChart, Point, extent
from vssbench.rendering.figures.files import FigureFile, draw
from vssbench.rendering.figures.of_run import GMACS, distance_charts, has_cost
from vssbench.rendering.images.tiles import TileSheet, answer_sheet
from vssbench.rendering.page.frames import tracks
from vssbench.rendering.paper.tables import PAPERS, paper_files
from vssbench.rendering.tables.published import published_counterpart
from vssbench.results.frames import FrameCase
from vssbench.results.identity import PaperIdentity
from vssbench.results.published import USUAL, read_published

_FEW = 6
"""Methods that one set of axes can hold."""


def write_paper(
    runs: Sequence[Run], output: Path, *, name: str = "ar-seg", pictures: bool = True
) -> list[Path]:
    """Tables 1-5 and Figures 3-4 of a paper from one run or several, ours beside theirs.

    Files in `output`: paper.md, paper.tex (all tables), table1.tex|csv ..., figure3|figure4a|figure4b.svg|pdf where the
    runs hold what they show. Raises VssbenchError for an unknown paper, StorageError if the folder cannot be written.
    """
    if name not in PAPERS:
        raise VssbenchError(f"no layout of paper {name!r}; there is {', '.join(PAPERS)}")
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(output, error) from error
    figures = paper_figures(runs, pictures)
    written = draw(figures, output)
    for file, text in paper_files(runs, [(figure.caption, f"{figure.stem}.svg") for figure in figures]):
        write_atomically(output / file, text.encode("utf-8"))
        written.append(output / file)
    return written


def paper_figures(runs: Sequence[Run], pictures: bool) -> list[FigureFile]:
    """The figures for which the runs hold something."""
    found = []
    cases = [case for run in runs for case in figure3_cases(run)] if pictures else []
    if cases:
        found.append(FigureFile("figure3", "Figure 3: what the methods see", figure3(cases)))
    measured = [(run, panel) for run in runs for panel in panels(run)]
    costs = figure4a(measured)
    if costs:
        found.append(FigureFile("figure4a", "Figure 4 (a): accuracy against cost", costs))
    if measured:
        found.append(
            FigureFile("figure4b", "Figure 4 (b): accuracy by keyframe distance", figure4b(measured))
        )
    return found


def figure3_cases(run: Run) -> list[FrameCase]:
    """A kept frame at the largest distance of each dataset and codec, from the middle of those."""
    chosen = []
    sections: dict[tuple[str, str], list[FrameCase]] = {}
    for track in tracks(run):
        sections.setdefault((track.dataset, track.codec), []).extend(track.cases)
    for cases in sections.values():
        far = [case for case in cases if case.distance == max(c.distance for c in cases)]
        chosen.append(far[len(far) // 2])
    return chosen


def figure3(cases: Sequence[FrameCase]) -> TileSheet:
    """A row per frame: the decoded frame, the truth, every method's answer."""
    return answer_sheet([(f"{c.dataset}, {c.codec}, d = {c.distance}", c.picture()) for c in cases])


Operating = dict[str, list[tuple[MethodCurve, float]]]
"""Name of a family -> its curves with their lr_scale, by ascending cost; the paper joins them by a line."""


def _families(run: Run, panel: Panel) -> Operating:
    found: Operating = {}
    for curve in panel.curves:
        if has_cost(curve):
            entry = run.roster.method(curve.dataset, curve.method)
            name = f"{entry.name} ({entry.network.name})" if entry.network else entry.name
            found.setdefault(name, []).append((curve, entry.lr_scale))
    return {name: sorted(one, key=lambda pair: pair[0].gop_mean_gmacs) for name, one in found.items()}


def figure4a(measured: Sequence[tuple[Run, Panel]]) -> list[LineChart]:
    """Mean mIoU over GMACs, rods over d >= 1, numbers are lr_scales; the paper's points hollow."""
    families = [(run, panel, _families(run, panel)) for run, panel in measured]
    curved = [one for one in families if any(len(points) > 1 for points in one[2].values())] or families
    order: dict[str, int] = {}
    charts = []
    for run, panel, found in curved:
        lines = [
            line
            for name, points in found.items()
            for line in _family_lines(run, name, order.setdefault(name, len(order)), points)
        ]
        if lines:
            values = [point for line in lines for point in line.points]
            charts.append(
                LineChart(
                    "accuracy against cost",
                    panel.heading,
                    panel.dataset,
                    panel.codec,
                    GMACS,
                    "mIoU (%), bars: d = 1 to L - 1",
                    tuple(lines),
                    extent(point.x for point in values),
                    extent(v for point in values for v in (point.y, point.low, point.high)),
                    log_x=True,
                )
            )
    return charts


def _family_lines(
    run: Run, name: str, series: int, points: Sequence[tuple[MethodCurve, float]]
) -> Iterator[Line]:
    ours, theirs = [], []
    for curve, scale in points:
        far = [100 * v for d, v in zip(curve.distances, curve.miou_d, strict=True) if d > 0]
        low, high = extent(far)
        note = f"{scale:g}" if len(points) > 1 else ""
        ours.append(Point(curve.gop_mean_gmacs, 100 * curve.miou, low, high, note=note))
        row = published_counterpart(run, curve.dataset, curve.codec, curve.method)
        if row is not None and math.isfinite(row.gflops):
            theirs.append(Point(row.gflops, row.miou_percent))
    yield Line(name, series, tuple(ours), "rods")
    if theirs:
        yield Line("published", series, tuple(theirs), hollow=True)


def figure4b(measured: Sequence[tuple[Run, Panel]]) -> list[LineChart]:
    """mIoU_d with bands, ours; the released result files' values as hollow markers where a row has them."""
    shown = [_as_in_the_paper(run, panel) for run, panel in measured]
    charts = []
    for (run, _), panel, chart in zip(measured, shown, distance_charts(shown), strict=True):
        released = [
            Line("released results", curve.series, points, hollow=True)
            for curve in panel.curves
            if (points := _released(run.roster.identity(curve.dataset, curve.codec, curve.method)))
        ]
        ends = extent((*chart.y_extent, *(point.y for line in released for point in line.points)))
        charts.append(replace(chart, lines=(*chart.lines, *released), y_extent=ends))
    return charts


def _as_in_the_paper(run: Run, panel: Panel) -> Panel:
    """Of many methods those that the paper draws: full and half resolution and AR-Seg at half of the first network."""
    if len(panel.curves) <= _FEW:
        return panel
    entries = [run.roster.method(curve.dataset, curve.method) for curve in panel.curves]
    shown = {("constant", 1.0), ("constant", 0.5), ("ar-seg", 0.5)}
    kept = [
        curve
        for curve, entry in zip(panel.curves, entries, strict=True)
        if entry.network == entries[0].network and (entry.name, entry.lr_scale) in shown
    ]
    return replace(panel, curves=tuple(kept or panel.curves[:_FEW]))


def _released(identity: PaperIdentity | None) -> tuple[Point, ...]:
    """mIoU in percent by d of the released result file of this row; empty where there is none."""
    if identity is None or identity.variant != "final" or identity.keyframe_interval != 12:
        return ()
    if identity.codec != USUAL[identity.dataset]:
        return ()
    wanted = (identity.dataset, identity.backbone, identity.method, identity.lr_scale)
    return tuple(
        Point(float(str(row["keyframe_distance"])), float(row["miou_percent"] or math.nan))
        for row in read_published("released_results")
        if (row["dataset"], row["backbone"], row["method"], row["lr_scale"]) == wanted
        and row["keyframe_distance"] != "mean"
    )
