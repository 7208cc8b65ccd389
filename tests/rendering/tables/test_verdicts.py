"""The gate's verdicts as a table: what stands out, and which columns it needs."""

from __future__ import annotations

import io
from xml.etree import ElementTree

from rich.console import Console

from vssbench.analysis.gate import Verdict
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.terminal import terminal_table
from vssbench.rendering.tables.verdicts import headline, junit_of_error, junit_xml, verdict_table

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


def test_a_dot_in_a_title_splits_no_class_name_and_every_text_is_xml() -> None:
    row = Verdict("data", "hevc", "1.0x", "miou", 0.5, 0.25, "regression", "bad \x1b[2J\x00")
    suite = ElementTree.fromstring(junit_xml([row]))
    (case,) = suite.iter("testcase")
    assert case.get("classname") == "data.hevc.1\u20240x"
    (error,) = ElementTree.fromstring(junit_of_error("no\x00 file")).iter("error")
    assert error.get("message") == "no\ufffd file"


def test_what_does_not_compare_is_an_error_and_heads_the_summary() -> None:
    rows = [Verdict("data", "", "", "labels", None, None, "incomparable", "other labels: drive")]
    assert headline(rows) == "NOT COMPARABLE: other labels: drive; --allow labels compares nevertheless"
    assert ElementTree.fromstring(junit_xml(rows)).get("errors") == "1"
    skipped = [Verdict("", "", "b", "time_ms", None, None, "skipped", "measured on an unknown CPU")]
    assert headline(skipped).startswith("NOT COMPARABLE: no metric could be held")
