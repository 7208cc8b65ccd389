"""The numbers of one run in all its outputs, each parsed back: page, Markdown, LaTeX, CSV and terminal say the same."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from vssbench.analysis.run import Run
from vssbench.rendering.report import Report, write_report
from vssbench.rendering.tables.latex import escape
from vssbench.rendering.tables.summary import summary_of, titled_summary
from vssbench.rendering.tables.terminal import terminal_table

Rows = dict[tuple[str, str], list[str]]
"""(codec, method) -> printed cells of the measured columns, intervals left out."""


@pytest.fixture(scope="module")
def report(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(run, tmp_path_factory.mktemp("agreement"), pictures=False, figure_files=False)


class Tables(HTMLParser):
    """All tables of a page or of rendered Markdown: section or heading -> rows of texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[list[list[str]]] = []
        self._cell = self._small = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.found.append([])
        elif tag == "tr":
            self.found[-1].append([])
        elif tag in ("td", "th"):
            self.found[-1][-1].append("")
            self._cell = True
        self._small |= tag == "small"

    def handle_endtag(self, tag: str) -> None:
        self._cell &= tag not in ("td", "th")
        self._small &= tag != "small"

    def handle_data(self, data: str) -> None:
        if self._cell and not self._small:
            self.found[-1][-1][-1] += data.strip()


def expected(run: Run) -> Rows:
    summary = summary_of(run, run.families)
    return {
        (row.codec, row.method): [c.text(row.values[c.key]) for c in summary.columns] for row in summary.rows
    }


def of_page(report: Report) -> Rows:
    rows = Tables(report.page.read_text(encoding="utf-8")).found[0][1:]
    return {(codec, method): cells for codec, _, _, _, method, *cells in rows}


def of_markdown(report: Report) -> Rows:
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    rows = Tables(MarkdownIt("commonmark").enable("table").render(text)).found[0][1:]
    return {(codec, method): [miou, *cells] for _, codec, _, _, _, method, miou, _, *cells in rows}


def of_latex(report: Report, run: Run) -> Rows:
    text = (report.folder / "table.tex").read_text(encoding="utf-8")
    found: Rows = {}
    codec = ""
    for line in text.splitlines():
        section = re.match(
            r"\\multicolumn\{\d+\}\{l\}\{\\textit\{streets, (.*), \d+ kb/s, PSNR [\d.]+ dB, SSIM 0.95\d+\}\}",
            line,
        )
        codec = section[1] if section else codec
        cells = [cell.strip() for cell in line.removesuffix(r"\\").split("&")]
        if codec and cells[0] in {escape(title) for title in run.roster.method_titles}:
            plain = [re.sub(r"\\(?:textbf|underline)\{(.*)\}", r"\1", cell) for cell in cells[1:]]
            plain = [cell.replace(r"\textendash{}", "–").replace("$-$", "-") for cell in plain]
            found[codec, cells[0]] = [plain[0], *plain[2:]]
    return found


def of_csv(report: Report, run: Run) -> Rows:
    columns = summary_of(run, run.families).columns
    found: Rows = {}
    with (report.folder / "summary.csv").open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            cells = [column.text(float(row[column.key] or math.nan)) for column in columns]
            found[row["codec"], row["method"]] = cells
    return found


def terminal_rows(run: Run, width: int) -> Iterator[tuple[str, str, list[str]]]:
    console = Console(width=width, file=io.StringIO())
    console.print(terminal_table(titled_summary(run), width))
    assert isinstance(console.file, io.StringIO)
    codec = ""
    for line in console.file.getvalue().splitlines():
        parts = re.split(r"\s{2,}", line.strip())
        if len(parts) > 3 and parts[0] in run.roster.codec_titles:
            codec = parts[0]
            parts = parts[next(i for i, part in enumerate(parts) if part in run.roster.method_titles) :]
        if parts and parts[0] in run.roster.method_titles:
            yield codec, parts[0], [part for part in parts[1:] if not part.startswith("[")]


def test_page_and_files_print_every_number_alike(run: Run, report: Report) -> None:
    wanted = expected(run)
    assert len(wanted) == 8
    assert of_page(report) == wanted
    assert of_markdown(report) == wanted
    assert of_latex(report, run) == wanted
    assert of_csv(report, run) == wanted


@pytest.mark.parametrize("width", [70, 300])
def test_the_terminal_prints_a_part_of_them(run: Run, width: int) -> None:
    rows = {(codec, method): cells for codec, method, cells in terminal_rows(run, width)}
    wanted = {
        (row.codec, row.method): [c.text(row.values[c.key]) for c in summary_of(run).columns]
        for row in summary_of(run).rows
    }
    assert rows.keys() == wanted.keys()
    for place, cells in rows.items():
        assert cells
        rest = iter(wanted[place])
        assert all(cell in rest for cell in cells)  # in their order


def test_scores_by_distance_and_class_of_the_text_are_those_of_the_table(run: Run, report: Report) -> None:
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    found = Tables(MarkdownIt("commonmark").enable("table").render(text)).found
    values = run.table.query("codec == 'hevc-700k'").set_index(["method", "d", "class", "metric"])["value"]
    distances = next(table for table in found if table[0][:2] == ["method", "d=0"])
    for method, *cells in distances[1:]:
        assert cells == [f"{100 * values[method, d, '', 'miou']:.2f}" for d in range(12)]
    classes = next(table for table in found if table[0][0] == "class")
    for name, *cells in classes[1:]:
        wanted = [f"{100 * values[method, -1, name, 'iou']:.2f}" for method in classes[0][1:]]
        assert cells == wanted


def test_the_paper_tables_say_the_same_in_every_format(fabricate, as_in_the_paper, tmp_path: Path) -> None:
    from vssbench.rendering.paper.figures import write_paper

    made = as_in_the_paper(fabricate(tmp_path / "run", sequences=2, units=2, distances=3, pictures=False))
    write_paper([made], tmp_path / "paper")
    text = (tmp_path / "paper" / "paper.md").read_text(encoding="utf-8")
    rendered = Tables(MarkdownIt("commonmark").enable("table").render(text)).found
    for number, table in enumerate(rendered, 1):
        with (tmp_path / "paper" / f"table{number}.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.reader(stream))
        assert table == rows
        latex = (tmp_path / "paper" / f"table{number}.tex").read_text(encoding="utf-8")
        for row in rows[1:]:
            assert " & ".join(map(escape, row)) + r" \\" in latex.replace("$-$", "-")
