from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from vssbench.analysis.run import Run
from vssbench.rendering.tables.latex import escape, standalone, tabular
from vssbench.rendering.tables.summary import summarise, summary_table


def test_every_special_character_is_escaped() -> None:
    assert escape(r"\{}$&#%_^~") == (r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")
    assert escape("\N{SNOWMAN}\n") == "? "


def test_rows_have_as_many_cells_as_the_tabular_has_columns(run: Run) -> None:
    text = tabular(summary_table(summarise(run)))
    spec = text.split("tabular}{")[1].split("}")[0]
    for line in text.splitlines():
        if line.startswith(("constant", "warp", "AR-Seg")):
            assert line.count("&") == len(spec) - 1
    assert text.count(r"\textbf{") > 0
    assert r"\bottomrule" in text


def test_a_title_cannot_run_tex(evil_run: Run) -> None:
    assert r"\textless{}script\textgreater{}" in tabular(summary_table(summarise(evil_run)))


def test_the_table_compiles(run: Run, tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs pdflatex")
    (tmp_path / "table.tex").write_text(standalone(tabular(summary_table(summarise(run)))))
    made = subprocess.run(
        ["pdflatex", "-halt-on-error", "table.tex"], cwd=tmp_path, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stdout[-2000:].decode(errors="replace")
