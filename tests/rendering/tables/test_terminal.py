from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from vssbench.analysis.differences import compare_runs
from vssbench.analysis.run import Run
from vssbench.rendering.tables.comparisons import run_comparison_table
from vssbench.rendering.tables.summary import titled_summary
from vssbench.rendering.tables.terminal import terminal_table
from vssbench.rendering.text import printable


def shown(run: Run, width: int, **options: Any) -> str:
    console = Console(width=width, file=io.StringIO(), **options)
    console.print(terminal_table(titled_summary(run), width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_every_line_fits_and_no_cell_is_wrapped(run: Run, width: int) -> None:
    text = shown(run, width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    for method in ("constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5"):
        assert sum(method in line for line in text.splitlines()) == 2
    assert "hevc-700k" in text
    assert re.search(r"hevc-700k +704 ", text)


def test_columns_are_dropped_from_the_least_important_on(run: Run) -> None:
    headings = [shown(run, width).splitlines()[1] for width in (60, 80, 160)]
    assert "mIoU" in headings[0]
    assert "GMACs" in headings[0]
    assert "frames" not in headings[1]
    assert "d=11" in headings[1]
    assert "frames" in headings[2]
    counts = [len(heading.split("  ")) for heading in headings]
    assert counts == sorted(counts)


def test_the_numbers_are_those_of_the_summary(run: Run) -> None:
    first = run.summary.iloc[0]
    assert f"{100 * first.miou:.2f}" in shown(run, 80)


def test_markup_in_a_title_stays_text(evil_run: Run) -> None:
    assert "<script>alert(1)</script>" in shown(evil_run, 100)


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\nc") == "a\ufffd[31mb c"


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_no_number_is_cut_however_narrow_the_terminal(run: Run, width: int) -> None:
    table = run_comparison_table("a", "b", compare_runs(run, run))
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table(table, width))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert all(cell_len(line) <= width for line in lines)
    letters = "".join("".join(lines).split())
    for row in table.rows:
        shown = [
            cell.text for column, cell in zip(table.columns, row.cells, strict=True) if column.priority == 0
        ]
        if width >= 120:
            assert all("".join(text.split()) in letters for text in shown)
    assert sum(letters.count(digit) for digit in "0123456789") >= sum(
        sum(cell.text.count(digit) for digit in "0123456789")
        for rows in table.sections
        for number, row in enumerate(rows)
        for i, (column, cell) in enumerate(zip(table.columns, row.cells, strict=True))
        if column.priority == 0 and (number == 0 or i >= table.shared)  # what is shared is printed once
    )


def test_a_comparison_of_runs_has_a_line_per_method_at_80_columns(run: Run) -> None:
    table = run_comparison_table("a", "b", compare_runs(run, run)).without_lone("dataset")
    console = Console(width=80, file=io.StringIO())
    console.print(terminal_table(table, 80))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    for row in table.rows:
        (method, difference, interval, p, verdict, gmacs) = [cell.text for cell in row.cells[1:7]]
        words = re.compile(r"\s+".join(map(re.escape, (method, difference, interval, p, verdict, gmacs))))
        assert any(words.search(line) for line in lines), lines
