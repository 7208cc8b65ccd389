"""The budget curves as a figure file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import matplotlib
from matplotlib.figure import Figure

from vssbench.rendering.figures import mpl as figures
from vssbench.rendering.figures.budget import BudgetPanel


def budget_figure(found: Sequence[BudgetPanel]) -> Figure:
    """Mean mIoU over GMACs per frame, a line per family and one of constant resolution."""
    panels = [
        replace(
            one.panel,
            curves=tuple(replace(c.points[0], method=c.name, series=c.series) for c in one.curves),
        )
        for one in found
    ]
    with matplotlib.rc_context(figures.RC):
        figure, axes = figures.panel_grid(panels)
        for ax, one in zip(axes, found, strict=True):
            for curve in one.curves:
                costs = [point.gop_mean_gmacs for point in curve.points]
                ax.plot(costs, [100 * point.miou for point in curve.points], **figures.look(curve.series))
            ax.set_xscale("log")
            ax.margins(x=0.15)
            figures.plain_log_ticks(ax)
            ax.set_xlabel("GMACs per frame")
            ax.set_ylabel("mIoU (%)")
        figures.share_limits(axes, panels)
        figures.draw_legend(figure, panels)
    return figure
