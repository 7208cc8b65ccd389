from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from vssbench.analysis.run import Run
from vssbench.experiment.schema import load_experiment
from vssbench.rendering.tables.columns import MIOU
from vssbench.rendering.tables.summary import column_marks, summary_of
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
