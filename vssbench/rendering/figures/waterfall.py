"""Where the time of a frame goes, from compressed bytes to labels: stages stacked end to end.

Read from the run folder, wherever a stopwatch left it: the key `waterfall` (or `latency.waterfall`) of
RUN/costs/DATASET/METHOD.json, or RUN/latency/DATASET/METHOD.json. Either a mapping stage -> milliseconds or a list of
{"stage": ..., "ms": ...}; a value may be an object with `median_ms`. Several frame kinds are a mapping kind -> stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from vssbench.rendering.figures.axes import linear_axis
from vssbench.rendering.figures.svg import cut
from vssbench.rendering.tables.latency import latency_records
from vssbench.analysis.run import Run

STAGES = ("decode", "motion", "copy", "network", "upsample")
"""The usual stages in the order in which a frame meets them; others follow."""
KINDS = ("key", "non_key", "partial")
WIDTH, ROW, LEFT, RIGHT = 700, 26, 210, 640
LABEL_LENGTH = 30
"""Characters of method and kind of frame that fit left of a bar."""


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


def waterfalls(run: Run) -> list[Waterfall]:
    """All waterfalls of a run in the order of the experiment; empty where none was measured.

    Raises InputError if a file is there and cannot be understood.
    """
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for (dataset, method), cost in run.costs.items():
        held = cost.get("waterfall") or (cost.get("latency") or {}).get("waterfall")
        if held:
            found[dataset, method] = {"waterfall": held, "device": cost.get("device", "")}
    for _, stored in latency_records(run):
        if stored.get("waterfall"):
            found[stored["dataset"], stored["method"]] = stored
    order = {title: i for i, title in enumerate(run.plan["titles"]["methods"])}
    places = sorted(found, key=lambda place: (place[0], order.get(place[1], len(order))))
    return [one for place in places for one in _of_record(*place, found[place])]


def _of_record(dataset: str, method: str, record: Mapping[str, Any]) -> list[Waterfall]:
    device, held = str(record.get("device", "")), record["waterfall"]
    if isinstance(held, Mapping) and held and all(kind in KINDS for kind in held):
        return [Waterfall(dataset, method, k, _stages(held[k]), device) for k in KINDS if k in held]
    return [Waterfall(dataset, method, "", _stages(held), device)]


def _stages(held: Any) -> tuple[tuple[str, float], ...]:
    if isinstance(held, Mapping):
        pairs = [(str(name), _milliseconds(value)) for name, value in held.items()]
    else:
        pairs = [(str(one.get("stage", one.get("name", ""))), _milliseconds(one)) for one in held]
    known = [(name, ms) for name, ms in pairs if math.isfinite(ms) and ms >= 0]
    return tuple(sorted(known, key=lambda pair: STAGES.index(pair[0]) if pair[0] in STAGES else len(STAGES)))


def _milliseconds(value: Any) -> float:
    if isinstance(value, Mapping):
        value = value.get("median_ms", value.get("ms", math.nan))
    return float(value) if isinstance(value, (int, float)) else math.nan


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
