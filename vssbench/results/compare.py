"""Holding a run against a stored baseline: what regressed, by how much, beyond which limit. Pure comparison."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.results.run import Group, Run

BASELINE_SCHEMA = 1

MUST_MATCH = ("datasets", "codecs", "protocol")
"""Sections of the experiment that must be equal before two runs may be compared."""

Verdict = Literal["pass", "regression", "improved", "skipped"]


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


@dataclass(frozen=True, slots=True)
class Row:
    """One metric of one (dataset, codec, method)."""

    dataset: str
    codec: str
    method: str
    metric: str
    baseline: float | str | None
    value: float | str | None
    verdict: Verdict
    reason: str


def make_baseline(run: Run) -> dict[str, Any]:
    """Plain JSON data of a complete run that later runs are held against. Raises InputError if it is incomplete."""
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan['units']} units are stored; a baseline needs a complete run"
        )
    return {
        "schema": BASELINE_SCHEMA,
        "must_match": {key: run.experiment[key] for key in MUST_MATCH},
        "environment": run.environment,
        "rows": [_row_of(run, group) for group in run.groups],
    }


def _row_of(run: Run, group: Group) -> dict[str, Any]:
    cost = run.costs.get((group.dataset, group.method), {})
    return {
        "dataset": group.dataset,
        "codec": group.codec,
        "method": group.method,
        "miou": group.miou,
        "miou_d": {str(d): float(v) for d, v in zip(group.distances, group.miou_d, strict=True)},
        "gop_mean_gmacs": cost.get("gop_mean_gmacs"),
        "achieved_kbps": group.kbps,
        "decoded_digest": _digest_of(group),
        "step_ms": {
            kind: [round(float(v), 6) for v in values] for kind, values in sorted(group.unit_step_ms.items())
        },
    }


def _digest_of(group: Group) -> str:
    return hashlib.sha256("\n".join(group.decoded_digests).encode()).hexdigest()


def compare(
    run: Run, baseline: dict[str, Any], limits: Limits = Limits(), *, paired: bool = False
) -> list[Row]:
    """Hold every metric of `run` against `baseline`.

    paired: both were measured in one job on one machine, so step times are compared even though machines differ by
    name or load. Without it latency is compared only if the processor is the same.
    Raises ConfigError naming the keys in which the runs are unlike, InputError for an unreadable baseline.
    """
    _refuse_unlike(run, baseline)
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan['units']} units are stored; finish it with `vssbench run` first"
        )
    groups = {(g.dataset, g.codec, g.method): g for g in run.groups}
    rows: list[Row] = []
    for old in baseline["rows"]:
        key = (old["dataset"], old["codec"], old["method"])
        if key not in groups:
            rows.append(
                Row(*key, "present", "yes", None, "regression", "the method is missing from this run")
            )
            continue
        rows += _compare_group(run, groups.pop(key), old, baseline, limits, paired)
    rows += [Row(*key, "present", None, "yes", "skipped", "not in the baseline; update it") for key in groups]
    return rows


def _refuse_unlike(run: Run, baseline: dict[str, Any]) -> None:
    if not isinstance(baseline, dict) or baseline.get("schema") != BASELINE_SCHEMA:
        raise InputError(
            f"not a baseline of schema {BASELINE_SCHEMA}; make one with `vssbench baseline update`"
        )
    unlike = [
        path
        for key in MUST_MATCH
        for path in _differing(baseline["must_match"].get(key), run.experiment[key], key)
    ]
    if unlike:
        raise ConfigError(
            f"{run.path}: unlike the baseline in {'; '.join(unlike[:6])}. Only runs of the same data, codecs and protocol compare"
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
    run: Run, group: Group, old: dict[str, Any], baseline: dict[str, Any], limits: Limits, paired: bool
) -> Iterator[Row]:
    key = (group.dataset, group.codec, group.method)
    new = _row_of(run, group)
    yield _lower_is_worse(key, "miou", old["miou"], new["miou"], limits.miou_drop)
    for d in sorted(old["miou_d"], key=int):
        yield _lower_is_worse(
            key, f"miou_{d}", old["miou_d"][d], new["miou_d"].get(d, float("nan")), limits.miou_drop
        )
    yield _compare_macs(key, old["gop_mean_gmacs"], new["gop_mean_gmacs"], limits.macs_rise)
    for metric in ("achieved_kbps", "decoded_digest"):
        same = old[metric] == new[metric]
        reason = (
            ""
            if same
            else "other bits: encoder, settings or source frames changed; accuracies are not comparable"
        )
        yield Row(*key, metric, old[metric], new[metric], "pass" if same else "regression", reason)
    processors = [e["machine"]["processor"] for e in (baseline["environment"], run.environment)]
    for kind in sorted(old["step_ms"]):
        if not paired and processors[0] != processors[1]:
            reason = f"measured on {processors[0]!r}, here {processors[1]!r}; compare with --paired"
            yield Row(*key, f"{kind}_ms", None, None, "skipped", reason)
        else:
            yield _compare_latency(key, kind, old["step_ms"][kind], new["step_ms"].get(kind, []), limits)


def _lower_is_worse(key: tuple[str, str, str], metric: str, old: float, new: float, limit: float) -> Row:
    if np.isnan(old) and np.isnan(new):
        return Row(*key, metric, old, new, "pass", "undefined in both")
    drop = old - new
    if not drop <= limit:  # also true for NaN
        return Row(*key, metric, old, new, "regression", f"lower by {drop:.6f}, limit {limit:g}")
    return Row(*key, metric, old, new, "improved" if drop < -limit else "pass", "")


def _compare_macs(key: tuple[str, str, str], old: float | None, new: float | None, limit: float) -> Row:
    if old is None or new is None:
        return Row(*key, "gop_mean_gmacs", old, new, "skipped", "MACs were not counted in both runs")
    rise = new / old - 1 if old else float(new > 0)
    if rise > limit:
        return Row(*key, "gop_mean_gmacs", old, new, "regression", f"{rise:+.4%}, limit {limit:.4%}")
    return Row(*key, "gop_mean_gmacs", old, new, "improved" if rise < 0 else "pass", "")


def _compare_latency(
    key: tuple[str, str, str], kind: str, old: Sequence[float], new: Sequence[float], limits: Limits
) -> Row:
    """Ratio of medians with a seeded bootstrap; a regression must exceed both floors with the wanted confidence."""
    metric = f"{kind}_ms"
    if len(old) < 3 or len(new) < 3:
        return Row(
            *key,
            metric,
            None,
            None,
            "skipped",
            f"{len(old)} and {len(new)} samples; at least 3 each are needed",
        )
    before, after = float(np.median(old)), float(np.median(new))
    low = float(np.quantile(_median_ratios(np.asarray(old), np.asarray(new)), 1 - limits.confidence))
    worse = low > 1 + limits.latency_rise and after - before > limits.latency_floor_ms
    if worse:
        reason = (
            f"{after / before - 1:+.1%} ({after - before:+.2f} ms); at {limits.confidence:.0%} confidence at least "
            f"{low - 1:+.1%}, limit {limits.latency_rise:.0%}"
        )
        return Row(*key, metric, before, after, "regression", reason)
    return Row(*key, metric, before, after, "pass", f"{after / before - 1:+.1%}, within limits or noise")


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


def regressed(rows: Sequence[Row]) -> bool:
    """True if any row is a regression."""
    return any(row.verdict == "regression" for row in rows)
