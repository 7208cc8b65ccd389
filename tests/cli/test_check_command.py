"""`check`, `baseline` and `compare` as a user calls them, on fabricated runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from vssbench.analysis.run import load_run
from vssbench.analysis.table import COLUMNS, long_table
from vssbench.cli import main
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord

UNITS = 12


@pytest.fixture(scope="session")
def make_run(fabricated):
    def make(
        path: Path, *, wrong: int = 10, step_ms: float = 10.0, kbps: int = 300, **limits: object
    ) -> Path:
        experiment = {
            "datasets": [{"name": "synthetic"}],
            "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": kbps}],
            "protocol": {"kind": "stream", "keyframe_interval": 2},
            "methods": [{"name": "constant", "label": "m"}],
            "limits": limits,
        }
        generator = np.random.default_rng(3)
        units = [
            unit(number, wrong, step_ms / 1000 * float(generator.normal(1, 0.02))) for number in range(UNITS)
        ]
        fabricated(path, experiment, units)
        return path

    return make


def unit(number: int, wrong: int, seconds: float) -> UnitRecord:
    return UnitRecord(
        UnitKey("synthetic", "hevc", "m", "street", f"phase-00-gop-{number:06d}"),
        tuple(
            CaseRecord(2 * number + d, d, "IP"[d], 2 * number, 2, 100, ("key", "non_key")[d]) for d in (0, 1)
        ),
        np.array([[[50, wrong], [5, 35]], [[40, 20], [10, 30]]], dtype=np.int64),
        {"key": 1, "non_key": 1},
        1.0,
        300.0,
        f"d{number}",
        {"step_key": seconds, "step_non_key": seconds, "steps_key": 1, "steps_non_key": 1},
    )


@pytest.fixture
def call(monkeypatch, tmp_path):
    """Run the command in an empty folder and return its exit code."""
    monkeypatch.chdir(tmp_path)

    def called(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["vssbench", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    return called


def test_the_gate_passes_and_fails_with_the_codes_of_the_help(make_run, call, tmp_path, capsys):
    make_run(tmp_path / "base")
    assert call("baseline", "update", "base", "-o", "b.json") == 0
    assert call("check", "base", "--baseline", "b.json") == 0
    make_run(tmp_path / "worse", wrong=11)
    assert call("check", "worse", "--baseline", "b.json", "--markdown", "s.md", "--junit", "s.xml") == 1
    assert "lower by" in (tmp_path / "s.md").read_text()
    assert ElementTree.parse(tmp_path / "s.xml").getroot().get("failures") == "2"  # miou and miou_0
    make_run(tmp_path / "unlike", kbps=500)
    summaries = ("--markdown", "s.md", "--junit", "s.xml")
    assert call("check", "unlike", "--baseline", "b.json", *summaries) == 2
    assert "NOT COMPARABLE: codecs.hevc.bitrate_kbps (300 there, 500 here)" in capsys.readouterr().out
    assert "NOT COMPARABLE" in (tmp_path / "s.md").read_text()
    assert ElementTree.parse(tmp_path / "s.xml").getroot().get("errors") == "1"
    (tmp_path / "b.json").write_text("{")
    assert call("check", "base", "--baseline", "b.json", *summaries) == 3
    assert "b.json: not readable as JSON" in capsys.readouterr().err
    assert "not readable as JSON" in (tmp_path / "s.md").read_text()
    (error,) = ElementTree.parse(tmp_path / "s.xml").getroot().iter("error")
    assert "not readable as JSON" in error.get("message", "")


def test_limits_of_single_metrics_come_from_the_experiment_and_the_command_line(
    make_run, call, tmp_path, capsys
):
    make_run(tmp_path / "base")
    make_run(tmp_path / "worse", wrong=11)
    loose = ("--limit", "miou_0=0.02", "--limit", "miou=0.02")
    assert call("check", "worse", "--baseline", "base", *loose) == 0
    make_run(tmp_path / "tolerant", wrong=11, metrics={"miou_0": 0.02, "miou": 0.02})
    assert call("check", "tolerant", "--baseline", "base") == 0
    capsys.readouterr()
    assert call("check", "worse", "--baseline", "base", "--limit", "miou=much") == 2
    assert "--limit 'miou=much': expected METRIC=VALUE" in capsys.readouterr().err
    assert call("check", "worse", "--baseline", "base", "--limit", "miuo=0.1") == 2
    assert "did you mean miou" in capsys.readouterr().err


def test_paired_times_fail_beyond_noise(make_run, call, tmp_path):
    make_run(tmp_path / "base")
    make_run(tmp_path / "slow", step_ms=13.0)
    make_run(tmp_path / "alike", step_ms=10.2)
    assert call("check", "alike", "--baseline", "base", "--paired") == 0
    assert call("check", "slow", "--baseline", "base", "--paired") == 1


def test_step_times_travel_through_the_json_of_pytest_benchmark(make_run, call, tmp_path, capsys):
    make_run(tmp_path / "base")
    make_run(tmp_path / "slow", step_ms=13.0)
    assert call("baseline", "benchmark", "base", "-o", "base.json") == 0
    assert call("baseline", "benchmark", "slow", "-o", "slow.json") == 0
    names = [b["fullname"] for b in json.loads((tmp_path / "base.json").read_text())["benchmarks"]]
    assert names == [f"vssbench::synthetic::hevc::m::{kind}" for kind in ("key", "non_key")]
    assert call("check", "base.json", "--baseline", "base.json", "--paired") == 0
    assert call("check", "slow.json", "--baseline", "base.json", "--paired") == 1
    assert call("check", "slow", "--baseline", "base.json") == 1
    assert call("check", "base.json", "--baseline", "base") == 0
    capsys.readouterr()
    (tmp_path / "no.json").write_text('{"benchmarks": 3, "machine_info": {}}')
    assert call("check", "no.json", "--baseline", "base") == 3
    assert "no.json: not pytest-benchmark's JSON" in capsys.readouterr().err


def test_runs_become_one_long_table(make_run, call, tmp_path, capsys):
    make_run(tmp_path / "base")
    make_run(tmp_path / "head", wrong=11)
    assert call("compare", "base", "head", "--csv", "t.csv", "--markdown", "c.md") == 0
    table = pd.read_csv(
        tmp_path / "t.csv", keep_default_na=False, na_values={"value": "", "low": "", "high": ""}
    )
    assert tuple(table.columns) == COLUMNS
    assert sorted(set(table["run"])) == ["base", "head"]
    assert "## head against base" in (tmp_path / "c.md").read_text()
    assert call("compare", "base", "--csv", "one.csv") == 0
    capsys.readouterr()
    assert call("compare", "base") == 2
    assert "two runs or more" in capsys.readouterr().err
    make_run(tmp_path / "other" / "base")
    assert call("compare", "base", "other/base", "--csv", "t.csv") == 2
    assert "runs named base could not be told apart" in capsys.readouterr().err


def test_every_column_of_the_long_table_has_one_type(make_run, tmp_path):
    table = long_table([load_run(make_run(tmp_path / "base"))])
    assert table["d"].dtype == np.int64
    assert {str(table[name].dtype) for name in ("value", "low", "high")} == {"float64"}
    for name in ("run", "dataset", "codec", "method", "class", "metric"):
        assert {type(value) for value in table[name]} == {str}
