"""The charts of a run: one function for each, scores in and plain chart data out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from vssbench.analysis.decomposition import Decomposition
from vssbench.analysis.families import ANCHOR, FamilyComparison
from vssbench.rendering.curves import MethodCurve, Panel
from vssbench.rendering.figures.axes import distance_ticks
from vssbench.rendering.figures.charts import (
    ClassChart,
    Extent,
    Line,
    LineChart,
    LossChart,
    Point,
    Waterfall,
    WaterfallChart,
    extent,
)
from vssbench.rendering.styles import PARTS
from vssbench.rendering.text import ends_text, kbps_text

MOST_BANDS = 10
"""More intervals than this hide each other; axes with more curves show none (the tables have them)."""
LEAST_RATE_RATIO = 1.25
"""Bitrates closer together than this are not drawn as a curve."""
GMACS = "GMACs per frame"


def score_text(value: float, low: float, high: float) -> str:
    """A score in percent, with its interval where there is one: '68.05 % [61.80, 69.92]'."""
    return f"{100 * value:.2f} % {ends_text(low, high)}".rstrip()


def distance_charts(panels: Sequence[Panel]) -> list[LineChart]:
    """mIoU over keyframe distance with interval bands, one chart per panel, one scale per dataset."""
    return [
        LineChart(
            f"{panel.score} by keyframe distance",
            panel.heading,
            panel.dataset,
            panel.codec,
            "keyframe distance d (frames)",
            f"{panel.score} at d (%)",
            tuple(distance_line(curve, has_bands(panel)) for curve in panel.curves),
            extent(d for curve in panel.curves for d in curve.distances),
            _percent(v for p in panels if p.dataset == panel.dataset for v in _distance_values(p)),
            x_ticks=distance_ticks([d for curve in panel.curves for d in curve.distances]),
        )
        for panel in panels
    ]


def _percent(shares: Iterable[float]) -> Extent:
    low, high = extent(shares)
    return 100 * low, 100 * high


def has_bands(panel: Panel) -> bool:
    """Whether intervals can be told from each other."""
    return len(panel.curves) <= MOST_BANDS


def distance_line(curve: MethodCurve, band: bool) -> Line:
    """mIoU_d of one method in percent."""
    points = tuple(
        Point(
            d,
            100 * value,
            100 * low,
            100 * high,
            f"{curve.method}\nd = {d}: {curve.score} {score_text(value, low, high)}",
        )
        for d, value, low, high in zip(curve.distances, curve.miou_d, curve.low, curve.high, strict=True)
        if math.isfinite(value)
    )
    return Line(curve.method, curve.series, points, "band" if band else "nothing")


def _distance_values(panel: Panel) -> Iterable[float]:
    for curve in panel.curves:
        yield from curve.miou_d
        if has_bands(panel):
            yield from (*curve.low, *curve.high)


def has_cost(curve: MethodCurve) -> bool:
    """Whether a curve can stand on an axis of costs."""
    return curve.gop_mean_gmacs > 0 and math.isfinite(curve.gop_mean_gmacs) and math.isfinite(curve.miou)


def cost_charts(panels: Sequence[Panel]) -> list[LineChart]:
    """Mean mIoU over GMACs per frame, its interval as bars; panels without costs are left out."""
    charts = []
    for panel in panels:
        curves = [curve for curve in panel.curves if has_cost(curve)]
        shared = [c for p in panels if p.dataset == panel.dataset for c in p.curves if has_cost(c)]
        if curves:
            charts.append(
                LineChart(
                    "accuracy against cost",
                    panel.heading,
                    panel.dataset,
                    panel.codec,
                    f"{GMACS} (log scale)",
                    f"{panel.score} (%)",
                    tuple(_cost_line(curve) for curve in curves),
                    extent(c.gop_mean_gmacs for c in shared),
                    _percent(v for c in shared for v in (c.miou, c.miou_low, c.miou_high)),
                    log_x=True,
                    traces=_families(curves),
                )
            )
    return charts


def _families(curves: Sequence[MethodCurve]) -> tuple[Line, ...]:
    """A line through the methods of each family, from cheap to dear."""
    found: dict[str, list[MethodCurve]] = {}
    for curve in sorted(curves, key=lambda c: c.gop_mean_gmacs):
        found.setdefault(curve.family, []).append(curve)
    return tuple(
        Line(family, own[0].series, tuple(Point(c.gop_mean_gmacs, 100 * c.miou) for c in own))
        for family, own in found.items()
        if len(own) > 1
    )


def _cost_line(curve: MethodCurve) -> Line:
    low, high = (100 * value for value in curve.spread)
    tip = (
        f"{curve.method}\n{curve.gop_mean_gmacs:.3g} GMACs\n"
        f"{curve.score} {score_text(curve.miou, curve.miou_low, curve.miou_high)}\nover d: {low:.2f} to {high:.2f} %"
    )
    ends = 100 * curve.miou_low, 100 * curve.miou_high
    point = Point(curve.gop_mean_gmacs, 100 * curve.miou, *ends, tip)
    return Line(curve.method, curve.series, (point,), "bars", codec=curve.codec)


def rate_charts(panels: Sequence[Panel]) -> list[LineChart]:
    """Mean mIoU over achieved bitrate, one chart per dataset and coding standard with bitrates that differ."""
    charts = []
    for dataset, coder, curves, shared in _over_rates(panels):
        chart = _coding_chart("accuracy against bitrate", dataset, coder, curves, lambda c: c.kbps)
        charts.append(
            replace(
                chart,
                x_title="achieved bitrate (kb/s, log scale)",
                x_extent=extent(c.kbps for c in shared),
                y_extent=_percent(c.miou for c in shared),
                log_x=True,
            )
        )
    return charts


def quality_charts(panels: Sequence[Panel]) -> list[LineChart]:
    """Mean mIoU over PSNR beside each chart of `rate_charts`, where PSNR is known and finite."""
    charts = []
    for dataset, coder, curves, shared in _over_rates(panels):
        known = [c for c in curves if math.isfinite(c.psnr_db)]
        if len({c.codec for c in known}) > 1:
            chart = _coding_chart("accuracy against quality", dataset, coder, known, lambda c: c.psnr_db)
            charts.append(
                replace(
                    chart,
                    x_title="PSNR of the coded luma (dB)",
                    x_extent=extent(c.psnr_db for c in shared),
                    y_extent=_percent(c.miou for c in shared),
                )
            )
    return charts


def _over_rates(
    panels: Sequence[Panel],
) -> Iterator[tuple[str, str, list[MethodCurve], list[MethodCurve]]]:
    """Dataset, coding standard with bitrates that differ, its curves, all curves of the dataset."""
    for dataset in dict.fromkeys(panel.dataset for panel in panels):
        shared = [c for p in panels if p.dataset == dataset for c in p.curves if c.kbps > 0]
        for coder in dict.fromkeys(c.coder for c in shared):
            curves = [c for c in shared if c.coder == coder]
            rates = [c.kbps for c in curves]
            if max(rates) >= LEAST_RATE_RATIO * min(rates):
                yield dataset, coder, curves, shared


def _coding_chart(
    what: str, dataset: str, coder: str, curves: Sequence[MethodCurve], x: Callable[[MethodCurve], float]
) -> LineChart:
    """A line per method over codec settings; the horizontal axis is still to be named."""
    nothing = (math.nan, math.nan)
    lines = tuple(
        _coding_line([c for c in curves if c.method == method], x)
        for method in dict.fromkeys(c.method for c in curves)
    )
    return LineChart(
        what, (dataset, coder), dataset, coder, "", f"{curves[0].score} (%)", lines, nothing, nothing
    )


def _coding_line(curves: Sequence[MethodCurve], x: Callable[[MethodCurve], float]) -> Line:
    ordered = sorted((c for c in curves if math.isfinite(c.miou)), key=x)
    points = tuple(Point(x(c), 100 * c.miou, tip=_coding_tip(c)) for c in ordered)
    return Line(curves[0].method, curves[0].series, points)


def _coding_tip(curve: MethodCurve) -> str:
    quality = f", PSNR {curve.psnr_db:.2f} dB" if math.isfinite(curve.psnr_db) else ""
    score = score_text(curve.miou, curve.miou_low, curve.miou_high)
    return f"{curve.method}\n{curve.codec}, {kbps_text(curve.kbps)}{quality}\n{curve.score} {score}"


def budget_charts(panels: Sequence[Panel], families: Sequence[FamilyComparison]) -> list[LineChart]:
    """Mean mIoU over GMACs along each method's budget knob: the curves behind Bjontegaard values, anchors first."""
    order: dict[str, int] = {}
    charts = []
    for panel in panels:
        known = {curve.method: curve for curve in panel.curves if has_cost(curve)}
        own = [f for f in families if (f.dataset, f.codec) == (panel.dataset, panel.codec)]
        anchors = list(dict.fromkeys(family.anchor_points for family in own))
        named = [(ANCHOR if len(anchors) == 1 else f"{ANCHOR} ({titles[-1]})", titles) for titles in anchors]
        named += [(family.family, family.points) for family in own]
        lines = tuple(
            _budget_line(name, order.setdefault(name, len(order)), [known[title] for title in titles])
            for name, titles in named
            if all(title in known for title in titles)
        )
        if lines:
            charts.append(
                LineChart(
                    "accuracy against cost along the budget knob",
                    panel.heading,
                    panel.dataset,
                    panel.codec,
                    f"{GMACS} (log scale)",
                    f"{panel.score} (%)",
                    lines,
                    extent(point.x for line in lines for point in line.points),
                    extent(point.y for line in lines for point in line.points),
                    log_x=True,
                )
            )
    return charts


def _budget_line(name: str, series: int, curves: Sequence[MethodCurve]) -> Line:
    points = tuple(
        Point(
            c.gop_mean_gmacs,
            100 * c.miou,
            tip=f"{c.method}\n{c.gop_mean_gmacs:.3g} GMACs\n{c.score} {score_text(c.miou, c.miou_low, c.miou_high)}",
        )
        for c in curves
    )
    return Line(name, series, points)


def class_charts(panels: Sequence[Panel], class_names: Mapping[str, Sequence[str]]) -> list[ClassChart]:
    """IoU by class, mean over the distances at which the class occurs."""
    return [
        ClassChart(
            panel.heading,
            panel.dataset,
            panel.codec,
            tuple(class_names[panel.dataset]),
            tuple((curve.method, curve.series) for curve in panel.curves),
            tuple(tuple(100 * value for value in curve.class_iou) for curve in panel.curves),
            panel.score.replace("mIoU", "IoU"),
        )
        for panel in panels
    ]


def loss_charts(found: Sequence[Decomposition]) -> list[LossChart]:
    """Where the loss at distance d comes from, one chart per decomposition, one scale per dataset."""
    return [
        LossChart(
            one.dataset,
            one.codec,
            one.method,
            one.distances,
            tuple((PARTS[name][0], tuple((100 * part).tolist())) for name, part in one.parts.items()),
            tuple((100 * one.loss).tolist()),
            extent([0.0, *(v for other in found if other.dataset == one.dataset for v in _ends(other))]),
        )
        for one in found
    ]


def _ends(one: Decomposition) -> list[float]:
    """Ends of all stacks and the loss, points of mIoU."""
    parts = 100 * np.array(list(one.parts.values()))
    return [*parts.clip(min=0).sum(0), *parts.clip(max=0).sum(0), *(100 * one.loss)]


def waterfall_charts(found: Sequence[Waterfall]) -> list[WaterfallChart]:
    """One chart per dataset: a row of stacked stages per method and kind of frame."""
    names = tuple(dict.fromkeys(name for one in found for name, _ in one.stages))
    charts = []
    for dataset in dict.fromkeys(one.dataset for one in found):
        rows = tuple(one for one in found if one.dataset == dataset)
        charts.append(WaterfallChart(dataset, rows[0].device, rows, names))
    return charts
