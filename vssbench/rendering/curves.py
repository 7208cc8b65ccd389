"""What the figures draw: one record per dataset, codec and method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vssbench.analysis.run import Group, Run
from vssbench.analysis.seeds import seeded_methods
from vssbench.metrics.confusion import mean_of_present
from vssbench.rendering.text import kbps_text


@dataclass(frozen=True, slots=True)
class MethodCurve:
    """Accuracy by keyframe distance of one method on one dataset and codec, and what it costs."""

    dataset: str
    codec: str
    method: str
    series: int
    """Position of the method in the experiment; decides colour, marker and dashes."""
    distances: tuple[int, ...]
    miou_d: tuple[float, ...]
    """0..1, NaN where nothing was scored."""
    low: tuple[float, ...]
    """Lower ends of the intervals of `miou_d` (over frames, or over seeds), NaN where there are none."""
    high: tuple[float, ...]
    miou: float
    miou_low: float
    miou_high: float
    family: str
    """Equal for methods that differ in resolution, budget knob and seed alone."""
    gop_mean_gmacs: float
    """1e9 multiply-accumulates per frame; NaN if not measured."""
    kbps: float
    psnr_db: float
    """Of the coded luma; NaN where it is unknown, infinite where nothing was lost."""
    coder: str
    """Coding standard behind the codec setting: hevc, h264, mpeg4 or source."""
    class_iou: tuple[float, ...]
    """IoU per class, mean over the distances at which the class occurs; NaN if it never does."""
    score: str = "mIoU"
    """Or 'agreement' (`Roster.score`)."""

    @property
    def spread(self) -> tuple[float, float]:
        """Smallest and largest mIoU_d; NaN if nothing was scored."""
        known = [value for value in self.miou_d if math.isfinite(value)]
        return (min(known), max(known)) if known else (math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that belong into one set of axes: all methods on one dataset and codec."""

    dataset: str
    codec: str
    kbps: float
    curves: tuple[MethodCurve, ...]

    @property
    def score(self) -> str:
        """What all its curves are scored by."""
        return self.curves[0].score

    @property
    def heading(self) -> tuple[str, ...]:
        """Dataset, codec and bitrate, as far as they are known."""
        return tuple(filter(None, (self.dataset, self.codec, kbps_text(self.kbps))))


def panels(run: Run) -> list[Panel]:
    """All panels of a run in the order of the experiment."""
    order = {title: i for i, title in enumerate(run.roster.method_titles)}
    intervals = _intervals(run)
    found: dict[tuple[str, str], list[MethodCurve]] = {}
    for group in run.groups:
        curve = _curve(run, group, order[group.method], intervals)
        found.setdefault((group.dataset, group.codec), []).append(curve)
    return [
        Panel(dataset, codec, float(np.mean([c.kbps for c in curves])), tuple(curves))
        for (dataset, codec), curves in found.items()
    ]


def panels_over_seeds(run: Run, single_panels: list[Panel]) -> list[Panel]:
    """`panels(run)` with one curve for all training seeds of a method: means, and intervals over seeds.

    `single_panels` itself for a run without several seeds.
    """
    if not run.over_seeds:
        return single_panels
    single = {(c.dataset, c.codec, c.method): c for panel in single_panels for c in panel.curves}
    order: dict[str, int] = {}
    found: dict[tuple[str, str], list[MethodCurve]] = {}
    for row, members in zip(run.over_seeds, seeded_methods(run), strict=True):
        curves = [single[row.dataset, row.codec, group.method] for group in members.groups]
        place = (row.dataset, row.codec)
        first = replace(curves[0], method=row.method, series=order.setdefault(row.method, len(order)))
        if len(curves) == 1:  # one seed keeps its intervals over frames
            found.setdefault(place, []).append(first)
            continue
        mean = replace(
            first,
            miou_d=tuple(interval.mean for interval in row.miou_d),
            low=tuple(interval.low for interval in row.miou_d),
            high=tuple(interval.high for interval in row.miou_d),
            miou=row.miou.mean,
            miou_low=row.miou.low,
            miou_high=row.miou.high,
            class_iou=tuple(
                float(np.mean(values)) for values in zip(*(c.class_iou for c in curves), strict=True)
            ),
        )
        found.setdefault(place, []).append(mean)
    rates = {(panel.dataset, panel.codec): panel.kbps for panel in single_panels}
    return [Panel(*place, rates[place], tuple(curves)) for place, curves in found.items()]


def looks(run: Run, drawn: Sequence[Panel]) -> dict[str, tuple[str, int]]:
    """Title of every method -> (name, series) of the curve of `panels_over_seeds` it is drawn in; of curves as well."""
    series = {curve.method: curve.series for panel in drawn for curve in panel.curves}
    names = {group.method: group.method for group in run.groups}
    if run.over_seeds:
        names = {group.method: one.title for one in seeded_methods(run) for group in one.groups}
    names |= {name: name for name in series}
    return {title: (name, series[name]) for title, name in names.items()}


def _intervals(run: Run) -> dict[tuple[str, str, str, int], tuple[float, float]]:
    """(dataset, codec, method, d) -> interval of mIoU_d; d = -1 is the mean."""
    table = run.table
    rows = table[(table["metric"] == run.roster.metric) & table["low"].notna()]
    fields = zip(
        rows["dataset"], rows["codec"], rows["method"], rows["d"], rows["low"], rows["high"], strict=True
    )
    return {(a, b, c, int(d)): (float(low), float(high)) for a, b, c, d, low, high in fields}


def _curve(
    run: Run, group: Group, series: int, intervals: dict[tuple[str, str, str, int], tuple[float, float]]
) -> MethodCurve:
    place = (group.dataset, group.codec, group.method)
    nothing = (math.nan, math.nan)
    ends = [intervals.get((*place, d), nothing) for d in group.distances]
    overall = intervals.get((*place, -1), nothing)
    return MethodCurve(
        *place,
        series=series,
        distances=group.distances,
        miou_d=tuple(float(value) for value in group.miou_d),
        low=tuple(low for low, _ in ends),
        high=tuple(high for _, high in ends),
        miou=group.miou,
        miou_low=overall[0],
        miou_high=overall[1],
        family=run.roster.method(group.dataset, group.method).family,
        gop_mean_gmacs=run.gmacs(group.dataset, group.method, group.codec),
        kbps=group.kbps,
        psnr_db=group.quality.psnr_db if group.quality else math.nan,
        coder=run.roster.codec(group.dataset, group.codec).settings.codec,
        class_iou=tuple(float(value) for value in mean_of_present(group.iou_d.T)),
        score=run.roster.score,
    )
