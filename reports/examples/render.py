"""Render a report for the repository: the files worth keeping, and a screenshot where a browser is installed.

    python reports/examples/render.py RUN reports/examples/quickstart                         12 frames per codec
    python reports/examples/render.py RUN reports/examples/camvid480 --no-pictures            numbers and charts only
    python reports/examples/render.py RUN reports/results/NAME/RUN --no-pictures --records    records in place of the page

Frames of datasets that may not be passed on must be left out with --no-pictures. The screenshot is OUT/page.webp.
OUT/records.tar.xz is the run folder without frames and log: `vssbench report` makes page and tables of it once unpacked.
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

from PIL import Image

from vssbench.analysis.run import load_run
from vssbench.rendering.report import write_report

FRAMES = 12
LEFT_OUT = ("coded.csv", "table.csv", "table.tex", "figures/*.pdf")
RECORDS = (
    "experiment.json",
    "roster.json",
    "environment.json",
    "datasets.json",
    "plan.json",
    "costs",
    "latency",
    "units",
)


def main(run: Path, output: Path, pictures: bool, records: bool = False) -> None:
    """Replace `output` by the report of `run`."""
    if any((output / name).exists() for name in ("index.html", "records.tar.xz")):
        shutil.rmtree(output)
    written = write_report(load_run(run), output, pictures=pictures, frames=FRAMES)
    for pattern in LEFT_OUT:
        for path in output.glob(pattern):
            path.unlink()
    if records:
        pack_records(run, output / "records.tar.xz")
        written.page.unlink()
    else:
        screenshot(written.page)
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    print(f"{output}: {size / 1e6:.1f} MB")


def pack_records(run: Path, archive: Path) -> None:
    """Everything of a run that numbers are made of; the same bytes for the same records."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for name in RECORDS:
            for path in sorted([run / name, *(run / name).rglob("*.json")]):
                if path.is_file():
                    entry = tarfile.TarInfo(path.relative_to(run).as_posix())
                    entry.size = path.stat().st_size
                    with path.open("rb") as file:
                        packed.addfile(entry, file)


def screenshot(page: Path) -> None:
    """page.webp beside the page: the summary and the viewer, 1200 columns; nothing without a browser."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        browser = None
    if browser is None:
        print("no chromium or no playwright: no screenshot")
        return
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        view = opened.new_page(viewport={"width": 1200, "height": 1500})
        view.set_default_timeout(120_000)
        view.goto(page.resolve().as_uri() + "#left=e2&right=p3&at=45")
        parts = ("#summary", "#distance", "#pictures")
        shots = [
            Image.open(io.BytesIO(view.locator(place).screenshot()))
            for place in parts
            if view.locator(place).count()
        ]
        opened.close()
    cropped = [shot.crop((0, 0, shot.width, min(shot.height, 1000))) for shot in shots]
    whole = Image.new("RGB", (max(s.width for s in cropped), sum(s.height for s in cropped)), "white")
    top = 0
    for shot in cropped:
        whole.paste(shot.convert("RGB"), (0, top))
        top += shot.height
    whole.save(page.parent / "page.webp", quality=70, method=6)


if __name__ == "__main__":
    arguments = [a for a in sys.argv[1:] if not a.startswith("--")]
    if len(arguments) != 2:
        sys.exit(__doc__)
    main(Path(arguments[0]), Path(arguments[1]), "--no-pictures" not in sys.argv, "--records" in sys.argv)
