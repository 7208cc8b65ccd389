"""A comparison against a baseline: headline, table of what did not simply pass, JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from vssbench.analysis.comparability import ALLOWABLE
from vssbench.analysis.gate import Verdict
from vssbench.rendering.tables.text_table import Cell, Column, Mark, TextRow, TextTable, text_column, texts
from vssbench.rendering.text import printable

_MARKS: dict[str, Mark] = {
    "incomparable": "bad",
    "regression": "bad",
    "skipped": "doubtful",
    "improved": "good",
}
"""In the order in which they are listed."""


def headline(rows: Sequence[Verdict]) -> str:
    """One line: how many metrics passed, improved, regressed, were skipped."""
    count = Counter(row.outcome for row in rows)
    if count["incomparable"]:
        told = "; ".join(row.reason for row in rows if row.outcome == "incomparable")
        may = sorted({row.metric for row in rows if row.outcome == "incomparable"} & set(ALLOWABLE))
        flags = f"; {' '.join(f'--allow {kind}' for kind in may)} compares nevertheless" if may else ""
        return printable(f"NOT COMPARABLE: {told}{flags}")
    if not count["regression"] + count["pass"] + count["improved"]:
        return f"NOT COMPARABLE: no metric could be held against the baseline, {count['skipped']} skipped"
    state = "REGRESSION" if count["regression"] else "OK"
    return f"{state}: {count['regression']} regressed, {count['improved']} improved, {count['pass']} passed, {count['skipped']} skipped"


def _value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:12]


def verdict_table(rows: Sequence[Verdict]) -> TextTable:
    """Every metric that did not simply pass, regressions first."""
    order = list(_MARKS)
    notable = sorted((row for row in rows if row.outcome != "pass"), key=lambda row: order.index(row.outcome))
    columns = (
        text_column("verdict"),
        text_column("what", long=True),
        text_column("metric"),
        Column("baseline", "baseline"),
        Column("now", "now"),
        text_column("reason", long=True),
    )
    lines = [
        TextRow(
            (
                Cell(row.outcome, mark=_MARKS[row.outcome]),
                *texts(", ".join(filter(None, (row.method, row.codec, row.dataset))), row.metric),
                *texts(_value(row.baseline), _value(row.value), row.reason),
            )
        )
        for row in notable
    ]
    return TextTable(f"vssbench check: {headline(rows)}", columns, (tuple(lines),) if lines else ())


def junit_xml(rows: Sequence[Verdict]) -> str:
    """JUnit XML with one test case per metric. Class names have their dots only between dataset, codec and method."""
    count = Counter(row.outcome for row in rows)
    suite = ET.Element(
        "testsuite",
        name="vssbench check",
        tests=str(len(rows)),
        failures=str(count["regression"]),
        errors=str(count["incomparable"]),
        skipped=str(count["skipped"]),
    )
    for row in rows:
        # readers split class names at dots: 1.0x would become a package of its own
        titles = (one.replace(".", "\u2024") for one in (row.dataset, row.codec, row.method) if one)
        place = printable(".".join(titles) or "vssbench")
        case = ET.SubElement(suite, "testcase", classname=place, name=printable(row.metric))
        if row.outcome == "regression":
            failure = ET.SubElement(case, "failure", message=printable(row.reason))
            failure.text = f"baseline {_value(row.baseline)}, now {_value(row.value)}"
        elif row.outcome == "skipped":
            ET.SubElement(case, "skipped", message=printable(row.reason))
        elif row.outcome == "incomparable":
            ET.SubElement(case, "error", message=printable(row.reason))
    return _written(suite)


def junit_of_error(message: str) -> str:
    """JUnit XML of a check that could not be made at all."""
    suite = ET.Element("testsuite", name="vssbench check", tests="1", failures="0", errors="1", skipped="0")
    case = ET.SubElement(suite, "testcase", classname="vssbench", name="check")
    ET.SubElement(case, "error", message=printable(message))
    return _written(suite)


def _written(suite: ET.Element) -> str:
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"
