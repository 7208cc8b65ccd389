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

import math
from collections.abc import Callable, Sequence
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
from vssbench.metrics.blocks import block_length, block_weights
from vssbench.metrics.confusion import mean_of_present
from vssbench.metrics.unit_counts import UnitCounts as UnitCounts
from vssbench.metrics.unit_counts import Units, Values

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

    units: Units
    cost: float | None = None
    """The same for every frame; None = mean of `units.cost`, which is then resampled too."""
    others: tuple[Units, ...] = ()
    """The same point trained with other seeds; its quality is the mean over `units` and these."""

    @property
    def every(self) -> tuple[Units, ...]:
        """`units` and the others."""
        return (self.units, *self.others)


@dataclass(frozen=True, slots=True)
class MeasuredCurve:
    """A cost-quality curve whose points were measured on the same frames; quality is the mean of mIoU_d over d."""

    name: str
    points: tuple[MeasuredPoint, ...]
    cost_unit: str = ""


def bootstrap_miou(units: Units, options: BootstrapOptions | None = None) -> MiouIntervals:
    """Intervals on mIoU, mIoU_d and the per-class IoU of one method.

    Raises InputError for fewer than two units or an empty distance.
    """
    chosen = options or BootstrapOptions()
    plan = _plan([units], [_influence(units)], chosen)
    samples, full = plan.iou(units), _full_iou(units)
    _require_distances(units, full)
    d_samples, d_full = mean_of_present(samples), mean_of_present(full)
    class_samples, class_full = mean_of_present(np.swapaxes(samples, 1, 2)), mean_of_present(full.T)
    missing = (np.isnan(samples) & ~np.isnan(full)).any((1, 2)).mean()
    return MiouIntervals(
        name=units.name,
        miou=plan.interval(d_samples.mean(1), float(d_full.mean())),
        miou_d=tuple(plan.interval(d_samples[:, i], float(v)) for i, v in enumerate(d_full)),
        per_class=tuple(plan.interval(class_samples[:, i], float(v)) for i, v in enumerate(class_full)),
        missing_class_share=float(missing),
    )


def bootstrap_difference(
    anchor: Units, test: Units, options: BootstrapOptions | None = None
) -> PairedDifference:
    """Interval on mIoU(test) - mIoU(anchor), both on the same resampled frames.

    Raises InputError naming the first difference if the two were not scored on the same frames, classes and
    distances.
    """
    chosen = options or BootstrapOptions()
    _require_same_frames([anchor, test])
    plan = _plan([anchor, test], [_influence(test) - _influence(anchor)], chosen)
    full = [_full_iou(units) for units in (anchor, test)]
    for units, values in zip((anchor, test), full, strict=True):
        _require_distances(units, values)
    samples = [mean_of_present(plan.iou(units)) for units in (anchor, test)]
    estimates = [mean_of_present(values) for values in full]
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


def bootstrap_mean(
    methods: Sequence[Units],
    minus: Sequence[Units] = (),
    options: BootstrapOptions | None = None,
) -> Interval:
    """Interval over frames of the mean mIoU of several trainings of one method, minus the mean of others if given.

    All are scored on the same resampled frames. How the figure varies with the seed is not in it (metrics.seeds).
    Raises InputError if they were not scored on the same frames, classes and distances, or on fewer than two frames.
    """
    chosen, every = options or BootstrapOptions(), [*methods, *minus]
    influences = [np.mean([_influence(u) for u in group], axis=0) for group in (methods, minus) if group]
    series = influences[0] - influences[1] if minus else influences[0]
    plan = _plan(every, [series], chosen)
    for units in every:
        _require_distances(units, _full_iou(units))

    def figure(miou_d: Callable[[Units], Values]) -> Values:
        value = _mean_miou(methods, miou_d)
        return value - _mean_miou(minus, miou_d) if minus else value

    samples = figure(lambda units: mean_of_present(plan.iou(units)))
    return plan.interval(samples, float(figure(lambda units: mean_of_present(_full_iou(units)))))


def compare_methods(
    methods: Sequence[Units], reference: str | None = None, options: BootstrapOptions | None = None
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
    every = [units for curve in (anchor, test) for point in curve.points for units in point.every]
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
    sampled = [_sampled_points(curve, plan) for curve in (anchor, test)]
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
    """[R, groups] how often each sequence is drawn, or [R, units] how often each frame is."""
    unit_count: int = 0
    group_of: NDArray[np.intp] | None = field(default=None, repr=False)
    """[units] the sequence of each frame where sequences are drawn."""

    def iou(self, units: Units) -> Values:
        """[R, D, C] IoU of every resample, NaN where a class is absent."""
        margins = units.margins if self.group_of is None else units.margins.grouped(self.group_of)
        return _iou_of_sums(margins.weighted(self.weights))

    @property
    def frame_weights(self) -> NDArray[np.uint16]:
        """[R, units] how often each frame is drawn."""
        return self.weights if self.group_of is None else self.weights[:, self.group_of]

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


def _plan(units: Sequence[Units], series: Sequence[Values], options: BootstrapOptions) -> _Plan:
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
        weights = drawn.astype(np.uint16)
        return _Plan(options, "sequences", None, len(found), len(found) - 1, weights, len(names), sequence_of)
    length = options.block_length or max(block_length(values, sequence_of) for values in series)
    groups = len(names) / length
    weights = block_weights(sequence_of, length, options.resamples, rng)
    # Neighbouring blocks stay correlated: two thirds of the blocks as degrees of freedom (docs/metrics.md).
    return _Plan(options, "blocks", length, groups, max(2.0, groups * 2 / 3 - 1), weights, len(names))


def _require_same_frames(units: Sequence[Units]) -> None:
    first = units[0]
    for other in units[1:]:
        if other.shape != first.shape:
            raise InputError(
                f"{first.name} has {first.shape[0]} distances and {first.shape[1]} classes, "
                f"{other.name} has {other.shape[0]} and {other.shape[1]}; they cannot be paired"
            )
        if (other.sequences, other.frames) == (first.sequences, first.frames):
            continue
        here = set(zip(first.sequences, first.frames, strict=True))
        there = set(zip(other.sequences, other.frames, strict=True))
        if here != there:
            sequence, frame = min(here ^ there)
            holder = first.name if (sequence, frame) in here else other.name
            raise InputError(
                f"{first.name} and {other.name} were scored on different frames: only {holder} has frame {frame} "
                f"of sequence {sequence!r} ({len(here ^ there)} such frame(s)); paired statistics need the same"
            )


def _require_distances(units: Units, full: Values) -> None:
    empty = np.flatnonzero(np.isnan(full).all(-1))
    if empty.size:
        raise InputError(
            f"{units.name}: no scored pixel at distance index {', '.join(map(str, empty))}; "
            "leave that distance out or score it"
        )


def _iou_of_sums(sums: Values) -> Values:
    """[..., 2, C] true positives and unions -> [..., C], NaN where a class is absent."""
    hits, union = sums[..., 0, :], sums[..., 1, :]
    out = np.full(hits.shape, np.nan)
    np.divide(hits, union, out=out, where=union > 0)
    return out


def _full_iou(units: Units) -> Values:
    """[D, C] IoU over all frames."""
    return _iou_of_sums(units.margins.totals())


def _mean_miou(methods: Sequence[Units], miou_d: Callable[[Units], Values]) -> Values:
    """Mean over the methods of their mean mIoU_d: [R], or a single value."""
    return np.asarray(np.mean([miou_d(units).mean(-1) for units in methods], axis=0))


def _influence(units: Units) -> Values:
    """[units] first-order effect of each unit on the mean mIoU (its infinitesimal jackknife value)."""
    effect = np.zeros(len(units.frames))
    margins = units.margins
    for rows, values, total in zip(margins.rows, margins.values, margins.totals(), strict=True):
        hits, union = np.split(values, 2, axis=1)
        present = total[1] > 0
        safe = np.where(present, total[1], 1.0)
        effect[rows] += ((hits - total[0] / safe * union) / safe).sum(1) / max(int(present.sum()), 1)
    return effect / len(margins.rows)


def _full_cost(curve: MeasuredCurve, point: MeasuredPoint) -> float:
    if point.cost is not None:
        return float(point.cost)
    if point.units.cost is None:
        raise CurveError(
            f"curve {curve.name!r}: point {point.units.name!r} has no cost; give MeasuredPoint(cost=...)"
        )
    return float(point.units.cost.mean())


def _point_cost(curve: MeasuredCurve, point: MeasuredPoint, plan: _Plan) -> Values:
    """[R] the cost of a point in every resample."""
    if point.cost is not None or point.units.cost is None:
        return np.full(len(plan.weights), _full_cost(curve, point))
    drawn = plan.frame_weights.astype(np.float64)
    return np.asarray(drawn @ point.units.cost / drawn.sum(1))


def _sampled_points(curve: MeasuredCurve, plan: _Plan) -> Values:
    """[R, points, 2]: (cost, quality) of every point in every resample."""
    columns = [
        np.stack(
            [
                _point_cost(curve, p, plan),
                _mean_miou(p.every, lambda units: mean_of_present(plan.iou(units))),
            ],
            axis=1,
        )
        for p in curve.points
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(plan.weights), 0, 2))


def _full_points(curve: MeasuredCurve) -> Values:
    points = [
        (
            _full_cost(curve, point),
            float(_mean_miou(point.every, lambda units: mean_of_present(_full_iou(units)))),
        )
        for point in curve.points
    ]
    return np.array(points).reshape(-1, 2)


def _curve(curve: MeasuredCurve, points: Values) -> Curve:
    return Curve(curve.name, tuple(points[:, 0].tolist()), tuple(points[:, 1].tolist()), curve.cost_unit)
