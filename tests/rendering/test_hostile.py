"""Text from data that attacks what shows it: in the page, SVG, LaTeX, Markdown and CSV it is text and nothing else."""

from __future__ import annotations

import csv
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from vssbench.analysis.run import Run
from vssbench.rendering.paper.figures import write_paper
from vssbench.rendering.report import Report, write_report
from vssbench.rendering.tables import latex
from vssbench.rendering.tables.csv_text import guarded
from vssbench.rendering.text import printable


@pytest.fixture(scope="module")
def report(hostile_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(hostile_run, tmp_path_factory.mktemp("hostile") / 'a "quoted" <folder>')


@pytest.fixture(scope="module")
def paper(hostile_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    write_paper([hostile_run], folder)
    return folder


class Reader(HTMLParser):
    """Collects elements and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def methods(run: Run) -> list[str]:
    return [str(title) for title in run.roster.method_titles]


def test_the_page_shows_every_name_and_runs_none(report: Report, hostile_run: Run) -> None:
    reader = Reader(report.page.read_text(encoding="utf-8"))
    for tag, attributes in reader.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        assert tag != "img" or str(attributes.get("src", "media/")).startswith("media/")
    kinds = [attributes.get("type") for tag, attributes in reader.elements if tag == "script"]
    assert kinds == ["application/json", "application/json", None]  # two blocks of data and the page's own
    values = {attributes.get("data-method") for _, attributes in reader.elements}
    assert {printable(title) for title in methods(hostile_run)} <= {printable(v) for v in values if v}
    assert any("<script>alert(1)</script>" in text for text in reader.text)


def test_figures_are_drawings_without_anything_that_runs(report: Report, paper: Path) -> None:
    drawings = [path for path in (*report.files, *paper.iterdir()) if path.suffix == ".svg"]
    assert len(drawings) > 6
    for path in drawings:
        for element in ElementTree.fromstring(path.read_bytes()).iter():
            assert "script" not in str(element.tag), path
            assert "foreignObject" not in str(element.tag), path
            assert not [name for name in element.attrib if name.startswith("on")], path


def test_markdown_renders_every_name_as_it_is(report: Report, paper: Path, hostile_run: Run) -> None:
    for path in (report.folder / "report.md", paper / "paper.md"):
        reader = Reader(MarkdownIt("commonmark").enable("table").render(path.read_text(encoding="utf-8")))
        allowed = {
            "h1",
            "h2",
            "h3",
            "p",
            "ul",
            "li",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "strong",
            "em",
            "img",
        }
        assert {tag for tag, _ in reader.elements} <= allowed
        for tag, attributes in reader.elements:
            assert tag != "img" or str(attributes["src"]).startswith("fig")
        if path.name == "report.md":
            assert {printable(title) for title in methods(hostile_run)} <= set(reader.text)


def test_no_cell_of_a_csv_is_a_formula(report: Report, paper: Path) -> None:
    seen = set()
    for path in (*report.folder.glob("*.csv"), *paper.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.reader(stream):
                for cell in row:
                    assert guarded(cell) == cell, path
                    seen.add(cell)
    assert '\'=HYPERLINK("http://elsewhere.example/","x")' in seen
    assert "'-2+3" in seen


def test_numbers_and_plain_names_are_written_as_they_are() -> None:
    for value in ("-0.5", "+1.25", "-1e-05", "AR-Seg", "0.5x", "", -3, 2.5, None):
        assert guarded(value) == value
    for text in ("=1", "+a", "-a", "@b"):
        assert guarded(text) == "'" + text
    assert [guarded(text) for text in ("\tc", "\rd")] == ["' c", "' d"]


def test_latex_compiles_and_reads_no_file(report: Report, compiled: Callable[[str], str]) -> None:
    shown = compiled((report.folder / "table.tex").read_text(encoding="utf-8"))
    assert "root:" not in shown
    assert not shown or "/etc/passwd" in shown  # the name of the file, not its content
    assert not shown or "alert(1)" in shown


def test_latex_has_a_letter_for_every_character_of_latin_1(compiled: Callable[[str], str]) -> None:
    letters = [chr(code) for code in (*range(32, 127), *range(160, 256))]
    rows = "".join(f"{latex.escape(letter)} & {latex.escape(letter * 3)} \\\\\n" for letter in letters)
    table = f"\\small\\begin{{tabular}}{{ll}}\n{rows}\\end{{tabular}}\n"
    compiled(table)
