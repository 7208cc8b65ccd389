from __future__ import annotations

from vssbench.analysis.run import Run
from vssbench.rendering.tables.markdown import escape, pipe_table, section
from vssbench.rendering.tables.summary import summary_of, summary_table
from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable, text_column


def test_cells_cannot_break_the_table() -> None:
    columns = (text_column("a|b"), Column("n", "c"))
    table = TextTable("x", columns, ((TextRow((Cell("x\ny"), Cell("-1", -1.0))),),))
    assert pipe_table(table).splitlines() == ["| a\\|b | c |", "| --- | ---: |", "| x y | -1 |"]
    assert escape("*_[]<>`") == "\\*\\_\\[\\]\\<\\>\\`"


def test_every_line_of_the_summary_has_the_same_cells(run: Run) -> None:
    lines = pipe_table(summary_table(summary_of(run))).splitlines()
    assert len({line.count(" | ") for line in lines}) == 1
    assert len(lines) == 2 + len(run.summary)
    assert "**" in lines[2]


def test_a_section_without_rows_is_its_heading_alone() -> None:
    assert section(TextTable("check: OK", (text_column("a"),), ()), 3) == "### check: OK"
