"""MACs that are lower bounds say so in record, table, warnings and gate."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

import vssbench
from vssbench.analysis.baseline import make_baseline
from vssbench.analysis.gate import compare
from vssbench.baselines.constant import ConstantResolution
from vssbench.registry import Entry, methods
from vssbench.rendering.tables.csv_text import frame_csv
from vssbench.rendering.tables.summary import summary_frame, summary_of, summary_table
from vssbench.results.costs import read_costs

VALUES = {
    "datasets": [{"name": "synthetic", "sequences": 1, "frames": 4, "size": [32, 64]}],
    "codecs": [{"codec": "h264", "bitrate_kbps": 60, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 4},
    "methods": [
        {"name": "constant", "network": "bisenet18", "width": 4},
        {"name": "numpy-tail", "label": "tail", "network": "bisenet18", "width": 4},
    ],
    "pictures": {"per_codec": 0, "frames": 0},
}


class NumpyTail(ConstantResolution):
    def step(self, state, frame):
        torch.from_numpy(frame.image.numpy() + 1)
        return super().step(state, frame)


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.setitem(methods.entries, "numpy-tail", Entry("numpy-tail", "tail_plugin:NumpyTail", "test"))
    monkeypatch.setitem(sys.modules, "tail_plugin", SimpleNamespace(NumpyTail=NumpyTail))
    return vssbench.run(VALUES, tmp_path / "run", workers=1, cache=tmp_path / "cache", device="cpu")


def test_lower_bounds_are_told_wherever_the_number_is(run):
    costs = {method: cost for (_, method), cost in read_costs(run.folder, run.basis).items()}
    (counted,) = set(costs) - {"tail"}
    assert costs["tail"].uncounted == ("Tensor.numpy",)
    assert costs[counted].uncounted == ()
    assert costs["tail"].gop_mean_gmacs == costs[counted].gop_mean_gmacs

    summary = summary_of(run)
    cells = {row.place["method"]: [cell.text for cell in row.cells] for row in summary_table(summary).rows}
    assert sum(text.startswith(">= ") for text in cells["tail"]) >= 3
    assert not any(text.startswith(">= ") for text in cells[counted])

    assert "Tensor.numpy" in frame_csv(summary_frame(run, summary))
    told = [line for line in run.warnings if "GMACs are at least" in line]
    assert len(told) == 1
    assert "tail on " in told[0]
    assert "Tensor.numpy" in told[0]


def test_the_gate_takes_no_fall_for_an_improvement_where_other_work_is_missing(run):
    baseline = make_baseline(run)
    same = [v for v in compare(run, baseline) if v.metric == "gop_mean_gmacs" and v.method == "tail"]
    assert [v.outcome for v in same] == ["pass"]
    assert "not counted: Tensor.numpy" in same[0].reason
    dearer = [
        row.model_copy(update={"uncounted": (), "gop_mean_gmacs": 2 * row.gop_mean_gmacs})
        for row in baseline.rows
    ]
    baseline = baseline.model_copy(update={"rows": tuple(dearer)})
    now = {v.method: v for v in compare(run, baseline) if v.metric == "gop_mean_gmacs"}
    assert now.pop("tail").outcome == "skipped"
    assert [v.outcome for v in now.values()] == ["improved"]
