"""Accuracy over cost along each method's budget knob: the curves behind Bjontegaard values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from vssbench.rendering.figures import svg as charts
from vssbench.rendering.figures.axes import linear_axis, log_axis
from vssbench.rendering.figures.curves import Curve, Panel
from vssbench.analysis.families import ANCHOR, FamilyComparison


@dataclass(frozen=True, slots=True)
class BudgetCurve:
    """Methods that differ in their budget knob alone, by ascending cost."""

    name: str
    series: int
    points: tuple[Curve, ...]


@dataclass(frozen=True, slots=True)
class BudgetPanel:
    """All such curves on one dataset and codec; those of constant resolution first."""

    panel: Panel
    curves: tuple[BudgetCurve, ...]


def budget_panels(panels: Sequence[Panel], families: Sequence[FamilyComparison]) -> list[BudgetPanel]:
    """One per panel in which a family was compared with constant resolution. Series are the same in all panels."""
    order: dict[str, int] = {}
    found = []
    for panel in panels:
        known = {curve.method: curve for curve in panel.curves}
        own = [f for f in families if (f.dataset, f.codec) == (panel.dataset, panel.codec)]
        anchors = list(dict.fromkeys(family.anchor_points for family in own))
        named = [(_anchor_name(titles, len(anchors)), titles) for titles in anchors]
        named += [(family.family, family.points) for family in own]
        curves = tuple(
            BudgetCurve(name, order.setdefault(name, len(order)), tuple(known[title] for title in titles))
            for name, titles in named
            if all(title in known and math.isfinite(known[title].miou) for title in titles)
        )
        if curves:
            found.append(BudgetPanel(panel, curves))
    return found


def _anchor_name(titles: Sequence[str], anchors: int) -> str:
    return ANCHOR if anchors == 1 else f"{ANCHOR} ({titles[-1]})"


def budget_charts(found: Sequence[BudgetPanel]) -> list[Markup]:
    """Mean mIoU over GMACs per frame for the page, a line per family, points named on hover."""
    drawn = []
    for one in found:
        points = [curve for line in one.curves for curve in line.points]
        vertical = linear_axis((100 * p.miou for p in points), charts.BOTTOM, charts.TOP, count=7)
        horizontal = log_axis((p.gop_mean_gmacs for p in points), charts.LEFT, charts.RIGHT)
        frame = charts.draw_frame(horizontal, vertical, "GMACs per frame (log scale)", "mIoU (%)", "{:g}")
        lines = [
            charts.draw_line(
                line.name,
                line.series,
                [(horizontal.at(p.gop_mean_gmacs), vertical.at(100 * p.miou), _tip(p)) for p in line.points],
            )
            for line in one.curves
        ]
        drawn.append(charts.chart(one.panel, "accuracy against cost along the budget knob", [frame, *lines]))
    return drawn


def _tip(curve: Curve) -> str:
    return f"{curve.method}\n{curve.gop_mean_gmacs:.3f} GMACs\nmIoU {charts.percent(curve.miou, curve.miou_low, curve.miou_high)}"
