"""The report as text that reads well in a terminal and on a code host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vssbench.rendering.page.page import PageContent
from vssbench.rendering.tables.markdown import escape, section
from vssbench.rendering.tables.scores import class_table, distance_table
from vssbench.rendering.tables.summary import summary_table
from vssbench.rendering.tables.text_table import TextRow, TextTable, text_column, texts

Lines = Sequence[tuple[str, str]]


def report_markdown(content: PageContent, figures: Lines) -> str:
    """The whole report. figures: (caption, path relative to the report)."""
    roster = content.run.roster
    warnings = "\n".join(f"- {escape(line)}" for line in content.provenance.warnings)
    meanings = [
        f"{column.heading}: {column.meaning}".replace("mIoU", roster.score)
        for column in content.summary.columns
    ]
    meanings += [f"{key}: {value}" for key, value in content.provenance.interval_notes]
    tables = (content.seeds, content.differences, content.families)
    parts = [
        f"# {escape(content.title)}",
        *(escape(text) for text in content.findings),
        f"**Read first**\n\n{warnings}" if warnings else "",
        section(replace(summary_table(content.summary), notes=tuple(meanings))),
        *(section(table) for table in tables if table.rows),
        *(f"## {escape(caption)}\n\n![{escape(caption)}]({path})" for caption, path in figures),
        f"## {roster.score} by keyframe distance (%)",
        *(section(distance_table(panel), 3) for panel in content.panels),
        f"## {roster.class_score} by class (%, mean over d)",
        *(_classes(content)),
        "## Provenance",
        *(section(_facts(name, lines), 3) for name, lines in content.provenance.sections),
        *(section(table) for table in (content.losses, *content.further) if table.rows),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _classes(content: PageContent) -> list[str]:
    return [
        section(
            class_table(panel, content.run.datasets[panel.dataset]), 3
        )
        for panel in content.panels
    ]  # fmt: skip


def _facts(name: str, lines: Lines) -> TextTable:
    rows = tuple(TextRow(texts(key, value)) for key, value in lines)
    return TextTable(name, (text_column("what"), text_column("value")), (rows,))
