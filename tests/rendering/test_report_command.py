from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from vssbench.cli.report import output_folders, report
from vssbench.errors import ConfigError, InputError
from vssbench.rendering.tables.markdown import escape

app = typer.Typer()
app.command()(report)


def test_the_command_writes_the_page_and_says_where(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    made = CliRunner().invoke(app, [str(run.path), "-o", str(tmp_path / "out"), "--no-figures"])
    assert made.exit_code == 0, made.output
    assert str(tmp_path / "out" / "index.html") in made.output
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(made.exception, InputError)
    assert str(tmp_path) in str(made.exception)


def test_runs_of_one_name_do_not_overwrite_each_other() -> None:
    assert output_folders([Path("a/x")], None) == [Path("a/x/report")]
    assert output_folders([Path("a/x"), Path("b/y")], Path("o")) == [Path("o/x"), Path("o/y")]
    with pytest.raises(ConfigError, match="share a folder"):
        output_folders([Path("a/x"), Path("b/x")], Path("o"))


def test_two_runs_are_compared_with_the_significance_of_each_difference(
    fabricate: Any, tmp_path: Path
) -> None:
    runs = [
        fabricate(tmp_path / name, sequences=2, units=2, distances=2, pictures=False)
        for name in ("base", "head")
    ]
    folder = tmp_path / "changes"
    made = CliRunner().invoke(app, ["--compare", *(str(run.path) for run in runs), "-o", str(folder)])
    assert made.exit_code == 0, made.output
    assert "0.00" in made.output
    assert "base" in (folder / "comparison.md").read_text()
    assert "head" in (folder / "comparison.md").read_text()
    assert (folder / "comparison.csv").read_text().startswith("run,dataset,codec,method")
    alone = CliRunner().invoke(app, ["--compare", str(runs[0].path)])
    assert isinstance(alone.exception, ConfigError)


def test_another_reference_can_be_chosen(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", pictures=False)
    plain = ["--no-figures", "-o", str(tmp_path / "out")]
    made = CliRunner().invoke(app, [str(run.path), *plain, "--reference", "AR-Seg 0.5"])
    assert made.exit_code == 0, made.output
    text = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    section = text[text.index("## Paired differences") :].split("\n## ")[0]
    rows = [line for line in section.splitlines() if "-700k" in line]
    assert len(rows) == 2 * (len(run.roster.method_titles) - 1)
    assert all(f"| {escape('AR-Seg 0.5')} |" in line for line in rows)


def test_a_reference_that_cannot_be_is_refused(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    wrong = CliRunner().invoke(app, [str(run.path), "--reference", "AR"])
    assert isinstance(wrong.exception, ConfigError)
    assert "no method has the title 'AR'; " in str(wrong.exception)
    elsewhere = CliRunner().invoke(app, [str(run.path), "--paper", "ar-seg", "--reference", "AR-Seg 0.5"])
    assert isinstance(elsewhere.exception, ConfigError)
