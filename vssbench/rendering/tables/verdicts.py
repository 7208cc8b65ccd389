"""A comparison against a baseline as text: Markdown for a CI summary, JUnit XML, a terminal table."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vssbench.analysis.gate import Row

if TYPE_CHECKING:
    from rich.table import Table


def headline(rows: Sequence[Row]) -> str:
    """One line: how many metrics passed, improved, regressed, were skipped."""
    count = Counter(row.verdict for row in rows)
    state = "REGRESSION" if count["regression"] else "OK"
    return f"{state}: {count['regression']} regressed, {count['improved']} improved, {count['pass']} passed, {count['skipped']} skipped"


def _notable(rows: Sequence[Row]) -> list[Row]:
    order = {"regression": 0, "skipped": 1, "improved": 2}
    return sorted((row for row in rows if row.verdict != "pass"), key=lambda row: order[row.verdict])


def _value(value: float | str | None) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:12]


def as_markdown(rows: Sequence[Row]) -> str:
    """Summary and every metric that did not simply pass."""
    lines = [f"### vssbench check: {headline(rows)}", ""]
    notable = _notable(rows)
    if notable:
        lines += [
            "| verdict | dataset | codec | method | metric | baseline | now | reason |",
            "|---|---|---|---|---|---|---|---|",
        ]
    for row in notable:
        cells = (
            row.verdict,
            row.dataset,
            row.codec,
            row.method,
            row.metric,
            _value(row.baseline),
            _value(row.value),
            row.reason,
        )
        lines.append(
            "| "
            + " | ".join(cell.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;") for cell in cells)
            + " |"
        )
    return "\n".join(lines) + "\n"


def as_junit(rows: Sequence[Row]) -> str:
    """JUnit XML with one test case per metric."""
    count = Counter(row.verdict for row in rows)
    suite = ET.Element(
        "testsuite",
        name="vssbench check",
        tests=str(len(rows)),
        failures=str(count["regression"]),
        skipped=str(count["skipped"]),
    )
    for row in rows:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=".".join(filter(None, (row.dataset, row.codec, row.method))),
            name=row.metric,
        )
        if row.verdict == "regression":
            ET.SubElement(
                case, "failure", message=row.reason
            ).text = f"baseline {_value(row.baseline)}, now {_value(row.value)}"
        elif row.verdict == "skipped":
            ET.SubElement(case, "skipped", message=row.reason)
    ET.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suite, encoding="unicode") + "\n"


def as_table(rows: Sequence[Row]) -> Table:
    """Terminal table of every metric that did not simply pass."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("verdict", "what", "metric", "baseline", "now", "reason", box=None, pad_edge=False)
    colour = {"regression": "red", "improved": "green", "skipped": "yellow"}
    for row in _notable(rows):
        what = ", ".join(filter(None, (row.method, row.codec, row.dataset)))
        table.add_row(
            f"[{colour[row.verdict]}]{row.verdict}[/]",
            *(
                escape(text)
                for text in (what, row.metric, _value(row.baseline), _value(row.value), row.reason)
            ),
        )
    return table
