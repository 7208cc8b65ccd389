"""Intervals on mIoU, mIoU_d, classes, differences and BD values: a jackknife over whole sequences.

Frames of one sequence resemble each other, so sequences are the sample. Every figure is computed once from all of them
and once without each: the spread of the latter gives the standard error, their mean the bias of mIoU in few frames, and
Student's t the width for so few sequences. Its degrees of freedom follow how evenly the pixels are spread over the
sequences. Too few sequences give no interval, and the reason. docs/metrics.md has the simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.bjontegaard import (
    BDMetric,
    BDResult,
    Curve,
    CurveError,
    Interpolator,
    bjontegaard,
    bjontegaard_value,
)
from vssbench.metrics.confusion import mean_of_present
from vssbench.metrics.unit_counts import UnitCounts as UnitCounts
from vssbench.metrics.unit_counts import Units, Values

MINIMUM_SEQUENCES = 4
"""Fewer sequences than this carry no interval: none covers (docs/metrics.md)."""
MINIMUM_FOR_CLASSES = 8
"""The same for the IoU of one class, which may live in a few of them."""
MINIMUM_EVEN = 3
"""Sequences that a figure must rest on, counted as if their pixels were spread evenly."""
LEVEL = 0.95
POWER = 0.8
"""Chance with which `PairedDifference.detectable` would be seen."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from all frames and its interval over sequences; the ends are NaN where `note` says why."""

    estimate: float
    low: float
    high: float
    level: float
    sequences: int
    standard_error: float
    degrees: float
    """Degrees of freedom of Student's t."""
    centre: float
    """The estimate less its bias: the figure that many frames of this kind would give."""
    seeds: int = 1
    """Trainings whose spread is in the interval; 1 where there is one only."""
    note: str = ""
    """Why there is no interval."""

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"

    @property
    def method(self) -> str:
        """How the interval was made, as a report prints it."""
        if self.note:
            return f"no interval: {self.note}"
        trained = f" and {self.seeds} training seeds" if self.seeds > 1 else ""
        return f"{100 * self.level:g} % jackknife with Student's t over {self.sequences} sequences{trained}"

    def beyond(self, value: float) -> float:
        """One-sided p-value of the figure not lying above `value`; NaN without an interval."""
        from scipy.special import stdtr

        if self.note:
            return math.nan
        if self.standard_error == 0:
            return float(self.centre == value) / 2 if self.centre >= value else 1.0
        return float(stdtr(self.degrees, (value - self.centre) / self.standard_error))


@dataclass(frozen=True, slots=True)
class MiouIntervals:
    """Intervals of one method."""

    name: str
    miou: Interval
    """Plain mean of mIoU_d over d."""
    miou_d: tuple[Interval, ...]
    per_class: tuple[Interval, ...]
    """IoU per class, mean over d; NaN where a class is absent."""


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Test minus anchor on the same frames."""

    anchor: str
    test: str
    miou: Interval
    miou_d: tuple[Interval, ...]
    p_value: float
    """Two-sided, of no difference in mIoU; NaN without an interval."""
    adjusted_p_value: float
    """Holm's adjustment over all pairs that were compared together."""
    margin: float | None = None
    """Difference of mIoU (0..1) that the experiment calls none."""
    adjusted_equivalence: float = math.nan
    """p-value of a difference of `margin` or more, either way (two one-sided tests), adjusted like the other."""

    @property
    def mark(self) -> Literal["+", "-", "=", "~", "?"]:
        """'+' test better, '-' worse, '=' equivalent, '~' not told apart, '?' without an interval."""
        if math.isnan(self.p_value):
            return "?"
        if self.adjusted_equivalence <= 1 - self.miou.level:
            return "="
        if not self.adjusted_p_value <= 1 - self.miou.level:
            return "~"
        return "+" if self.miou.centre > 0 else "-"

    @property
    def detectable(self) -> float:
        """Smallest true difference that a test of these frames would see with 80 % chance; NaN without an interval."""
        from scipy.special import stdtrit

        if self.miou.note:
            return math.nan
        quantiles = stdtrit(self.miou.degrees, [(1 + self.miou.level) / 2, POWER])
        return float(quantiles.sum() * self.miou.standard_error)


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """One operating point of a curve: per-frame counts and what they cost."""

    units: Units
    cost: float | None = None
    """The same for every frame; None = mean of `units.cost`, which then varies with the sequences."""
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


def miou_intervals(units: Units, *, level: float = LEVEL) -> MiouIntervals:
    """Intervals on mIoU, mIoU_d and the per-class IoU of one method. Raises InputError for an empty distance."""
    sample = _Sample([units], level)
    iou, share = sample.iou(units), sample.share
    miou_d, per_class = mean_of_present(iou), mean_of_present(np.swapaxes(iou, 1, 2))
    classes = [
        sample.interval(per_class[:, c], _even(share[..., c].mean(1)), least=MINIMUM_FOR_CLASSES)
        for c in range(iou.shape[2])
    ]
    return MiouIntervals(units.name, sample.mean(miou_d), sample.by_distance(miou_d), tuple(classes))


def miou_difference(anchor: Units, test: Units, *, level: float = LEVEL) -> PairedDifference:
    """mIoU(test) - mIoU(anchor) on the same frames.

    Raises InputError naming the first difference if the two were not scored on the same frames, classes and
    distances.
    """
    sample = _Sample([anchor, test], level)
    gap = mean_of_present(sample.iou(test)) - mean_of_present(sample.iou(anchor))
    miou = sample.mean(gap, least_value=-1.0)
    p_value = 2 * min(miou.beyond(0.0), 1 - miou.beyond(0.0))
    by_distance = sample.by_distance(gap, least_value=-1.0)
    return PairedDifference(anchor.name, test.name, miou, by_distance, p_value, p_value)


def mean_interval(methods: Sequence[Units], minus: Sequence[Units] = (), *, level: float = LEVEL) -> Interval:
    """Interval of the mean mIoU of several trainings of one method, minus the mean of others if given.

    Both causes are in it, which frames were drawn and which seeds: their variances add, degrees of freedom after
    Satterthwaite. As many methods as `minus` are pairs of one seed each.
    Raises InputError if they were not scored on the same frames, classes and distances.
    """
    sample = _Sample([*methods, *minus], level)
    mine, others = (
        np.array([mean_of_present(sample.iou(u)).mean(-1) for u in group]) for group in (methods, minus)
    )
    values = mine.mean(0) - (others.mean(0) if minus else 0.0)
    found = sample.interval(values, _even(sample.share.mean((1, 2))), least_value=-1.0 if minus else 0.0)
    paired = bool(minus) and len(mine) == len(others)
    groups = [mine[:, 0] - others[:, 0]] if paired else [mine[:, 0], others[:, 0]] if minus else [mine[:, 0]]
    spread = [(float(group.var(ddof=1)) / len(group), len(group) - 1) for group in groups if len(group) > 1]
    if found.note or not spread:
        return found
    parts = [(found.standard_error**2, found.degrees), *spread]
    variance = sum(v for v, _ in parts)
    weighed = sum(v * v / degrees for v, degrees in parts)
    degrees = variance**2 / weighed if weighed else found.degrees
    return replace(
        _with_ends(found, math.sqrt(variance), degrees, -1.0 if minus else 0.0), seeds=len(methods)
    )


def compare_methods(
    pairs: Sequence[tuple[Units, Units]], margin: float | None = None
) -> tuple[PairedDifference, ...]:
    """(anchor, test) pairs as differences, p-values adjusted once over all of them (Holm).

    margin: difference of mIoU within which two methods count as equivalent; None = that is not tested.
    """
    found = [miou_difference(anchor, test) for anchor, test in pairs]
    adjusted = holm([difference.p_value for difference in found])
    if margin is None:
        return tuple(replace(d, adjusted_p_value=p) for d, p in zip(found, adjusted, strict=True))
    inside = holm([max(d.miou.beyond(-margin), 1 - d.miou.beyond(margin)) for d in found])
    return tuple(
        replace(d, adjusted_p_value=p, margin=margin, adjusted_equivalence=e)
        for d, p, e in zip(found, adjusted, inside, strict=True)
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment; the family-wise error stays below the level without assuming independence.

    NaN, a test that was not made, stays NaN and does not count.
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=p_values.__getitem__)
    adjusted, running = [math.nan] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (len(order) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def bd_with_interval(
    anchor: MeasuredCurve,
    test: MeasuredCurve,
    metric: BDMetric = "flops",
    *,
    kind: Interpolator = "pchip",
    level: float = LEVEL,
) -> BDResult:
    """A BD value with its interval: every sequence is left out of all points of both curves at once.

    Where the curves without some sequence have no value, `interval` is None and `interval_note` says why. Raises
    CurveError where the curves of the full data have no value, InputError where points were not scored on the same
    frames.
    """
    sample = _Sample([u for curve in (anchor, test) for point in curve.points for u in point.every], level)
    points = [_points(curve, sample) for curve in (anchor, test)]

    def curves(row: int) -> list[Curve]:
        return [_curve(c, p[row]) for c, p in zip((anchor, test), points, strict=True)]

    result = bjontegaard(metric, *curves(0), kind=kind)
    values = np.full(1 + sample.sequences, np.nan)
    for row in range(len(values)):
        with suppress(CurveError):
            values[row] = bjontegaard_value(metric, *curves(row), kind=kind)
    relative = metric != "miou"  # as its logarithm 1 + value stays positive
    even = _even(sample.share.mean((1, 2)))
    found = sample.interval(np.log1p(values) if relative else values, even, -math.inf, math.inf)
    if found.note:
        return replace(result, interval_note=found.method)
    ends = (math.expm1(found.low), math.expm1(found.high)) if relative else (found.low, found.high)
    return replace(result, interval=ends, interval_level=level, interval_note=found.method)


class _Sample:
    """The sequences that all of `units` were scored on. Raises InputError if they differ in frames or shape."""

    def __init__(self, units: Sequence[Units], level: float) -> None:
        _require_same_frames(units)
        if not 0 < level < 1:
            raise InputError(f"level must lie between 0 and 1, got {level}")
        self.level = level
        found, self.sequence_of = np.unique(units[0].sequences, return_inverse=True)
        self.sequences = len(found)
        self._sums = {id(one): self._summed(one) for one in units}
        unions = np.mean([sums[:, :, 1] for sums in self._sums.values()], axis=0)
        self.share = unions / np.maximum(unions.sum(0), 1.0)
        """[sequences, D, C] which part of the pixels of a class, at a distance, each sequence holds."""

    def _summed(self, units: Units) -> Values:
        """[sequences, D, 2, C] true positives and unions."""
        margins = units.margins.grouped(self.sequence_of)
        sums = np.zeros((self.sequences, units.shape[0], 2, units.shape[1]))
        for d, (rows, values) in enumerate(zip(margins.rows, margins.values, strict=True)):
            sums[rows, d] = values.reshape(len(rows), 2, units.shape[1])
        empty = np.flatnonzero(sums[:, :, 1].sum((0, 2)) == 0)
        if empty.size:
            raise InputError(
                f"{units.name}: no scored pixel at distance index {', '.join(map(str, empty))}; "
                "leave that distance out or score it"
            )
        return sums

    def leaving_one_out(self, values: Values) -> Values:
        """[sequences, ...] -> [1 + sequences, ...]: sums over all, then without each; exact, for they are integers."""
        total = values.sum(0, keepdims=True)
        return np.concatenate([total, total - values])

    def iou(self, units: Units) -> Values:
        """[1 + sequences, D, C]: of all sequences, then without each; NaN where a class is absent."""
        sums = self.leaving_one_out(self._sums[id(units)])
        out = np.full((len(sums), *units.shape), np.nan)
        np.divide(sums[:, :, 0], sums[:, :, 1], out=out, where=sums[:, :, 1] > 0)
        return out

    def mean(self, miou_d: Values, least_value: float = 0.0) -> Interval:
        """miou_d [1 + sequences, D] -> interval of the mean over d."""
        return self.interval(miou_d.mean(-1), _even(self.share.mean((1, 2))), least_value)

    def by_distance(self, miou_d: Values, least_value: float = 0.0) -> tuple[Interval, ...]:
        return tuple(
            self.interval(miou_d[:, d], _even(self.share[:, d].mean(1)), least_value)
            for d in range(miou_d.shape[1])
        )

    def interval(
        self,
        values: Values,
        even: float,
        least_value: float = 0.0,
        most_value: float = 1.0,
        *,
        least: int = MINIMUM_SEQUENCES,
    ) -> Interval:
        """values [1 + sequences]; even: sequences as if their pixels were spread evenly (`_even`)."""
        whole, number = float(values[0]), self.sequences
        without = values[1:]
        note = ""
        if number < least:
            note = f"{number} sequence{'s' * (number > 1)}, an interval needs {least}"
        elif even < MINIMUM_EVEN:
            note = f"most pixels lie in fewer than {MINIMUM_EVEN} of {number} sequences"
        elif np.isnan(without).any():
            note = "without one of the sequences the figure has no value"
        if note:
            return Interval(
                whole, math.nan, math.nan, self.level, number, math.nan, math.nan, whole, note=note
            )
        bias = (number - 1) * (float(without.mean()) - whole)
        variance = (number - 1) / number * float(((without - without.mean()) ** 2).sum())
        error, centre = (
            math.sqrt(variance + bias**2),
            whole - bias,
        )  # the correction is as uncertain as it is large
        bare = Interval(whole, math.nan, math.nan, self.level, number, error, even - 1, centre)
        return _with_ends(bare, error, even - 1, least_value, most_value)


def _with_ends(found: Interval, error: float, degrees: float, least: float, most: float = 1.0) -> Interval:
    """Centre +- t x error inside the figure's range; the estimate always lies in it."""
    from scipy.special import stdtrit

    half = float(stdtrit(degrees, (1 + found.level) / 2)) * error
    low, high = max(found.centre - half, least), min(found.centre + half, most)
    return replace(
        found,
        standard_error=error,
        degrees=degrees,
        low=min(low, found.estimate),
        high=max(high, found.estimate),
    )


def _even(share: NDArray[np.float64]) -> float:
    """Kish's effective number of sequences: 4 with equal shares are 4; shares 0.7, 0.1, 0.1, 0.1 are 1.9."""
    squared = float((share**2).sum())
    return float(share.sum()) ** 2 / squared if squared else 0.0


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


def _points(curve: MeasuredCurve, sample: _Sample) -> Values:
    """[1 + sequences, points, 2]: (cost, quality) of every point."""
    columns = [
        np.stack(
            [
                _costs(curve, point, sample),
                np.mean([mean_of_present(sample.iou(u)).mean(-1) for u in point.every], axis=0),
            ],
            axis=1,
        )
        for point in curve.points
    ]
    return np.stack(columns, axis=1) if columns else np.empty((1 + sample.sequences, 0, 2))


def _costs(curve: MeasuredCurve, point: MeasuredPoint, sample: _Sample) -> Values:
    """[1 + sequences] the cost of a point, mean over the frames."""
    if point.cost is not None:
        return np.full(1 + sample.sequences, float(point.cost))
    if point.units.cost is None:
        raise CurveError(
            f"curve {curve.name!r}: point {point.units.name!r} has no cost; give MeasuredPoint(cost=...)"
        )
    sums = np.bincount(sample.sequence_of, weights=point.units.cost).astype(np.float64)
    frames = np.bincount(sample.sequence_of).astype(np.float64)
    return np.asarray(sample.leaving_one_out(sums) / np.maximum(sample.leaving_one_out(frames), 1.0))


def _curve(curve: MeasuredCurve, points: Values) -> Curve:
    return Curve(curve.name, tuple(points[:, 0].tolist()), tuple(points[:, 1].tolist()), curve.cost_unit)
