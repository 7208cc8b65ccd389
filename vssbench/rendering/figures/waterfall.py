"""Where the time of a frame goes, from compressed bytes to labels: the stages that a stopwatch left in a run."""

from __future__ import annotations

from vssbench.analysis.run import Run
<<<<<<< HEAD
from vssbench.rendering.figures.charts import Waterfall
from vssbench.results.latency_records import latency_records
=======
from vssbench.rendering.figures.axes import linear_axis
from vssbench.rendering.figures.svg import cut
from vssbench.results.latency_records import StageTime, latency_records
>>>>>>> analysis

STAGES = ("decode", "motion", "copy", "network", "upsample")
"""The usual stages in the order in which a frame meets them; others follow."""

KINDS = ("key", "non_key", "partial")


def waterfalls(run: Run) -> list[Waterfall]:
    """All waterfalls of a run in the order of the experiment; empty where none was measured.

    Raises InputError if a record cannot be understood.
    """
    order = {title: i for i, title in enumerate(run.roster.method_titles)}
<<<<<<< HEAD
    found = []
    for record in latency_records(run.folder):
        for kind in sorted(record.waterfall, key=KINDS.index):
            stages = record.waterfall[kind]
            names = sorted(stages, key=lambda name: STAGES.index(name) if name in STAGES else len(STAGES))
            times = tuple((name, stages[name].median_ms) for name in names)
            found.append(Waterfall(record.dataset, record.method, kind, times, record.device))
    return sorted(found, key=lambda one: (one.dataset, order.get(one.method, len(order))))
=======
    records = sorted(
        latency_records(run.folder), key=lambda one: (one.dataset, order.get(one.method, len(order)))
    )
    return [
        Waterfall(one.dataset, one.method, kind, _stages(one.waterfall[kind]), one.device)
        for one in records
        for kind in KINDS
        if kind in one.waterfall
    ]


def _stages(held: Mapping[str, StageTime]) -> tuple[tuple[str, float], ...]:
    order = [*(name for name in STAGES if name in held), *(name for name in held if name not in STAGES)]
    return tuple((name, held[name].median_ms) for name in order)


def waterfall_charts(found: Sequence[Waterfall]) -> list[Markup]:
    """One chart per dataset: a row of stacked stages per method and kind of frame."""
    charts = []
    for dataset in dict.fromkeys(one.dataset for one in found):
        charts.append(_chart(dataset, [one for one in found if one.dataset == dataset]))
    return charts


def _chart(dataset: str, rows: Sequence[Waterfall]) -> Markup:
    height = 30 + ROW * len(rows) + 44
    bottom = 30 + ROW * len(rows)
    axis = linear_axis([0.0, max(one.total_ms for one in rows) * 1.06], LEFT, RIGHT, margin=0.0)
    names = list(dict.fromkeys(name for one in rows for name, _ in one.stages))
    parts = [
        Markup('<text class="heading" x="8" y="18">{}</text>').format(
            f"{dataset} · {rows[0].device}".strip(" ·")
        )
    ]
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(Markup('<line class="grid" x1="{}" y1="26" x2="{}" y2="{}"/>').format(x, x, bottom))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="middle">{:g}</text>').format(
                x, bottom + 16, tick
            )
        )
    parts.append(
        Markup('<text class="title" x="{}" y="{}" text-anchor="middle">ms per frame</text>').format(
            (LEFT + RIGHT) / 2, bottom + 36
        )
    )
    for number, one in enumerate(rows):
        parts.append(_row(one, 30 + ROW * number, axis.at, names))
    return Markup(
        '<svg class="chart waterfall" viewBox="0 0 {} {}" role="img" aria-label="{}" data-dataset="{}">{}</svg>'
    ).format(WIDTH, height, f"latency by stage: {dataset}", dataset, Markup("").join(parts))


def _row(one: Waterfall, top: float, at: Any, names: Sequence[str]) -> Markup:
    kind = f" ({one.kind.replace('_', '-')})" if one.kind else ""
    label, short = one.method + kind, cut(one.method, LABEL_LENGTH - len(kind)) + kind
    parts = [
        Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
            LEFT - 8, top + 17, short
        )
    ]
    before = 0.0
    for name, ms in one.stages:
        left, right = at(before), at(before + ms)
        tip = f"{label}\n{name}: {ms:.3g} ms\n{before:.3g} to {before + ms:.3g} of {one.total_ms:.3g} ms"
        parts.append(
            Markup(
                '<g class="point" data-tip="{}"><title>{}</title><rect class="part t{}" x="{}" y="{}" width="{:.2f}" height="{}"/></g>'
            ).format(tip, tip, names.index(name) % 8, left, top + 4, max(right - left, 0.5), ROW - 8)
        )
        before += ms
    parts.append(
        Markup('<text class="tick" x="{}" y="{}">{:.3g}</text>').format(
            at(before) + 5, top + 17, one.total_ms
        )
    )
    return Markup('<g data-method="{}">{}</g>').format(one.method, Markup("").join(parts))


def stage_names(found: Sequence[Waterfall]) -> list[str]:
    """All stages in the order of their colours."""
    return list(dict.fromkeys(name for one in found for name, _ in one.stages))
>>>>>>> analysis
