"""Bjontegaard differences inside a run: methods of one kind at several costs form a curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vssbench.errors import InputError
from vssbench.metrics.bjontegaard import BDMetric, BDResult
from vssbench.metrics.bootstrap import BootstrapOptions, MeasuredCurve, MeasuredPoint, bootstrap_bd
from vssbench.results.run import Group, Run

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


def family_comparisons(run: Run) -> list[FamilyComparison]:
    """All families with two operating points or more against the anchor; empty where there is no anchor curve."""
    sections: dict[tuple[str, str], list[Group]] = {}
    for group in run.groups:
        sections.setdefault((group.dataset, group.codec), []).append(group)
    found = []
    for groups in sections.values():
        families = _families(run, groups)
        anchor = families.pop(ANCHOR, [])
        if len(anchor) >= 2:
            found += [
                _compare(run, anchor, family, members)
                for family, members in families.items()
                if len(members) >= 2
            ]
    return found


def _families(run: Run, groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Registered name -> groups with a known cost, ascending; of equal costs the first is kept."""
    kinds = {
        str(m.get("label") or m.get("name")): str(m.get("name")) for m in run.experiment.get("methods", [])
    }
    families: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda g: _cost(run, g)):
        members = families.setdefault(kinds.get(group.method, ""), [])
        cost = _cost(run, group)
        if cost > 0 and math.isfinite(cost) and (not members or _cost(run, members[-1]) < cost):
            members.append(group)
    return families


def _cost(run: Run, group: Group) -> float:
    return float(run.costs.get((group.dataset, group.method), {}).get("gop_mean_gmacs", math.inf))


def _compare(run: Run, anchor: Sequence[Group], family: str, members: Sequence[Group]) -> FamilyComparison:
    curves = [_curve(run, ANCHOR, anchor), _curve(run, family, members)]
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
        tuple(group.method for group in members),
        tuple(group.method for group in anchor),
        results["flops"],
        results["miou"],
        "; ".join(dict.fromkeys(notes)),
    )


def _curve(run: Run, name: str, groups: Sequence[Group]) -> MeasuredCurve:
    points = tuple(MeasuredPoint(group.unit_counts(), cost=1e9 * _cost(run, group)) for group in groups)
    return MeasuredCurve(name, points, "MACs")
