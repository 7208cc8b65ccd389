"""What a report says about a run as a whole: intervals, paired differences, BD values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.comparability import require_alike
from vssbench.analysis.differences import compare_runs, paired_differences, reference_method
from vssbench.analysis.families import family_comparisons
from vssbench.analysis.run import Run
from vssbench.errors import ConfigError, InputError
from vssbench.rendering.tables.comparisons import difference_table, family_table, run_comparison_table
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.text_table import TextTable

CURVES = {
    "constant 1.0": ("constant", 0.76, 0.0, (40.0, 40.0)),
    "constant 0.5": ("constant", 0.65, 0.0, (10.0, 10.0)),
    "half 1.0": ("ar-seg", 0.76, 0.0, (20.0, 20.0)),
    "half 0.5": ("ar-seg", 0.65, 0.0, (5.0, 5.0)),
}


def cells_by_heading(table: TextTable) -> list[dict[str, str]]:
    """Every row as heading -> text."""
    heads = [column.heading for column in table.columns]
    return [dict(zip(heads, (cell.text for cell in row.cells), strict=True)) for row in table.rows]


def test_cases_of_one_labelled_frame_are_one_entry(run: Run) -> None:
    group = run.groups[0]
    units = group.unit_counts()
    assert (len(units.frames), units.shape[0]) == (16, 12)  # 4 sequences x 4 frames, 12 distances
    true = np.diagonal(group.total, axis1=1, axis2=2)
    np.testing.assert_array_equal(units.margins.totals()[:, 0], true)
    np.testing.assert_array_equal(
        units.margins.totals()[:, 1], group.total.sum(1) + group.total.sum(2) - true
    )


def test_every_miou_lies_in_its_interval(run: Run) -> None:
    assert (run.summary["miou_low"] < run.summary["miou"]).all()
    assert (run.summary["miou"] < run.summary["miou_high"]).all()
    rows = run.table[(run.table["metric"] == "miou")]
    assert rows["low"].notna().all()
    assert run.interval_methods == {"streets": "95 % jackknife with Student's t over 4 sequences"}


def test_a_single_sequence_has_no_interval_and_says_so(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=4, distances=2, pictures=False)
    assert run.summary["miou_low"].isna().all()
    assert (
        "streets: no intervals and no verdicts on differences: 1 sequence, an interval needs 4"
        in run.warnings
    )
    table = difference_table(paired_differences(run))
    assert {row["verdict"] for row in cells_by_heading(table)} == {"no interval"}
    assert table.notes[1] == "no interval: 1 sequence, an interval needs 4"


def test_the_dearest_constant_method_is_the_reference(run: Run) -> None:
    assert reference_method(run, "streets", "hevc-700k") == "constant 1.0"


def test_paired_differences_are_differences_of_the_summary(run: Run) -> None:
    sections = paired_differences(run)
    assert [s.codec for s in sections] == ["hevc-700k", "h264-700k"]
    mious = run.summary.set_index(["codec", "method"])["miou"]
    for one in sections:
        for found in one.differences:
            expected = mious[one.codec, found.test] - mious[one.codec, "constant 1.0"]
            assert found.miou.estimate == pytest.approx(expected)
    assert {row["verdict"] for row in cells_by_heading(difference_table(sections))} == {"worse"}


def test_the_same_accuracy_at_half_the_macs_is_a_bd_flops_of_minus_a_half(
    fabricate: Any, tmp_path: Path
) -> None:
    run = fabricate(tmp_path / "run", methods=CURVES, sequences=4, units=3, distances=2, pictures=False)
    found = family_comparisons(run)
    assert [c.points for c in found] == [("half 0.5", "half 1.0")] * 2
    assert found[0].flops is not None
    assert found[0].flops.value == pytest.approx(-0.5)
    assert found[0].miou is not None
    assert found[0].miou.value > 0
    assert cells_by_heading(family_table(found))[0]["BD-FLOPs"].startswith("-50.00 [")


def test_a_run_without_two_points_on_a_curve_has_no_bd_values(fabricate: Any, tmp_path: Path) -> None:
    methods = dict(list(CURVES.items())[:3])
    assert (
        family_comparisons(fabricate(tmp_path / "run", methods=methods, sequences=1, units=2, distances=2))
        == []
    )


SMALL = {"sequences": 4, "units": 1, "distances": 2, "pictures": False}


def with_quality(quality: float, gmacs: float) -> dict[str, Any]:
    return {"m": ("constant", quality, 0.0, (gmacs, gmacs))}


def test_a_run_against_itself_shows_no_change(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "a", methods=with_quality(0.7, 10.0), **SMALL)
    for row in cells_by_heading(run_comparison_table("a", "a", compare_runs(run, run))):
        assert row["mIoU change"] == "+0.00"
        assert row["verdict"] == "not told apart"
        assert row["GMACs change"] == "+0.0"
        assert row["same pixels"] == "yes"


def test_a_better_run_is_called_better(fabricate: Any, tmp_path: Path) -> None:
    worse: Run = fabricate(tmp_path / "a", methods=with_quality(0.6, 10.0), **SMALL)
    better: Run = fabricate(tmp_path / "b", methods=with_quality(0.7, 5.0), **SMALL)
    found = compare_runs(worse, better)
    expected = better.summary["miou"].iloc[0] - worse.summary["miou"].iloc[0]
    assert found[0].difference.miou.estimate == pytest.approx(expected)
    table = run_comparison_table("a", "b", found)
    row = cells_by_heading(table)[0]
    assert row["verdict"] == "better"
    assert row["GMACs change"] == "-50.0"
    assert section(table).startswith("## b against a\n\n| dataset |")
    assert section(table).count("\n| ") == 4


def test_unlike_runs_are_refused(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "a", methods=with_quality(0.7, 10.0), **SMALL)
    other = fabricate(tmp_path / "b", methods={"other": ("constant", 0.7, 0.0, (1.0, 1.0))}, **SMALL)
    with pytest.raises(InputError, match="share no dataset, codec and method"):
        compare_runs(run, other)
    protocol = run.roster.protocol.model_copy(update={"kind": "stream"})
    changed = replace(run, roster=run.roster.model_copy(update={"protocol": protocol}))
    with pytest.raises(ConfigError, match=r"not comparable: protocol\.kind"):
        require_alike(run, changed, ())
