"""Bjontegaard differences inside a run: methods of one kind at several costs form a curve.

A family holds methods of one registered name whose options agree but for lr_scale, the method's budget knob (and weights);
it is compared with the constant-resolution methods of the same network. Where a codec is run at several bitrates, every
method is a curve of its own over the achieved bitrate (`rate_comparisons`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vssbench.analysis.differences import reference_method
from vssbench.analysis.seeds import Seeded, seeded_methods
from vssbench.errors import InputError
from vssbench.metrics.bjontegaard import BDMetric, BDResult, Curve, CurveError, bjontegaard_value
from vssbench.metrics.gop import gop_mean
from vssbench.metrics.intervals import MeasuredCurve, MeasuredPoint, bd_with_interval
from vssbench.metrics.seeds import SeedInterval, over_seeds
from vssbench.results.group import Group
from vssbench.results.roster import CodecEntry, MethodEntry
from vssbench.results.stored import StoredRun

ANCHOR = "constant"
"""Registered name of the methods that make the anchor curve."""
RATES = ("bitrate_kbps", "crf", "qp")
"""Codec settings in which the points of a bitrate curve may differ."""


@dataclass(frozen=True, slots=True)
class FamilyComparison:
    """One family of methods against the constant-resolution curve, on one dataset and codec."""

    dataset: str
    codec: str
    family: str
    """Registered method name, with the options that tell families of one name apart; its points differ in the knob."""
    points: tuple[str, ...]
    """Titles of the methods on the curve, by ascending cost."""
    anchor_points: tuple[str, ...]
    flops: BDResult | None
    """Relative change of MACs at equal mIoU; None if the curves share no mIoU range."""
    miou: BDResult | None
    """Change of mIoU (0..1) at equal MACs; None if the curves share no cost range."""
    note: str = ""
    """Why a number is missing."""
    flops_seeds: SeedInterval | None = None
    """`flops` seed by seed, where every point of both curves has the same two seeds or more."""
    miou_seeds: SeedInterval | None = None
    milliseconds: BDResult | None = None
    """Relative change of the GOP's mean step time at equal mIoU; None if times are missing or no range is shared."""

    def rows(self) -> Iterator[tuple[str, str, str, BDResult | None]]:
        """(codec, method, metric, result) for the long table."""
        yield self.codec, self.family, f"BD-FLOPs against {ANCHOR}", self.flops
        yield self.codec, self.family, f"BD-mIoU against {ANCHOR}", self.miou
        yield self.codec, self.family, f"BD-ms against {ANCHOR}", self.milliseconds


@dataclass(frozen=True, slots=True)
class RateComparison:
    """One method against the reference over the bitrates of one codec."""

    dataset: str
    codec: str
    """Coding standard and preset of the settings."""
    method: str
    reference: str
    points: tuple[str, ...]
    """Titles of the codec settings, by ascending achieved bitrate."""
    bitrate: BDResult | None
    """Relative change of the bitrate at equal mIoU; None if the curves share no mIoU range."""
    miou: BDResult | None
    """Change of mIoU (0..1) at equal bitrate."""
    note: str = ""
    """Why a number is missing."""

    def rows(self) -> Iterator[tuple[str, str, str, BDResult | None]]:
        """(codec, method, metric, result) for the long table."""
        yield self.codec, self.method, f"BD-rate against {self.reference}", self.bitrate
        yield self.codec, self.method, f"BD-mIoU over bitrate against {self.reference}", self.miou


def family_comparisons(run: StoredRun) -> list[FamilyComparison]:
    """All families with two operating points or more against their anchor; empty where there is no anchor curve."""
    sections: dict[tuple[str, str], list[Seeded]] = {}
    for method in seeded_methods(run):
        sections.setdefault((method.dataset, method.codec), []).append(method)
    found = []
    for methods in sections.values():
        families = _families(methods)
        anchors = [members for members in families if members[0].entry.is_constant and len(members) > 1]
        tested = [members for members in families if not members[0].entry.is_constant and len(members) > 1]
        for name, members in zip(_names([one[0].entry for one in tested]), tested, strict=True):
            anchor = _anchor_of(members[0].entry, anchors)
            if anchor is not None:
                found.append(_compare(anchor, name, members, run.pictures_per_keyframe(anchor[0].groups[0])))
    return found


def _families(methods: Sequence[Seeded]) -> list[list[Seeded]]:
    """Methods with a known cost by family, ascending; of equal costs the first is kept."""
    families: dict[str, list[Seeded]] = {}
    for method in sorted(methods, key=lambda m: m.gmacs if math.isfinite(m.gmacs) else math.inf):
        members = families.setdefault(method.entry.family, [])
        known = method.gmacs > 0 and math.isfinite(method.gmacs)
        if known and (not members or members[-1].gmacs < method.gmacs):
            members.append(method)
    return [members for members in families.values() if members]


def _names(families: Sequence[MethodEntry]) -> list[str]:
    """Registered name of each family; where several share it, with the options in which they differ."""
    decisive = [_decisive(entry) for entry in families]
    names = []
    for entry, mine in zip(families, decisive, strict=True):
        kin = [other for one, other in zip(families, decisive, strict=True) if one.name == entry.name]
        differing = [
            f"{key} {value}" for key, value in mine.items() if any(other[key] != value for other in kin)
        ]
        names.append(f"{entry.name} ({', '.join(differing)})" if differing else entry.name)
    return names


def _decisive(entry: MethodEntry) -> dict[str, Any]:
    """What must agree inside a family."""
    free = {"lr_scale", *entry.budget_knob}
    return {key: value for key, value in sorted(entry.options.items()) if key not in free} | {
        f"inference.{key}": value for key, value in entry.inference.model_dump().items()
    }


def _anchor_of(entry: MethodEntry, anchors: Sequence[list[Seeded]]) -> list[Seeded] | None:
    """The constant-resolution curve with most points among those of the same network; None if there is none."""
    alike = (anchor for anchor in anchors if entry.may_be_held_against(anchor[0].entry))
    return max(alike, key=len, default=None)


def _compare(
    anchor: Sequence[Seeded], family: str, members: Sequence[Seeded], interval: float
) -> FamilyComparison:
    curves = [
        _curve(name, methods, [1e9 * method.gmacs for method in methods], "MACs")
        for name, methods in ((ANCHOR, anchor), (family, members))
    ]
    notes: list[str] = []
    flops, miou = (_difference(curves[0], curves[1], metric, notes) for metric in ("flops", "miou"))
    times = _time_curve(ANCHOR, anchor, interval), _time_curve(family, members, interval)
    milliseconds = None
    if times[0] is not None and times[1] is not None:
        late: list[str] = []
        milliseconds = _difference(times[0], times[1], "milliseconds", late)
        notes += [f"over step time: {note}" for note in late]
    return FamilyComparison(
        anchor[0].dataset,
        anchor[0].codec,
        family,
        tuple(method.title for method in members),
        tuple(method.title for method in anchor),
        flops,
        miou,
        "; ".join(dict.fromkeys(notes)),
        _over_seeds("flops", anchor, members),
        _over_seeds("miou", anchor, members),
        milliseconds,
    )


def _difference(
    anchor: MeasuredCurve, test: MeasuredCurve, metric: BDMetric, notes: list[str]
) -> BDResult | None:
    try:
        return bd_with_interval(anchor, test, metric)
    except InputError as error:  # curves that share no range, or frames that differ: a finding, not a failure
        notes.append(str(error))
        return None


def _time_curve(name: str, methods: Sequence[Seeded], interval: float) -> MeasuredCurve | None:
    """Over mean step time, of all seeds; None where a time is missing or two are equal."""
    costs = [float(np.mean([_gop_mean_ms(group, interval) for group in m.groups])) for m in methods]
    if not all(math.isfinite(c) and c > 0 for c in costs) or len(set(costs)) < len(costs):
        return None
    return _curve(name, methods, costs, "ms")


def _gop_mean_ms(group: Group, interval: float) -> float:
    """Mean step time over a group of pictures; NaN where nothing was timed."""
    key, other = (group.step_ms.get(place, math.nan) for place in ("key", "non_key"))
    if math.isnan(key):
        return other
    return key if math.isnan(other) else gop_mean(key, other, interval)


def rate_comparisons(run: StoredRun) -> list[RateComparison]:
    """Every method against the reference over the bitrates of one codec; empty with one bitrate per codec."""
    sweeps: dict[tuple[str, str], dict[str, list[Group]]] = {}
    for group in run.groups:
        kind = _all_but_the_rate(run.roster.codec(group.dataset, group.codec))
        sweeps.setdefault((group.dataset, kind), {}).setdefault(group.method, []).append(group)
    found = []
    for (dataset, _), methods in sweeps.items():
        full = {m: sorted(gs, key=lambda g: g.kbps) for m, gs in methods.items() if len(gs) > 1}
        if full:
            settings = run.roster.codec(dataset, next(iter(full.values()))[0].codec).settings
            name = f"{settings.codec} {settings.preset}"
            reference = reference_method(run, dataset, next(iter(full.values()))[0].codec)
            if reference in full:
                found += [
                    _compare_rates(dataset, name, full[reference], groups)
                    for method, groups in full.items()
                    if method != reference
                ]
    return found


def _all_but_the_rate(codec: CodecEntry) -> str:
    return codec.settings.model_copy(update=dict.fromkeys(RATES)).model_dump_json()


def _compare_rates(
    dataset: str, codec: str, reference: Sequence[Group], groups: Sequence[Group]
) -> RateComparison:
    notes: list[str] = []
    curves = [
        MeasuredCurve(
            members[0].method,
            tuple(MeasuredPoint(group.unit_counts(), cost=group.kbps) for group in members),
            "kb/s",
        )
        for members in (reference, groups)
    ]
    bitrate, miou = (_difference(curves[0], curves[1], metric, notes) for metric in ("bitrate", "miou"))
    return RateComparison(
        dataset,
        codec,
        groups[0].method,
        reference[0].method,
        tuple(group.codec for group in groups),
        bitrate,
        miou,
        "; ".join(dict.fromkeys(notes)),
    )


def _curve(name: str, methods: Sequence[Seeded], costs: Sequence[float], unit: str) -> MeasuredCurve:
    """A point's quality is the mean over its seeds."""
    points = []
    for method, cost in zip(methods, costs, strict=True):
        first, *others = (group.unit_counts() for group in method.groups)
        points.append(MeasuredPoint(first, cost=cost, others=tuple(others)))
    return MeasuredCurve(name, tuple(points), unit)


def _over_seeds(metric: BDMetric, anchor: Sequence[Seeded], members: Sequence[Seeded]) -> SeedInterval | None:
    """The BD value of the curves of each seed; None where seeds differ or a seed's curves do not meet."""
    seeds = {method.seeds for method in (*anchor, *members)}
    count = len(anchor[0].groups)
    if len(seeds) != 1 or count < 2:
        return None
    try:
        values = [
            bjontegaard_value(
                metric, *(_seed_curve(name, c, n) for name, c in ((ANCHOR, anchor), ("test", members)))
            )
            for n in range(count)
        ]
    except CurveError:
        return None
    return over_seeds(values)


def _seed_curve(name: str, methods: Sequence[Seeded], seed: int) -> Curve:
    costs = tuple(1e9 * method.gmacs for method in methods)
    return Curve(name, costs, tuple(method.groups[seed].miou for method in methods), "MACs")
