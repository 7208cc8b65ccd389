"""reports/examples/render.py: what is kept of a report for the repository, its records, and its screenshot."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from vssbench.analysis.run import Run, load_run
from vssbench.rendering.report import write_report

REPORTS = Path(__file__).parents[2] / "reports"
SCRIPT = REPORTS / "examples" / "render.py"
COMMITTED = sorted((REPORTS / "results").glob("**/records.tar.xz"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    if not SCRIPT.exists():
        pytest.skip("the examples are not in this tree")
    spec = importlib.util.spec_from_file_location("render_examples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_numbers_alone_are_small_and_files_of_others_stay(
    script: ModuleType, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)  # no browser: no screenshot
    (tmp_path / "mine.txt").write_text("kept")
    script.main(run.path, tmp_path, pictures=False)
    figures = {f"figures/{stem}.svg" for stem in ("miou_d", "cost", "class_iou")}
    assert names(tmp_path) == {"index.html", "report.md", "summary.csv", "mine.txt"} | figures


def test_the_screenshot_shows_the_page_and_an_earlier_example_is_replaced(
    script: ModuleType, run: Run, tmp_path: Path
) -> None:
    if shutil.which("chromium") is None:
        if "chromium" in os.environ.get("VSSBENCH_REQUIRE", ""):
            pytest.fail("VSSBENCH_REQUIRE names chromium, but there is none")
        pytest.skip("needs chromium")
    pytest.importorskip("playwright")
    (tmp_path / "example" / "media").mkdir(parents=True)
    (tmp_path / "example" / "index.html").write_text("an earlier report")
    (tmp_path / "example" / "media" / "frame.webp").write_text("of it")
    script.main(run.path, tmp_path / "example", pictures=True)
    assert not (tmp_path / "example" / "media" / "frame.webp").exists()
    with Image.open(tmp_path / "example" / "page.webp") as shot:
        assert shot.width > 1000
        assert 1200 < shot.height <= 3000
        colours = shot.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 500  # not an empty page


def reported(archive: Path, folder: Path) -> dict[str, str]:
    """The text files of a report made from packed records."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "run", filter="data")
    write_report(load_run(folder / "run"), folder / "report", pictures=False, figure_files=False)
    return {
        name: (folder / "report" / name).read_text(encoding="utf-8")
        for name in ("summary.csv", "seeds.csv", "report.md")
        if (folder / "report" / name).exists()
    }


def test_packed_records_make_the_same_report(script: ModuleType, run: Run, tmp_path: Path) -> None:
    write_report(run, tmp_path / "first", pictures=False, figure_files=False)
    archive = tmp_path / "kept" / "records.tar.xz"
    archive.parent.mkdir()
    script.pack_records(run.path, archive)
    before = archive.read_bytes()
    script.pack_records(run.path, archive)
    assert archive.read_bytes() == before
    again = reported(archive, tmp_path)
    assert {"summary.csv", "report.md"} <= set(again)
    for name, text in again.items():
        assert text == (tmp_path / "first" / name).read_text(encoding="utf-8")


def test_records_stand_in_place_of_the_page(script: ModuleType, run: Run, tmp_path: Path) -> None:
    for _ in range(2):  # the second replaces the first
        script.main(run.path, tmp_path / "kept", pictures=False, records=True)
    found = names(tmp_path / "kept")
    assert {"records.tar.xz", "report.md", "summary.csv"} <= found
    assert not {"index.html", "page.webp"} & found


@pytest.mark.parametrize(
    "archive", COMMITTED, ids=[p.parent.relative_to(REPORTS / "results").as_posix() for p in COMMITTED]
)
def test_committed_results_come_from_their_records(archive: Path, tmp_path: Path) -> None:
    again = reported(archive, tmp_path)
    assert again["summary.csv"] == (archive.parent / "summary.csv").read_text(encoding="utf-8")
    if (archive.parent / "seeds.csv").exists():
        assert again["seeds.csv"] == (archive.parent / "seeds.csv").read_text(encoding="utf-8")
