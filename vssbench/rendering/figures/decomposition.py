"""Where the loss at distance d comes from: stacked charts and a table of the oracle runs' staircase."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

from vssbench.rendering.figures.axes import Axis, distance_ticks, linear_axis
from vssbench.rendering.figures.svg import BOTTOM, HEADING_LENGTH, HEIGHT, LEFT, RIGHT, TOP, WIDTH, cut, draw_frame
from vssbench.rendering.tables.summary import printable
from vssbench.analysis.decomposition import PARTS, Decomposition
from vssbench.analysis.run import Run

LOOKS = {
    "motion": ("#d55e00", "////", "wrong motion"),
    "disocclusion": ("#e9c46a", "....", "disocclusion"),
    "resolution": ("#0072b2", "", "resolution and fusion"),
    "compression": ("#9a9a9a", "\\\\\\\\", "compression"),
}
"""Colour, hatch (the figure can be read in grey) and name of each part."""


def decomposition_charts(run: Run, series: Mapping[str, int]) -> list[Markup]:
    """For the page: a chart per method with values on hover, and the means over d as a table; empty without oracles.

    series: position of each method in the experiment, for the order of the charts.
    """
    found = sorted(run.decompositions, key=lambda one: series.get(one.method, len(series)))
    if not found:
        return []
    heads = ("dataset", "codec", "method", "loss", *(LOOKS[name][2] for name in PARTS), "measured against")
    numbers = range(3, 4 + len(PARTS))
    head = Markup("").join(
        Markup('<th scope="col"{}>{}</th>').format(Markup(' class="number"') if i in numbers else "", text)
        for i, text in enumerate(heads)
    )
    names = Markup("").join(
        Markup('<li><svg class="swatch" viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">'
               '<rect class="part u{}" width="12" height="12" rx="2"/></svg> {}</li>').format(i, LOOKS[name][2])
        for i, name in enumerate(PARTS)
    )  # fmt: skip
    return [
        Markup('<ul class="legend" aria-label="Parts">{}<li>line: loss</li></ul>\n').format(names),
        Markup('<div class="charts">\n{}\n</div>\n').format(Markup("\n").join(_charts(found))),
        Markup(
            '<div class="wide" tabindex="0" role="region" aria-label="Loss by cause"><table>'
            "<caption>Mean over the distances, points of mIoU; the parts sum to the loss</caption>"
            "<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody></table></div>\n"
        ).format(head, Markup("").join(_row(one) for one in found)),
    ]


def _charts(found: Sequence[Decomposition]) -> list[Markup]:
    """Stacked bars over d with the loss as a line, one scale per dataset."""
    charts = []
    for one in found:
        shared = [v for other in found if other.dataset == one.dataset for v in _extent(other)]
        vertical = linear_axis([0.0, *shared], BOTTOM, TOP, count=7)
        low, high = min(one.distances) - 0.6, max(one.distances) + 0.6
        horizontal = Axis(low, high, LEFT, RIGHT, distance_ticks(list(one.distances)))
        body = [draw_frame(horizontal, vertical, "keyframe distance d (frames)", "points of mIoU", "{:g}")]
        body += [_bars(one, k, horizontal, vertical) for k in range(len(one.distances))]
        places = zip(one.distances, one.loss, strict=True)
        line = " ".join(f"{horizontal.at(d)},{vertical.at(100 * loss)}" for d, loss in places)
        zero = vertical.at(0)
        body.append(
            Markup('<line class="axis" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(LEFT, zero, RIGHT, zero)
        )
        body.append(Markup('<polyline class="loss" points="{}"/>').format(line))
        heading = f"{one.method} · {one.codec}"
        charts.append(
            Markup(
                '<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-dataset="{}" data-codec="{}" '
                'data-method="{}"><text class="heading" x="{}" y="18">{}</text>{}</svg>'
            ).format(
                WIDTH, HEIGHT, f"parts of the loss by keyframe distance: {one.dataset}, {heading}", one.dataset,
                one.codec, one.method, LEFT, cut(printable(heading), HEADING_LENGTH), Markup("").join(body),
            )
        )  # fmt: skip
    return charts


def _extent(one: Decomposition) -> list[float]:
    """Ends of all stacks and the loss, points of mIoU."""
    parts = 100 * np.array(list(one.parts.values()))
    return [*parts.clip(min=0).sum(0), *parts.clip(max=0).sum(0), *(100 * one.loss)]


def _bars(one: Decomposition, k: int, horizontal: Axis, vertical: Axis) -> Markup:
    """The stack at one distance, its values on hover; parts that help hang below zero."""
    d = one.distances[k]
    values = {name: 100 * float(part[k]) for name, part in one.parts.items()}
    lines = [f"{LOOKS[name][2]}: {value:+.2f}" for name, value in values.items()]
    tip = "\n".join([one.method, f"d = {d}, points of mIoU", *lines, f"loss: {100 * one.loss[k]:+.2f}"])
    left, right = horizontal.at(d - 0.41), horizontal.at(d + 0.41)
    ends, rects = {True: 0.0, False: 0.0}, []
    for i, value in enumerate(values.values()):
        start = ends[value >= 0]
        ends[value >= 0] = start + value
        top, bottom = sorted((vertical.at(start), vertical.at(start + value)))
        rects.append(
            Markup('<rect class="part u{}" x="{}" y="{}" width="{:.2f}" height="{:.2f}"/>').format(
                i, left, top, right - left, bottom - top
            )
        )
    return Markup('<g class="point" data-tip="{}"><title>{}</title>{}</g>').format(
        tip, tip, Markup("").join(rects)
    )


def _row(one: Decomposition) -> Markup:
    numbers = [one.loss.mean(), *(values.mean() for values in one.parts.values())]
    cells = Markup("").join(Markup('<td class="number">{}</td>').format(f"{100 * v:+.2f}") for v in numbers)
    names = Markup("<td>{}</td><td>{}</td>").format(printable(one.dataset), printable(one.codec))
    method = escape(printable(one.method))
    return Markup(
        '<tr data-dataset="{}" data-codec="{}" data-method="{}">{}<th scope="row">{}</th>{}<td>{}</td></tr>\n'
    ).format(one.dataset, one.codec, one.method, names, method, cells, printable(one.reference))


def decomposition_markdown(found: Sequence[Decomposition]) -> str:
    """The same table as Markdown; '' without oracle runs."""
    from vssbench.rendering.tables import markdown

    if not found:
        return ""
    heads = ("dataset", "codec", "method", "against", "loss", *(LOOKS[name][2] for name in PARTS))
    cells = [
        [
            *(markdown.escape(printable(t)) for t in (one.dataset, one.codec, one.method, one.reference)),
            *(f"{100 * v.mean():+.2f}" for v in (one.loss, *one.parts.values())),
        ]
        for one in found
    ]
    table = markdown.table(heads, cells, numbers_from=4)
    return f"## Where the loss comes from\n\nMean over the distances, mIoU points (docs/metrics.md).\n\n{table}\n"
