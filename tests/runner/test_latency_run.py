"""`measure.latency` of a run: the runtime table of AR-Seg's Table 5 in a shrunk form."""

from __future__ import annotations

import csv
import json

import pytest

import vssbench
from vssbench.analysis.runtime import runtime_rows, runtime_text
from vssbench.rendering.figures.waterfall import waterfalls

SHRUNK = [
    "dataset=synthetic",
    "dataset.label=camvid",
    "dataset.sequences=1",
    "dataset.frames=4",
    "dataset.size=[64,96]",
    "method.weights={}",
    "method.width=4",
    "codec.preset=ultrafast",
    "codec.bitrate_kbps=60",
    "protocol.keyframe_interval=3",
    "protocol.distances=[0,2]",
    "protocol.labelled_stride=1",
    "measure.latency_rounds=5",
    "measure.latency_seconds=0",
    "pictures.per_codec=0",
]


@pytest.fixture(scope="module")
def table5(tmp_path_factory):
    return vssbench.run(
        "ar-seg/table5", tmp_path_factory.mktemp("runs") / "t5", overrides=SHRUNK, workers=1, device="cpu"
    )


def test_rows_hold_ours_and_what_macs_allow(table5):
    rows = runtime_rows(table5.folder, table5.basis)
    assert [row.method for row in rows] == ["PSP18 1.0x", "AR0.5-PSP18", "AR0.3-PSP18"]
    assert [row.published_ms for row in rows] == [
        None
    ] * 3  # streets labelled camvid: a label decides nothing
    assert rows[0].times_faster == rows[0].macs_allow == 1.0
    costs = [table5.costs["camvid", row.method].gop_mean_gmacs for row in rows]
    assert [row.macs_allow for row in rows] == pytest.approx([costs[0] / cost for cost in costs])
    for row in rows:
        assert row.gop_mean_ms <= row.worst_frame_ms * 1.5
        assert row.end_to_end_ms > 0
        assert row.device.startswith("cpu (")
        assert "MHz" in row.host or "other processes" in row.host or row.host == ""
    text = runtime_text(rows)
    assert "GeForce" not in text
    assert text.splitlines()[1].split()[:3] == ["camvid", "PSP18", "1.0x"]


def test_records_hold_raw_samples_kinds_and_waterfall(table5):
    record = json.loads((table5.path / "latency" / "camvid" / "AR0.5-PSP18.json").read_text())
    kinds = record["frame_kinds"]
    assert kinds["key"]["n"] == 5
    assert kinds["non_key"]["n"] == 10
    assert len(record["gop_mean"]["samples_ms"]) == 5
    assert set(record["waterfall"]["non_key"]) == {"decode", "motion", "copy", "network", "upsample"}
    assert record["throughput"]["batch"] == 1
    assert record["times_faster_than"]["method"] == "PSP18 1.0x"
    assert [effect["option"] for effect in record["effects"]] == ["fold_normalisation"]
    assert record["effects"][0]["equal_labels"] > 0.99
    assert abs(record["effects"][0]["miou_change"]) < 0.02


def test_reports_find_the_waterfall_and_the_csv_has_every_row(table5):
    drawn = {(one.method, one.kind) for one in waterfalls(table5)}
    assert {("AR0.5-PSP18", "key"), ("AR0.5-PSP18", "non_key"), ("PSP18 1.0x", "key")} <= drawn
    with (table5.path / "latency" / "runtime.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
