"""The published numbers equal the paper's tables and the released result files."""

from __future__ import annotations

import csv

import pytest

from vssbench.errors import ConfigError
from vssbench.results.published import PUBLISHED, read_published

PAPER_FILES = {
    "table1": "table1_image_based.csv",
    "table2": "table2_video_based.csv",
    "table3": "table3_ablation.csv",
    "table4": "table4_codecs.csv",
    "table5": "table5_runtime_rtx3090.csv",
    "figure4": "figure4_bd.csv",
}
RENAMED = {
    "miou_pct": "miou_percent",
    "rel_miou_pct": "relative_miou_percent",
    "rel_gflops_pct": "relative_gflops_percent",
    "ms_per_frame": "latency_ms",
    "fps": "frames_per_second",
    "bd_flops_pct": "bd_flops_percent",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_row_names_its_kind_and_source(name):
    for row in read_published(name):
        assert row["kind"] == "published"
        assert str(row["source"]).startswith(("AR-Seg, CVPR 2023, ", "AR-Seg repository, commit 6a72b5d"))


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", PAPER_FILES)
def test_rows_equal_the_papers_tables(name, shared):
    with (shared / "paper" / "tables" / PAPER_FILES[name]).open(newline="") as file:
        expected = list(csv.DictReader(file))
    rows = read_published(name)
    assert len(rows) == len(expected)
    for row, printed in zip(rows, expected, strict=True):
        for column, text in printed.items():
            value = row[RENAMED.get(column, column)]
            assert value == (text if isinstance(value, str) else float(text))


def test_released_means_are_the_means_of_their_twelve_distances():
    runs: dict[tuple, dict] = {}
    for row in read_published("released_results"):
        key = tuple(row[k] for k in ("dataset", "backbone", "method", "lr_scale"))
        runs.setdefault(key, {})[row["keyframe_distance"]] = row["miou_percent"]
    assert len(runs) == 12
    for values in runs.values():
        mean = values.pop("mean")
        assert list(values) == [str(d) for d in range(12)]
        assert sum(values.values()) / 12 == pytest.approx(mean, abs=0.011)  # both rounded to 0.01


def test_an_unknown_table_is_refused_with_the_near_name():
    with pytest.raises(ConfigError, match="did you mean table1"):
        read_published("tabel1")
