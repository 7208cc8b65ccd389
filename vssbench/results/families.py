"""Bjontegaard differences inside a run: methods of one kind at several costs form a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vssbench.errors import InputError
from vssbench.metrics.bjontegaard import BDMetric, BDResult, Curve, CurveError, bjontegaard_value
from vssbench.metrics.bootstrap import BootstrapOptions, MeasuredCurve, MeasuredPoint, bootstrap_bd
from vssbench.metrics.seeds import SeedInterval, over_seeds
from vssbench.results.run import Run
from vssbench.results.seeds import Seeded, seeded_methods

ANCHOR = "constant"
"""Registered name of the methods that make the anchor curve."""
OPTIONS = BootstrapOptions(resamples=500)
"""Each resample interpolates curves in Python: 500 keep a report within seconds, the ends move by some percent of the width."""


@dataclass(frozen=True, slots=True)
class FamilyComparison:
    """One family of methods against the constant-resolution curve, on one dataset and codec."""

    dataset: str
    codec: str
    family: str
    """Registered method name; its points differ in lr_scale or other options."""
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


def family_comparisons(run: Run) -> list[FamilyComparison]:
    """All families with two operating points or more against the anchor; empty where there is no anchor curve."""
    sections: dict[tuple[str, str], list[Seeded]] = {}
    for method in seeded_methods(run):
        sections.setdefault((method.dataset, method.codec), []).append(method)
    found = []
    for methods in sections.values():
        families = _families(methods)
        anchor = families.pop(ANCHOR, [])
        if len(anchor) >= 2:
            found += [
                _compare(anchor, family, members) for family, members in families.items() if len(members) >= 2
            ]
    return found


def _families(methods: Sequence[Seeded]) -> dict[str, list[Seeded]]:
    """Registered name -> methods with a known cost, ascending; of equal costs the first is kept."""
    families: dict[str, list[Seeded]] = {}
    for method in sorted(methods, key=lambda m: m.gmacs if math.isfinite(m.gmacs) else math.inf):
        members = families.setdefault(method.kind, [])
        known = method.gmacs > 0 and math.isfinite(method.gmacs)
        if known and (not members or members[-1].gmacs < method.gmacs):
            members.append(method)
    return families


def _compare(anchor: Sequence[Seeded], family: str, members: Sequence[Seeded]) -> FamilyComparison:
    curves = [_curve(ANCHOR, anchor), _curve(family, members)]
    results: dict[str, BDResult | None] = {}
    notes = []
    metrics: tuple[BDMetric, ...] = ("flops", "miou")
    for metric in metrics:
        try:
            results[metric] = bootstrap_bd(curves[0], curves[1], metric, options=OPTIONS)
        except (
            InputError
        ) as error:  # curves that share no range, or frames that differ: a finding, not a failure
            results[metric] = None
            notes.append(str(error))
    return FamilyComparison(
        anchor[0].dataset,
        anchor[0].codec,
        family,
        tuple(method.title for method in members),
        tuple(method.title for method in anchor),
        results["flops"],
        results["miou"],
        "; ".join(dict.fromkeys(notes)),
        _over_seeds("flops", anchor, members),
        _over_seeds("miou", anchor, members),
    )


def _curve(name: str, methods: Sequence[Seeded]) -> MeasuredCurve:
    """A point's quality is the mean over its seeds."""
    points = []
    for method in methods:
        first, *others = (group.unit_counts() for group in method.groups)
        points.append(MeasuredPoint(first, cost=1e9 * method.gmacs, others=tuple(others)))
    return MeasuredCurve(name, tuple(points), "MACs")


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
