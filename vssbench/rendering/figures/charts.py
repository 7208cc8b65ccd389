"""What a figure shows, as plain data: numbers in printed units and texts. Nothing here knows of runs or of drawing.

Both back ends (svg.py for the page, mpl.py for files) draw these records, so that no figure is described twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from vssbench.rendering.figures.axes import Axis, linear_axis, log_axis, spread

MOST_IN_LEGEND = 10
"""Lines beyond which their names stand at the lines."""
Extent = tuple[float, float]
"""Smallest and largest value that an axis has to hold."""


def extent(values: Iterable[float]) -> Extent:
    """Of the finite values; NaN, NaN where there is none."""
    known = [value for value in values if math.isfinite(value)]
    return (min(known), max(known)) if known else (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Point:
    """A value of a line."""

    x: float
    y: float
    low: float = math.nan
    """Lower end of what is drawn around the value; NaN where there is nothing."""
    high: float = math.nan
    tip: str = ""
    """Shown on hover."""
    note: str = ""
    """Written below the value."""


@dataclass(frozen=True, slots=True)
class Line:
    """Values that belong together, usually those of one method."""

    name: str
    series: int
    """Decides colour, marker and dashes."""
    points: tuple[Point, ...]
    around: Literal["nothing", "band", "bars", "rods"] = "nothing"
    """How `low` and `high` of the points are drawn."""
    hollow: bool = False
    """Empty markers without a line: numbers of others."""
    codec: str = ""
    """The codec setting of its points, where the chart holds several."""


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines in one set of axes."""

    what: str
    """One phrase for readers who do not see it."""
    heading: tuple[str, ...]
    dataset: str
    codec: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    x_extent: Extent
    """Of this chart and of those that are read beside it."""
    y_extent: Extent
    x_ticks: tuple[float, ...] = ()
    """Where they are given, a linear axis around them; else round numbers."""
    log_x: bool = False
    log_y: bool = False
    traces: tuple[Line, ...] = ()
    """Lines below the others, without markers and names: what belongs to one family."""

    @property
    def named_directly(self) -> bool:
        """Whether names stand at the lines, because a legend of so many would have to be searched."""
        return len(self.lines) > MOST_IN_LEGEND

    def name_places(self, at: Callable[[float], float], gap: float, low: float, high: float) -> list[float]:
        """Where the names at the right stand, by line: beside its last point, `gap` or more apart, in low..high."""
        return spread([at(line.points[-1].y) if line.points else high for line in self.lines], gap, low, high)

    def horizontal(self, start: float, end: float) -> Axis:
        """The horizontal axis between two picture coordinates."""
        if self.x_ticks:
            return Axis(self.x_extent[0] - 0.3, self.x_extent[1] + 0.3, start, end, self.x_ticks)
        return log_axis(self.x_extent, start, end) if self.log_x else linear_axis(self.x_extent, start, end)

    def vertical(self, start: float, end: float) -> Axis:
        """The vertical axis between two picture coordinates."""
        if self.log_y:
            return log_axis(self.y_extent, start, end)
        return linear_axis(self.y_extent, start, end, count=7)


@dataclass(frozen=True, slots=True)
class ClassChart:
    """IoU of every class by every method."""

    heading: tuple[str, ...]
    dataset: str
    codec: str
    classes: tuple[str, ...]
    methods: tuple[tuple[str, int], ...]
    """Name and series."""
    values: tuple[tuple[float, ...], ...]
    """[method][class] in percent, NaN for classes that never occur."""
    score: str = "IoU"
    """Or 'agreement' (`Roster.class_score`)."""


@dataclass(frozen=True, slots=True)
class LossChart:
    """Parts of the loss of one method, stacked over the keyframe distance; in points of mIoU."""

    dataset: str
    codec: str
    method: str
    distances: tuple[int, ...]
    parts: tuple[tuple[str, tuple[float, ...]], ...]
    """Name and a value per distance; they sum to the loss, those that help are negative."""
    loss: tuple[float, ...]
    y_extent: Extent
    """Of all charts of the dataset."""

    def stacked(self) -> list[list[tuple[float, float]]]:
        """[part][distance] -> where its bar begins and ends: above zero what costs, below it what helps."""
        above, below = [0.0] * len(self.distances), [0.0] * len(self.distances)
        bars = []
        for _, values in self.parts:
            row = []
            for i, value in enumerate(values):
                ends = above if value >= 0 else below
                row.append((ends[i], ends[i] + value))
                ends[i] += value
            bars.append(row)
        return bars


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Milliseconds by stage of one kind of frame of one method."""

    dataset: str
    method: str
    kind: str
    """key, non_key, partial; '' where all frames are meant."""
    stages: tuple[tuple[str, float], ...]
    device: str

    @property
    def total_ms(self) -> float:
        """All stages one after another."""
        return math.fsum(ms for _, ms in self.stages)

    @property
    def kind_text(self) -> str:
        """' (non-key)', '' where all frames are meant."""
        return f" ({self.kind.replace('_', '-')})" if self.kind else ""


@dataclass(frozen=True, slots=True)
class WaterfallChart:
    """The waterfalls of one dataset, below one another."""

    dataset: str
    device: str
    rows: tuple[Waterfall, ...]
    stage_names: tuple[str, ...]
    """Of all charts of a report, in the order of their colours."""


Chart = LineChart | ClassChart | LossChart | WaterfallChart
