"""A comparison against a baseline: headline, table of what did not simply pass, JUnit XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence

from vssbench.analysis.gate import Verdict
from vssbench.rendering.tables.text_table import Cell, Column, Mark, TextRow, TextTable, text_column, texts

_MARKS: dict[str, Mark] = {"regression": "bad", "skipped": "doubtful", "improved": "good"}
"""In the order in which they are listed."""


def headline(rows: Sequence[Verdict]) -> str:
    """One line: how many metrics passed, improved, regressed, were skipped."""
    count = Counter(row.outcome for row in rows)
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
    """JUnit XML with one test case per metric."""
    count = Counter(row.outcome for row in rows)
    suite = ET.Element(
        "testsuite",
        name="vssbench check",
        tests=str(len(rows)),
        failures=str(count["regression"]),
        skipped=str(count["skipped"]),
    )
    for row in rows:
        place = ".".join(filter(None, (row.dataset, row.codec, row.method)))
        case = ET.SubElement(suite, "testcase", classname=place, name=row.metric)
        if row.outcome == "regression":
            failure = ET.SubElement(case, "failure", message=row.reason)
            failure.text = f"baseline {_value(row.baseline)}, now {_value(row.value)}"
        elif row.outcome == "skipped":
            ET.SubElement(case, "skipped", message=row.reason)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"
