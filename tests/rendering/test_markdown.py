from __future__ import annotations

from vssbench.analysis.run import Run
from vssbench.rendering.tables.markdown import escape, summary_markdown, table
from vssbench.rendering.tables.summary import summary_table


def test_markup_in_data_is_escaped() -> None:
    assert escape("a|b") == r"a\|b"
    assert escape("<script>") == r"\<script\>"
    assert escape("x\ny") == "x y"


def test_a_table_has_a_rule_under_its_heads() -> None:
    assert table(["m", "n"], [["a", "1"]]).splitlines() == ["| m | n |", "| --- | ---: |", "| a | 1 |"]


def test_all_lines_have_the_same_number_of_cells(run: Run) -> None:
    lines = summary_markdown(summary_table(run)).splitlines()
    assert len(lines) == 2 + 8
    assert len({line.replace(r"\|", "").count("|") for line in lines}) == 1


def test_a_script_title_renders_as_text(evil_run: Run) -> None:
    markdown = summary_markdown(summary_table(evil_run))
    assert "<script" not in markdown.replace(r"\<script", "")
