"""`vssbench train` from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.cli.train import ConsoleReporter
from vssbench.errors import CheckpointError, ConfigError


def test_the_command_trains_and_prints_the_table(write_experiment: Any, tmp_path: Path) -> None:
    arguments = ["train", write_experiment(), "-o", str(tmp_path / "out"), "--threads", "1"]
    result = CliRunner().invoke(app, [*arguments, "--set", "contestants.a.stages.image.steps=2"])
    assert result.exit_code == 0, result.output
    assert "a/image step 2: mIoU" in result.output
    assert "mIoU % on coded validation clips" in " ".join(result.output.split())
    assert (tmp_path / "out/curves.svg").exists()
    assert (tmp_path / "out/summary.json").exists()


def test_a_dry_run_refuses_weights_that_are_missing_and_lists_them(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "240")
    (tmp_path / "start-1.safetensors").touch()
    start = f"{tmp_path}/start-{{seed}}.safetensors"
    path = write_experiment(seeds=[1, 2])
    setting = f"contestants.a.stages.image.initialise_from.network={start}"
    arguments = ["train", path, "-o", str(tmp_path / "out"), "--dry-run", "--set", setting]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, CheckpointError)
    assert "start-1.safetensors: is not a readable safetensors file" in str(result.exception)
    assert "start-2.safetensors; train it first" in result.output
    assert "start-1.safetensors" not in result.output
    assert not (tmp_path / "out").exists()


def test_an_unknown_name_suggests_the_near_one() -> None:
    result = CliRunner().invoke(app, ["train", "quickstrat"])
    assert isinstance(result.exception, ConfigError)
    assert "did you mean quickstart" in str(result.exception)


def test_progress_without_a_terminal_is_a_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    with ConsoleReporter(Console(width=100)) as reporter:
        reporter.advance("a/image", 1, 3)
        reporter.advance("a/image", 3, 3, "loss 0.5")
    printed = capsys.readouterr().out
    assert "a/image 3/3 loss 0.5 (0 s left)" in printed
    assert "1/3" not in printed
