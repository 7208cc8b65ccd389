"""Paired block bootstrap: intervals on mIoU, mIoU_d, differences and BD values from per-frame counts.

Frames of one sequence resemble each other, so whole sequences are drawn with replacement; where there are too
few of them, blocks of consecutive labelled frames are. A resample is a vector of weights over the frames: it
multiplies the integer counts, the sums are divided once, and every method sees the same weights (paired).

Intervals are *expanded percentile* intervals: the percentile interval, taken at the level at which a normal
interval would be as wide as Student's with the number of drawn groups (Hesterberg, arXiv 1411.5279). The plain
percentile interval covers too little with few groups. With so few groups that this level lies beyond all resamples,
the interval is Student's with the bootstrap's standard error. docs/metrics.md has the simulation.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.bjontegaard import (
    BDMetric,
    BDResult,
    Curve,
    CurveError,
    Interpolator,
    bjontegaard,
    bjontegaard_value,
)
from vssbench.metrics.confusion import Counts, as_counts, mean_of_present

Values = NDArray[np.float64]
Resampled = Literal["sequences", "blocks"]
IntervalKind = Literal["percentile", "student"]

MINIMUM_SEQUENCES = 12
"""Fewer sequences than this are resampled as blocks of frames (unless asked otherwise)."""
LARGEST_UNDEFINED_SHARE = 0.05
"""More resamples than this without a BD value, and no interval is given."""
RESOLVABLE = 2
"""Resamples that must lie beyond a percentile for it to be read off; Student's interval is taken otherwise."""
FEW_GROUPS = 8
"""With fewer sequences or blocks than this an interval is a rough one, and says so (docs/metrics.md)."""
CHUNK = 256


@dataclass(frozen=True, slots=True)
class BootstrapOptions:
    """How to resample. The same options and frames give the same resamples, so results are reproducible."""

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    resampling: Literal["auto", "sequences", "blocks"] = "auto"
    block_length: int | None = None
    """Labelled frames per block; None = chosen from the frames' autocorrelation."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ConfigError(f"level must lie between 0 and 1, got {self.level}")
        if self.resamples < 100:
            raise ConfigError(f"resamples must be at least 100, got {self.resamples}")
        if self.block_length is not None and self.block_length < 1:
            raise ConfigError(f"block_length must be at least 1 labelled frame, got {self.block_length}")


@dataclass(frozen=True, slots=True, eq=False)
class UnitCounts:
    """Pixel-pair counts of one method, one entry per labelled frame. Sorted by sequence and frame on construction.

    Raises InputError naming the entry for shapes that do not fit, a frame given twice, or a frame without a
    single scored pixel at any distance.
    """

    name: str
    """The method (and operating point) as tables show it."""
    counts: Counts
    """int64 [units, D, C, C]; row = truth, column = prediction; zeros where a unit has no frame at a distance."""
    sequences: tuple[str, ...]
    """[units] sequence of each labelled frame."""
    frames: tuple[int, ...]
    """[units] index of the labelled frame in its sequence."""
    cost: Values | None = None
    """[units] cost of each unit where it varies (bits, milliseconds), for BD curves."""

    def __post_init__(self) -> None:
        counts = as_counts(self.counts)
        lengths = {len(counts), len(self.sequences), len(self.frames)}
        if counts.ndim != 4 or len(lengths) != 1:
            raise InputError(
                f"{self.name}: counts must be [units, distances, classes, classes], got {counts.shape} with "
                f"{len(self.sequences)} sequence names and {len(self.frames)} frame indices"
            )
        keys = list(zip(self.sequences, self.frames, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        keys = [keys[index] for index in order]
        for earlier, later in itertools.pairwise(keys):
            if earlier == later:
                raise InputError(f"{self.name}: frame {later[1]} of sequence {later[0]!r} is given twice")
        counts = counts[order]
        empty = np.flatnonzero(counts.sum((1, 2, 3)) == 0)
        if empty.size:
            sequence, frame = keys[int(empty[0])]
            raise InputError(
                f"{self.name}: frame {frame} of sequence {sequence!r} has no scored pixel "
                f"({empty.size} such frame(s)); leave such frames out"
            )
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "sequences", tuple(key[0] for key in keys))
        object.__setattr__(self, "frames", tuple(key[1] for key in keys))
        if self.cost is not None:
            cost = np.asarray(self.cost, dtype=np.float64)
            if cost.shape != (len(keys),) or not np.isfinite(cost).all():
                raise InputError(
                    f"{self.name}: cost must be one finite number per unit, got shape {cost.shape}"
                )
            object.__setattr__(self, "cost", cost[order])


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from all frames and its bootstrap interval."""

    estimate: float
    low: float
    high: float
    level: float
    kind: IntervalKind
    """Expanded percentile, or estimate +- t x standard_error where the percentiles lie beyond all resamples."""
    resampling: Resampled
    """What was drawn: whole sequences, or blocks of consecutive labelled frames."""
    groups: int
    """Sequences, or non-overlapping blocks that fit into the frames: the sample size behind the interval."""
    block_length: int | None
    """Labelled frames per block; None where sequences were drawn."""
    resamples: int
    seed: int
    standard_error: float
    """Bootstrap standard error, widened for the number of groups."""

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"

    @property
    def method(self) -> str:
        """How the interval was made, as a report prints it."""
        kind = "expanded-percentile" if self.kind == "percentile" else "Student's t"
        drawn = (
            f"{self.groups} sequences"
            if self.resampling == "sequences"
            else f"blocks of {self.block_length} labelled frames (about {self.groups} blocks)"
        )
        return (
            f"{100 * self.level:g} % {kind} bootstrap over {drawn}, {self.resamples} resamples, "
            f"seed {self.seed}"
        ) + (f"; fewer than {FEW_GROUPS} groups: a rough interval" if self.few_groups else "")

    @property
    def few_groups(self) -> bool:
        """Whether so few groups were drawn that the interval is a rough one (docs/metrics.md)."""
        return self.groups < FEW_GROUPS

    @property
    def excludes_zero(self) -> bool:
        """Whether 0 lies outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class MiouIntervals:
    """Intervals of one method; all share the same resamples."""

    name: str
    miou: Interval
    """Plain mean of mIoU_d over d."""
    miou_d: tuple[Interval, ...]
    per_class: tuple[Interval, ...]
    """IoU per class, mean over d; NaN where a class is absent."""
    missing_class_share: float
    """Share of resamples in which a class of the full data does not occur, so its mean is over fewer classes."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Test minus anchor on the same frames."""

    anchor: str
    test: str
    miou: Interval
    miou_d: tuple[Interval, ...]
    p_value: float
    """Two-sided, from the same resamples: the level at which the interval of the mIoU difference reaches 0."""
    adjusted_p_value: float
    """Holm's adjustment where several pairs were compared together, else p_value."""

    @property
    def mark(self) -> Literal["+", "-", "~"]:
        """'+' test better, '-' test worse, '~' not told apart (adjusted p-value against the interval's level)."""
        if not self.adjusted_p_value <= 1 - self.miou.level:
            return "~"
        return "+" if self.miou.estimate > 0 else "-"


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """One operating point of a curve: per-frame counts and what they cost."""

    units: UnitCounts
    cost: float | None = None
    """The same for every frame; None = mean of `units.cost`, which is then resampled too."""


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """A cost-quality curve whose points were measured on the same frames; quality is the mean of mIoU_d over d."""

    name: str
    points: tuple[MeasuredPoint, ...]
    cost_unit: str = ""


def bootstrap_miou(units: UnitCounts, options: BootstrapOptions | None = None) -> MiouIntervals:
    """Intervals on mIoU, mIoU_d and the per-class IoU of one method.

    Raises InputError for fewer than two units or an empty distance.
    """
    chosen = options or BootstrapOptions()
    plan = _plan([units], [_influence(units)], chosen)
    samples, full = _iou(units, plan.weights), _iou(units, _ones(units))
    _require_distances(units, full)
    d_samples, d_full = mean_of_present(samples), mean_of_present(full)[0]
    class_samples = mean_of_present(np.swapaxes(samples, 1, 2))
    class_full = mean_of_present(np.swapaxes(full, 1, 2))[0]
    missing = (np.isnan(samples) & ~np.isnan(full)).any((1, 2)).mean()
    return MiouIntervals(
        name=units.name,
        miou=plan.interval(d_samples.mean(1), float(d_full.mean())),
        miou_d=tuple(plan.interval(d_samples[:, i], float(v)) for i, v in enumerate(d_full)),
        per_class=tuple(plan.interval(class_samples[:, i], float(v)) for i, v in enumerate(class_full)),
        missing_class_share=float(missing),
    )


def bootstrap_difference(
    anchor: UnitCounts, test: UnitCounts, options: BootstrapOptions | None = None
) -> PairedDifference:
    """Interval on mIoU(test) - mIoU(anchor), both on the same resampled frames.

    Raises InputError naming the first difference if the two were not scored on the same frames, classes and
    distances.
    """
    chosen = options or BootstrapOptions()
    _require_same_frames([anchor, test])
    plan = _plan([anchor, test], [_influence(test) - _influence(anchor)], chosen)
    full = [_iou(units, _ones(units)) for units in (anchor, test)]
    for units, values in zip((anchor, test), full, strict=True):
        _require_distances(units, values)
    samples = [mean_of_present(_iou(units, plan.weights)) for units in (anchor, test)]
    estimates = [mean_of_present(values)[0] for values in full]
    d_samples, d_full = samples[1] - samples[0], estimates[1] - estimates[0]
    p_value = plan.p_value(d_samples.mean(1), float(d_full.mean()))
    return PairedDifference(
        anchor=anchor.name,
        test=test.name,
        miou=plan.interval(d_samples.mean(1), float(d_full.mean())),
        miou_d=tuple(plan.interval(d_samples[:, i], float(v)) for i, v in enumerate(d_full)),
        p_value=p_value,
        adjusted_p_value=p_value,
    )


def compare_methods(
    methods: Sequence[UnitCounts], reference: str | None = None, options: BootstrapOptions | None = None
) -> tuple[PairedDifference, ...]:
    """Every pair of methods (or every method against the one named `reference`), p-values adjusted by Holm.

    Raises ConfigError if `reference` is not among the methods or two methods share a name.
    """
    names = [units.name for units in methods]
    if len(set(names)) != len(names):
        raise ConfigError(f"methods must have different names, got {', '.join(names)}")
    if reference is not None and reference not in names:
        raise ConfigError(f"reference {reference!r} is not among {', '.join(names)}")
    pairs = [
        (a, b)
        for i, a in enumerate(methods)
        for b in (methods[i + 1 :] if reference is None else methods)
        if reference is None or (a.name == reference and b.name != reference)
    ]
    found = [bootstrap_difference(a, b, options) for a, b in pairs]
    adjusted = holm([difference.p_value for difference in found])
    return tuple(replace(d, adjusted_p_value=p) for d, p in zip(found, adjusted, strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; the family-wise error stays below the level without assuming independence."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def bootstrap_bd(
    anchor: MeasuredCurve,
    test: MeasuredCurve,
    metric: BDMetric = "flops",
    *,
    kind: Interpolator = "pchip",
    options: BootstrapOptions | None = None,
) -> BDResult:
    """A BD value with its interval: all points of both curves are resampled together.

    A resample whose curves do not meet has no value; if
    more than 5 % are such, `interval` is None and `interval_note` says why. Raises CurveError where the curves
    of the full data have no value, InputError where points were not scored on the same frames.
    """
    chosen = options or BootstrapOptions()
    every = [point.units for curve in (anchor, test) for point in curve.points]
    full = [_curve(curve, _full_points(curve)) for curve in (anchor, test)]
    result = bjontegaard(metric, full[0], full[1], kind=kind)
    plan = _plan(every, [_influence(units) for units in every], chosen)
    values = _bd_samples(metric, anchor, test, kind, plan)
    undefined = float(np.isnan(values).mean())
    if undefined > LARGEST_UNDEFINED_SHARE:
        return replace(
            result,
            interval_note=f"no interval: {100 * undefined:.0f} % of the resampled curve pairs have no value",
        )
    # A relative cost is resampled as its logarithm: 1 + value stays positive whichever interval is taken.
    relative = metric != "miou"
    kept, estimate = values[~np.isnan(values)], result.value
    interval = (
        plan.interval(np.log1p(kept), math.log1p(estimate)) if relative else plan.interval(kept, estimate)
    )
    low, high = (
        (math.expm1(interval.low), math.expm1(interval.high)) if relative else (interval.low, interval.high)
    )
    note = interval.method
    if undefined:
        note += f"; {100 * undefined:.1f} % of the resampled curve pairs have no value and are left out"
    return replace(result, interval=(low, high), interval_level=chosen.level, interval_note=note)


def _bd_samples(
    metric: BDMetric, anchor: MeasuredCurve, test: MeasuredCurve, kind: Interpolator, plan: _Plan
) -> Values:
    """[R] the BD value of every resample, NaN where its curves do not meet."""
    sampled = [_sampled_points(curve, plan.weights) for curve in (anchor, test)]
    values = np.full(len(plan.weights), np.nan)
    for index in range(len(values)):
        try:
            curves = [_curve(c, s[index]) for c, s in zip((anchor, test), sampled, strict=True)]
            values[index] = bjontegaard_value(metric, curves[0], curves[1], kind=kind)
        except CurveError:
            continue
    return values


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Weights over units, and how to read an interval off the values that they give."""

    options: BootstrapOptions
    resampling: Resampled
    block_length: int | None
    groups: float
    degrees: float
    weights: NDArray[np.uint16] = field(repr=False)
    unit_count: int = 0

    @property
    def _widening(self) -> float:
        """Makes up for the bootstrap's variance, which divides by n and wraps blocks around the end."""
        drawn_share = 0.0 if self.block_length is None else min(self.block_length / self.unit_count, 0.5)
        return math.sqrt(self.groups / max(self.groups - 1, 0.5) / (1 - drawn_share))

    def interval(self, samples: Values, estimate: float) -> Interval:
        from scipy.special import ndtr, stdtrit

        quantile = float(stdtrit(self.degrees, (1 + self.options.level) / 2))
        tails = ndtr([-self._widening * quantile, self._widening * quantile])
        kind: IntervalKind = "percentile" if tails[0] * len(samples) >= RESOLVABLE else "student"
        low, high, error = math.nan, math.nan, math.nan
        if not np.isnan(samples).any():
            error = float(samples.std(ddof=1)) * self._widening
            low, high = estimate - quantile * error, estimate + quantile * error
            if kind == "percentile":
                low, high = (float(v) for v in np.quantile(samples, tails))
        return Interval(
            estimate=estimate,
            low=low,
            high=high,
            level=self.options.level,
            kind=kind,
            resampling=self.resampling,
            groups=int(self.groups),
            block_length=self.block_length,
            resamples=len(samples),
            seed=self.options.seed,
            standard_error=error,
        )

    def p_value(self, samples: Values, estimate: float) -> float:
        """Two-sided level at which `interval` would just reach 0; by Student's t where hardly a resample does."""
        from scipy.special import ndtri, stdtr

        below = float((samples < 0).sum() + 0.5 * (samples == 0).sum())
        if min(below, len(samples) - below) >= RESOLVABLE:
            statistic = abs(float(ndtri(below / len(samples)))) / self._widening
        else:
            error = float(samples.std(ddof=1)) * self._widening
            statistic = abs(estimate) / error if error else (math.inf if estimate else 0.0)
        return float(2 * stdtr(self.degrees, -statistic))


def _plan(units: Sequence[UnitCounts], series: Sequence[Values], options: BootstrapOptions) -> _Plan:
    """Draw the weights, the same for all `units`. series: per-unit influence, for the block length."""
    _require_same_frames(units)
    names = units[0].sequences
    if len(names) < 2:
        raise InputError(f"{units[0].name}: an interval needs two labelled frames or more, got {len(names)}")
    found, sequence_of = np.unique(names, return_inverse=True)
    rng = np.random.default_rng(options.seed)
    enough = len(found) >= MINIMUM_SEQUENCES
    if options.resampling == "sequences" or (options.resampling == "auto" and enough):
        if len(found) < 2:
            raise InputError(f"resampling sequences needs two or more, got {len(found)} ({found[0]!r})")
        drawn = rng.multinomial(len(found), np.full(len(found), 1 / len(found)), options.resamples)
        weights = drawn.astype(np.uint16)[:, sequence_of]
        return _Plan(options, "sequences", None, len(found), len(found) - 1, weights, len(names))
    length = options.block_length or max(_block_length(values, sequence_of) for values in series)
    groups = len(names) / length
    weights = _block_weights(sequence_of, length, options.resamples, rng)
    # Neighbouring blocks stay correlated: two thirds of the blocks as degrees of freedom (docs/metrics.md).
    return _Plan(options, "blocks", length, groups, max(2.0, groups * 2 / 3 - 1), weights, len(names))


def _block_weights(
    sequence_of: NDArray[np.intp], length: int, resamples: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Blocks from anywhere in any sequence, wrapped around inside it: [resamples, units].

    length 3, one sequence of 5 frames, start 3:  frames 3 4 0
    """
    total = len(sequence_of)
    size = np.bincount(sequence_of)[sequence_of]
    first = np.searchsorted(sequence_of, sequence_of)
    weights = np.zeros((resamples, total), dtype=np.uint16)
    blocks = max(2, round(total / length))
    rows = np.arange(resamples)
    for _ in range(blocks):
        start = rng.integers(0, total, resamples)
        for step in range(length):
            inside = step < size[start]  # a sequence shorter than the block is taken once, not twice
            column = first[start] + (start - first[start] + step) % size[start]
            weights[rows[inside], column[inside]] += 1
    return weights


def _block_length(values: Values, sequence_of: NDArray[np.intp]) -> int:
    """Labelled frames per block, from the autocorrelation of the per-frame influence.

    Twice the length of Politis and White (2004, corrected 2009) for circular blocks, at least sqrt(n): shorter
    blocks cover too little at the sizes of VSS test sets (docs/metrics.md).
    """
    total = len(values)
    sizes = np.bincount(sequence_of)
    cap = max(1, min(int(sizes.max()) // 2, total // 4))
    length = max(2 * _politis_white(values, sequence_of, int(sizes.max())), math.sqrt(total))
    return int(min(math.ceil(length), cap))


def _politis_white(values: Values, sequence_of: NDArray[np.intp], longest: int) -> float:
    total = len(values)
    run = max(5, math.ceil(math.sqrt(math.log10(total))))
    largest_lag = min(math.ceil(math.sqrt(total)) + run, longest - 2)
    if largest_lag <= run:
        return 1.0
    centred = values - values.mean()
    covariance = np.empty(largest_lag + 1)
    for lag in range(largest_lag + 1):
        together = sequence_of[lag:] == sequence_of[: total - lag]
        covariance[lag] = (centred[lag:] * centred[: total - lag])[together].sum() / total
    if covariance[0] <= 0:
        return 1.0
    small = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(total) / total)
    starts = (m for m in range(largest_lag - run + 1) if small[m + 1 : m + 1 + run].all())
    bandwidth = min(max(2 * next(starts, largest_lag - run), 1), largest_lag)
    lags = np.arange(1, bandwidth + 1)
    taper = np.minimum(1.0, 2 * (1 - lags / bandwidth))
    spectrum = covariance[0] + 2 * float((taper * covariance[1 : bandwidth + 1]).sum())
    slope = 2 * float((taper * lags * covariance[1 : bandwidth + 1]).sum())
    if spectrum <= 0:
        return 1.0
    return float((1.5 * slope**2 / spectrum**2 * total) ** (1 / 3))


def _require_same_frames(units: Sequence[UnitCounts]) -> None:
    first = units[0]
    for other in units[1:]:
        if other.counts.shape[1:] != first.counts.shape[1:]:
            raise InputError(
                f"{first.name} has {first.counts.shape[1]} distances and {first.counts.shape[-1]} classes, "
                f"{other.name} has {other.counts.shape[1]} and {other.counts.shape[-1]}; they cannot be paired"
            )
        here = set(zip(first.sequences, first.frames, strict=True))
        there = set(zip(other.sequences, other.frames, strict=True))
        if here != there:
            sequence, frame = min(here ^ there)
            holder = first.name if (sequence, frame) in here else other.name
            raise InputError(
                f"{first.name} and {other.name} were scored on different frames: only {holder} has frame {frame} "
                f"of sequence {sequence!r} ({len(here ^ there)} such frame(s)); paired statistics need the same"
            )


def _require_distances(units: UnitCounts, full: Values) -> None:
    empty = np.flatnonzero(np.isnan(full[0]).all(-1))
    if empty.size:
        raise InputError(
            f"{units.name}: no scored pixel at distance index {', '.join(map(str, empty))}; "
            "leave that distance out or score it"
        )


def _margins(units: UnitCounts) -> Values:
    """[units, D * 2 * C]: true positives and unions. Sums of them are all that IoU needs; exact below 2**53."""
    hits = np.diagonal(units.counts, axis1=2, axis2=3)
    union = units.counts.sum(2) + units.counts.sum(3) - hits
    return np.stack([hits, union], axis=2).reshape(len(hits), -1).astype(np.float64)


def _iou(units: UnitCounts, weights: NDArray[np.integer]) -> Values:
    """IoU of weighted sums: weights [R, units] -> [R, D, C], NaN where a class is absent."""
    margins = _margins(units)
    sums = np.concatenate(
        [weights[i : i + CHUNK].astype(np.float64) @ margins for i in range(0, len(weights), CHUNK)]
    ).reshape(len(weights), units.counts.shape[1], 2, -1)
    out = np.full((len(weights), *sums.shape[1:2], sums.shape[3]), np.nan)
    np.divide(sums[:, :, 0], sums[:, :, 1], out=out, where=sums[:, :, 1] > 0)
    return out


def _influence(units: UnitCounts) -> Values:
    """[units] first-order effect of each unit on the mean mIoU (its infinitesimal jackknife value)."""
    sums = _margins(units).reshape(len(units.frames), units.counts.shape[1], 2, -1)
    total = sums.sum(0)
    present = total[:, 1] > 0
    safe = np.where(present, total[:, 1], 1.0)
    effect = (sums[:, :, 0] - total[:, 0] / safe * sums[:, :, 1]) / safe
    return np.asarray((effect.sum(2) / np.maximum(present.sum(1), 1)).mean(1))


def _ones(units: UnitCounts) -> NDArray[np.uint16]:
    return np.ones((1, len(units.frames)), dtype=np.uint16)


def _point_cost(curve: MeasuredCurve, point: MeasuredPoint, weights: NDArray[np.integer]) -> Values:
    if point.cost is not None:
        return np.full(len(weights), float(point.cost))
    if point.units.cost is None:
        raise CurveError(
            f"curve {curve.name!r}: point {point.units.name!r} has no cost; give MeasuredPoint(cost=...)"
        )
    drawn = weights.astype(np.float64)
    return np.asarray(drawn @ point.units.cost / drawn.sum(1))


def _sampled_points(curve: MeasuredCurve, weights: NDArray[np.integer]) -> Values:
    """[R, points, 2]: (cost, quality) of every point in every resample."""
    columns = [
        np.stack([_point_cost(curve, p, weights), mean_of_present(_iou(p.units, weights)).mean(1)], axis=1)
        for p in curve.points
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(weights), 0, 2))


def _full_points(curve: MeasuredCurve) -> Values:
    if not curve.points:
        return np.empty((0, 2))
    return np.asarray(_sampled_points(curve, _ones(curve.points[0].units))[0])


def _curve(curve: MeasuredCurve, points: Values) -> Curve:
    return Curve(curve.name, tuple(points[:, 0].tolist()), tuple(points[:, 1].tolist()), curve.cost_unit)
