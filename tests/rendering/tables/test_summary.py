from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.experiment.schema import load_experiment
from vssbench.records import HostConditions
from vssbench.rendering.tables.columns import MIOU
from vssbench.rendering.tables.scores import coded_table
from vssbench.rendering.tables.summary import column_marks, summary_frame, summary_of, summary_table
from vssbench.rendering.tables.text_table import Column
from vssbench.rendering.text import MISSING, kbps_text
from vssbench.results.costs import COUNTED_WHILE_RUNNING
from vssbench.results.roster import make_roster

COST = Column("cost", "cost", "", "lower", 1)
NEUTRAL = Column("frames", "frames", "", "neither", 0)


def test_the_largest_miou_and_the_smallest_cost_are_best() -> None:
    assert column_marks(MIOU, [0.5, 0.7, 0.6]) == ["", "best", "second"]
    assert column_marks(COST, [9, 3, 6]) == ["", "best", "second"]


def test_values_that_print_alike_share_a_mark() -> None:
    assert column_marks(MIOU, [0.70001, 0.70004, 0.6]) == ["best", "best", "second"]


def test_nothing_is_marked_without_a_difference() -> None:
    assert column_marks(MIOU, [0.5]) == [""]
    assert column_marks(MIOU, [0.5, 0.5]) == ["", ""]
    assert column_marks(MIOU, [0.5, math.nan]) == ["", ""]
    assert column_marks(NEUTRAL, [1, 2]) == ["", ""]


def test_missing_numbers_are_shown_as_such() -> None:
    assert MIOU.text(math.nan) == MISSING
    assert kbps_text(math.nan) == ""


def test_quality_of_what_was_coded_is_shared_by_a_section(run: Run) -> None:
    table = summary_table(summary_of(run))
    assert [c.key for c in table.columns[: table.shared]] == ["dataset", "codec", "kbps", "psnr_db", "ssim"]
    decibels = 10 * math.log10(704.2)  # as the fixture codes them
    assert [cell.text for cell in table.rows[0].cells[3:5]] == [f"{decibels:.2f}", "0.9500"]
    assert run.summary["psnr_db"][0] == pytest.approx(decibels, abs=1e-3)
    assert run.coded.columns.tolist() == ["dataset", "codec", "sequence", "achieved_kbps", "psnr_db", "ssim"]
    assert len(run.coded) == len(
        {(g.codec, name.rsplit("/", 1)[0]) for g in run.groups for name in g.unit_names}
    )
    nothing_lost = Column("psnr_db", "PSNR", "dB")
    assert (nothing_lost.text(math.inf), nothing_lost.text(math.nan)) == ("∞", MISSING)


def test_quality_that_is_unknown_is_absent(run: Run) -> None:
    unknown = replace(run)
    unknown.groups = [replace(group, qualities=[None] * group.units) for group in run.groups]
    assert "psnr_db" not in [c.key for c in summary_table(summary_of(unknown)).columns]
    assert not {"psnr_db", "ssim"} & set(summary_frame(unknown, summary_of(unknown)).columns)
    assert unknown.coded["psnr_db"].isna().all()
    assert not coded_table(unknown).rows


def test_stopwatch_times_are_ranked_on_a_quiet_machine_only(
    fabricate: Any, write_latency: Any, tmp_path: Path
) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)

    def marks() -> list[str]:
        summary = summary_of(load_run(run.path))
        (at,) = [i for i, c in enumerate(summary_table(summary).columns) if c.key == "watch_ms"]
        return [row.cells[at].mark for row in summary_table(summary).rows[:3]]

    quiet, busy = HostConditions(2, 0.05, 1.0, (2500.0, 2400.0)), HostConditions(2, 0.43, 3.0, None)
    write_latency(run, "constant 1.0", ms=9.0, host=quiet)
    write_latency(run, "constant 0.5", ms=5.0, host=quiet)
    write_latency(run, "warp-only", ms=3.0)
    assert marks() == ["", "second", "best"]
    assert not any("stopwatch" in line for line in load_run(run.path).warnings)
    write_latency(run, "constant 1.0", ms=9.0, host=busy)
    assert marks() == ["", "", ""]
    (line,) = [line for line in load_run(run.path).warnings if "stopwatch" in line]
    assert line == (
        "streets: while methods were timed, other processes took 43 % of the processors; stopwatch times are not ranked"
    )
    write_latency(run, "constant 1.0", ms=9.0, stable=False)
    assert marks() == ["", "", ""]
    (line,) = [line for line in load_run(run.path).warnings if "stopwatch" in line]
    assert line.startswith("streets: stopwatch times of constant 1.0 are unstable: ")


def test_cost_is_relative_to_the_dearest_constant_method(run: Run) -> None:
    shares = {r.method: r.values["cost_share"] for r in summary_of(run).rows}
    assert shares["constant 1.0"] == 1.0
    assert shares["constant 0.5"] == pytest.approx(13.1 / 52.4)
    assert shares["AR-Seg 0.5"] == pytest.approx((53.0 + 11 * 14.6) / 12 / 52.4)


def test_the_last_distance_is_written_out(run: Run) -> None:
    assert "mIoU d=11" in [column.heading for column in summary_of(run).columns]


def test_sections_follow_the_experiment(run: Run) -> None:
    sections = summary_of(run).sections
    assert [rows[0].codec for rows in sections] == ["hevc-700k", "h264-700k"]
    assert [r.method for r in sections[0]] == ["constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5"]
    assert sections[0][0].kbps == pytest.approx(704.2)


def test_what_adaptive_methods_executed_is_shown(run: Run) -> None:
    assert not {"full frames", "executed", "delay"} & {c.heading for c in summary_of(run).columns}
    costs = dict(run.costs)
    place = ("streets", "AR-Seg 0.5")
    costs[place] = costs[place].model_copy(update={"counted_on": COUNTED_WHILE_RUNNING})
    costs["streets", "warp-only"] = costs["streets", "warp-only"].model_copy(update={"delay_frames": 11})
    watched = summary_of(replace(run, costs=costs))
    assert {"full frames", "executed", "delay"} <= {c.heading for c in watched.columns}
    rows = {r.method: r.values for r in watched.sections[0]}
    groups = {g.method: g for g in run.groups if g.codec == "hevc-700k"}
    steps = groups["AR-Seg 0.5"].steps
    assert rows["AR-Seg 0.5"]["full_share"] == pytest.approx(steps["key"] / sum(steps.values()))
    assert rows["AR-Seg 0.5"]["executed_share"] == 1.0
    assert math.isnan(rows["warp-only"]["executed_share"])
    assert (rows["warp-only"]["delay_frames"], rows["AR-Seg 0.5"]["delay_frames"]) == (11, 0)


def with_methods(run: Run, methods: list[dict[str, Any]]) -> Run:
    """The run as if its experiment had these methods."""
    return replace(run, roster=make_roster(load_experiment({**run.experiment, "methods": methods})))


def test_changes_are_against_the_same_training_seed(run: Run) -> None:
    network = {"network": "swiftnet18", "width": 8}
    methods = [
        {"label": "constant 1.0", "name": "constant", **network, "training_seed": 1},
        {"label": "constant 0.5", "name": "constant", **network, "training_seed": 2},
        {"label": "AR-Seg 0.5", "name": "ar-seg", **network, "training_seed": 2},
        {"label": "warp-only", "name": "warp-only", **network},
    ]
    seeded = with_methods(run, methods)
    rows = {r.method: r.values for r in summary_of(seeded).sections[0]}
    assert math.isnan(rows["constant 0.5"]["rel_miou"])
    expected = rows["AR-Seg 0.5"]["miou"] / rows["constant 0.5"]["miou"] - 1
    assert rows["AR-Seg 0.5"]["rel_miou"] == pytest.approx(expected)
    expected = rows["warp-only"]["miou"] / rows["constant 1.0"]["miou"] - 1  # no seed of its own: the dearest
    assert rows["warp-only"]["rel_miou"] == pytest.approx(expected)


def test_changes_are_against_the_base_that_an_experiment_names(run: Run) -> None:
    methods = [
        {"label": "constant 1.0", "name": "constant", "network": "swiftnet18"},
        {"label": "warp-only", "name": "warp-only", "network": "swiftnet18"},
        {"label": "AR-Seg 0.5", "name": "ar-seg", "network": "swiftnet18", "base": "warp-only"},
    ]
    named = with_methods(run, methods)
    rows = {r.method: r.values for r in summary_of(named).sections[0]}
    for key, source in (("rel_miou", "miou"), ("rel_gmacs", "gop_mean_gmacs")):
        expected = rows["AR-Seg 0.5"][source] / rows["warp-only"][source] - 1
        assert rows["AR-Seg 0.5"][key] == pytest.approx(expected)
        expected = rows["warp-only"][source] / rows["constant 1.0"][source] - 1
        assert rows["warp-only"][key] == pytest.approx(expected)
