from __future__ import annotations

import math
from pathlib import Path

import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.rendering.tables.derived import derived_rows
from vssbench.rendering.tables.summary import summary_of
from vssbench.results.costs import cost_path


def test_difference_and_inside_follow_from_ours_and_theirs(
    fabricate, as_in_the_paper, tmp_path: Path
) -> None:
    made = as_in_the_paper(fabricate(tmp_path / "run", sequences=4, units=3, distances=3, pictures=False))
    rows = {(r.codec, r.method): r for r in summary_of(made).rows}
    row = rows["hevc-700k", "AR-Seg 0.5"]
    assert row.values["pub_miou"] == 70.48
    assert row.values["pub_miou_difference"] == pytest.approx(100 * row.values["miou"] - 70.48)
    assert row.values["pub_inside"] == float(row.low <= 0.7048 <= row.high)
    assert {codec for codec, _ in rows} == {"hevc-700k"}  # the paper's experiment knows no other
    full = rows["hevc-700k", "constant 1.0"]
    assert row.values["rel_miou"] == pytest.approx(row.values["miou"] / full.values["miou"] - 1)
    assert row.values["rel_gmacs"] == pytest.approx(row.values["gop_mean_gmacs"] / 52.4 - 1)
    assert math.isnan(full.values["rel_miou"])


def test_time_per_frame_weighs_key_and_other_steps_as_in_a_group_of_pictures(run: Run) -> None:
    (row,) = [r for r in summary_of(run).rows if (r.codec, r.method) == ("hevc-700k", "AR-Seg 0.5")]
    key, other = row.values["key_ms"], row.values["non_key_ms"]
    assert row.values["gop_ms"] == pytest.approx((key + 11 * other) / 12)
    assert row.values["fps"] == pytest.approx(1000 / row.values["gop_ms"])


def test_the_second_macs_rule_is_shown_where_the_run_counted_it(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=2, distances=2, pictures=False)
    assert "gop_mean_thop_gmacs" not in {c.key for c in summary_of(made).columns}
    cost = made.costs["streets", "warp-only"].model_copy(update={"gop_mean_thop_gmacs": 7.5})
    made.folder.write_record(cost_path("streets", "warp-only"), cost, made.basis.of_dataset("streets")[-1])
    table = summary_of(load_run(made.path))
    assert [r.values["gop_mean_thop_gmacs"] for r in table.rows if r.method == "warp-only"] == [7.5, 7.5]
    assert derived_rows(made, [], ()) == []
