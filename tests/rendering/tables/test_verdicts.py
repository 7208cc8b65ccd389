"""The gate's verdicts as a table: what stands out, and which columns it needs."""

from __future__ import annotations

import io

from rich.console import Console

from vssbench.analysis.gate import Verdict
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.terminal import terminal_table
from vssbench.rendering.tables.verdicts import headline, verdict_table

FOUND = [
    Verdict("data", "hevc", "a|b", "miou", 0.5, 0.5, "pass", ""),
    Verdict("data", "hevc", "a|b", "gop_mean_gmacs", 2.0, 1.0, "improved", ""),
    Verdict("data", "h264", "c", "miou", 0.5, 0.25, "regression", "lower by 0.250000, limit 1e-09"),
]


def test_regressions_come_first_and_what_passed_is_left_out() -> None:
    table = verdict_table(FOUND)
    assert [column.key for column in table.columns] == [
        "verdict", "what", "metric", "baseline", "now", "reason",
    ]  # fmt: skip
    assert [row.cells[0].text for row in table.rows] == ["regression", "improved"]
    assert [row.cells[0].mark for row in table.rows] == ["bad", "good"]
    assert [cell.text for cell in table.rows[0].cells[3:5]] == ["0.5", "0.25"]
    assert headline(FOUND) == "REGRESSION: 1 regressed, 1 improved, 1 passed, 0 skipped"
    assert "a\\|b" in section(table)


def test_a_reason_is_never_dropped_for_want_of_room() -> None:
    console = Console(width=60, file=io.StringIO())
    console.print(terminal_table(verdict_table(FOUND), 60))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "regression" in text
    assert "reason" in text


def test_nothing_to_tell_is_a_heading() -> None:
    table = verdict_table(FOUND[:1])
    assert table.rows == ()
    assert section(table, 3).startswith("### vssbench check: OK: 0 regressed")
