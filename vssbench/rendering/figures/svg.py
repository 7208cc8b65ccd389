"""Charts of the page as inline SVG: styled by the page's CSS (light and dark), values readable on hover.

No style attributes are used, because the page's Content-Security-Policy forbids them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup, escape

from vssbench.rendering.figures.axes import Axis, distance_ticks, linear_axis, log_axis
from vssbench.rendering.figures.curves import Curve, Panel
from vssbench.rendering.figures.styles import style_of
from vssbench.rendering.tables.summary import kbps_text

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 54, 446, 34, 254
_MARKER_SIZE = 4.2
HEADING_LENGTH = 50
"""Characters of a heading that fit over a chart."""
LEAST_RATE_RATIO = 1.25
"""Bitrates closer together than this are not drawn as a curve."""


def miou_d_charts(panels: Sequence[Panel]) -> list[Markup]:
    """mIoU over keyframe distance with interval bands, one chart per panel, one scale per dataset."""
    charts = []
    for panel in panels:
        shared = [(p, c) for p in panels if p.dataset == panel.dataset for c in p.curves]
        vertical = _percent_axis(
            v for p, c in shared for v in (*c.miou_d, *((*c.low, *c.high) if p.has_bands else ()))
        )
        distances = sorted({d for c in panel.curves for d in c.distances})
        horizontal = Axis(min(distances) - 0.3, max(distances) + 0.3, LEFT, RIGHT, distance_ticks(distances))
        body = [draw_frame(horizontal, vertical, "keyframe distance d (frames)", "mIoU at d (%)", "{:g}")]
        body += [_band(c, horizontal, vertical) for c in panel.curves if panel.has_bands]
        body += [_line(c, horizontal, vertical) for c in panel.curves]
        charts.append(chart(panel, "mIoU by keyframe distance", body))
    return charts


def cost_charts(panels: Sequence[Panel]) -> list[Markup]:
    """Mean mIoU over GMACs per frame, the range over d as bars; panels without costs are left out."""
    charts = []
    for panel in panels:
        shared = [c for p in panels if p.dataset == panel.dataset for c in p.curves if _has_cost(c)]
        curves = [c for c in panel.curves if _has_cost(c)]
        if not curves:
            continue
        vertical = _percent_axis(v for c in shared for v in (c.miou, *c.spread))
        horizontal = log_axis((c.gop_mean_gmacs for c in shared), LEFT, RIGHT)
        body = [draw_frame(horizontal, vertical, "GMACs per frame (log scale)", "mIoU (%)", "{:g}")]
        body += [
            _ranged_point(c, c.gop_mean_gmacs, horizontal, vertical, f"{c.gop_mean_gmacs:.2f} GMACs")
            for c in curves
        ]
        charts.append(chart(panel, "accuracy against cost", body))
    return charts


def bitrate_charts(panels: Sequence[Panel]) -> list[Markup]:
    """Mean mIoU over achieved bitrate, one chart per dataset and coding standard with bitrates that differ."""
    charts = []
    for dataset in dict.fromkeys(panel.dataset for panel in panels):
        shared = [
            c
            for p in panels
            if p.dataset == dataset
            for c in p.curves
            if math.isfinite(c.kbps) and c.kbps > 0
        ]
        vertical = _percent_axis(c.miou for c in shared)
        for coder in dict.fromkeys(c.coder for c in shared):
            curves = [c for c in shared if c.coder == coder]
            rates = [c.kbps for c in curves]
            if max(rates) < LEAST_RATE_RATIO * min(rates):
                continue
            horizontal = log_axis((c.kbps for c in shared), LEFT, RIGHT)
            body = [
                draw_frame(horizontal, vertical, "achieved bitrate (kb/s, log scale)", "mIoU (%)", "{:g}")
            ]
            for method in dict.fromkeys(c.method for c in curves):
                body.append(_rate_line([c for c in curves if c.method == method], horizontal, vertical))
            charts.append(chart(Panel(dataset, coder, math.nan, ()), "accuracy against bitrate", body))
    return charts


def _rate_line(curves: Sequence[Curve], horizontal: Axis, vertical: Axis) -> Markup:
    ordered = sorted((c for c in curves if math.isfinite(c.miou)), key=lambda c: c.kbps)
    points = []
    for curve in ordered:
        value = percent(curve.miou, curve.miou_low, curve.miou_high)
        text = f"{curve.method}\n{curve.codec}, {kbps_text(curve.kbps)}\nmIoU {value}"
        points.append((horizontal.at(curve.kbps), vertical.at(100 * curve.miou), text))
    return draw_line(curves[0].method, curves[0].series, points)


def draw_line(name: str, series: int, points: Sequence[tuple[float, float, str]]) -> Markup:
    """A line through (x, y, text shown on hover), hidden with the method `name`."""
    path = " ".join(f"{x},{y}" for x, y, _ in points)
    marks = Markup("").join(_point(series, x, y, text) for x, y, text in points)
    return Markup('<g class="series s{}" data-method="{}"><polyline points="{}"{}/>{}</g>').format(
        series % 8, name, path, _dashes(series), marks
    )


def class_charts(panels: Sequence[Panel], class_names: Mapping[str, Sequence[str]]) -> list[Markup]:
    """IoU of every class as a group of bars, one bar per method; classes that never occur have none."""
    charts = []
    for panel in panels:
        names, curves = class_names[panel.dataset], panel.curves
        left, top, row = 100.0, 34.0, max(16.0, 5.5 * len(curves) + 6)
        bottom = top + row * len(names)
        axis = Axis(0, 100, left, RIGHT, (0, 20, 40, 60, 80, 100))
        parts = []
        for tick in axis.ticks:
            x = axis.at(tick)
            parts.append(
                Markup('<line class="grid" x1="{0}" y1="{1}" x2="{0}" y2="{2}"/>').format(x, top, bottom)
            )
            parts.append(
                Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{:g}</text>').format(
                    x, bottom + 16, tick
                )
            )
        parts.append(
            Markup(
                '<text class="title" x="{}" y="{}" text-anchor="middle">IoU (%), mean over d</text>'
            ).format((left + RIGHT) / 2, bottom + 34)
        )
        for i, name in enumerate(names):
            middle = top + row * i + row / 2
            parts.append(
                Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
                    left - 6, round(middle + 4, 1), cut(name, 15)
                )
            )
            thick = (row - 5) / len(curves)
            parts += [
                _class_bar(c, i, name, axis, middle - (row - 5) / 2 + k * thick, thick)
                for k, c in enumerate(curves)
            ]
        charts.append(chart(panel, "IoU by class", parts, round(bottom + 42)))
    return charts


def _class_bar(curve: Curve, i: int, name: str, axis: Axis, top: float, thick: float) -> Markup:
    value = curve.class_iou[i]
    if not math.isfinite(value):
        return Markup("")
    text = f"{curve.method}\n{name}: IoU {100 * value:.2f} %"
    return Markup(
        '<g class="point" data-method="{}" data-tip="{}"><title>{}</title>'
        '<rect class="block s{}" x="{}" y="{:.2f}" width="{:.2f}" height="{:.2f}"/></g>'
    ).format(
        curve.method, text, text, curve.series % 8, axis.start, top, axis.at(100 * value) - axis.start, thick
    )


def legend_mark(series: int) -> Markup:
    """A short piece of line with the marker of a series, for legends in HTML."""
    line = Markup('<line x1="1" y1="7" x2="33" y2="7"{}/>').format(_dashes(series))
    return Markup(
        '<svg class="mark s{}" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">{}{}</svg>'
    ).format(series % 8, line, _marker(series, 17, 7))


def swatch(colour: Sequence[int]) -> Markup:
    """A square in a class colour (RGB 0..255)."""
    red, green, blue = (int(v) for v in colour)
    return Markup(
        '<svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
        '<rect width="12" height="12" rx="2" fill="#{:02x}{:02x}{:02x}"/></svg>'
    ).format(red, green, blue)


def share_bar(share: float) -> Markup:
    """A bar of `share` (0..1) of its cell's width."""
    width = 100 * min(max(share, 0.0), 1.0) if math.isfinite(share) else 0.0
    return Markup(
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect class="rail" width="100" height="4"/><rect width="{:.1f}" height="4"/></svg>'
    ).format(width)


def _has_cost(curve: Curve) -> bool:
    return math.isfinite(curve.gop_mean_gmacs) and curve.gop_mean_gmacs > 0


def _percent_axis(values: Iterable[float]) -> Axis:
    return linear_axis((100 * v for v in values), BOTTOM, TOP, count=7)


def chart(panel: Panel, what: str, body: Sequence[Markup], height: int = HEIGHT) -> Markup:
    """The chart of a panel with its heading; `what` it shows is for readers who do not see it."""
    rate = kbps_text(panel.kbps)
    heading = f"{panel.dataset} · {panel.codec}" + (f" · {rate}" if rate else "")
    return Markup(
        '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-dataset="{}" data-codec="{}">'
        '<text class="heading" x="{}" y="18">{}</text>{}</svg>'
    ).format(
        WIDTH,
        height,
        f"{what}: {heading}",
        panel.dataset,
        panel.codec,
        LEFT,
        cut(heading, HEADING_LENGTH),
        Markup("").join(body),
    )


def cut(text: str, length: int) -> str:
    """The text, its end replaced by an ellipsis where it is longer than `length`."""
    return text if len(text) <= length else text[: length - 1] + "…"


def draw_frame(horizontal: Axis, vertical: Axis, x_title: str, y_title: str, x_format: str) -> Markup:
    """Grid, tick labels and axis titles."""
    parts = []
    for tick in vertical.ticks:
        y = vertical.at(tick)
        parts.append(Markup('<line class="grid" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, y, RIGHT, y))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{:g}</text>').format(
                LEFT - 7, y + 4, tick
            )
        )
    for tick in horizontal.ticks:
        x = horizontal.at(tick)
        parts.append(
            Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(x, BOTTOM, x, BOTTOM + 5)
        )
        label = x_format.format(tick)
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{}</text>').format(
                x, BOTTOM + 18, label
            )
        )
    parts.append(
        Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, BOTTOM, RIGHT, BOTTOM)
    )
    middle_x, middle_y = (LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2
    parts.append(
        Markup('<text class="title" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            middle_x, BOTTOM + 38, x_title
        )
    )
    parts.append(
        Markup(
            '<text class="title" transform="translate(14 {}) rotate(-90)" text-anchor="middle">{}</text>'
        ).format(middle_y, y_title)
    )
    return Markup("").join(parts)


def _band(curve: Curve, horizontal: Axis, vertical: Axis) -> Markup:
    known = [i for i in range(len(curve.distances)) if math.isfinite(curve.low[i])]
    if len(known) < 2:
        return Markup("")
    upper = [(horizontal.at(curve.distances[i]), vertical.at(100 * curve.high[i])) for i in known]
    lower = [(horizontal.at(curve.distances[i]), vertical.at(100 * curve.low[i])) for i in reversed(known)]
    points = " ".join(f"{x},{y}" for x, y in upper + lower)
    return Markup('<polygon class="band s{}" data-method="{}" points="{}"/>').format(
        curve.series % 8, curve.method, points
    )


def _line(curve: Curve, horizontal: Axis, vertical: Axis) -> Markup:
    points = []
    for d, value, low, high in zip(curve.distances, curve.miou_d, curve.low, curve.high, strict=True):
        if math.isfinite(value):
            text = f"{curve.method}\nd = {d}: mIoU {percent(value, low, high)}"
            points.append((horizontal.at(d), vertical.at(100 * value), text))
    return draw_line(curve.method, curve.series, points)


def _ranged_point(curve: Curve, x_value: float, horizontal: Axis, vertical: Axis, x_text: str) -> Markup:
    """A marker at the mean with a bar from the smallest to the largest mIoU_d."""
    low, high = curve.spread
    if not math.isfinite(curve.miou):
        return Markup("")
    x, y = horizontal.at(x_value), vertical.at(100 * curve.miou)
    top, bottom = vertical.at(100 * high), vertical.at(100 * low)
    bar = Markup('<path class="range" d="M{0} {1}V{2}M{3} {1}h10M{3} {2}h10"/>').format(x, top, bottom, x - 5)
    text = (
        f"{curve.method}\n{x_text}\nmIoU {percent(curve.miou, curve.miou_low, curve.miou_high)}"
        f"\nover d: {100 * low:.2f} to {100 * high:.2f} %"
    )
    return Markup('<g class="series s{}" data-method="{}" data-codec="{}">{}{}</g>').format(
        curve.series % 8, curve.method, curve.codec, bar, _point(curve.series, x, y, text)
    )


def percent(value: float, low: float, high: float) -> str:
    """A share of 1 in percent, with its interval where there is one."""
    interval = f" [{100 * low:.2f}, {100 * high:.2f}]" if math.isfinite(low) else ""
    return f"{100 * value:.2f} %{interval}"


def _point(series: int, x: float, y: float, text: str) -> Markup:
    """A marker with a larger invisible target around it; the text shows on hover."""
    return Markup(
        '<g class="point" data-tip="{}"><title>{}</title><circle class="target" cx="{}" cy="{}" r="9"/>{}</g>'
    ).format(text, text, x, y, _marker(series, x, y))


def _dashes(series: int) -> Markup:
    dashes = style_of(series).dashes
    return (
        Markup(' stroke-dasharray="{}"').format(" ".join(f"{2 * v:g}" for v in dashes))
        if dashes
        else Markup("")
    )


def _marker(series: int, x: float, y: float) -> Markup:
    r = _MARKER_SIZE
    name = style_of(series).marker
    if name == "o":
        return Markup('<circle class="marker" cx="{}" cy="{}" r="{}"/>').format(x, y, r)
    points = " ".join(f"{x + r * dx:.2f},{y + r * dy:.2f}" for dx, dy in _OUTLINES[name])
    return Markup('<polygon class="marker" points="{}"/>').format(escape(points))


def _star(corners: int, inner: float) -> list[tuple[float, float]]:
    angles = [math.pi * k / corners - math.pi / 2 for k in range(2 * corners)]
    return [
        ((1.3 if k % 2 == 0 else inner) * math.cos(a), (1.3 if k % 2 == 0 else inner) * math.sin(a))
        for k, a in enumerate(angles)
    ]


def _plus() -> list[tuple[float, float]]:
    a, b = 0.4, 1.15
    return [
        (-a, -b),
        (a, -b),
        (a, -a),
        (b, -a),
        (b, a),
        (a, a),
        (a, b),
        (-a, b),
        (-a, a),
        (-b, a),
        (-b, -a),
        (-a, -a),
    ]


_OUTLINES: dict[str, list[tuple[float, float]]] = {
    "s": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    "^": [(0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
    "v": [(0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
    "<": [(-1.2, 0), (0.8, -1.1), (0.8, 1.1)],
    ">": [(1.2, 0), (-0.8, -1.1), (-0.8, 1.1)],
    "D": [(0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)],
    "P": _plus(),
    "X": [((dx - dy) * 0.7071, (dx + dy) * 0.7071) for dx, dy in _plus()],
    "*": _star(5, 0.55),
}
