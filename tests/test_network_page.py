"""docs/network.md as a newcomer follows it: a module of somebody else in three methods, a class of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "network.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The page's files, and the metadata that `pip install` of the class would leave."""
    for code in _blocks("python"):
        (tmp_path / str(re.match(r'"""(\w+\.py)"""', code)[1])).write_text(code)
    (tmp_path / "three.yaml").write_text(_blocks("yaml")[0])
    information = tmp_path / "my_networks-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-networks\nVersion: 1.0\n")
    name, target = re.search(r'^(\w+) = "(.*)"$', _blocks("toml")[0], flags=re.MULTILINE).groups()
    (information / "entry_points.txt").write_text(f"[vssbench.networks]\n{name} = {target}\n")
    return tmp_path


def _vssbench(folder: Path, *words: str) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "VSSBENCH_CACHE": str(folder / "cache"),
        "COLUMNS": "200",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "vssbench", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_class_of_ones_own_is_listed_and_passes_the_suite(folder):
    row = next(
        line for line in _vssbench(folder, "list", "networks").splitlines() if line.startswith("small")
    )
    assert "three convolutions, for tests of my pipeline" in row
    assert row.split()[-1] == "my-networks"
    # 27 * 64 * 256 * 512 + 576 * 64 * (128 * 256 + 64 * 128) + 64 * 19 * 64 * 128 = 1.747e9
    assert re.search(r" 0\.08 +1\.75 ", row)
    assert "9 of 9 checks passed" in _vssbench(folder, "conformance", "--network", "small")


def test_the_modules_of_somebody_else_pass_the_suite(folder):
    pytest.importorskip("transformers")
    (command,) = re.findall(r"^PYTHONPATH=. vssbench (.*)$", PAGE.read_text(), flags=re.MULTILINE)
    assert "9 of 9 checks passed" in _vssbench(folder, *command.split())


@pytest.mark.slow
def test_the_experiment_of_the_page_ends_with_three_rows(folder):
    pytest.importorskip("transformers")
    told = _vssbench(folder, "run", "three.yaml", "-o", "out", "--workers", "1", "--no-report")
    for title in ("constant", "warp-only", "ar-seg"):
        assert re.search(rf"{title} \(untrained\) +\d+\.\d\d", told), told
