"""A dry run builds what the run builds before its first unit, so both refuse the same; untrained methods are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import vssbench
from vssbench.cli import app
from vssbench.errors import CapabilityError, CheckpointError, ConfigError, InputError, VssbenchError
from vssbench.networks import create
from vssbench.networks.weights import WeightsMetadata, save_weights
from vssbench.rendering.report import write_report

STREETS = {"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]}
CODEC = {"label": "c", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}


def experiment(**changes: Any) -> dict[str, Any]:
    return {
        "title": "small",
        "datasets": [STREETS],
        "codecs": [CODEC],
        "protocol": {"kind": "stream", "keyframe_interval": 2},
        "methods": [{"label": "m", "name": "constant", "width": 4}],
        **changes,
    }


def method(name: str = "constant", **options: Any) -> list[dict[str, Any]]:
    return [{"label": "m", "name": name, "width": 4, **options}]


def folder(label_value: int | None = 0, size: tuple[int, int] = (96, 64)) -> dict[str, Any]:
    """A data set of two frames; its label holds one value, is of another size, or is no picture."""
    for i in range(2):
        for kind in ("frames", "labels"):
            Path("data", kind).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (96, 64), (i, 90, 90)).save(f"data/frames/{i}.png")
        if label_value is None:
            Path(f"data/labels/{i}.png").write_bytes(b"no picture")
        else:
            Image.new("L", size, label_value).save(f"data/labels/{i}.png")
    Path("data/classes.csv").write_text("name,red,green,blue\nroad,1,2,3\ncar,4,5,6\n")
    return {"name": "folder", "root": "data", "label_format": "index"}


def foreign(**said: Any) -> dict[str, str]:
    network = create("bisenet18", 11, width=4)
    return {
        "network": str(save_weights(network, "w.safetensors", WeightsMetadata.describing(network, **said)))
    }


CASES: dict[str, tuple[Any, type[VssbenchError], str]] = {
    "missing weights": (
        lambda: {"methods": method(weights={"network": "gone.safetensors"})}, CheckpointError, "no such weight file",
    ),
    "weights of another width": (
        lambda: {"methods": method(network="swiftnet18", weights={"network": "quickstart/hr"})},
        CheckpointError, "width 13, but this method was built with width 4",
    ),
    "an unknown name": (
        lambda: {"methods": method(weights={"network": "quickstart/hd"})}, CheckpointError, "did you mean",
    ),
    "a part that is not there": (
        lambda: {"methods": method(weights={"hr": "quickstart/hr"})}, CheckpointError, r"the parts \['hr'\]",
    ),
    "other classes": (
        lambda: {"methods": method(weights=foreign(class_names=tuple("abcdefghijk")))},
        CheckpointError, "trained for other classes: class 0 is 'a' there",
    ),
    "the paper's rule with B pictures": (
        lambda: {
            "methods": method("warp-only", flow_rule="paper"),
            "codecs": [{"label": "c", "codec": "hevc", "qp": 30, "preset": "ultrafast", "b_frames": 2}],
            "protocol": {"kind": "stream", "keyframe_interval": 4},
        },
        CapabilityError, "method m follows motion by the rule 'paper'.*set b_frames=0",
    ),
    "frames too small for the window": (
        lambda: {"methods": method("ar-seg", window=31)}, ConfigError, "window 31 is larger than",
    ),
    "a label outside the classes": (lambda: {"datasets": [folder(7)]}, InputError, "7"),
    "a label that is no picture": (lambda: {"datasets": [folder(None)]}, InputError, r"labels/0\.png"),
    "a label of another size": (lambda: {"datasets": [folder(0, (48, 32))]}, InputError, "32"),
}  # fmt: skip


def refused(words: list[str]) -> VssbenchError:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, VssbenchError), result.output
    return result.exception


@pytest.mark.parametrize("title", CASES)
def test_a_dry_run_refuses_what_the_run_refuses(title, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VSSBENCH_CACHE", str(tmp_path / "cache"))
    changes, kind, words = CASES[title]
    Path("x.yaml").write_text(json.dumps(experiment(**changes())))
    command = ["run", "x.yaml", "-o", "run", "--device", "cpu"]
    dry = refused([*command, "--dry-run"])
    assert not Path("run").exists()
    real = refused([*command, "--workers", "1"])
    assert not Path("run/units").exists()
    assert (type(dry), dry.exit_code) == (type(real), real.exit_code)
    with pytest.raises(kind, match=words):
        raise dry


def test_untrained_methods_are_named_in_every_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    half = {"label": "half", "name": "ar-seg", "width": 4, "lr_scale": 0.5, "window": 3}
    network = create("bisenet18", 11, width=4)
    hr = str(save_weights(network, "hr.safetensors", WeightsMetadata.describing(network)))
    methods = [
        {"label": "bare", "name": "constant", "width": 4},
        {"label": "whole", "name": "constant", "width": 4, "weights": {"network": hr}},
        {**half, "weights": {"hr": hr}},
    ]
    Path("x.yaml").write_text(json.dumps(experiment(methods=methods)))
    dry = CliRunner().invoke(app, ["run", "x.yaml", "--dry-run", "--device", "cpu"])
    assert "warning: bare is untrained: no weights for network" in dry.output
    words = ["run", "x.yaml", "-o", "run", "--workers", "1", "--device", "cpu", "--cache", "cache"]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert "bare (untrained)" in result.output
    assert "half (untrained: lr)" in result.output
    run = vssbench.load_run("run")
    assert {m.title: m.untrained for m in run.roster.methods} == {
        "bare": ("network",),
        "whole": (),
        "half": ("lr",),
    }
    assert dict(zip(run.summary["method"], run.summary["untrained"], strict=True)) == {
        "bare": "untrained", "whole": "", "half": "untrained: lr",
    }  # fmt: skip
    assert [w for w in run.warnings if "untrained" in w] == [
        "bare is untrained: no weights for network, which stays as initialised",
        "half is untrained: no weights for lr, which stays as initialised",
    ]
    write_report(run, Path("report"))
    said = {
        path.name: path.read_text()
        for path in Path("report").rglob("*")
        if path.suffix in {".html", ".md", ".csv", ".tex"}
    }
    assert {"index.html", "report.md", "summary.csv"} <= said.keys()
    for name in ("index.html", "report.md"):
        assert "bare (untrained)" in said[name].replace("\\", ""), name
        assert "half (untrained: lr)" in said[name].replace("\\", ""), name
    assert "untrained: lr" in said["summary.csv"]
    assert any("bare (untrained)" in text for name, text in said.items() if name.endswith(".tex"))
