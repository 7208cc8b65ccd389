"""reports/examples/render.py: what is kept of a report for the repository, and its screenshot."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from vssbench.results.run import Run

SCRIPT = Path(__file__).parents[2] / "reports" / "examples" / "render.py"


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
