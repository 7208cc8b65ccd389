"""Holding a run against a stored baseline: what regressed, by how much, beyond which limit. Pure comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import ConfigError, InputError, nearest
from vssbench.results.group import Group
from vssbench.results.stored import StoredRun

BASELINE_SCHEMA = 3
"""Raised when the form of a baseline changes; others are refused."""

MUST_MATCH = ("datasets", "codecs", "protocol")
"""Parts of the roster that must be equal before two runs may be compared."""

NEUTRAL = "share of pixels"
"""Beginning of the names of further metrics that are neither good nor bad."""

Outcome = Literal["pass", "regression", "improved", "skipped"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much worse a metric may get before it is a regression. Differences are signed: worse is positive."""

    miou_drop: float = 1e-9
    """Absolute, in 0..1. Runs are deterministic, so the default only absorbs float summation."""
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
    relative for MACs and step times."""

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


def make_baseline(run: StoredRun) -> dict[str, Any]:
    """Plain JSON data of a complete run that later runs are held against. Raises InputError if it is incomplete."""
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan.units} units are stored; a baseline needs a complete run"
        )
    return {
        "schema": BASELINE_SCHEMA,
        "must_match": _must_match(run),
        "environment": run.environment,
        "rows": [_row_of(run, group) for group in run.groups],
    }


def _must_match(run: StoredRun) -> dict[str, Any]:
    """What two runs must share: parts of the roster, and the class tables behind the numbers."""
    tables = {
        name: {"class_names": list(dataset.class_names), "ignore_index": dataset.ignore_index}
        for name, dataset in sorted(run.datasets.items())
    }
    return {**run.roster.model_dump(mode="json", include=set(MUST_MATCH)), "classes": tables}


def _row_of(run: StoredRun, group: Group) -> dict[str, Any]:
    gmacs = run.gmacs(group.dataset, group.method, group.codec)
    return {
        "dataset": group.dataset,
        "codec": group.codec,
        "method": group.method,
        "miou": group.miou,
        "miou_d": {str(d): float(v) for d, v in zip(group.distances, group.miou_d, strict=True)},
        "further": {
            row.metric: row.value
            for row in group.further
            if (row.distance, row.class_index) == (-1, -1) and not row.metric.startswith(NEUTRAL)
        },
        "gop_mean_gmacs": gmacs if np.isfinite(gmacs) else None,
        "uncounted": _uncounted(run, group),
        "achieved_kbps": group.kbps,
        "decoded_digest": _digest_of(group),
        "step_ms": {
            kind: [round(float(v), 6) for v in values] for kind, values in sorted(group.unit_step_ms.items())
        },
    }


def _uncounted(run: StoredRun, group: Group) -> list[str]:
    """Work that is missing from the method's MACs."""
    cost = run.cost(group.dataset, group.method, group.codec)
    return list(cost.uncounted) if cost is not None else []


def _digest_of(group: Group) -> str:
    return hashlib.sha256("\n".join(group.decoded_digests).encode()).hexdigest()


def compare(
    run: StoredRun, baseline: dict[str, Any], limits: Limits = Limits(), *, paired: bool = False
) -> list[Verdict]:
    """Hold every metric of `run` against `baseline`.

    paired: both were measured in one job on one machine, so step times must be comparable; without it they are
    compared only if the processor is the same, and skipped otherwise.
    Raises ConfigError naming the keys in which the runs are unlike, or a limit of a metric that nothing has;
    InputError for an unreadable baseline.
    """
    _refuse_unlike(run, baseline, paired)
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan.units} units are stored; finish it with `vssbench run` first"
        )
    groups = {(g.dataset, g.codec, g.method): g for g in run.groups}
    rows: list[Verdict] = []
    for old in baseline["rows"]:
        key = (old["dataset"], old["codec"], old["method"])
        if key not in groups:
            rows.append(
                Verdict(*key, "present", "yes", None, "regression", "the method is missing from this run")
            )
            continue
        rows += _compare_group(run, groups.pop(key), old, baseline, limits, paired)
    rows += [
        Verdict(*key, "present", None, "yes", "skipped", "not in the baseline; update it") for key in groups
    ]
    refuse_unknown_limits(limits, rows)
    return rows


def refuse_unknown_limits(limits: Limits, rows: Sequence[Verdict]) -> None:
    """Raise ConfigError for a limit whose metric none of the rows has: it would hold nothing."""
    known = sorted({row.metric for row in rows})
    for name in limits.metrics:
        if name not in known:
            raise ConfigError(f"limits.metrics: no metric is called {name!r}; {nearest(name, known)}")


def _refuse_unlike(run: StoredRun, baseline: dict[str, Any], paired: bool) -> None:
    if not isinstance(baseline, dict) or baseline.get("schema") != BASELINE_SCHEMA:
        raise InputError(
            f"not a baseline of schema {BASELINE_SCHEMA}; make one with `vssbench baseline update`"
        )
    missing = [key for key in ("must_match", "environment", "rows") if key not in baseline]
    if missing:
        raise InputError(
            f"the baseline lacks {', '.join(missing)}: it was damaged or edited; make it anew with `vssbench baseline update`"
        )
    wanted, here = baseline["must_match"], _must_match(run)
    unlike = [path for key in here for path in _differing(wanted.get(key), here[key], key)]
    if paired:
        there, now = (e["machine"]["processor"] for e in (baseline["environment"], run.environment))
        unlike += _differing(there, now, "machine.processor")
    if unlike:
        raise ConfigError(
            f"{run.path}: unlike the baseline in {'; '.join(unlike[:6])}. Only runs of the same data, classes, codecs and protocol compare"
            + (", and with --paired of one machine" if paired else "")
        )


def _differing(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(set(old) | set(new)):
            yield from _differing(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from _differing(a, b, f"{path}.{index}")
    elif old != new:
        yield f"{path} ({old!r} there, {new!r} here)"


def _compare_group(
    run: StoredRun, group: Group, old: dict[str, Any], baseline: dict[str, Any], limits: Limits, paired: bool
) -> Iterator[Verdict]:
    key = (group.dataset, group.codec, group.method)
    new = _row_of(run, group)
    before = {"miou": old["miou"], **{f"miou_{d}": old["miou_d"][d] for d in sorted(old["miou_d"], key=int)}}
    now = {
        "miou": new["miou"],
        **{f"miou_{d}": value for d, value in new["miou_d"].items()},
        **new["further"],
    }
    for metric, value in {**before, **old["further"]}.items():
        limit = limits.of(metric, limits.miou_drop)
        yield _lower_is_worse(key, metric, value, now.get(metric, float("nan")), limit)
    for metric in sorted(set(new["further"]) - set(old["further"])):
        yield Verdict(*key, metric, None, now[metric], "skipped", "not in the baseline; update it")
    macs_limit = limits.of("gop_mean_gmacs", limits.macs_rise)
    macs = _compare_macs(key, old["gop_mean_gmacs"], new["gop_mean_gmacs"], macs_limit)
    yield _of_lower_bounds(macs, old.get("uncounted", []), new["uncounted"])
    for metric in ("achieved_kbps", "decoded_digest"):
        same = old[metric] == new[metric]
        reason = (
            ""
            if same
            else "other bits: encoder, settings or source frames changed; accuracies are not comparable"
        )
        yield Verdict(*key, metric, old[metric], new[metric], "pass" if same else "regression", reason)
    processors = [e["machine"]["processor"] for e in (baseline["environment"], run.environment)]
    for kind in sorted(old["step_ms"]):
        if not paired and processors[0] != processors[1]:
            reason = f"measured on {processors[0]!r}, here {processors[1]!r}; compare with --paired"
            yield Verdict(*key, f"{kind}_ms", None, None, "skipped", reason)
        else:
            yield judge_latency(key, f"{kind}_ms", old["step_ms"][kind], new["step_ms"].get(kind, []), limits)


def _lower_is_worse(key: tuple[str, str, str], metric: str, old: float, new: float, limit: float) -> Verdict:
    if np.isnan(old) and np.isnan(new):
        return Verdict(*key, metric, old, new, "pass", "undefined in both")
    drop = old - new
    if not drop <= limit:  # also true for NaN
        return Verdict(*key, metric, old, new, "regression", f"lower by {drop:.6f}, limit {limit:g}")
    return Verdict(*key, metric, old, new, "improved" if drop < -limit else "pass", "")


def _of_lower_bounds(verdict: Verdict, old: list[str], new: list[str]) -> Verdict:
    """MACs that are at least what was counted: an improvement is none where other work than before is not counted."""
    if not old and not new:
        return verdict
    missing = (
        f"at least that; not counted: {', '.join(new) or 'nothing'} (baseline: {', '.join(old) or 'nothing'})"
    )
    reason = f"{verdict.reason}; {missing}" if verdict.reason else missing
    other = old != new and verdict.outcome in ("improved", "pass")
    return replace(verdict, outcome="skipped" if other else verdict.outcome, reason=reason)


def _compare_macs(key: tuple[str, str, str], old: float | None, new: float | None, limit: float) -> Verdict:
    if old is None or new is None:
        return Verdict(*key, "gop_mean_gmacs", old, new, "skipped", "MACs were not counted in both runs")
    rise = new / old - 1 if old else float(new > 0)
    if rise > limit:
        return Verdict(*key, "gop_mean_gmacs", old, new, "regression", f"{rise:+.4%}, limit {limit:.4%}")
    return Verdict(*key, "gop_mean_gmacs", old, new, "improved" if rise < 0 else "pass", "")


def judge_latency(
    key: tuple[str, str, str], metric: str, old: Sequence[float], new: Sequence[float], limits: Limits
) -> Verdict:
    """Ratio of medians of milliseconds with a seeded bootstrap.

    A regression must exceed the relative limit with the wanted confidence, and the absolute floor.
    """
    limit = limits.of(metric, limits.latency_rise)
    if len(old) < 3 or len(new) < 3:
        return Verdict(
            *key,
            metric,
            None,
            None,
            "skipped",
            f"{len(old)} and {len(new)} samples; at least 3 each are needed",
        )
    before, after = float(np.median(old)), float(np.median(new))
    low = float(np.quantile(_median_ratios(np.asarray(old), np.asarray(new)), 1 - limits.confidence))
    worse = low > 1 + limit and after - before > limits.latency_floor_ms
    if worse:
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


def regressed(rows: Sequence[Verdict]) -> bool:
    """True if any row is a regression."""
    return any(row.outcome == "regression" for row in rows)
