"""docs/tutorial.md as a newcomer follows it: the file, its entry point, the conformance suite, the row in the tables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from vssbench.analysis.run import load_run
from vssbench.conformance import Subject, run_checks
from vssbench.registry import methods

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"


def _block(language: str) -> str:
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    return str(code)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the module and the metadata that `pip install` would leave."""
    (tmp_path / "patch_holes.py").write_text(_block("python"))
    (tmp_path / "tutorial.yaml").write_text(_block("yaml"))
    project = tomllib.loads(_block("toml"))["project"]
    information = tmp_path / f"patch_holes-{project['version']}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    points = project["entry-points"]["vssbench.methods"]
    lines = ["[vssbench.methods]", *(f"{name} = {target}" for name, target in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def _vssbench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder), "VSSBENCH_CACHE": str(folder / "cache")}
    return subprocess.run(
        [sys.executable, "-P", "-m", "vssbench", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_method_has_at_most_forty_lines_and_keeps_the_contract(installed, monkeypatch):
    lines = [line for line in _block("python").splitlines() if line.strip()]
    assert len(lines) <= 40
    monkeypatch.syspath_prepend(str(installed))
    methods.register("patch-holes", "patch_holes:PatchHoles", "tutorial")
    try:
        findings = run_checks(Subject("patch-holes", {"width": 8}))
    finally:
        del methods.entries["patch-holes"]
    assert [finding.problem for finding in findings if finding.problem] == []


def test_the_installed_method_is_listed_with_its_origin(installed):
    listed = _vssbench(installed, "list", "methods")
    assert listed.returncode == 0, listed.stderr
    assert re.search(r"patch-holes.*patch-holes", listed.stdout)


@pytest.mark.slow
def test_the_experiment_of_the_tutorial_ends_with_its_row(installed):
    shorter = [
        "--set",
        "dataset.sequences=1",
        "--set",
        "dataset.frames=4",
        "--set",
        "protocol.keyframe_interval=4",
    ]
    finished = _vssbench(installed, "run", "tutorial.yaml", "--workers", "1", "--no-report", *shorter)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    run = load_run(installed / "runs" / "tutorial")
    titles = [method.get("label") for method in yaml.safe_load(_block("yaml"))["methods"]]
    assert list(run.summary["method"]) == titles
    cost = {title: run.costs[("synthetic", title)] for title in titles}
    quarter = cost["patch-holes"].non_key_gmacs / cost["patch-holes"].key_gmacs
    assert quarter == pytest.approx(0.25, abs=0.01)
    assert cost["warp-only"].gop_mean_gmacs < cost["patch-holes"].gop_mean_gmacs < cost["1.0x"].gop_mean_gmacs
    assert (run.summary["miou"] > 0.3).all()
