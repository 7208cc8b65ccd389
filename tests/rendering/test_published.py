from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.rendering.paper.identity import codec_label, paper_identity
from vssbench.rendering.tables.derived import derived_rows
from vssbench.rendering.tables.published import published_counterpart
from vssbench.rendering.tables.summary import summary_table
from vssbench.results.store import RunFolder, slug

CAMVID = {"name": "camvid", "protocol": "paper"}
CODEC = {
    "label": "3M",
    "codec": "hevc",
    "bitrate_kbps": 3000,
    "preset": "medium",
    "extra": {"rect": "1", "amp": "1"},
}
METHODS: list[dict[str, Any]] = [
    {"label": "full", "name": "constant", "network": "pspnet18-camvid", "lr_scale": 1.0},
    {"label": "half", "name": "ar-seg", "network": "pspnet18-camvid", "lr_scale": 0.5},
]


def described(**changes: Any) -> Run:
    """A run that consists of its experiment only."""
    experiment = {
        "datasets": [CAMVID], "codecs": [CODEC], "methods": METHODS,
        "protocol": {"kind": "clip", "distances": "all", "keyframe_interval": 12},
    }  # fmt: skip
    return Run(RunFolder(Path("nowhere")), copy.deepcopy({**experiment, **changes}), {}, {}, {})


def test_a_row_stands_beside_the_row_of_table_1_that_its_options_describe() -> None:
    found = published_counterpart(described(), "camvid", "3M", "half")
    assert found is not None
    assert (found.miou_percent, found.gflops) == (70.48, 101.98)
    assert found.source.endswith("table 1, row 4")


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("methods", {"width": 12}),
        ("methods", {"mode": "corrected"}),
        ("methods", {"something_new": 3}),
        ("methods", {"lr_scale": 0.45}),
        ("codecs", {"bitrate_kbps": 2999}),
        ("codecs", {"codec": "h264"}),
        ("datasets", {"protocol": "standard"}),
        ("protocol", {"keyframe_interval": 13}),
        ("protocol", {"kind": "stream"}),
    ],
)
def test_what_the_paper_did_not_measure_has_no_counterpart(kind: str, change: dict[str, Any]) -> None:
    base: Any = {"methods": METHODS, "codecs": [CODEC], "datasets": [CAMVID]}.get(kind)
    changed = (
        [{**one, **change} for one in base] if base else {"kind": "clip", "keyframe_interval": 12, **change}
    )
    assert published_counterpart(described(**{kind: changed}), "camvid", "3M", "half") is None


def test_table_3_is_told_by_variant_and_interval() -> None:
    methods = [{**METHODS[1], "label": "v", "variant": "window-3"}]
    found = published_counterpart(described(methods=methods), "camvid", "3M", "v")
    assert found is not None
    assert found.miou_percent == 70.30
    protocol = {"kind": "clip", "distances": "all", "keyframe_interval": 30}
    found = published_counterpart(described(protocol=protocol), "camvid", "3M", "half")
    assert found is not None
    assert (found.miou_percent, found.gflops) == (69.67, 90.34)


def test_codec_settings_carry_the_papers_names() -> None:
    assert codec_label(CODEC, "camvid") == "HEVC@3Mbps"
    assert codec_label({**CODEC, "bitrate_kbps": 5000}, "cityscapes") == "HEVC@5Mbps"
    assert codec_label({**CODEC, "bitrate_kbps": 5000}, "camvid") is None
    assert codec_label({**CODEC, "extra": {}}, "camvid") == "x265-medium@3Mbps"
    assert codec_label({**CODEC, "b_frames": 2}, "camvid") is None


def test_every_row_of_the_packaged_experiments_is_known_to_the_paper() -> None:
    from importlib.resources import files

    import yaml

    for name in ("table1", "table4", "table5"):
        text = (files("vssbench.reports.ar_seg") / f"{name}.yaml").read_text(encoding="utf-8")
        made = described(**yaml.safe_load(text))
        for method in made.experiment["methods"]:
            for codec in made.experiment["codecs"]:
                if codec["datasets"] == method["datasets"]:
                    place = (method["datasets"][0], codec["label"], method["label"])
                    assert paper_identity(made, *place) is not None, place


def test_difference_and_inside_follow_from_ours_and_theirs(
    fabricate, as_in_the_paper, tmp_path: Path
) -> None:
    made = as_in_the_paper(fabricate(tmp_path / "run", sequences=3, units=3, distances=3, pictures=False))
    rows = {(r.codec, r.method): r for r in summary_table(made).rows}
    row = rows["hevc-700k", "AR-Seg 0.5"]
    assert row.values["pub_miou"] == 70.48
    assert row.values["pub_miou_difference"] == pytest.approx(100 * row.values["miou"] - 70.48)
    assert row.values["pub_inside"] == float(row.low <= 0.7048 <= row.high)
    assert math.isnan(rows["h264-700k", "AR-Seg 0.5"].values["pub_miou"])
    full = rows["hevc-700k", "constant 1.0"]
    assert row.values["rel_miou"] == pytest.approx(row.values["miou"] / full.values["miou"] - 1)
    assert row.values["rel_gmacs"] == pytest.approx(row.values["gop_mean_gmacs"] / 52.4 - 1)
    assert math.isnan(full.values["rel_miou"])


def test_time_per_frame_weighs_key_and_other_steps_as_in_a_group_of_pictures(run: Run) -> None:
    (row,) = [r for r in summary_table(run).rows if (r.codec, r.method) == ("hevc-700k", "AR-Seg 0.5")]
    key, other = row.values["key_ms"], row.values["non_key_ms"]
    assert row.values["gop_ms"] == pytest.approx((key + 11 * other) / 12)
    assert row.values["fps"] == pytest.approx(1000 / row.values["gop_ms"])


def test_the_second_macs_rule_is_shown_where_the_run_counted_it(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=2, distances=2, pictures=False)
    assert "gop_mean_thop_gmacs" not in {c.key for c in summary_table(made).columns}
    path = f"costs/streets/{slug('warp-only')}.json"
    folder = RunFolder(made.path)
    folder.write_json(path, {**folder.read_json(path), "gop_mean_thop_gmacs": 7.5})
    table = summary_table(load_run(made.path))
    assert [r.values["gop_mean_thop_gmacs"] for r in table.rows if r.method == "warp-only"] == [7.5, 7.5]
    assert derived_rows(made, [], ()) == []
