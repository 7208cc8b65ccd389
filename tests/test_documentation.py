"""Every command in README and docs runs. Long ones run on less data; what is appended stands in `SMALLER`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

TESTED_ELSEWHERE = (
    "python3 -m venv",
    "pip install",
    "git clone",
    "tox",
    "torchrun",
    "clang++",
    "pytest",
    "move-scores",
    "patch-holes",
    "tutorial.yaml",
)
"""Installation (continuous integration starts with the README's own), and what other tests run by itself."""

ONE_SEQUENCE = ["--set", "dataset.sequences=1", "--set", "dataset.frames=14"]
SMALLER = {
    "run quickstart": ONE_SEQUENCE,
    "run ar-seg": ["--help"],
    "run camvid480": ["--help"],
    "train": ["--help"],
    "baseline update": [],
}


def _commands(page: Path) -> list[str]:
    text = page.read_text()
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.strip().removeprefix("$ ").split("  #")[0].strip() for line in lines if line.strip()]
    found += re.findall(r"^\|[^|]+\| `(vssbench [^`]+)`", text, flags=re.MULTILINE)
    return list(dict.fromkeys(found))


CASES = [(page.name, command) for page in PAGES for command in _commands(page)]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """A folder in which the placeholders of the documentation exist."""
    folder = tmp_path_factory.mktemp("workplace")
    generator = np.random.default_rng(0)
    texture = generator.integers(0, 255, (48, 80, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
    (folder / "FRAMES").mkdir()
    for index in range(6):
        Image.fromarray(np.roll(texture, 3 * index, axis=1)).save(folder / "FRAMES" / f"{index:06d}.png")
    for split in ("train", "val_sequence"):
        for kind in ("frames", "labels"):
            (folder / "DIR" / split / kind).mkdir(parents=True)
        for index in range(4):
            name = f"0016E5_{7959 + 2 * index:05d}.png"
            image = Image.fromarray(np.roll(texture, index, axis=0))
            image.save(folder / "DIR" / split / "frames" / name)
            label = Image.fromarray(generator.integers(0, 12, (96, 160), dtype=np.uint8))
            label.save(folder / "DIR" / split / "labels" / name)
    shutil.copytree(folder / "DIR", folder / "camvid")
    return folder


def _run(command: list[str], workplace: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "VSSBENCH_CACHE": str(workplace / "cache"), "PYTHONSAFEPATH": "1"}
    return subprocess.run(
        [sys.executable, "-m", "vssbench", *command],
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _adapted(command: str, workplace: Path) -> list[str]:
    """The command's words with placeholders made real and long work made short."""
    words = shlex.split(command)[1:]
    if "FILE" in words:
        clip = workplace / "made.hevc"
        if not clip.exists():
            made = _run(["encode", "FRAMES", "-o", "made.hevc", "--bitrate-kbps", "300"], workplace)
            assert made.returncode == 0, made.stderr
        words = ["made.hevc" if word == "FILE" else word for word in words]
    for prefix, more in SMALLER.items():
        if " ".join(words).startswith(prefix) and "--dry-run" not in words:
            words += more
    return words


def _ensure_inputs(words: list[str], workplace: Path) -> None:
    """Make the run folders and baseline that a command reads, if an earlier command did not."""
    for word in words:
        if word.startswith("runs/") and words[0] not in ("run",) and not (workplace / word).exists():
            made = _run(["run", "quickstart", "-o", word, "--no-report", *ONE_SEQUENCE], workplace)
            assert made.returncode == 0, made.stderr
    for word in words:
        if word.endswith("-times.json") and words[0] == "check" and not (workplace / word).exists():
            folder = f"runs/{word.removesuffix('-times.json')}"
            _ensure_inputs(["check", folder], workplace)
            made = _run(["baseline", "benchmark", folder, "-o", word], workplace)
            assert made.returncode == 0, made.stderr
    if "baseline.json" in words and words[0] == "check" and not (workplace / "baseline.json").exists():
        _ensure_inputs(["check", "runs/head"], workplace)
        made = _run(["baseline", "update", "runs/head", "-o", "baseline.json"], workplace)
        assert made.returncode == 0, made.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), CASES, ids=[f"{page}: {command}" for page, command in CASES])
def test_a_documented_command_runs(page, command, workplace):
    if any(marker in command for marker in TESTED_ELSEWHERE):
        return
    if not command.startswith("vssbench "):
        pytest.fail(f"{page}: {command!r} is not a vssbench command; say how to test it")
    words = _adapted(command, workplace)
    _ensure_inputs(words, workplace)
    finished = _run(words, workplace)
    assert finished.returncode == 0, f"{page}: {command}\n{finished.stdout}\n{finished.stderr}"


def test_every_page_that_the_readme_links_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_method_tutorial_is_a_conforming_method_in_at_most_forty_lines(tmp_path, monkeypatch):
    from vssbench.conformance import Subject, run_checks
    from vssbench.registry import methods

    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/method.md").read_text(), flags=re.DOTALL)
    assert sum(bool(line.strip()) for line in code.splitlines()) <= 40
    (tmp_path / "my_methods.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    methods.register("move-scores", "my_methods:MoveScores", "tutorial")
    try:
        findings = run_checks(Subject("move-scores", {"width": 8}))
    finally:
        del methods.entries["move-scores"]
    assert [f for f in findings if f.problem] == []


@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page.name != "tutorial.md"  # its method exists in its own test only
        and ("```yaml\ndataset" in page.read_text() or "```yaml\ntitle" in page.read_text())
    ],
)
def test_documented_experiments_are_valid(page):
    import yaml

    from vssbench.config import load_experiment

    for block in re.findall(r"```yaml\n((?:dataset|title).*?)```", page.read_text(), flags=re.DOTALL):
        load_experiment(yaml.safe_load(block))
