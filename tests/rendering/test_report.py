from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from vssbench.analysis.run import Run, load_run
from vssbench.errors import InputError
from vssbench.rendering.report import Report, write_report

METHODS = ("constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5")
EVIL = "<script>alert(1)</script>"
VOID = {"meta", "input", "img", "br", "rect", "line", "circle", "path", "polygon", "polyline"}


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on a tag that is closed out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def report(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Report:
    return write_report(run, tmp_path_factory.mktemp("report"))


def test_all_promised_files_are_there(report: Report) -> None:
    names = {str(path.relative_to(report.folder)) for path in report.files}
    figures = {
        f"figures/{stem}.{kind}"
        for stem in ("miou_d", "cost", "class_iou", "frame-0", "frame-1")
        for kind in ("svg", "pdf")
    }
    media = {name for name in names if name.startswith("media/")}
    assert len(media) == 2 * (6 + 1) * (
        3 + 2 * len(METHODS)
    )  # 2 codecs, 6 + 1 frames: shared layers, two per method
    texts = {"index.html", "report.md", "summary.csv", "coded.csv", "table.csv", "table.tex"}
    assert names - media == texts | figures


def test_the_page_is_well_formed_and_small(report: Report) -> None:
    parse(report.page)
    assert report.page.stat().st_size < 3_000_000


def test_the_page_loads_nothing_but_pictures_beside_it(report: Report) -> None:
    for tag, attributes in parse(report.page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        source = attributes.get("src") or attributes.get("href") or ""
        assert source.startswith(("media/", "#")) or source == "", source
        assert not source.startswith("media/") or (report.folder / source).is_file()
    assert "url(" not in report.page.read_text()
    assert "@import" not in report.page.read_text()


def test_the_policy_names_exactly_the_style_and_the_script_of_the_page(report: Report) -> None:
    text = report.page.read_text(encoding="utf-8")
    policy = next(
        a["content"] for t, a in parse(report.page).tags if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src 'self' data:;")
    assert "unsafe" not in policy
    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)  # data blocks carry a type
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_no_element_needs_what_the_policy_forbids(report: Report) -> None:
    for tag, attributes in parse(report.page).tags:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag


def test_ids_are_unique_and_links_lead_somewhere(report: Report) -> None:
    tags = parse(report.page).tags
    ids = [a["id"] for _, a in tags if a.get("id")]
    assert len(ids) == len(set(ids))
    assert {(a["href"] or "")[1:] for t, a in tags if t == "a"} <= set(ids)


def test_every_picture_has_an_alternative_text_and_every_control_a_name(report: Report) -> None:
    for tag, attributes in parse(report.page).tags:
        if tag == "img":
            assert "alt" in attributes
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"


def test_a_method_titled_like_a_script_renders_as_text(evil_run: Run, tmp_path: Path) -> None:
    written = write_report(evil_run, tmp_path)
    reader = parse(written.page)
    scripts = [a.get("type") for tag, a in reader.tags if tag == "script"]
    assert scripts == ["application/json", "application/json", None]  # two blocks of data and the page's own
    assert EVIL not in page_data(written)
    assert any("<script>alert(1)</script>" in text for text in reader.text)
    for svg in (tmp_path / "figures").glob("*.svg"):
        assert "<script" not in svg.read_text()


def page_data(report: Report) -> str:
    """The blocks of data as they stand in the file."""
    text = report.page.read_text(encoding="utf-8")
    return "".join(re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL))


def test_embedded_frames_make_one_file(run: Run, tmp_path: Path) -> None:
    written = write_report(run, tmp_path, figure_files=False, embed=True)
    assert not (tmp_path / "media").exists()
    text = written.page.read_text(encoding="utf-8")
    assert "img-src data:;" in text
    assert "media/" not in text
    assert text.count("data:image/webp;base64,") >= 2 * 7
    parse(written.page)


def test_a_report_without_frames_removes_those_of_an_earlier_one_and_nothing_else(
    run: Run, tmp_path: Path
) -> None:
    write_report(run, tmp_path, figure_files=False)
    assert list((tmp_path / "media").glob("0/*"))
    (tmp_path / "media" / "mine.txt").write_text("kept")
    write_report(run, tmp_path, figure_files=False, pictures=False)
    assert not list((tmp_path / "media").glob("0/*"))
    assert (tmp_path / "media" / "mine.txt").read_text() == "kept"


def test_the_same_run_gives_the_same_bytes(run: Run, report: Report, tmp_path: Path) -> None:
    again = write_report(load_run(run.path), tmp_path)
    for first, second in zip(report.files, again.files, strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes(), first.name


def test_csv_holds_the_numbers_unrounded(run: Run, report: Report) -> None:
    read = pd.read_csv(report.folder / "summary.csv")
    assert read["miou"].tolist() == run.summary["miou"].tolist()
    tidy = pd.read_csv(report.folder / "table.csv", keep_default_na=True)
    assert len(tidy) == len(run.table)


def test_fonts_are_embedded_in_pdf_figures(report: Report) -> None:
    data = (report.folder / "figures" / "miou_d.pdf").read_bytes()
    assert b"/FontFile2" in data
    assert b"/Type3" not in data


def test_frames_are_left_out_on_request(run: Run, tmp_path: Path) -> None:
    written = write_report(run, tmp_path, pictures=False)
    assert "<img src" not in written.page.read_text()
    assert not list((tmp_path / "figures").glob("frame*"))
    assert not (tmp_path / "media").exists()


def test_an_empty_run_is_one_clear_error(fabricate: Any, tmp_path: Path) -> None:
    empty = fabricate(tmp_path / "run", sequences=0, units=0, pictures=False)
    with pytest.raises(InputError, match="nothing to report"):
        write_report(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_incomplete_run_says_so_first(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", sequences=1, units=2, distances=2, pictures=False)
    next((run.path / "units").glob("*/*/*/*/*.json")).unlink()
    written = write_report(load_run(run.path), tmp_path / "out", figure_files=False)
    text = "".join(parse(written.page).text)
    assert "incomplete: 15 of 16 units are stored" in text
    assert text.index("incomplete") < text.index("Summary table" if "Summary table" in text else "Bold")


def test_rendering_never_imports_torch(run: Run, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from vssbench.analysis.run import load_run\n"
        "from vssbench.rendering.report import write_report\n"
        "from vssbench.rendering.tables.summary import titled_summary\n"
        "from vssbench.rendering.tables.terminal import terminal_table\n"
        f"run = load_run({str(run.path)!r})\n"
        "terminal_table(titled_summary(run))\n"
        f"write_report(run, Path({str(tmp_path)!r}))\n"
        "sys.exit(7 if 'torch' in sys.modules else 0)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_page_reads_back_every_summary_number(run: Run, report: Report) -> None:
    values = [a["data-value"] for t, a in parse(report.page).tags if t == "td" and "data-value" in a]
    table = pd.read_csv(io.StringIO(report.folder.joinpath("summary.csv").read_text()))
    for value in table["miou"]:
        assert str(value) in values
