"""The report of 10,000 units: time to write it on two cores, size of its page, time to open it in a browser.

Run with `pytest tests/benchmarks/test_report_speed.py --benchmark-enable --benchmark-only -s`, with
--benchmark-json=FILE to keep the samples. reports/measurements/benchmarks/benchmarks.json holds what was measured.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord, to_json
from vssbench.results.store import RunFolder

pytest_plugins = ["vssbench.pytest_latency"]

ROUNDS = int(os.environ.get("VSSBENCH_ROUNDS", "3"))
SEQUENCES, GOPS, DISTANCES = 25, 50, 12
"""2 codec settings x 4 methods x 25 sequences x 50 GOPs are 10,000 units of 12 frames."""
KEPT = (36, (360, 480))
"""Frames per codec that the run keeps for the viewer, as many as `vssbench run` does, and their size."""
REPORT = """
import sys
from vssbench.cli import app
app(["report", *sys.argv[1:]], standalone_mode=False)
sys.exit(7 if "torch" in sys.modules else 0)
"""


def fabricated() -> Any:
    """tests/rendering/conftest.py, which knows how to make a run folder."""
    path = Path(__file__).parents[1] / "rendering" / "conftest.py"
    spec = importlib.util.spec_from_file_location("fabricated_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 10,000 units over nine classes, costs and kept frames."""
    made = fabricated()
    path = tmp_path_factory.mktemp("runs") / "big"
    # the files beside the units: of a run that has one unit per section, which are then joined by the many
    made.fabricate_run(path, sequences=1, units=1, distances=DISTANCES, pictures=False)
    folder = RunFolder(path)
    folder.write_json("datasets.json", {"streets": made._dataset(SEQUENCES)})
    plan = folder.read_json("plan.json")
    folder.write_json("plan.json", {**plan, "units": 10_000, "cases": 120_000})
    shutil.rmtree(path / "units")
    generator = np.random.default_rng(0)
    for codec, (kbps, loss) in made.CODECS.items():
        made.write_frames(
            folder, "streets", codec, list(made.METHODS), count=KEPT[0], size=KEPT[1], sequence="seq-00",
            place=lambda number: (number, number % DISTANCES),
        )  # fmt: skip
        for title, (_, quality, slope, _) in made.METHODS.items():
            expected = np.stack(
                [made.counts_for(quality - loss - slope * d, generator, 9) for d in range(DISTANCES)]
            )
            for s in range(SEQUENCES):
                for g in range(GOPS):
                    key = UnitKey("streets", codec, title, f"seq-{s:02d}", f"phase-00-gop-{g:06d}")
                    _write(folder, key, generator.poisson(expected).astype(np.int64), g, kbps)
    return path


def _write(folder: RunFolder, key: UnitKey, counts: np.ndarray, gop: int, kbps: float) -> None:
    cases = tuple(
        CaseRecord(12 * gop + d, d, "P" if d else "I", 12 * gop, 12, 900, "non_key" if d else "key")
        for d in range(DISTANCES)
    )
    times = {"step_key": 0.1, "step_non_key": 0.5, "steps_key": 1, "steps_non_key": 11}
    record = UnitRecord(key, cases, counts, {"key": 1, "non_key": 11}, 1.0, kbps, "ab" * 32, times)
    path = folder.unit_path(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(to_json(record))


def report(run: Path, output: Path) -> tuple[float, float]:
    """Wall and CPU seconds of `vssbench report RUN -o OUTPUT` on two cores."""
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", REPORT, str(run), "-o", str(output)],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr or "torch was imported"
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.benchmark(group="report of 10,000 units")
def test_ten_thousand_units_are_reported_within_ten_seconds_on_two_cores(
    run_folder: Path, tmp_path: Path, store_latency: Any
) -> None:
    """Interpreter start, imports, reading, all tables, figures as SVG and PDF, page, 72 frames for the viewer."""
    times = [report(run_folder, tmp_path / "report") for _ in range(ROUNDS)]
    store_latency([1000 * wall for wall, _ in times])
    for wall, cpu in times:
        print(f"\n10,000 units: {cpu:.2f} s CPU, {wall:.2f} s wall; load {os.getloadavg()[0]:.1f}")
    size = (tmp_path / "report" / "index.html").stat().st_size
    print(f"page: {size / 1e6:.2f} MB")
    assert size < 3_000_000
    assert min(wall for wall, _ in times) < 10


@pytest.mark.benchmark(group="opening the page of 10,000 units")
def test_its_page_opens_within_two_seconds(run_folder: Path, tmp_path: Path, store_latency: Any) -> None:
    """Navigation to the load event, with all pictures in view, and until the next two frames are painted."""
    browser = shutil.which("chromium")
    sync_api = pytest.importorskip("playwright.sync_api")
    if browser is None:
        pytest.skip("needs chromium")
    report(run_folder, tmp_path / "report")
    walls = []
    with sync_api.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(3):
            page = opened.new_page(viewport={"width": 1280, "height": 900})
            started = time.perf_counter()
            page.goto((tmp_path / "report" / "index.html").as_uri())
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            walls.append(1000 * (time.perf_counter() - started))
            page.close()
        opened.close()
    store_latency(walls)
    print(f"\npage opened in {', '.join(f'{ms:.0f}' for ms in walls)} ms wall; load {os.getloadavg()[0]:.1f}")
    assert min(walls) < 2000
