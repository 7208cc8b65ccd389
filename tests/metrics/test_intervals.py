"""Intervals over sequences: pairing, hand-made cases, refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

from vssbench.errors import InputError
from vssbench.metrics import CurveError
from vssbench.metrics.confusion import mean_iou
from vssbench.metrics.intervals import (
    MeasuredCurve,
    MeasuredPoint,
    UnitCounts,
    bd_with_interval,
    compare_methods,
    holm,
    mean_interval,
    miou_difference,
    miou_intervals,
)


def random_units(
    name: str, sequences: int, frames: int, *, accuracy: float = 0.8, seed: int = 0, distances: int = 3
) -> UnitCounts:
    """Four classes; difficulty differs by sequence and frame, the same for every accuracy with one seed."""
    rng = np.random.default_rng(seed)
    difficulty = 0.08 * rng.standard_normal((sequences, 1, 1, 1)) + 0.03 * rng.standard_normal(
        (sequences, frames, 1, 1)
    )
    pixels = rng.integers(200, 900, (sequences, frames, distances, 4))
    right = np.rint(pixels * np.clip(accuracy + difficulty, 0.05, 0.99)).astype(np.int64)
    counts = np.zeros((sequences * frames, distances, 4, 4), np.int64)
    wrong = (pixels - right).reshape(-1, distances, 4)
    right = right.reshape(-1, distances, 4)
    for c in range(4):
        counts[:, :, c, c] = right[:, :, c]
        counts[:, :, c, (c + 1) % 4] = wrong[:, :, c]
    names = tuple(f"s{i:03d}" for i in range(sequences) for _ in range(frames))
    return UnitCounts(name, counts, names, tuple(range(frames)) * sequences)


def test_the_estimate_is_the_plain_mean_of_miou_d_of_the_summed_counts() -> None:
    units = random_units("a", 15, 4)
    found = miou_intervals(units)
    expected = mean_iou(units.counts.sum(0))
    assert found.miou.estimate == pytest.approx(expected.mean(), abs=1e-15)
    assert [i.estimate for i in found.miou_d] == pytest.approx(expected.tolist(), abs=1e-15)
    assert found.miou.low < found.miou.estimate < found.miou.high
    assert len(found.per_class) == 4


def test_the_interval_is_the_jackknife_of_scipys_formulas() -> None:
    units = random_units("a", 7, 4)
    found = miou_intervals(units).miou

    def figure(kept: np.ndarray) -> float:
        return float(mean_iou(units.counts[kept].sum(0)).mean())

    names = np.array(units.sequences)
    whole = figure(np.ones(len(names), bool))
    without = np.array([figure(names != name) for name in sorted(set(names))])
    unions = np.array([_unions(units.counts[names == name].sum(0)) for name in sorted(set(names))])
    share = (unions / unions.sum(0)).mean((1, 2))
    degrees = share.sum() ** 2 / (share**2).sum() - 1
    centre = 7 * whole - 6 * without.mean()
    error = np.sqrt(6 / 7 * ((without - without.mean()) ** 2).sum() + (centre - whole) ** 2)
    half = stats.t.ppf(0.975, degrees) * error
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))
    assert 5 < degrees < 6
    assert found.method == "95 % jackknife with Student's t over 7 sequences"


def _unions(counts: np.ndarray) -> np.ndarray:
    """[D, C, C] -> [D, C]"""
    return counts.sum(1) + counts.sum(2) - np.diagonal(counts, axis1=1, axis2=2)


def test_too_few_sequences_or_pixels_in_too_few_get_no_interval() -> None:
    few = miou_intervals(random_units("a", 3, 50))
    assert np.isnan([few.miou.low, few.miou.high]).all()
    assert few.miou.method == "no interval: 3 sequences, an interval needs 4"
    some = miou_intervals(random_units("a", 7, 2))
    assert some.per_class[0].method == "no interval: 7 sequences, an interval needs 8"
    uneven = random_units("a", 9, 2)
    scale = np.where(np.arange(18) < 2, 200, 1)[:, None, None, None]
    uneven = UnitCounts("a", uneven.counts * scale, uneven.sequences, uneven.frames)
    assert "most pixels lie in fewer than 3 of 9 sequences" in miou_intervals(uneven).miou.method
    assert miou_difference(random_units("a", 3, 9), random_units("b", 3, 9, accuracy=0.9)).mark == "?"


def test_the_order_of_units_decides_nothing() -> None:
    units = random_units("a", 14, 3)
    order = np.random.default_rng(5).permutation(len(units.frames))
    shuffled = UnitCounts(
        "a",
        units.counts[order],
        tuple(units.sequences[i] for i in order),
        tuple(units.frames[i] for i in order),
    )
    assert miou_intervals(units) == miou_intervals(shuffled)


def test_identical_sequences_leave_no_uncertainty() -> None:
    one = random_units("a", 1, 3)
    units = UnitCounts(
        "a",
        np.tile(one.counts, (20, 1, 1, 1)),
        tuple(f"s{i:02d}" for i in range(20) for _ in range(3)),
        (0, 1, 2) * 20,
    )
    found = miou_intervals(units)
    assert found.miou.low == pytest.approx(found.miou.estimate, abs=1e-14)
    assert found.miou.high == pytest.approx(found.miou.estimate, abs=1e-14)


def test_pairing_tells_apart_what_two_separate_intervals_do_not() -> None:
    weak, strong = random_units("weak", 20, 3, accuracy=0.80), random_units("strong", 20, 3, accuracy=0.81)
    apart = [miou_intervals(units).miou for units in (weak, strong)]
    assert apart[0].high > apart[1].low
    difference = miou_difference(weak, strong)
    assert difference.miou.low > 0
    assert difference.mark == "+"
    assert miou_difference(strong, weak).mark == "-"
    assert miou_difference(strong, weak).miou.low == pytest.approx(-difference.miou.high)


def test_a_method_does_not_differ_from_itself() -> None:
    units = random_units("a", 20, 3)
    same = miou_difference(units, units)
    assert (same.miou.low, same.miou.high, same.p_value, same.mark) == (0, 0, 1, "~")


def test_the_p_value_and_the_interval_agree_about_zero() -> None:
    for seed in range(12):
        pair = [random_units("a", 13, 2, seed=seed), random_units("b", 13, 2, seed=seed + 100, accuracy=0.83)]
        difference = miou_difference(*pair)
        ends = difference.miou.low, difference.miou.high
        if (
            not ends[0] <= difference.miou.estimate + 1e-12 <= ends[0] + 1e-12
        ):  # the estimate is not an end itself
            assert (difference.p_value < 0.05) == (ends[0] > 0 or ends[1] < 0)


def test_holm_adjusts_several_pairs_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.01, float("nan"), 0.03]) == pytest.approx([0.02, float("nan"), 0.03], nan_ok=True)
    a, b, c = (random_units(n, 20, 2, accuracy=x) for n, x in (("a", 0.8), ("b", 0.8), ("c", 0.9)))
    found = compare_methods([(a, b), (a, c), (b, c)])
    assert [(d.anchor, d.test, d.mark) for d in found] == [("a", "b", "~"), ("a", "c", "+"), ("b", "c", "+")]
    assert all(d.adjusted_p_value >= d.p_value for d in found)


def test_equivalence_is_two_one_sided_tests_within_the_margin() -> None:
    a, b = (random_units(n, 12, 3, accuracy=x) for n, x in (("a", 0.8), ("b", 0.803)))
    (found,) = compare_methods([(a, b)], margin=0.02)
    gap = found.miou
    low, high = (
        stats.t.sf(x / gap.standard_error, gap.degrees) for x in (gap.centre + 0.02, 0.02 - gap.centre)
    )
    assert found.adjusted_equivalence == pytest.approx(max(low, high))
    assert found.mark == "="
    (narrow,) = compare_methods([(a, b)], margin=1e-5)
    assert narrow.mark == "+"
    assert narrow.adjusted_equivalence > 0.05


def test_the_detectable_difference_is_seen_four_times_in_five() -> None:
    difference = miou_difference(random_units("a", 10, 3), random_units("b", 10, 3, seed=4))
    gap = difference.miou
    limit = stats.t.ppf(0.975, gap.degrees)
    seen = stats.t.sf(limit - difference.detectable / gap.standard_error, gap.degrees)
    assert seen == pytest.approx(0.8)


def test_seeds_and_sequences_add_their_variances() -> None:
    seeds = [random_units(f"seed {n}", 9, 3, accuracy=0.8 + 0.01 * n) for n in range(3)]
    mean, alone = mean_interval(seeds), mean_interval(seeds[:1])
    values = [miou_intervals(one).miou.estimate for one in seeds]
    between = np.var(values, ddof=1) / 3
    frames = mean.standard_error**2 - between
    assert 0.5 * alone.standard_error**2 < frames < 2 * alone.standard_error**2
    assert mean.method == "95 % jackknife with Student's t over 9 sequences and 3 training seeds"
    same = mean_interval(seeds, seeds)
    assert (same.low, same.high) == (0, 0)  # seed by seed nothing differs


def curve_of(name: str, levels: list[float], costs: list[float], seed: int = 0) -> MeasuredCurve:
    return MeasuredCurve(
        name,
        tuple(
            MeasuredPoint(random_units(f"{name} {a}", 14, 2, accuracy=a, seed=seed), c)
            for a, c in zip(levels, costs, strict=True)
        ),
        "MACs",
    )


def test_a_bd_value_gets_an_interval_from_curves_that_lose_the_same_sequences() -> None:
    anchor = curve_of("anchor", [0.5, 0.6, 0.7, 0.8], [1, 2, 4, 8])
    test = curve_of("test", [0.52, 0.62, 0.72, 0.82], [1, 2, 4, 8])
    for metric, kind in (("flops", "pchip"), ("miou", "akima")):
        result = bd_with_interval(anchor, test, metric, kind=kind)
        low, high = result.interval or (np.nan, np.nan)
        assert low <= result.value <= high
        assert (result.interval_level, "14 sequences" in result.interval_note) == (0.95, True)
        assert low > 0 or high < 0
    half = curve_of("half", [0.5, 0.6, 0.7, 0.8], [0.5, 1, 2, 4])
    exact = bd_with_interval(anchor, half, "flops")
    assert exact.value == pytest.approx(-0.5)
    assert exact.interval == pytest.approx((-0.5, -0.5))  # quality cancels: the pairing is complete


def test_a_bd_value_that_hangs_on_one_sequence_gets_no_interval() -> None:
    anchor = curve_of("anchor", [0.5, 0.6], [1, 2])
    with pytest.raises(CurveError, match="share no quality range"):
        bd_with_interval(anchor, curve_of("test", [0.62, 0.7], [1, 2]), "flops")
    top = anchor.points[1].units
    assert isinstance(top, UnitCounts)
    better = top.counts.copy()
    row = np.flatnonzero(better[:, 0].any((1, 2)))[0]
    better[row, :, 0, 0] += better[row, :, 0, 1]
    better[row, :, 0, 1] = 0
    lifted = UnitCounts("lifted", better, top.sequences, top.frames)
    least = float(mean_iou(lifted.counts.sum(0)).mean())
    barely = curve_of("barely", [0.5993, 0.7], [1, 2])
    started = UnitCounts("start", top.counts, top.sequences, top.frames)
    whole = MeasuredCurve("a", (anchor.points[0], MeasuredPoint(lifted, 2.0)), "MACs")
    other = MeasuredCurve("b", (MeasuredPoint(started, 1.0), barely.points[1]), "MACs")
    result = bd_with_interval(whole, other, "flops")
    assert least > float(mean_iou(top.counts.sum(0)).mean())
    assert result.interval is None
    assert result.interval_note == "no interval: without one of the sequences the figure has no value"


def test_a_cost_per_unit_varies_with_the_sequences() -> None:
    base = random_units("a", 14, 2, accuracy=0.6)
    cost = np.linspace(1, 3, len(base.frames))
    units = UnitCounts("a", base.counts, base.sequences, base.frames, cost)
    curve = MeasuredCurve(
        "c", (MeasuredPoint(units), MeasuredPoint(random_units("b", 14, 2, accuracy=0.8), 9.0))
    )
    result = bd_with_interval(curve, curve, "miou")
    assert result.value == 0
    assert result.integration_interval == pytest.approx((2, 9))
    with pytest.raises(CurveError, match="point 'a' has no cost"):
        bd_with_interval(MeasuredCurve("c", (MeasuredPoint(base), MeasuredPoint(units))), curve, "miou")


def test_intervals_of_cityscapes_size_take_seconds() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50_000, (500, 12, 19, 19))
    units = UnitCounts("a", counts, tuple(f"s{i:03d}" for i in range(500)), (0,) * 500)
    start = time.process_time()
    miou_intervals(units)
    assert time.process_time() - start < 10  # seconds of processor time


def test_different_frames_classes_or_distances_are_named() -> None:
    a = random_units("a", 13, 3)
    shorter = UnitCounts("b", a.counts[:-1], a.sequences[:-1], a.frames[:-1])
    with pytest.raises(
        InputError, match=r"a and b were scored on different frames: only a has frame 2 of .*'s012'"
    ):
        miou_difference(a, shorter)
    fewer = UnitCounts("b", a.counts[:, :2], a.sequences, a.frames)
    with pytest.raises(InputError, match="a has 3 distances and 4 classes, b has 2 and 4"):
        miou_difference(a, fewer)


def test_bad_units_are_named() -> None:
    a = random_units("a", 3, 2)
    with pytest.raises(InputError, match="a: frame 0 of sequence 's000' is given twice"):
        UnitCounts("a", a.counts, a.sequences, (0, 0, 0, 1, 0, 1))
    with pytest.raises(
        InputError, match=r"must be \[units, distances, classes, classes\], got \(6, 3, 4, 4\) with 5"
    ):
        UnitCounts("a", a.counts, a.sequences[:5], a.frames)
    empty = a.counts.copy()
    empty[4] = 0
    with pytest.raises(InputError, match="a: frame 0 of sequence 's002' has no scored pixel"):
        UnitCounts("a", empty, a.sequences, a.frames)
    with pytest.raises(InputError, match="a: cost must be one finite number per unit"):
        UnitCounts("a", a.counts, a.sequences, a.frames, np.array([np.nan] * 6))
    hollow = a.counts.copy()
    hollow[:, 1] = 0
    with pytest.raises(InputError, match="a: no scored pixel at distance index 1"):
        miou_intervals(UnitCounts("a", hollow, a.sequences, a.frames))


def test_a_class_of_two_sequences_gets_no_interval() -> None:
    a = random_units("a", 15, 2)
    counts = a.counts.copy()
    counts[4:, :, 3, :] = 0
    counts[4:, :, :, 3] = 0
    found = miou_intervals(UnitCounts("a", counts, a.sequences, a.frames))
    assert_array_equal([np.isfinite(i.low) for i in found.per_class], [True, True, True, False])
