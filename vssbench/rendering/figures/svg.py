"""Charts of the page as inline SVG: styled by the page's CSS (light and dark), values readable on hover.

No style attributes are used, because the page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from markupsafe import Markup

from vssbench.rendering.figures.axes import Axis, distance_ticks, linear_axis
from vssbench.rendering.figures.charts import (
    Chart,
    ClassChart,
    Line,
    LineChart,
    LossChart,
    Point,
    Waterfall,
    WaterfallChart,
)
from vssbench.rendering.marks import COLOURS, dashes, marker
from vssbench.rendering.text import shorten

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 446, 34, 254
_NAME_ROOM, _NAME_GAP, _NAME_LENGTH = 122, 11.5, 17
"""Names at the right of lines: room, distance from line to line, characters."""
_CLASS_LEFT = 100.0
_WATERFALL_WIDTH, _WATERFALL_ROW, _WATERFALL_LEFT, _WATERFALL_RIGHT = 700, 26, 210, 640
_HEADING_LENGTH, _LABEL_LENGTH, _CLASS_LENGTH = 50, 30, 15
"""Characters that fit over a chart, left of a bar, left of a group of bars."""


def drawn(chart: Chart) -> Markup:
    """The chart as one svg element."""
    if isinstance(chart, LineChart):
        return _line_chart(chart)
    if isinstance(chart, ClassChart):
        return _class_chart(chart)
    return _loss_chart(chart) if isinstance(chart, LossChart) else _waterfall_chart(chart)


def _join(parts: Iterable[Markup]) -> Markup:
    return Markup("").join(parts)


def _svg(
    what: str, heading: str, place: dict[str, str], body: Iterable[Markup], *, width: int = WIDTH, height: int = HEIGHT,
    left: float = LEFT, kind: str = "",
) -> Markup:  # fmt: skip
    """The whole element; `place` lets the page's filters hide it."""
    attributes = _join(Markup(' data-{}="{}"').format(key, value) for key, value in place.items())
    return Markup(
        '<svg class="chart{}" viewBox="0 0 {} {}" role="img" aria-label="{}"{}>'
        '<text class="heading" x="{}" y="18">{}</text>{}</svg>'
    ).format(
        kind, width, height, f"{what}: {heading}", attributes, left, shorten(heading, _HEADING_LENGTH), _join(body)
    )  # fmt: skip


def _text(kind: str, x: float, y: float, text: object, anchor: str = "middle") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, x, y, anchor, text
    )


def _rule(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, x1, y1, x2, y2)


def _tipped(tip: str, body: Markup, method: str = "") -> Markup:
    """A group whose text shows on hover."""
    found = Markup(' data-method="{}"').format(method) if method else Markup("")
    return Markup('<g class="point"{} data-tip="{}"><title>{}</title>{}</g>').format(found, tip, tip, body)


def _frame(horizontal: Axis, vertical: Axis, x_title: str, y_title: str) -> Markup:
    """Grid, tick labels and axis titles."""
    parts, right, bottom = [], horizontal.end, vertical.start
    for tick in vertical.ticks:
        y = vertical.at(tick)
        parts += [_rule("grid", LEFT, y, right, y), _text("tick", LEFT - 7, y + 4, f"{tick:g}", "end")]
    for tick in horizontal.ticks:
        x = horizontal.at(tick)
        parts += [_rule("axis", x, bottom, x, bottom + 5), _text("tick", x, bottom + 18, f"{tick:g}")]
    parts.append(_rule("axis", LEFT, bottom, right, bottom))
    parts.append(_text("title", (LEFT + right) / 2, bottom + 38, x_title))
    turned = '<text class="title" transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>'
    return _join([*parts, Markup(turned).format((TOP + bottom) / 2, y_title)])


def _line_chart(chart: LineChart) -> Markup:
    right, bottom = RIGHT, float(BOTTOM)
    if chart.named_directly:
        right, bottom = RIGHT - _NAME_ROOM, max(bottom, TOP + _NAME_GAP * len(chart.lines))
    horizontal, vertical = chart.horizontal(LEFT, right), chart.vertical(bottom, TOP)
    body = [_frame(horizontal, vertical, chart.x_title, chart.y_title)]
    body += [_band(line, horizontal, vertical) for line in chart.lines if line.around == "band"]
    body += [_trace(line, horizontal, vertical) for line in chart.traces]
    body += [_line(line, horizontal, vertical) for line in chart.lines]
    if chart.named_directly:
        body += _names(chart, horizontal, vertical)
    place = {"dataset": chart.dataset, "codec": chart.codec}
    height = round(bottom + HEIGHT - BOTTOM)
    return _svg(chart.what, " · ".join(chart.heading), place, body, height=height)


def _trace(line: Line, horizontal: Axis, vertical: Axis) -> Markup:
    points = " ".join(f"{horizontal.at(point.x)},{vertical.at(point.y)}" for point in line.points)
    return Markup('<polyline class="trace s{}" points="{}"/>').format(line.series % COLOURS, points)


def _names(chart: LineChart, horizontal: Axis, vertical: Axis) -> Iterable[Markup]:
    """The name of each line at the right, tied to its last point."""
    places = chart.name_places(vertical.at, _NAME_GAP, TOP, vertical.start)
    for line, y in zip(chart.lines, places, strict=True):
        if line.points:
            x, last = horizontal.end + 12, line.points[-1]
            tie = '<polyline class="tie" points="{},{} {},{} {},{}"/>'
            path = Markup(tie).format(horizontal.at(last.x), vertical.at(last.y), horizontal.end + 3, y, x, y)
            name = _text("name", x + 8, round(y + 3.5, 2), shorten(line.name, _NAME_LENGTH), "start")
            yield Markup('<g class="series s{}" data-method="{}"{}>{}{}{}</g>').format(
                line.series % COLOURS,
                line.name,
                _codec(line),
                path,
                marker(line.series, x, round(y, 2)),
                name,
            )


def _codec(line: Line) -> Markup:
    return Markup(' data-codec="{}"').format(line.codec) if line.codec else Markup("")


def _band(line: Line, horizontal: Axis, vertical: Axis) -> Markup:
    known = [point for point in line.points if math.isfinite(point.low)]
    if len(known) < 2:
        return Markup("")
    upper = [(horizontal.at(point.x), vertical.at(point.high)) for point in known]
    lower = [(horizontal.at(point.x), vertical.at(point.low)) for point in reversed(known)]
    points = " ".join(f"{x},{y}" for x, y in upper + lower)
    return Markup('<polygon class="band s{}" data-method="{}" points="{}"/>').format(
        line.series % COLOURS, line.name, points
    )


def _line(line: Line, horizontal: Axis, vertical: Axis) -> Markup:
    places = [(horizontal.at(point.x), vertical.at(point.y)) for point in line.points]
    path = Markup("")
    if len(places) > 1:
        points = " ".join(f"{x},{y}" for x, y in places)
        path = Markup('<polyline points="{}"{}/>').format(points, dashes(line.series))
    bars = [_bar(point, *place, vertical) for point, place in zip(line.points, places, strict=True)]
    marks = [_mark(line, point, *place) for point, place in zip(line.points, places, strict=True)]
    return Markup('<g class="series s{}" data-method="{}"{}>{}{}{}</g>').format(
        line.series % COLOURS,
        line.name,
        _codec(line),
        path,
        _join(bars * (line.around == "bars")),
        _join(marks),
    )


def _bar(point: Point, x: float, y: float, vertical: Axis) -> Markup:
    """From the lower end to the upper one; nothing without an interval."""
    if not (math.isfinite(point.low) or math.isfinite(point.high)):
        return Markup("")
    top, bottom = (vertical.at(end) if math.isfinite(end) else y for end in (point.high, point.low))
    return Markup('<path class="range" d="M{0} {1}V{2}M{3} {1}h10M{3} {2}h10"/>').format(
        x, top, bottom, x - 5
    )


def _mark(line: Line, point: Point, x: float, y: float) -> Markup:
    """A marker with a larger invisible target around it."""
    target = Markup('<circle class="target" cx="{}" cy="{}" r="9"/>').format(x, y)
    return _tipped(point.tip, target + marker(line.series, x, y))


def _class_chart(chart: ClassChart) -> Markup:
    """A group of bars per class, a bar per method; classes that never occur have none."""
    row = max(16.0, 5.5 * len(chart.methods) + 6)
    bottom = TOP + row * len(chart.classes)
    axis = Axis(0, 100, _CLASS_LEFT, RIGHT, (0, 20, 40, 60, 80, 100))
    body = []
    for tick in axis.ticks:
        x = axis.at(tick)
        body += [_rule("grid", x, TOP, x, bottom), _text("tick", x, bottom + 16, f"{tick:g}")]
    body.append(_text("title", (_CLASS_LEFT + RIGHT) / 2, bottom + 34, f"{chart.score} (%), mean over d"))
    thick = (row - 5) / max(1, len(chart.methods))
    for i, name in enumerate(chart.classes):
        middle = TOP + row * i + row / 2
        body.append(_text("tick", _CLASS_LEFT - 6, round(middle + 4, 1), shorten(name, _CLASS_LENGTH), "end"))
        for k, (method, series) in enumerate(chart.methods):
            value = chart.values[k][i]
            if math.isfinite(value):
                rect = Markup(
                    '<rect class="block s{} r{}" x="{}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/>'
                ).format(
                    series % COLOURS, series // COLOURS % 3, axis.start, middle - (row - 5) / 2 + k * thick, axis.at(value) - axis.start, thick
                )  # fmt: skip
                body.append(_tipped(f"{method}\n{name}: {chart.score} {value:.2f} %", rect, method))
    place = {"dataset": chart.dataset, "codec": chart.codec}
    return _svg(f"{chart.score} by class", " · ".join(chart.heading), place, body, height=round(bottom + 42))


def _loss_chart(chart: LossChart) -> Markup:
    """Stacked bars over d with the loss as a line; parts that help hang below zero."""
    vertical = linear_axis(chart.y_extent, BOTTOM, TOP, count=7)
    low, high = min(chart.distances) - 0.6, max(chart.distances) + 0.6
    horizontal = Axis(low, high, LEFT, RIGHT, distance_ticks(chart.distances))
    body = [_frame(horizontal, vertical, "keyframe distance d (frames)", "points of mIoU")]
    body += [_stack(chart, k, horizontal, vertical) for k in range(len(chart.distances))]
    places = zip(chart.distances, chart.loss, strict=True)
    line = " ".join(f"{horizontal.at(d)},{vertical.at(loss)}" for d, loss in places)
    body.append(_rule("axis", LEFT, vertical.at(0), RIGHT, vertical.at(0)))
    body.append(Markup('<polyline class="loss" points="{}"/>').format(line))
    place = {"dataset": chart.dataset, "codec": chart.codec, "method": chart.method}
    heading = f"{chart.method} · {chart.codec}"
    return _svg(f"parts of the loss by keyframe distance: {chart.dataset}", heading, place, body)


def _stack(chart: LossChart, k: int, horizontal: Axis, vertical: Axis) -> Markup:
    """The parts at one distance."""
    d = chart.distances[k]
    lines = [f"{name}: {values[k]:+.2f}" for name, values in chart.parts]
    tip = "\n".join([chart.method, f"d = {d}, points of mIoU", *lines, f"loss: {chart.loss[k]:+.2f}"])
    left, right = horizontal.at(d - 0.41), horizontal.at(d + 0.41)
    rects = []
    for i, row in enumerate(chart.stacked()):
        top, bottom = sorted(vertical.at(end) for end in row[k])
        rects.append(
            Markup('<rect class="part u{}" x="{}" y="{}" width="{:.2f}" height="{:.2f}"/>').format(
                i, left, top, right - left, bottom - top
            )
        )
    return _tipped(tip, _join(rects))


def _waterfall_chart(chart: WaterfallChart) -> Markup:
    """A row of stages end to end per method and kind of frame."""
    bottom = 30 + _WATERFALL_ROW * len(chart.rows)
    longest = max(row.total_ms for row in chart.rows) * 1.06
    axis = linear_axis([0.0, longest], _WATERFALL_LEFT, _WATERFALL_RIGHT, margin=0.0)
    body = []
    for tick in axis.ticks:
        x = axis.at(tick)
        body += [_rule("grid", x, 26, x, bottom), _text("tick", x, bottom + 16, f"{tick:g}")]
    body.append(_text("title", (_WATERFALL_LEFT + _WATERFALL_RIGHT) / 2, bottom + 36, "ms per frame"))
    body += [_stages(row, 30 + _WATERFALL_ROW * i, axis, chart) for i, row in enumerate(chart.rows)]
    heading = f"{chart.dataset} · {chart.device}".strip(" ·")
    return _svg(
        "latency by stage", heading, {"dataset": chart.dataset}, body, width=_WATERFALL_WIDTH, height=bottom + 44, left=8,
        kind=" waterfall",
    )  # fmt: skip


def _stages(row: Waterfall, top: float, axis: Axis, chart: WaterfallChart) -> Markup:
    short = shorten(row.method, _LABEL_LENGTH - len(row.kind_text)) + row.kind_text
    parts = [_text("tick", _WATERFALL_LEFT - 8, top + 17, short, "end")]
    before = 0.0
    for name, ms in row.stages:
        left, right = axis.at(before), axis.at(before + ms)
        span = f"{before:.3g} to {before + ms:.3g} of {row.total_ms:.3g} ms"
        rect = Markup('<rect class="part t{}" x="{}" y="{}" width="{:.2f}" height="{}"/>').format(
            chart.stage_names.index(name) % 8, left, top + 4, max(right - left, 0.5), _WATERFALL_ROW - 8
        )
        parts.append(_tipped(f"{row.method}{row.kind_text}\n{name}: {ms:.3g} ms\n{span}", rect))
        before += ms
    parts.append(_text("tick", axis.at(before) + 5, top + 17, f"{row.total_ms:.3g}", "start"))
    return Markup('<g data-method="{}">{}</g>').format(row.method, _join(parts))
