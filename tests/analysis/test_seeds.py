"""Several training seeds of a method in one run."""

from __future__ import annotations

import re

import numpy as np
import pytest

from vssbench.analysis.differences import measured_against, paired_differences
from vssbench.analysis.families import family_comparisons
from vssbench.analysis.seeds import seed_frame, seeded_methods
from vssbench.errors import ConfigError
from vssbench.experiment.schema import load_experiment
from vssbench.metrics.intervals import UnitCounts, mean_interval, miou_difference, miou_intervals
from vssbench.metrics.seeds import over_seeds
from vssbench.rendering.curves import panels, panels_over_seeds
from vssbench.rendering.report import write_report
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord

CODEC = {"codec": "hevc", "bitrate_kbps": 300.0, "label": "hevc"}
METHODS = [
    {"name": "constant", "label": "c", "lr_scales": [0.3, 0.5, 1.0], "seeds": [1, 2]},
    {"name": "ar-seg", "label": "AR", "lr_scales": [0.3, 0.5], "seeds": [1, 2]},
]
GMACS = {"c 0.3": 1.0, "c 0.5": 3.0, "c 1.0": 9.0, "AR 0.3": 2.0, "AR 0.5": 4.0}
RIGHT = {"c 0.3": 40, "c 0.5": 50, "c 1.0": 70, "AR 0.3": 45, "AR 0.5": 64}


def experiment():
    dataset = {"name": "synthetic", "frames": 24}
    protocol = {"kind": "stream", "keyframe_interval": 2}
    return load_experiment(
        {"datasets": [dataset], "codecs": [CODEC], "protocol": protocol, "methods": METHODS}
    )


def unit(method: str, number: int, right: int) -> UnitRecord:
    right += number % 3
    counts = np.array([[[right, 100 - right], [100 - right, right]]] * 2, dtype=np.int64)
    cases = tuple(
        CaseRecord(2 * number + d, d, "IP"[d], 2 * number, 2, 100, ("key", "non_key")[d]) for d in range(2)
    )
    key = UnitKey("synthetic", "hevc", method, "street", f"phase-00-gop-{number:06d}")
    return UnitRecord(
        key,
        cases,
        counts,
        {"key": 1, "non_key": 1},
        1.0,
        300.0,
        f"d{number}",
        {"step_key": 0.01, "steps_key": 1},
    )


@pytest.fixture(scope="module")
def run(fabricated, tmp_path_factory):
    methods = experiment().methods
    units = [
        unit(one.title, number, RIGHT[one.seeds_of] + 2 * (one.training_seed or 0))
        for one in methods
        for number in range(12)
    ]
    gmacs = {one.title: GMACS[one.seeds_of] for one in methods}
    return fabricated(tmp_path_factory.mktemp("run"), experiment(), units, gmacs=gmacs)


def test_an_expanded_experiment_is_frozen_and_read_again():
    frozen = experiment()
    assert len(frozen.methods) == 10
    assert load_experiment(frozen.canonical()) == frozen


def test_seeds_of_a_method_are_one_row_with_mean_and_interval(run):
    table = seed_frame(run.over_seeds)
    assert list(table["method"]) == ["c 0.3", "c 0.5", "c 1.0", "AR 0.3", "AR 0.5"]
    scores = [group.miou for group in run.groups if group.method.startswith("AR 0.5")]
    row = table[table["method"] == "AR 0.5"].iloc[0]
    wanted = over_seeds(scores)
    assert (row["seeds"], row["reference"]) == (2, "c 1.0")
    assert row["miou"] == pytest.approx(np.mean(scores))
    assert (row["low"], row["high"]) == pytest.approx((wanted.low, wanted.high))
    dear = [group.miou for group in run.groups if group.method.startswith("c 1.0")]
    pairs = over_seeds([a - b for a, b in zip(scores, dear, strict=True)])
    assert row["difference"] == pytest.approx(pairs.mean)
    assert row["difference_low"] == pytest.approx(pairs.low)
    long = run.table[run.table["metric"] == "miou_over_seeds"]
    assert set(long["d"]) == {-1, 0, 1}
    assert long[(long["method"] == "AR 0.5") & (long["d"] == -1)]["value"].item() == pytest.approx(
        row["miou"]
    )


def test_families_draw_their_curves_through_the_means_over_seeds(run):
    (family,) = family_comparisons(run)
    assert family.points == ("AR 0.3", "AR 0.5")
    assert family.anchor_points == ("c 0.3", "c 0.5", "c 1.0")
    assert family.flops is not None
    assert family.flops_seeds is not None
    assert family.flops_seeds.seeds == 2
    assert family.miou_seeds.low <= family.miou_seeds.mean <= family.miou_seeds.high
    assert abs(family.flops_seeds.mean - family.flops.value) < 0.05


def test_the_mean_over_equal_trainings_has_the_interval_of_one():
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 50, (30, 2, 3, 3))
    names = tuple(f"s{n // 6}" for n in range(30))
    one = UnitCounts("m", counts, names, tuple(range(30)))
    other = UnitCounts("n", rng.integers(1, 50, (30, 2, 3, 3)), names, tuple(range(30)))
    twice, once = mean_interval([one, one]), miou_intervals(one).miou
    assert (twice.low, twice.high) == pytest.approx((once.low, once.high))
    single, several = miou_difference(other, one).miou, mean_interval([one, one], [other, other])
    assert (several.estimate, several.low, several.high) == pytest.approx(
        (single.estimate, single.low, single.high)
    )


def test_differences_are_taken_against_the_reference_seed_by_seed(run):
    chosen = measured_against(run, "AR 0.5")
    table = seed_frame(chosen.over_seeds).set_index("method")
    assert list(table["reference"]) == ["AR 0.5", "AR 0.5", "AR 0.5", "AR 0.5", ""]
    mious = {group.method: group.miou for group in run.groups}
    gaps = [mious[f"c 1.0 seed {seed}"] - mious[f"AR 0.5 seed {seed}"] for seed in (1, 2)]
    assert table.loc["c 1.0", "difference"] == pytest.approx(np.mean(gaps))
    (section,) = paired_differences(chosen)
    assert section.reference == "AR 0.5"
    assert len(section.differences) == 8  # four methods of two seeds
    for found in section.differences:
        assert found.anchor == f"AR 0.5 seed {found.test[-1]}"
        assert found.miou.estimate == pytest.approx(mious[found.test] - mious[found.anchor])
    assert list(seed_frame(run.over_seeds)["reference"]) == ["c 1.0", "c 1.0", "", "c 1.0", "c 1.0"]
    with pytest.raises(ConfigError, match="no method has the title 'AR'"):
        measured_against(run, "AR")


def test_the_report_tells_seeds_and_frames_apart(run, tmp_path):
    write_report(run, tmp_path, pictures=False, figure_files=False)
    text = (tmp_path / "report.md").read_text()
    assert "## Over training seeds" in text
    assert "over 2 seeds: BD" in text
    assert 'id="seeds"' in (tmp_path / "index.html").read_text()
    assert (tmp_path / "seeds.csv").read_text().count("\n") == 6


def test_the_page_draws_and_filters_all_seeds_of_a_method_as_one(run, tmp_path):
    write_report(run, tmp_path, pictures=False, figure_files=False)
    html = (tmp_path / "index.html").read_text()
    names = ["c 0.3", "c 0.5", "c 1.0", "AR 0.3", "AR 0.5"]
    assert re.findall(r'data-filter="method" value="([^"]+)"', html) == names
    charts = html[html.index('id="distance"') :].split("</section>")[0]
    curves = re.findall(r'<g class="series s\d" data-method="([^"]+)"><polyline', charts)
    assert curves == names
    summary = html[html.index('id="summary"') : html.index('id="distance"')]
    rows = re.findall(r'<tr [^>]*data-method="([^"]+)"', summary)
    assert {name: rows.count(name) for name in names} == dict.fromkeys(names, 4) | {
        "c 1.0": 2
    }  # the reference is in one


def test_methods_without_seeds_stand_alone(run):
    assert [len(method.groups) for method in seeded_methods(run)] == [2] * 5


def test_figures_draw_one_curve_for_all_seeds_of_a_method(run):
    alone = panels(run)
    (panel,) = panels_over_seeds(run, alone)
    assert [curve.method for curve in panel.curves] == ["c 0.3", "c 0.5", "c 1.0", "AR 0.3", "AR 0.5"]
    assert [curve.series for curve in panel.curves] == [0, 1, 2, 3, 4]
    drawn = next(curve for curve in panel.curves if curve.method == "AR 0.5")
    seeds = [curve for curve in alone[0].curves if curve.method.startswith("AR 0.5")]
    assert len(seeds) == 2
    assert drawn.miou == pytest.approx(np.mean([curve.miou for curve in seeds]))
    for d in range(2):
        interval = over_seeds([curve.miou_d[d] for curve in seeds])
        assert (drawn.low[d], drawn.miou_d[d], drawn.high[d]) == pytest.approx(
            (interval.low, interval.mean, interval.high)
        )
    assert drawn.class_iou == pytest.approx(np.mean([curve.class_iou for curve in seeds], axis=0))
    assert drawn.gop_mean_gmacs == 4.0
