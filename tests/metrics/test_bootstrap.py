"""Bootstrap intervals: pairing, reproducibility, hand-made cases, refusals."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vssbench.errors import ConfigError, InputError
from vssbench.metrics import CurveError
from vssbench.metrics.bootstrap import (
    BootstrapOptions,
    MeasuredCurve,
    MeasuredPoint,
    UnitCounts,
    bootstrap_bd,
    bootstrap_difference,
    bootstrap_miou,
    compare_methods,
    holm,
)
from vssbench.metrics.confusion import mean_iou

QUICK = BootstrapOptions(resamples=400, seed=3)


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
    found = bootstrap_miou(units, QUICK)
    expected = mean_iou(units.counts.sum(0))
    assert found.miou.estimate == pytest.approx(expected.mean(), abs=1e-15)
    assert [i.estimate for i in found.miou_d] == pytest.approx(expected.tolist(), abs=1e-15)
    assert found.miou.low < found.miou.estimate < found.miou.high
    assert found.missing_class_share == 0
    assert len(found.per_class) == 4


def test_what_was_resampled_is_said() -> None:
    many = bootstrap_miou(random_units("a", 12, 3), QUICK).miou
    assert (many.resampling, many.groups, many.block_length) == ("sequences", 12, None)
    assert many.method.startswith(
        "95 % expanded-percentile bootstrap over 12 sequences, 400 resamples, seed 3"
    )
    few = bootstrap_miou(random_units("a", 2, 50), QUICK).miou
    assert few.resampling == "blocks"
    assert few.block_length is not None
    assert few.block_length >= 10
    assert few.groups == 100 // few.block_length
    assert f"blocks of {few.block_length} labelled frames" in few.method
    fixed = bootstrap_miou(
        random_units("a", 12, 5), BootstrapOptions(resampling="blocks", block_length=4)
    ).miou
    assert (fixed.block_length, fixed.groups, fixed.few_groups) == (4, 15, False)
    rough = bootstrap_miou(random_units("a", 1, 40), BootstrapOptions(block_length=10)).miou
    assert (rough.groups, rough.few_groups, rough.kind) == (4, True, "student")
    assert rough.high - rough.estimate == pytest.approx(rough.estimate - rough.low)
    assert rough.method.endswith("fewer than 8 groups: a rough interval")


def test_the_same_seed_gives_the_same_interval_in_any_order_of_units() -> None:
    units = random_units("a", 14, 3)
    order = np.random.default_rng(5).permutation(len(units.frames))
    shuffled = UnitCounts(
        "a",
        units.counts[order],
        tuple(units.sequences[i] for i in order),
        tuple(units.frames[i] for i in order),
    )
    assert bootstrap_miou(units, QUICK) == bootstrap_miou(shuffled, QUICK)
    other = bootstrap_miou(units, BootstrapOptions(resamples=400, seed=4))
    assert other.miou.low != bootstrap_miou(units, QUICK).miou.low


def test_identical_sequences_leave_no_uncertainty() -> None:
    one = random_units("a", 1, 3)
    units = UnitCounts(
        "a",
        np.tile(one.counts, (20, 1, 1, 1)),
        tuple(f"s{i:02d}" for i in range(20) for _ in range(3)),
        (0, 1, 2) * 20,
    )
    found = bootstrap_miou(units, QUICK)
    assert found.miou.low == pytest.approx(found.miou.estimate, abs=1e-14)
    assert found.miou.high == pytest.approx(found.miou.estimate, abs=1e-14)


def test_pairing_tells_apart_what_two_separate_intervals_do_not() -> None:
    weak, strong = random_units("weak", 20, 3, accuracy=0.80), random_units("strong", 20, 3, accuracy=0.81)
    apart = [bootstrap_miou(units, QUICK).miou for units in (weak, strong)]
    assert apart[0].high > apart[1].low
    difference = bootstrap_difference(weak, strong, QUICK)
    assert difference.miou.low > 0
    assert difference.mark == "+"
    assert bootstrap_difference(strong, weak, QUICK).mark == "-"
    assert bootstrap_difference(strong, weak, QUICK).miou.low == pytest.approx(-difference.miou.high)


def test_a_method_does_not_differ_from_itself() -> None:
    units = random_units("a", 20, 3)
    same = bootstrap_difference(units, units, QUICK)
    assert (same.miou.low, same.miou.high, same.p_value, same.mark) == (0, 0, 1, "~")


def test_the_p_value_and_the_interval_agree_about_zero() -> None:
    for seed in range(12):
        pair = [random_units("a", 13, 2, seed=seed), random_units("b", 13, 2, seed=seed + 100, accuracy=0.83)]
        difference = bootstrap_difference(*pair, QUICK)
        if abs(difference.p_value - 0.05) > 0.01:
            assert (difference.p_value < 0.05) == difference.miou.excludes_zero


def test_holm_adjusts_several_pairs_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    methods = [random_units(n, 20, 2, accuracy=a) for n, a in (("a", 0.8), ("b", 0.8), ("c", 0.9))]
    found = compare_methods(methods, options=QUICK)
    assert [(d.anchor, d.test, d.mark) for d in found] == [("a", "b", "~"), ("a", "c", "+"), ("b", "c", "+")]
    assert all(d.adjusted_p_value >= d.p_value for d in found)
    assert [d.test for d in compare_methods(methods, "b", QUICK)] == ["a", "c"]
    with pytest.raises(ConfigError, match="reference 'z' is not among a, b, c"):
        compare_methods(methods, "z", QUICK)


def curve_of(name: str, levels: list[float], costs: list[float], seed: int = 0) -> MeasuredCurve:
    return MeasuredCurve(
        name,
        tuple(
            MeasuredPoint(random_units(f"{name} {a}", 14, 2, accuracy=a, seed=seed), c)
            for a, c in zip(levels, costs, strict=True)
        ),
        "MACs",
    )


def test_a_bd_value_gets_an_interval_from_jointly_resampled_curves() -> None:
    anchor = curve_of("anchor", [0.5, 0.6, 0.7, 0.8], [1, 2, 4, 8])
    test = curve_of("test", [0.52, 0.62, 0.72, 0.82], [1, 2, 4, 8])
    for metric, kind in (("flops", "pchip"), ("miou", "akima")):
        result = bootstrap_bd(anchor, test, metric, kind=kind, options=QUICK)
        low, high = result.interval or (np.nan, np.nan)
        assert low <= result.value <= high
        assert (result.interval_level, "14 sequences" in result.interval_note) == (0.95, True)
        assert low > 0 or high < 0
    half = curve_of("half", [0.5, 0.6, 0.7, 0.8], [0.5, 1, 2, 4])
    exact = bootstrap_bd(anchor, half, "flops", options=QUICK)
    assert exact.value == pytest.approx(-0.5)
    assert exact.interval == pytest.approx((-0.5, -0.5))  # quality cancels: the pairing is complete


def test_a_bd_value_that_most_resamples_cannot_have_gets_no_interval() -> None:
    anchor = curve_of("anchor", [0.5, 0.6], [1, 2])
    with pytest.raises(CurveError, match="share no quality range"):
        bootstrap_bd(anchor, curve_of("test", [0.62, 0.7], [1, 2]), "flops", options=QUICK)
    barely = curve_of("barely", [0.595, 0.7], [1, 2], seed=8)
    result = bootstrap_bd(anchor, barely, "flops", options=QUICK)
    assert result.interval is None
    assert "of the resampled curve pairs have no value" in result.interval_note


def test_a_cost_per_unit_is_resampled_too() -> None:
    base = random_units("a", 14, 2, accuracy=0.6)
    cost = np.linspace(1, 3, len(base.frames))
    units = UnitCounts("a", base.counts, base.sequences, base.frames, cost)
    curve = MeasuredCurve(
        "c", (MeasuredPoint(units), MeasuredPoint(random_units("b", 14, 2, accuracy=0.8), 9.0))
    )
    result = bootstrap_bd(curve, curve, "miou", options=QUICK)
    assert result.value == 0
    assert result.integration_interval == pytest.approx((2, 9))
    with pytest.raises(CurveError, match="point 'a' has no cost"):
        bootstrap_bd(
            MeasuredCurve("c", (MeasuredPoint(base), MeasuredPoint(units))), curve, "miou", options=QUICK
        )


def test_two_thousand_resamples_of_cityscapes_size_take_seconds() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50_000, (500, 12, 19, 19))
    units = UnitCounts("a", counts, tuple(f"s{i:03d}" for i in range(500)), (0,) * 500)
    start = time.process_time()
    bootstrap_miou(units, BootstrapOptions(resamples=2000))
    assert time.process_time() - start < 10  # seconds of processor time


def test_different_frames_classes_or_distances_are_named() -> None:
    a = random_units("a", 13, 3)
    shorter = UnitCounts("b", a.counts[:-1], a.sequences[:-1], a.frames[:-1])
    with pytest.raises(
        InputError, match=r"a and b were scored on different frames: only a has frame 2 of .*'s012'"
    ):
        bootstrap_difference(a, shorter)
    fewer = UnitCounts("b", a.counts[:, :2], a.sequences, a.frames)
    with pytest.raises(InputError, match="a has 3 distances and 4 classes, b has 2 and 4"):
        bootstrap_difference(a, fewer)


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
        bootstrap_miou(UnitCounts("a", hollow, a.sequences, a.frames))
    with pytest.raises(InputError, match="needs two labelled frames or more, got 1"):
        bootstrap_miou(UnitCounts("a", a.counts[:1], ("s",), (0,)))


@pytest.mark.parametrize("options", [{"level": 1.0}, {"resamples": 10}, {"block_length": 0}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError):
        BootstrapOptions(**options)


def test_a_class_missing_from_some_resamples_is_reported() -> None:
    a = random_units("a", 15, 2)
    counts = a.counts.copy()
    counts[2:, :, 3, :] = 0
    counts[2:, :, :, 3] = 0
    found = bootstrap_miou(UnitCounts("a", counts, a.sequences, a.frames), QUICK)
    assert 0.2 < found.missing_class_share < 0.6  # (14/15)**15 = 0.355
    assert_array_equal([np.isfinite(i.low) for i in found.per_class], [True, True, True, False])
