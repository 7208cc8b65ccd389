from __future__ import annotations

from collections.abc import Callable

from vssbench.analysis.run import Run
from vssbench.rendering.tables.latex import escape, tabular
from vssbench.rendering.tables.summary import summary_of, summary_table


def test_every_special_character_is_escaped() -> None:
    assert escape(r"\{}$&#%_^~") == (r"\textbackslash{}\{\}\$\&\#\%\_\textasciicircum{}\textasciitilde{}")
    assert escape("\N{SNOWMAN}\n") == "? "


def test_rows_have_as_many_cells_as_the_tabular_has_columns(run: Run) -> None:
    text = tabular(summary_table(summary_of(run)))
    spec = text.split("tabular}{")[1].split("}")[0]
    for line in text.splitlines():
        if line.startswith(("constant", "warp", "AR-Seg")):
            assert line.count("&") == len(spec) - 1
    assert text.count(r"\textbf{") > 0
    assert r"\bottomrule" in text


def test_a_title_cannot_run_tex(evil_run: Run) -> None:
    assert r"\textless{}script\textgreater{}" in tabular(summary_table(summary_of(evil_run)))


def test_the_table_compiles(run: Run, compiled: Callable[[str], str]) -> None:
    compiled(tabular(summary_table(summary_of(run))))
