"""Bjontegaard differences of two cost-quality curves: one core integral, the public names choose the axis.

With c the cost and q the quality of a curve, over the interval that both curves cover,

    BD cost    = exp(mean over q of [ln c_test(q) - ln c_anchor(q)]) - 1     (share; -0.5 = half the cost)
    BD quality = mean over ln c of [q_test(ln c) - q_anchor(ln c)]           (units of q)

Curves are interpolated by PCHIP or Akima over log cost, never by a cubic polynomial, which overshoots on
curves that saturate. Sources: G. Bjontegaard, VCEG-M33 (2001); Herglotz et al., arXiv 2202.12565 and 2304.12852.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError

Interpolator = Literal["pchip", "akima"]
INTERPOLATORS: tuple[Interpolator, ...] = ("pchip", "akima")
BDMetric = Literal["flops", "milliseconds", "joules", "bitrate", "miou"]
_METRICS: dict[BDMetric, tuple[str, str | None, Literal["cost", "quality"]]] = {
    "flops": ("BD-FLOPs", "MACs", "quality"),
    "milliseconds": ("BD-ms", "ms", "quality"),
    "joules": ("BD-J", "J", "quality"),
    "bitrate": ("BD-rate", "kb/s", "quality"),
    "miou": ("BD-mIoU", None, "cost"),
}
"""Label in tables, required cost unit (None: any), and the axis that is integrated over."""
LOW_OVERLAP = 0.5
FEW_POINTS = 4

Values = NDArray[np.float64]


class CurveError(InputError):
    """A cost-quality curve, or a pair of them, for which the asked number does not exist."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Operating points of one method: what it costs and how good it is there, in ascending cost.

    Construction sorts by cost and raises CurveError naming the curve and the values for fewer than two points,
    lists of different length, NaN or infinite values, costs that are not positive, and equal costs.
    """

    name: str
    cost: tuple[float, ...]
    quality: tuple[float, ...]
    cost_unit: str = ""
    """'MACs', 'ms', 'J', 'kb/s', ... or '' if it is not to be checked."""

    def __post_init__(self) -> None:
        cost, quality = np.asarray(self.cost, float), np.asarray(self.quality, float)
        if cost.shape != quality.shape or cost.ndim != 1:
            raise CurveError(f"curve {self.name!r}: {cost.size} costs but {quality.size} qualities")
        for what, values in (("cost", cost), ("quality", quality)):
            if not np.isfinite(values).all():
                raise CurveError(f"curve {self.name!r}: {what} must be finite, got {_numbers(values)}")
        if (cost <= 0).any():
            raise CurveError(
                f"curve {self.name!r}: cost must be positive (its log is taken), got {_numbers(cost)}"
            )
        if cost.size < 2:
            raise CurveError(
                f"curve {self.name!r} has {cost.size} point(s) {self.points_text()}; a curve needs two or more"
            )
        order = np.argsort(cost, kind="stable")
        if (np.diff(cost[order]) == 0).any():
            raise CurveError(
                f"curve {self.name!r}: two points have the same cost, got {_numbers(cost[order])}"
            )
        object.__setattr__(self, "cost", tuple(cost[order].tolist()))
        object.__setattr__(self, "quality", tuple(quality[order].tolist()))

    @classmethod
    def from_points(cls, name: str, points: Sequence[tuple[float, float]], cost_unit: str = "") -> Curve:
        """A curve from (cost, quality) pairs; raises CurveError as the constructor does."""
        pairs = [tuple(point) for point in points]
        if any(len(pair) != 2 for pair in pairs):
            raise CurveError(f"curve {name!r}: points must be (cost, quality) pairs, got {pairs}")
        return cls(name, tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs), cost_unit)

    def points_text(self) -> str:
        """The points as text for messages."""
        return "[" + ", ".join(f"({c:g}, {q:g})" for c, q in zip(self.cost, self.quality, strict=True)) + "]"

    def pareto_hull(self) -> Curve:
        """The points that no other point beats (costing less for the same quality, or better for the same cost).

        The result rises strictly in cost and quality. Raises CurveError if a single point remains.
        """
        keep, best = [], -math.inf
        for index, quality in enumerate(self.quality):
            if quality > best:
                keep.append(index)
                best = quality
        if len(keep) == len(self.cost):
            return self
        if len(keep) == 1:
            raise CurveError(
                f"curve {self.name!r} {self.points_text()}: the cheapest point is also the best, so one point is "
                "left of its Pareto hull and no curve"
            )
        return Curve(
            self.name,
            tuple(self.cost[i] for i in keep),
            tuple(self.quality[i] for i in keep),
            self.cost_unit,
        )

    def quality_at(self, cost: float, *, kind: Interpolator = "pchip") -> float:
        """Interpolated quality at a cost inside the curve's range; CurveError outside (nothing is extrapolated)."""
        hull = self.pareto_hull()
        if not hull.cost[0] <= cost <= hull.cost[-1]:
            raise CurveError(
                f"curve {self.name!r} covers costs {hull.cost[0]:g} to {hull.cost[-1]:g}, not {cost:g}"
            )
        return float(_fit(np.log(hull.cost), np.array(hull.quality), kind)(math.log(cost)))

    def cost_at(self, quality: float, *, kind: Interpolator = "pchip") -> float:
        """Interpolated cost of reaching a quality inside the curve's range; CurveError outside."""
        hull = self.pareto_hull()
        if not hull.quality[0] <= quality <= hull.quality[-1]:
            raise CurveError(
                f"curve {self.name!r} covers qualities {hull.quality[0]:g} to {hull.quality[-1]:g}, not {quality:g}"
            )
        return float(np.exp(_fit(np.array(hull.quality), np.log(hull.cost), kind)(quality)))


CurveLike = Curve | Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class BDResult:
    """A Bjontegaard difference with everything needed to trust or distrust it."""

    metric: str
    """'BD-FLOPs', 'BD-mIoU', ..."""
    value: float
    """Cost: relative change as a share, so -0.25 = a quarter cheaper. Quality: difference in units of quality."""
    anchor: str
    test: str
    integration_interval: tuple[float, float]
    """What was averaged over: qualities for a BD cost, costs (not their logs) for a BD quality."""
    overlap_share: float
    """Common part over the union of both curves' ranges, on the axis of integration (cost: on a log scale)."""
    other_overlap_share: float
    """The same on the other axis; 0 where the curves do not share any of it."""
    points: tuple[int, int]
    """Points of the anchor and of the test curve that were used."""
    interpolator: Interpolator
    other_interpolator: Interpolator
    other_interpolator_value: float
    """The same number with the other interpolator: how much the choice matters."""
    dropped: tuple[tuple[str, float, float], ...] = ()
    """(curve, cost, quality) of points that others beat and the Pareto hull left out."""
    interval: tuple[float, float] | None = None
    """Where one was made (`vssbench.metrics.intervals.bd_with_interval`)."""
    interval_level: float | None = None
    interval_note: str = ""
    """How the interval was made, or why there is none."""

    @property
    def used_pareto_hull(self) -> bool:
        """Whether a curve was not monotone, so that dominated points were left out."""
        return bool(self.dropped)

    @property
    def low_overlap(self) -> bool:
        """Whether the curves share less than half of their joint range."""
        return self.overlap_share < LOW_OVERLAP

    @property
    def sensitivity(self) -> float:
        """Absolute difference between the two interpolators' values."""
        return abs(self.value - self.other_interpolator_value)

    @property
    def flags(self) -> tuple[str, ...]:
        """What a reader must see beside the number; empty if nothing is unusual."""
        found = []
        if self.low_overlap:
            found.append(f"overlap {100 * self.overlap_share:.0f} %")
        if self.dropped:
            found.append(
                "Pareto hull: left out " + ", ".join(f"{n} ({c:g}, {q:g})" for n, c, q in self.dropped)
            )
        if min(self.points) < FEW_POINTS:
            found.append(f"few points ({self.points[0]} and {self.points[1]})")
        return tuple(found)


def bd_flops(anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip") -> BDResult:
    """Mean relative difference in MACs at equal quality; -0.5 = the test method needs half. Cost unit 'MACs'.

    Curves are `Curve` records or (cost, quality) pairs. (1 + bd_flops(a, b)) * (1 + bd_flops(b, a)) == 1.
    Raises CurveError where the curves share no quality range, or for an unusable curve (see `Curve`).
    """
    return bjontegaard("flops", anchor, test, kind=kind)


def bd_milliseconds(anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip") -> BDResult:
    """As `bd_flops`, cost in milliseconds per frame (unit 'ms')."""
    return bjontegaard("milliseconds", anchor, test, kind=kind)


def bd_joules(anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip") -> BDResult:
    """As `bd_flops`, cost in joules per frame (unit 'J')."""
    return bjontegaard("joules", anchor, test, kind=kind)


def bd_bitrate(anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip") -> BDResult:
    """As `bd_flops`, cost is the achieved bitrate (unit 'kb/s')."""
    return bjontegaard("bitrate", anchor, test, kind=kind)


def bd_miou(anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip") -> BDResult:
    """Mean difference in quality at equal cost, in units of quality; bd_miou(a, b) == -bd_miou(b, a).

    The cost axis may be any (MACs, ms, J, kb/s), the same for both. Raises CurveError where the curves share no
    cost range, or for an unusable curve (see `Curve`).
    """
    return bjontegaard("miou", anchor, test, kind=kind)


def bjontegaard(
    metric: BDMetric, anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip"
) -> BDResult:
    """The difference named by `metric` with all that is known about it; see the function of that name."""
    label, unit, _ = _METRICS[metric]
    pair = _prepare(anchor, test, kind, unit)
    low, high, share = pair.common_range(metric)
    other_kind: Interpolator = "akima" if kind == "pchip" else "pchip"
    interval = (math.exp(low), math.exp(high)) if metric == "miou" else (low, high)
    return BDResult(
        metric=label,
        value=pair.value(metric, kind),
        anchor=pair.anchor.name,
        test=pair.test.name,
        integration_interval=interval,
        overlap_share=share,
        other_overlap_share=_overlap(*pair.axes(metric)[1])[2],
        points=(len(pair.anchor.cost), len(pair.test.cost)),
        interpolator=kind,
        other_interpolator=other_kind,
        other_interpolator_value=pair.value(metric, other_kind),
        dropped=pair.dropped,
    )


def bjontegaard_value(
    metric: BDMetric, anchor: CurveLike, test: CurveLike, *, kind: Interpolator = "pchip"
) -> float:
    """Only the number of `bjontegaard`, at a third of the time; for intervals. Raises the same errors."""
    return _prepare(anchor, test, kind, _METRICS[metric][1]).value(metric, kind)


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two curves ready to integrate: strictly rising in cost and quality."""

    anchor: Curve
    test: Curve
    dropped: tuple[tuple[str, float, float], ...] = ()

    def axes(self, metric: BDMetric) -> tuple[tuple[Values, Values], tuple[Values, Values]]:
        """((anchor x, test x), (anchor y, test y)): y is averaged over x."""
        log_cost = np.log(self.anchor.cost), np.log(self.test.cost)
        quality = np.array(self.anchor.quality), np.array(self.test.quality)
        return (log_cost, quality) if _METRICS[metric][2] == "cost" else (quality, log_cost)

    def common_range(self, metric: BDMetric) -> tuple[float, float, float]:
        """(low, high, share) on the axis of integration; CurveError if there is none."""
        low, high, share = _overlap(*self.axes(metric)[0])
        if share == 0:
            raise self._disjoint(metric)
        return low, high, share

    def value(self, metric: BDMetric, kind: Interpolator) -> float:
        x, y = self.axes(metric)
        low, high, _ = self.common_range(metric)
        difference = _mean_difference(x, y, low, high, kind)
        return difference if metric == "miou" else math.expm1(difference)

    def _disjoint(self, metric: BDMetric) -> CurveError:
        label, _, axis = _METRICS[metric]
        texts = []
        for curve in (self.anchor, self.test):
            values = curve.cost if axis == "cost" else curve.quality
            texts.append(f"{curve.name!r} [{min(values):g}, {max(values):g}]")
        return CurveError(
            f"{texts[0]} and {texts[1]} share no {axis} range; {label} is undefined. "
            "Measure more operating points until the ranges meet"
        )


def _prepare(anchor: CurveLike, test: CurveLike, kind: Interpolator, unit: str | None) -> _Pair:
    if kind not in INTERPOLATORS:
        raise CurveError(f"unknown interpolator {kind!r}; choose one of {', '.join(INTERPOLATORS)}")
    curves = (_as_curve("anchor", anchor), _as_curve("test", test))
    units = {curve.cost_unit for curve in curves if curve.cost_unit} | ({unit} if unit else set())
    if len(units) > 1:
        raise CurveError(
            f"cost units differ: {curves[0].name!r} has {curves[0].cost_unit or 'none'}, {curves[1].name!r} has "
            f"{curves[1].cost_unit or 'none'}" + (f", this metric takes {unit}" if unit else "")
        )
    tops = [max(curve.quality) for curve in curves]
    floors = [min(curve.quality) for curve in curves]
    if (tops[0] <= 1 < floors[1]) or (tops[1] <= 1 < floors[0]):
        raise CurveError(
            f"quality of {curves[0].name!r} is about {tops[0]:g} and of {curves[1].name!r} about {tops[1]:g}: "
            "one looks like a share of 1, the other like percent"
        )
    hulls = [curve.pareto_hull() for curve in curves]
    dropped = tuple(
        (curve.name, cost, quality)
        for curve, hull in zip(curves, hulls, strict=True)
        for cost, quality in zip(curve.cost, curve.quality, strict=True)
        if cost not in hull.cost
    )
    return _Pair(hulls[0], hulls[1], dropped)


def _as_curve(role: str, curve: CurveLike) -> Curve:
    return curve if isinstance(curve, Curve) else Curve.from_points(role, curve)


def _overlap(a: Values, b: Values) -> tuple[float, float, float]:
    """(low, high) of the common range and its share of the joint range."""
    low, high = max(a.min(), b.min()), min(a.max(), b.max())
    joint = max(a.max(), b.max()) - min(a.min(), b.min())
    return float(low), float(high), float(max(high - low, 0.0) / joint) if joint > 0 else 0.0


def _mean_difference(
    x: tuple[Values, Values], y: tuple[Values, Values], low: float, high: float, kind: Interpolator
) -> float:
    """The core integral: mean over [low, high] of y_test(x) - y_anchor(x); x strictly rising."""
    anchor, test = (_fit(x[i], y[i], kind).integrate(low, high) for i in (0, 1))
    return float((test - anchor) / (high - low))


def _fit(x: Values, y: Values, kind: Interpolator) -> Any:
    from scipy.interpolate import Akima1DInterpolator, PchipInterpolator

    if kind == "akima" and len(x) > 2:
        return Akima1DInterpolator(x, y)
    return PchipInterpolator(x, y)  # with two points both are the straight line


def _numbers(values: Values) -> str:
    return "[" + ", ".join(f"{value:g}" for value in values) + "]"
