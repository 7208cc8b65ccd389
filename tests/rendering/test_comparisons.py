"""What a report says about a run as a whole: intervals, paired differences, BD values."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.differences import paired_differences, reference_method
from vssbench.analysis.families import family_comparisons
from vssbench.analysis.run import Run
from vssbench.rendering.curves import panels
from vssbench.rendering.figures.budget import budget_panels
from vssbench.rendering.figures.mpl import miou_d_figure
from vssbench.rendering.figures.svg import miou_d_charts
from vssbench.rendering.report import write_report
from vssbench.rendering.tables.summary import difference_rows, family_rows

CURVES = {
    "constant 1.0": ("constant", 0.76, 0.0, (40.0, 40.0)),
    "constant 0.5": ("constant", 0.65, 0.0, (10.0, 10.0)),
    "half 1.0": ("ar-seg", 0.76, 0.0, (20.0, 20.0)),
    "half 0.5": ("ar-seg", 0.65, 0.0, (5.0, 5.0)),
}


def test_cases_of_one_labelled_frame_are_one_entry_of_the_bootstrap(run: Run) -> None:
    group = run.groups[0]
    units = group.unit_counts()
    assert (len(units.frames), units.shape[0]) == (12, 12)  # 3 sequences x 4 frames, 12 distances
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
    assert "blocks" in run.resampling["streets"]


def test_a_single_frame_has_no_interval_and_says_so(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    assert run.summary["miou_low"].isna().all()
    assert "streets, hevc-700k: too few scored frames for intervals" in run.warnings


def test_the_dearest_constant_method_is_the_reference(run: Run) -> None:
    assert reference_method(run, "streets", "hevc-700k") == "constant 1.0"


def test_paired_differences_are_differences_of_the_summary(run: Run) -> None:
    sections = paired_differences(run)
    assert [s.codec for s in sections] == ["hevc-700k", "h264-700k"]
    mious = run.summary.set_index(["codec", "method"])["miou"]
    for section in sections:
        for found in section.differences:
            expected = mious[section.codec, found.test] - mious[section.codec, "constant 1.0"]
            assert found.miou.estimate == pytest.approx(expected)
    assert {row.verdict for row in difference_rows(sections)} == {"worse"}


def test_the_same_accuracy_at_half_the_macs_is_a_bd_flops_of_minus_a_half(
    fabricate: Any, tmp_path: Path
) -> None:
    run = fabricate(tmp_path / "run", methods=CURVES, sequences=2, units=3, distances=2, pictures=False)
    found = family_comparisons(run)
    assert [c.points for c in found] == [("half 0.5", "half 1.0")] * 2
    assert found[0].flops is not None
    assert found[0].flops.value == pytest.approx(-0.5)
    assert found[0].miou is not None
    assert found[0].miou.value > 0
    assert family_rows(found)[0].bd_flops.startswith("-50.00 %")


def test_a_run_without_two_points_on_a_curve_has_no_bd_values(fabricate: Any, tmp_path: Path) -> None:
    methods = dict(list(CURVES.items())[:3])
    assert (
        family_comparisons(fabricate(tmp_path / "run", methods=methods, sequences=1, units=2, distances=2))
        == []
    )


def test_budget_curves_are_drawn_on_page_and_in_a_file(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", methods=CURVES, sequences=2, units=3, distances=2, pictures=False)
    (first, second) = budget_panels(panels(run), run.families)
    assert [c.name for c in first.curves] == ["constant", "ar-seg"] == [c.name for c in second.curves]
    assert [p.method for p in first.curves[1].points] == ["half 0.5", "half 1.0"]
    write_report(run, tmp_path / "out", pictures=False)
    assert (tmp_path / "out/figures/budget.svg").stat().st_size > 1000
    html = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    section = html[html.index('id="bd"') : html.index('id="distance"')]
    assert section.count("<polyline") == 4  # two curves in each of two panels
    assert "half 0.5\n" in section
    alone = fabricate(tmp_path / "alone", sequences=1, units=1, distances=2, pictures=False)
    write_report(alone, tmp_path / "none", pictures=False)
    assert not (tmp_path / "none/figures/budget.svg").exists()


def test_many_curves_are_drawn_without_bands(fabricate: Any, tmp_path: Path) -> None:
    few = fabricate(tmp_path / "few", methods=CURVES, sequences=2, units=3, distances=2, pictures=False)
    many = [replace(p, curves=p.curves * 3) for p in panels(few)]
    assert "band" in miou_d_charts(panels(few))[0]
    assert "band" not in miou_d_charts(many)[0]
    assert len(miou_d_figure(panels(few)).axes[0].collections) == len(CURVES)
    assert not miou_d_figure(many).axes[0].collections
