from __future__ import annotations

from collections.abc import Callable

from vssbench.analysis.run import Run
from vssbench.rendering.tables.latex import escape, tabular
from vssbench.rendering.tables.summary import summary_of, summary_table
from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable, text_column


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


def test_numbers_have_a_minus_and_as_many_digits_as_they_need() -> None:
    cost = Column("gmacs", "GMACs", "", "lower")
    change = Column("change", "change", signed=True)
    name = text_column("name")
    cells = (Cell("a-1"), cost.cell(0.00031), change.cell(-0.5), Cell("[-1.20, +3.00]"))
    columns = (name, cost, change, Column("interval", "interval", small=True))
    text = tabular(TextTable("t", columns, ((TextRow(cells),),)))
    assert r"a-1 & 0.00031 & $-$0.50 & {\footnotesize [$-$1.20, +3.00]} \\" in text


def test_a_title_cannot_run_tex(evil_run: Run) -> None:
    assert r"\textless{}script\textgreater{}" in tabular(summary_table(summary_of(evil_run)))


def test_the_table_compiles(run: Run, compiled: Callable[[str], str]) -> None:
    compiled(tabular(summary_table(summary_of(run))))
