"""Every command in README and docs runs. Long ones run on less data; what is appended stands in `SMALLER`.

Commands run as the console script does, but in this process, which has torch loaded already; those in `OWN_PROCESS` run
as a user starts them. All share one bitstream cache, and the runs that `compare` and `check` read are copies of one.
The first command of the README is run in full length by test_quickstart.py.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vssbench.cli import main

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
    "render.py",
    "segformer_b0",
    "vssbench export",
)
"""Installation (continuous integration starts with the README's own), and what other tests run by itself."""

ONE_SEQUENCE = [f"--set=dataset.{value}" for value in ("sequences=1", "frames=26", "size=[96,128]")]
IN_ONE_PROCESS = [*ONE_SEQUENCE, "--workers", "1", "--no-report"]
SMALLER = {
    "run quickstart --cluster": [*ONE_SEQUENCE, "--no-report"],
    "run quickstart": IN_ONE_PROCESS,
    "run ar-seg": ["--help"],
    "run camvid480": ["--help"],
    "run table2": ["--help"],
    # these begin from what another training or the reader has to make
    "train camvid-alphas ": ["--help"],
    "train streets-bise18 ": ["--help"],
    "train table2": ["--help"],
    "train ar-seg": ["--help"],
    "train": ["--dry-run"],
}
"""First words -> what is appended; the first entry that fits counts."""

OWN_PROCESS = ("vssbench doctor", "vssbench run quickstart --cluster")
"""Beginnings of commands that look at the process itself, or leave threads behind in it."""


def _commands(page: Path) -> list[str]:
    text = page.read_text()
    found = []
    for block in re.findall(r"```console\n(.*?)```", text, flags=re.DOTALL):
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.strip().removeprefix("$ ").split("  #")[0].strip() for line in lines if line.strip()]
    found += re.findall(r"^\|[^|]+\| `(vssbench [^`]+)`", text, flags=re.MULTILINE)
    return list(dict.fromkeys(found))


def _cases() -> list[tuple[str, str]]:
    """Every command with the first page that shows it."""
    first: dict[str, str] = {}
    for page in PAGES:
        for command in _commands(page):
            first.setdefault(command, page.name)
    return [(page, command) for command, page in first.items()]


CASES = _cases()


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
    shutil.copy(ROOT / "reports/experiments/quickstart/train.yaml", folder / "my.yaml")
    return folder


def _run(command: list[str], workplace: Path) -> tuple[int, str]:
    """Exit code and output of `vssbench COMMAND` in the workplace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        patch.setenv("VSSBENCH_CACHE", str(workplace / "cache"))
        patch.setattr(sys, "argv", ["vssbench", *command])
        with io.StringIO() as output, redirect_stdout(output), redirect_stderr(output):
            try:
                main()
            except SystemExit as end:
                return end.code if isinstance(end.code, int) else int(end.code is not None), output.getvalue()
    raise AssertionError("the command came back without an exit code")


def _run_in_own_process(command: list[str], workplace: Path) -> tuple[int, str]:
    environment = {**os.environ, "VSSBENCH_CACHE": str(workplace / "cache"), "PYTHONSAFEPATH": "1"}
    finished = subprocess.run(
        [sys.executable, "-m", "vssbench", *command],
        cwd=workplace,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout


def _make(words: list[str], workplace: Path) -> None:
    """Run what a documented command needs before it."""
    code, output = _run(words, workplace)
    assert code == 0, output


def _adapted(command: str, workplace: Path) -> list[str]:
    """The command's words with placeholders made real and long work made short."""
    words = shlex.split(command)[1:]
    if "FILE" in words:
        clip = workplace / "made.hevc"
        if not clip.exists():
            _make(["encode", "FRAMES", "-o", "made.hevc", "--bitrate-kbps", "300"], workplace)
        words = ["made.hevc" if word == "FILE" else word for word in words]
    if "--dry-run" in words:
        return words
    more = next((more for prefix, more in SMALLER.items() if " ".join(words).startswith(prefix)), [])
    return words + more


def _ensure_inputs(words: list[str], workplace: Path) -> None:
    """Make the run folders and baselines that a command reads, if an earlier command did not.

    `runs/base` and `runs/head` are the same experiment as `runs/quickstart`, so both are copies; `run -o` goes on there.
    """
    for word in words:
        if word in ("runs/base", "runs/head") and not (workplace / word).exists():
            _ensure_inputs(["report", "runs/quickstart"], workplace)
            shutil.copytree(workplace / "runs/quickstart", workplace / word)
        elif word.startswith("runs/") and words[0] != "run" and not (workplace / word).exists():
            _make(["run", "quickstart", "-o", word, *IN_ONE_PROCESS], workplace)
    if words[:3] == ["run", "quickstart", "--cluster"] and "-o" not in words:
        _ensure_inputs(
            ["report", "runs/quickstart"], workplace
        )  # nothing is left to do but to open the cluster
    if words[0] != "check":
        return
    for word in words:
        if word.endswith("-times.json") and not (workplace / word).exists():
            folder = f"runs/{word.removesuffix('-times.json')}"
            _ensure_inputs(["check", folder], workplace)
            _make(["baseline", "benchmark", folder, "-o", word], workplace)
        if word == "baseline.json" and not (workplace / word).exists():
            _make(["baseline", "update", "runs/head", "-o", word], workplace)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "command"), CASES, ids=[f"{page}: {command}" for page, command in CASES])
def test_a_documented_command_runs(page, command, workplace):
    if any(marker in command for marker in TESTED_ELSEWHERE) or command == "vssbench run quickstart":
        return
    if not command.startswith("vssbench "):
        pytest.fail(f"{page}: {command!r} is not a vssbench command; say how to test it")
    words = _adapted(command, workplace)
    _ensure_inputs(words, workplace)
    code, output = (_run_in_own_process if command.startswith(OWN_PROCESS) else _run)(words, workplace)
    assert code == 0, f"{page}: {command}\n{output}"


def test_every_page_that_the_readme_links_exists():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_the_page_of_methods_lists_every_check_of_the_suites():
    from vssbench.conformance.dataset import CHECKS as DATASET
    from vssbench.conformance.method import CHECKS as METHOD
    from vssbench.conformance.network import CHECKS as NETWORK

    wanted = [
        f"| {kind} | {check.name} | {check.contract} |"
        for kind, checks in (("method", METHOD), ("network", NETWORK), ("dataset", DATASET))
        for check in checks.values()
    ]
    lines = (ROOT / "docs/method.md").read_text().splitlines()
    first = lines.index("| of a | check | sentence of the contract |") + 2
    assert lines[first : first + len(wanted)] == wanted
    assert len(lines) == first + len(wanted)


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
    from vssbench.experiment.schema import load_experiment
    from vssbench.experiment.yaml import parse_yaml

    for block in re.findall(r"```yaml\n((?:dataset|title).*?)```", page.read_text(), flags=re.DOTALL):
        load_experiment(parse_yaml(block, page.name, None))
