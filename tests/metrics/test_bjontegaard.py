"""BD differences: closed forms, the bjontegaard package as oracle, symmetry, refusals and flags."""

from __future__ import annotations

import math
import warnings

import bjontegaard
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.metrics import Curve, CurveError, bd_bitrate, bd_flops, bd_joules, bd_milliseconds, bd_miou
from vssbench.metrics.bjontegaard import Interpolator

steps = st.floats(0.05, 2.0)


@st.composite
def rising_curves(draw: st.DrawFn) -> list[tuple[float, float]]:
    """Strictly rising, 2 to 7 points, all covering costs around 10..20 and qualities around 0.5..0.6."""
    n = draw(st.integers(2, 7))
    log_cost = np.cumsum(draw(st.lists(steps, min_size=n, max_size=n)))
    quality = np.cumsum(draw(st.lists(steps, min_size=n, max_size=n)))
    log_cost = np.interp(log_cost, (log_cost[0], log_cost[-1]), (math.log(draw(st.floats(5, 11))), 3.5))
    quality = np.interp(quality, (quality[0], quality[-1]), (draw(st.floats(0.3, 0.5)), 0.7))
    return list(zip(np.exp(log_cost).tolist(), quality.tolist(), strict=True))


def test_half_the_cost_at_every_quality_is_minus_one_half() -> None:
    anchor = [(8, 0.5), (16, 0.6), (64, 0.7)]
    test = [(cost / 2, quality) for cost, quality in anchor]
    for function in (bd_flops, bd_milliseconds, bd_joules, bd_bitrate):
        assert function(anchor, test).value == pytest.approx(-1 / 2)
    assert bd_flops(anchor, test).overlap_share == 1


def test_the_same_gain_at_every_cost_is_that_gain() -> None:
    anchor = [(8, 0.5), (16, 0.6), (64, 0.7)]
    test = [(cost, quality + 0.05) for cost, quality in anchor]
    result = bd_miou(anchor, test)
    assert result.value == pytest.approx(0.05)
    assert result.integration_interval == pytest.approx((8, 64))


def test_two_straight_lines_by_hand() -> None:
    # Over ln c: anchor rises 0 -> 1 on [1, e^2], test 0 -> 1 on [e, e^3]. Common costs [e, e^2]:
    # anchor's mean is 3/4, test's 1/4. Equal quality: the test costs e times as much everywhere.
    e = math.e
    anchor, test = [(1, 0.0), (e**2, 1.0)], [(e, 0.0), (e**3, 1.0)]
    result = bd_miou(anchor, test)
    assert result.value == pytest.approx(1 / 4 - 3 / 4)
    assert result.overlap_share == pytest.approx(1 / 3)
    assert result.other_overlap_share == 1
    assert result.low_overlap
    assert result.flags == ("overlap 33 %", "few points (2 and 2)")
    assert bd_flops(anchor, test).value == pytest.approx(e - 1)


@given(rising_curves(), rising_curves(), st.sampled_from(["pchip", "akima"]))
@settings(max_examples=60, deadline=None)
def test_swapping_the_curves_inverts_the_number(a: list, b: list, kind: Interpolator) -> None:
    assert bd_miou(a, b, kind=kind).value == pytest.approx(-bd_miou(b, a, kind=kind).value, abs=1e-12)
    product = (1 + bd_flops(a, b, kind=kind).value) * (1 + bd_flops(b, a, kind=kind).value)
    assert product == pytest.approx(1)


@given(rising_curves(), rising_curves(), st.sampled_from(["pchip", "akima"]))
@settings(max_examples=60, deadline=None)
def test_equals_the_bjontegaard_package(a: list, b: list, kind: Interpolator) -> None:
    axes = [np.array(axis) for curve in (a, b) for axis in zip(*curve, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own remark on small overlap
        options = {"method": kind, "require_matching_points": False}
        rate = bjontegaard.bd_rate(*axes, **options) / 100
        quality = bjontegaard.bd_psnr(*axes, **options)
    assert bd_flops(a, b, kind=kind).value == pytest.approx(rate, rel=1e-8, abs=1e-10)
    assert bd_miou(a, b, kind=kind).value == pytest.approx(quality, rel=1e-8, abs=1e-10)


@given(rising_curves(), st.floats(0.1, 10), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_a_curve_against_itself_is_zero_in_any_order_of_points(a: list, scale: float, random: object) -> None:
    shuffled = a[:]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert bd_flops(a, shuffled).value == 0
    assert bd_miou(a, shuffled).value == 0
    scaled = [(cost * scale, quality) for cost, quality in a]
    assert bd_flops(a, scaled).value == pytest.approx(scale - 1)


def test_the_other_interpolator_is_reported() -> None:
    anchor = [(1, 0.1), (2, 0.5), (4, 0.55), (8, 0.56)]
    test = [(1, 0.2), (2, 0.4), (4, 0.57), (8, 0.6)]
    pchip, akima = bd_miou(anchor, test), bd_miou(anchor, test, kind="akima")
    assert (pchip.interpolator, pchip.other_interpolator) == ("pchip", "akima")
    assert pchip.other_interpolator_value == akima.value
    assert akima.other_interpolator_value == pchip.value
    assert pchip.sensitivity == abs(pchip.value - akima.value) > 0
    assert pchip.flags == ()


def test_a_curve_that_falls_goes_through_its_pareto_hull_and_says_so() -> None:
    anchor = [(1, 0.1), (2, 0.2), (4, 0.3), (8, 0.4)]
    bent = Curve.from_points("bent", [(1, 0.1), (2, 0.2), (3, 0.15), (4, 0.3), (8, 0.4)])
    for result in (bd_flops(anchor, bent), bd_miou(anchor, bent)):
        assert result.value == pytest.approx(0, abs=1e-12)
        assert result.used_pareto_hull
        assert result.dropped == (("bent", 3, 0.15),)
        assert result.flags == ("Pareto hull: left out bent (3, 0.15)",)
        assert result.points == (4, 4)
    plateau = bd_flops(anchor, [(1, 0.1), (2, 0.2), (4, 0.4), (8, 0.4)])
    assert plateau.dropped == (("test", 8, 0.4),)


def test_quality_and_cost_are_read_off_inside_the_range_only() -> None:
    curve = Curve.from_points("c", [(1, 0.2), (4, 0.4)])
    assert curve.quality_at(2) == pytest.approx(0.3)
    assert curve.cost_at(0.3) == pytest.approx(2)
    with pytest.raises(CurveError, match="'c' covers costs 1 to 4, not 5"):
        curve.quality_at(5)
    with pytest.raises(CurveError, match=r"'c' covers qualities 0\.2 to 0\.4, not 0\.5"):
        curve.cost_at(0.5)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1, 0.5)], r"'x' has 1 point\(s\) \[\(1, 0\.5\)\]; a curve needs two"),
        ([], r"'x' has 0 point\(s\)"),
        ([(2, 0.5), (2, 0.6)], r"'x': two points have the same cost, got \[2, 2\]"),
        ([(1, 0.5), (2, float("nan"))], r"'x': quality must be finite, got \[0\.5, nan\]"),
        ([(1, 0.5), (float("inf"), 0.6)], r"'x': cost must be finite, got \[1, inf\]"),
        ([(0, 0.5), (2, 0.6)], r"'x': cost must be positive.*got \[0, 2\]"),
        ([(-1, 0.5), (2, 0.6)], r"'x': cost must be positive.*got \[-1, 2\]"),
        ([(1, 0.5, 3), (2, 0.6, 4)], r"'x': points must be \(cost, quality\) pairs"),
    ],
)
def test_an_unusable_curve_is_named_with_its_values(points: list, message: str) -> None:
    with pytest.raises(CurveError, match=message):
        Curve.from_points("x", points)


def test_curves_that_do_not_meet_are_refused_on_the_axis_that_matters() -> None:
    cheap = Curve.from_points("cheap", [(1, 0.61), (2, 0.72)])
    dear = Curve.from_points("dear", [(1, 0.74), (2, 0.79)])
    with pytest.raises(
        CurveError, match=r"'cheap' \[0\.61, 0\.72\] and 'dear' \[0\.74, 0\.79\] share no quality"
    ):
        bd_flops(cheap, dear)
    assert bd_miou(cheap, dear).value == pytest.approx(0.1)
    far = Curve.from_points("far", [(3, 0.61), (4, 0.72)])
    with pytest.raises(CurveError, match=r"'cheap' \[1, 2\] and 'far' \[3, 4\] share no cost range; BD-mIoU"):
        bd_miou(cheap, far)
    touching = Curve.from_points("touching", [(2, 0.72), (4, 0.8)])
    with pytest.raises(CurveError, match="share no quality range"):
        bd_flops(cheap, touching)


def test_a_curve_whose_cheapest_point_is_best_is_refused() -> None:
    with pytest.raises(CurveError, match=r"'test' .* the cheapest point is also the best"):
        bd_miou([(1, 0.1), (2, 0.2)], [(1, 0.5), (2, 0.4), (3, 0.3)])


def test_unlike_units_and_scales_are_refused() -> None:
    macs = Curve.from_points("a", [(1, 0.1), (2, 0.2)], "MACs")
    ms = Curve.from_points("b", [(1, 0.1), (2, 0.2)], "ms")
    with pytest.raises(CurveError, match="'a' has MACs, 'b' has ms"):
        bd_miou(macs, ms)
    with pytest.raises(CurveError, match="this metric takes ms"):
        bd_milliseconds(macs, macs)
    with pytest.raises(CurveError, match="one looks like a share of 1, the other like percent"):
        bd_miou([(1, 0.5), (2, 0.6)], [(1, 50), (2, 60)])
    with pytest.raises(CurveError, match="unknown interpolator 'cubic'; choose one of pchip, akima"):
        bd_miou(macs, macs, kind="cubic")  # type: ignore[arg-type]
