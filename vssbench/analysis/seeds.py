"""Methods that a run holds for several training seeds: mean, interval over seeds, interval over seeds and sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vssbench.errors import InputError
from vssbench.metrics.intervals import Interval, mean_interval
from vssbench.metrics.seeds import SeedInterval, over_seeds
from vssbench.results.group import Group
from vssbench.results.roster import MethodEntry
from vssbench.results.stored import StoredRun


@dataclass(frozen=True, slots=True, eq=False)
class Seeded:
    """One method on one dataset and codec, trained with one or more seeds."""

    dataset: str
    codec: str
    title: str
    """Title without the seed."""
    entry: MethodEntry
    """Of the first seed."""
    groups: tuple[Group, ...]
    """Ascending by seed."""
    seeds: tuple[int | None, ...]
    """None for a method that was named without seeds."""
    gmacs: float
    """GOP mean in 1e9 MACs; NaN if not measured."""


@dataclass(frozen=True, slots=True)
class SeedRow:
    """A method over its training seeds; all mIoU in 0..1."""

    dataset: str
    codec: str
    method: str
    seeds: tuple[int | None, ...]
    miou: SeedInterval
    both: Interval | None
    """Of the mean, over seeds and sequences; None where the seeds were scored on different frames."""
    miou_d: tuple[SeedInterval, ...]
    reference: str
    """Title of the experiment's reference, else of the dearest constant method; '' for itself or where there is none."""
    difference: SeedInterval | None
    """mIoU minus the reference's: seed by seed where both have the same seeds, else minus the reference's mean."""
    difference_both: Interval | None
    gmacs: float


def seeded_methods(run: StoredRun) -> list[Seeded]:
    """All methods of a run with the seeds of one title together, in the order of the experiment."""
    found: dict[tuple[str, str, str], list[tuple[MethodEntry, Group]]] = {}
    for group in run.groups:
        entry = run.roster.method(group.dataset, group.method)
        place = (group.dataset, group.codec, entry.title_without_seed)
        found.setdefault(place, []).append((entry, group))
    result = []
    for (dataset, codec, title), members in found.items():
        members.sort(key=lambda pair: -1 if pair[0].training_seed is None else pair[0].training_seed)
        entry, first = members[0]
        groups = tuple(group for _, group in members)
        seeds = tuple(entry.training_seed for entry, _ in members)
        gmacs = run.gmacs(dataset, first.method, codec)
        result.append(Seeded(dataset, codec, title, entry, groups, seeds, gmacs))
    return result


def seed_rows(run: StoredRun) -> list[SeedRow]:
    """A row per method, dataset and codec; empty for a run in which no method has two seeds."""
    methods = seeded_methods(run)
    if all(len(method.groups) < 2 for method in methods):
        return []
    return [_row(method, _reference(method, methods, run.roster.reference)) for method in methods]


def seed_frame(rows: Sequence[SeedRow]) -> pd.DataFrame:
    """The rows as numbers: mIoU in 0..1; low/high over seeds, both_low/high over seeds and sequences."""
    return pd.DataFrame([_record(row) for row in rows])


def _record(row: SeedRow) -> dict[str, Any]:
    ends = row.difference or SeedInterval(math.nan, math.nan, math.nan, math.nan, 0, 0.95)
    return {
        "dataset": row.dataset,
        "codec": row.codec,
        "method": row.method,
        "seeds": len(row.seeds),
        "miou": row.miou.mean,
        "deviation": row.miou.deviation,
        "low": row.miou.low,
        "high": row.miou.high,
        "both_low": row.both.low if row.both else math.nan,
        "both_high": row.both.high if row.both else math.nan,
        "gop_mean_gmacs": row.gmacs,
        "reference": row.reference,
        "difference": ends.mean,
        "difference_low": ends.low,
        "difference_high": ends.high,
        "difference_both_low": row.difference_both.low if row.difference_both else math.nan,
        "difference_both_high": row.difference_both.high if row.difference_both else math.nan,
    }


def _reference(method: Seeded, methods: Sequence[Seeded], chosen: str) -> Seeded | None:
    """The chosen or the dearest constant-resolution method of the same section, None if that is the method itself."""
    section = [m for m in methods if (m.dataset, m.codec) == (method.dataset, method.codec)]
    constant = [m for m in section if m.title == chosen] or [m for m in section if m.entry.is_constant]
    found = max(constant, key=lambda m: m.gmacs if math.isfinite(m.gmacs) else -1.0, default=None)
    return None if found is method else found


def _row(method: Seeded, reference: Seeded | None) -> SeedRow:
    groups = method.groups
    return SeedRow(
        method.dataset,
        method.codec,
        method.title,
        method.seeds,
        over_seeds([group.miou for group in groups]),
        _both(groups, ()),
        tuple(over_seeds(list(column)) for column in zip(*(g.miou_d for g in groups), strict=True)),
        reference.title if reference else "",
        _difference(method, reference) if reference else None,
        _both(groups, reference.groups) if reference else None,
        method.gmacs,
    )


def _difference(method: Seeded, reference: Seeded) -> SeedInterval:
    if method.seeds == reference.seeds:
        pairs = zip(method.groups, reference.groups, strict=True)
        return over_seeds([one.miou - other.miou for one, other in pairs])
    mean = over_seeds([group.miou for group in reference.groups]).mean
    return over_seeds([group.miou - mean for group in method.groups])


def _both(groups: Sequence[Group], minus: Sequence[Group]) -> Interval | None:
    """None where frames differ or a distance is empty."""
    try:
        return mean_interval([g.unit_counts() for g in groups], [g.unit_counts() for g in minus])
    except InputError:
        return None
