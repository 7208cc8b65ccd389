"""Holding a run against a stored baseline: what regressed, by how much, beyond which limit. Pure comparison."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.analysis.baseline import Baseline, BaselineRow, row_of
from vssbench.analysis.comparability import Unlike, checked_kinds, facts_of, unlike
from vssbench.errors import ConfigError, InputError, nearest
from vssbench.metrics.confusion import iou, mean_of_present
from vssbench.results.documents import EnvironmentRecord
from vssbench.results.stored import StoredRun

ACROSS_CPUS = 1e-5
"""Share of the scored pixels that may be classified otherwise on another kind of CPU or device, whose sums round otherwise."""
CLASS = "iou."
"""Beginning of the names of limits of single classes."""
LOW_QUANTILE = 0.1
"""A slower method has slower fast steps too; what else the machine does makes some steps slow, hardly all."""

Outcome = Literal["pass", "regression", "improved", "skipped", "incomparable"]
Key = tuple[str, str, str]
"""Dataset, codec, method."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse a metric may get before it is a regression. Differences are signed: worse is positive."""

    miou_drop: float = 1e-9
    """Absolute, in 0..1. Runs are deterministic, so the default only absorbs float summation."""
    pixels: int | None = None
    """Pixels of one method that may be classified otherwise; None: none, and ACROSS_CPUS of them on another kind of CPU."""
    macs_rise: float = 0.0
    """Relative. MACs are exact."""
    latency_rise: float = 0.10
    """Relative rise of the median step time that is still accepted."""
    latency_floor_ms: float = 0.5
    """Absolute rise below which a latency difference is never a regression."""
    confidence: float = 0.99
    """One-sided confidence with which the rise must exceed `latency_rise`."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Limit of single metrics by the name that `check` prints, in place of the general one: absolute for shares (0..1),
    relative for MACs and step times. 'iou.CLASS' holds one class."""

    def of(self, metric: str, general: float) -> float:
        """The limit of a metric, or the general one."""
        return self.metrics.get(metric, general)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One metric of one (dataset, codec, method) held against its baseline."""

    dataset: str
    codec: str
    method: str
    metric: str
    baseline: float | str | None
    value: float | str | None
    outcome: Outcome
    reason: str


def compare(
    run: StoredRun,
    baseline: Baseline,
    limits: Limits = Limits(),
    *,
    paired: bool = False,
    allow: Collection[str] = (),
) -> list[Verdict]:
    """Hold every metric of `run` against `baseline`.

    paired: both were measured in one job on one machine, so step times must be comparable; without it they are
    compared only if CPU model and number of workers are equal, and skipped otherwise. allow: kinds of difference in
    spite of which numbers are compared (`comparability.ALLOWABLE`); with any other the rows say only what differs.
    Raises ConfigError for a limit of a metric that nothing has, InputError for an incomplete run.
    """
    kinds = checked_kinds(allow)
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan.units} units are stored; finish it with `vssbench run` first"
        )
    differences = [_told(one, one.kind in kinds) for one in unlike(baseline.facts, facts_of(run))]
    if paired:
        differences += _unlike_machines(run, baseline)
    if any(row.outcome == "incomparable" for row in differences):
        return differences
    groups = {(g.dataset, g.codec, g.method): g for g in run.groups}
    rows: list[Verdict] = []
    for old in baseline.rows:
        key = (old.dataset, old.codec, old.method)
        if key in groups:
            names = run.datasets[old.dataset].class_names
            rows += _compare_rows(
                row_of(run, groups.pop(key)),
                old,
                names,
                limits,
                _Machines.of(run, baseline),
                run.roster.metric,
            )
        else:
            missing = "the method is missing from this run"
            rows.append(Verdict(*key, "present", "yes", None, "regression", missing))
    rows += [
        Verdict(*key, "present", None, "yes", "skipped", "not in the baseline; update it") for key in groups
    ]
    refuse_unknown_limits(limits, rows, [n for d in run.datasets.values() for n in d.class_names])
    return [*differences, *rows]


def _told(one: Unlike, allowed: bool) -> Verdict:
    place = (one.dataset, one.codec, "", one.kind)
    if allowed:
        return Verdict(
            *place, None, None, "skipped", f"{one.text}; compared nevertheless, because it is allowed"
        )
    return Verdict(*place, None, None, "incomparable", one.text)


def _unlike_machines(run: StoredRun, baseline: Baseline) -> Iterator[Verdict]:
    there, here = baseline.environment.processors, run.environment.processors
    if there != here:
        text = (
            f"{' and '.join(there)} there, {' and '.join(here)} here; --paired is for one job on one machine"
        )
        yield Verdict("", "", "", "processor", None, None, "incomparable", text)


def refuse_unknown_limits(limits: Limits, rows: Sequence[Verdict], classes: Sequence[str] = ()) -> None:
    """Raise ConfigError for a limit whose metric none of the rows has: it would hold nothing."""
    known = sorted({row.metric for row in rows})
    for name in limits.metrics:
        if name not in known:
            among = [f"{CLASS}{one}" for one in classes] if name.startswith(CLASS) else known
            raise ConfigError(f"limits.metrics: no metric is called {name!r}; {nearest(name, among)}")


@dataclass(frozen=True)
class _Machines:
    """What of two machines decides whether pixels and times compare."""

    there: EnvironmentRecord
    here: EnvironmentRecord

    @classmethod
    def of(cls, run: StoredRun, baseline: Baseline) -> _Machines:
        return cls(baseline.environment, run.environment)

    @property
    def same_kind(self) -> bool:
        kinds = [(one.processors, one.bits.get("device")) for one in (self.there, self.here)]
        return kinds[0] == kinds[1]

    def why_not_times(self, old: BaselineRow, new: BaselineRow) -> str:
        """Why step times of two rows do not compare; '' if they do."""
        there, here = (" and ".join(one.processors) for one in (self.there, self.here))
        if not self.same_kind:
            return f"measured on {there or 'an unknown CPU'}, here {here}; measure both in one job"
        if old.workers != new.workers:
            counts = [" and ".join(map(str, row.workers)) or "unknown" for row in (old, new)]
            return f"measured with {counts[0]} worker processes, here {counts[1]}; use --workers alike"
        return ""


def _compare_rows(
    new: BaselineRow,
    old: BaselineRow,
    names: Sequence[str],
    limits: Limits,
    machines: _Machines,
    score: str,
) -> Iterator[Verdict]:
    key = (old.dataset, old.codec, old.method)
    before, now = np.array(old.counts, dtype=np.int64), np.array(new.counts, dtype=np.int64)
    yield from _compare_scores(key, before, now, names, limits, machines, score)
    moved = _Moved.between(before, now, limits, machines)
    for metric, value in old.further.items():
        limit = limits.of(metric, limits.miou_drop)
        yield _lower_is_worse(key, metric, value, new.further.get(metric, math.nan), limit, moved)
    for metric in sorted(new.further.keys() - old.further.keys()):
        yield Verdict(*key, metric, None, new.further[metric], "skipped", "not in the baseline; update it")
    macs_limit = limits.of("gop_mean_gmacs", limits.macs_rise)
    macs = _compare_macs(key, old.gop_mean_gmacs, new.gop_mean_gmacs, macs_limit)
    yield _of_lower_bounds(macs, old.uncounted, new.uncounted)
    reason = machines.why_not_times(old, new)
    for kind in sorted(old.step_ms):
        if reason:
            yield Verdict(*key, f"{kind}_ms", None, None, "skipped", reason)
        else:
            yield judge_latency(key, f"{kind}_ms", old.step_ms[kind], new.step_ms.get(kind, ()), limits)


@dataclass(frozen=True, slots=True)
class _Moved:
    """How many pixels are classified otherwise than before, at least, and how many may be."""

    pixels: int
    of: int
    may: int

    @classmethod
    def between(
        cls, before: NDArray[np.int64], now: NDArray[np.int64], limits: Limits, machines: _Machines
    ) -> _Moved:
        scored = int(now.sum())
        share = 0 if machines.same_kind else math.ceil(ACROSS_CPUS * scored)
        may = share if limits.pixels is None else limits.pixels
        same = before.shape == now.shape
        return cls(int(np.abs(now - before).sum() + 1) // 2 if same else scored, scored, may)

    def __str__(self) -> str:
        return f"at least {self.pixels} of {self.of} pixels are classified otherwise, {self.may} may be"


def _compare_scores(
    key: Key,
    before: NDArray[np.int64],
    now: NDArray[np.int64],
    names: Sequence[str],
    limits: Limits,
    machines: _Machines,
    score: str,
) -> Iterator[Verdict]:
    """The score over all distances and at each, and the classes that have a limit. Counts [distance, truth, predicted]."""
    whole = _Moved.between(before, now, limits, machines)
    miou = [float(np.mean(_miou_d(counts))) for counts in (before, now)]
    yield _lower_is_worse(key, score, miou[0], miou[1], limits.of(score, limits.miou_drop), whole)
    if before.shape != now.shape:
        yield Verdict(
            *key, f"{score}_d", None, None, "skipped", "other distances or classes than in the baseline"
        )
        return
    for d, (old, new) in enumerate(zip(_miou_d(before), _miou_d(now), strict=True)):
        moved = replace(_Moved.between(before[d], now[d], limits, machines), may=whole.may)
        limit = limits.of(f"{score}_{d}", limits.miou_drop)
        yield _lower_is_worse(key, f"{score}_{d}", old, new, limit, moved)
    of_classes = [mean_of_present(np.stack([iou(one) for one in counts]).T) for counts in (before, now)]
    for name, old, new in zip(names, *of_classes, strict=True):
        metric = f"{CLASS if score == 'miou' else f'{score}.'}{name}"
        if metric in limits.metrics:
            yield _lower_is_worse(key, metric, float(old), float(new), limits.metrics[metric], whole)


def _miou_d(counts: NDArray[np.int64]) -> list[float]:
    return [float(mean_of_present(iou(one))) for one in counts]


def _lower_is_worse(key: Key, metric: str, old: float, new: float, limit: float, moved: _Moved) -> Verdict:
    if math.isnan(old) and math.isnan(new):
        return Verdict(*key, metric, old, new, "pass", "undefined in both")
    drop = old - new
    if drop == 0:
        return Verdict(*key, metric, old, new, "pass", "")
    if 0 < moved.may >= moved.pixels:
        return Verdict(*key, metric, old, new, "pass", str(moved))
    if not drop <= limit:  # also true for NaN
        return Verdict(*key, metric, old, new, "regression", f"lower by {drop:.3g}, limit {limit:g}; {moved}")
    return Verdict(*key, metric, old, new, "improved" if drop < -limit else "pass", str(moved))


def _of_lower_bounds(verdict: Verdict, old: Sequence[str], new: Sequence[str]) -> Verdict:
    """MACs that are at least what was counted: an improvement is none where other work than before is not counted."""
    if not old and not new:
        return verdict
    missing = (
        f"at least that; not counted: {', '.join(new) or 'nothing'} (baseline: {', '.join(old) or 'nothing'})"
    )
    reason = f"{verdict.reason}; {missing}" if verdict.reason else missing
    other = tuple(old) != tuple(new) and verdict.outcome in ("improved", "pass")
    return replace(verdict, outcome="skipped" if other else verdict.outcome, reason=reason)


def _compare_macs(key: Key, old: float | None, new: float | None, limit: float) -> Verdict:
    if old is None or new is None:
        return Verdict(*key, "gop_mean_gmacs", old, new, "skipped", "MACs were not counted in both runs")
    rise = new / old - 1 if old else float(new > 0)
    if rise > limit:
        return Verdict(*key, "gop_mean_gmacs", old, new, "regression", f"{rise:+.4%}, limit {limit:.4%}")
    return Verdict(*key, "gop_mean_gmacs", old, new, "improved" if rise < 0 else "pass", "")


def judge_latency(
    key: Key, metric: str, old: Sequence[float], new: Sequence[float], limits: Limits
) -> Verdict:
    """Ratio of medians of milliseconds with a seeded bootstrap.

    A regression must exceed the relative limit with the wanted confidence, in the fastest tenth of the steps too, and
    the absolute floor.
    """
    limit = limits.of(metric, limits.latency_rise)
    if len(old) < 3 or len(new) < 3:
        few = f"{len(old)} and {len(new)} samples; at least 3 each are needed"
        return Verdict(*key, metric, None, None, "skipped", few)
    before, after = float(np.median(old)), float(np.median(new))
    low = float(np.quantile(_median_ratios(np.asarray(old), np.asarray(new)), 1 - limits.confidence))
    fast = float(np.quantile(new, LOW_QUANTILE) / np.quantile(old, LOW_QUANTILE))
    if min(low, fast) > 1 + limit and after - before > limits.latency_floor_ms:
        reason = (
            f"{after / before - 1:+.1%} ({after - before:+.2f} ms); at {limits.confidence:.0%} confidence at least "
            f"{low - 1:+.1%}, limit {limit:.0%}"
        )
        return Verdict(*key, metric, before, after, "regression", reason)
    return Verdict(*key, metric, before, after, "pass", f"{after / before - 1:+.1%}, within limits or noise")


def _median_ratios(
    old: NDArray[np.float64], new: NDArray[np.float64], resamples: int = 2000
) -> NDArray[np.float64]:
    """Bootstrap of median(new) / median(old); units in the same order are resampled together."""
    generator = np.random.default_rng(0)
    if len(old) == len(new):
        picks = generator.integers(0, len(old), (resamples, len(old)))
        return np.asarray(np.median(new[picks], axis=1) / np.median(old[picks], axis=1))
    a = old[generator.integers(0, len(old), (resamples, len(old)))]
    b = new[generator.integers(0, len(new), (resamples, len(new)))]
    return np.asarray(np.median(b, axis=1) / np.median(a, axis=1))


def exit_code(rows: Sequence[Verdict]) -> int:
    """2 where the runs, or none of their metrics, compare; 1 where any metric regressed; else 0."""
    outcomes = {row.outcome for row in rows}
    return 2 if "incomparable" in outcomes or outcomes <= {"skipped"} else int("regression" in outcomes)
