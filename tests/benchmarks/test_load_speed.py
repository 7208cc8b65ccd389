"""Time to load 10,000 units with 12 frames each, and to make their table with all intervals.

Run with `pytest tests/benchmarks/test_load_speed.py --benchmark-enable --benchmark-only -s`. CPU time is the better
guide on a busy machine.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.run import load_run
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord, to_json
from vssbench.results.store import RunFolder

CODECS, METHODS, SEQUENCES, GOPS = ("hevc", "h264"), tuple("abcde"), 20, 50
DISTANCES, CLASSES = 12, 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 10,000 units; only one pattern of counts is drawn per method, writing is slow enough."""
    run = RunFolder(tmp_path_factory.mktemp("runs") / "big")
    run.write_json(
        "experiment.json",
        {
            "datasets": [{"name": "d"}],
            "codecs": [{"label": c, "codec": c} for c in CODECS],
            "methods": [{"label": m, "name": "constant"} for m in METHODS],
        },
    )
    run.write_json("environment.json", {"bits": {}, "machine": {"processor": "p"}, "forced": []})
    names = [f"class {i}" for i in range(CLASSES)]
    run.write_json("datasets.json", {"d": {"class_names": names, "ignore_index": 255}})
    titles = {"datasets": ["d"], "codecs": list(CODECS), "methods": list(METHODS)}
    run.write_json("plan.json", {"units": 10_000, "titles": titles})
    generator = np.random.default_rng(0)
    expected = np.eye(CLASSES) * 4000 + 60
    for codec in CODECS:
        for method in METHODS:
            for s in range(SEQUENCES):
                for g in range(GOPS):
                    counts = generator.poisson(expected, (DISTANCES, CLASSES, CLASSES)).astype(np.int64)
                    cases = tuple(
                        CaseRecord(
                            12 * g + d, d, "P" if d else "I", 12 * g, 12, 900, "non_key" if d else "key"
                        )
                        for d in range(DISTANCES)
                    )
                    key = UnitKey("d", codec, method, f"street-{s:02d}", f"phase-00-gop-{g:06d}")
                    steps, times = (
                        {"key": 1, "non_key": 11},
                        {"step_key": 0.1, "step_non_key": 0.5, "steps_key": 1, "steps_non_key": 11},
                    )
                    record = UnitRecord(key, cases, counts, steps, 1.0, 380.0, "ab" * 32, times)
                    path = run.unit_path(key)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(to_json(record))
    return run.path


def test_ten_thousand_units_load_in_seconds(folder: Path, benchmark: Any) -> None:
    run = load_run(folder)
    started = time.process_time()
    benchmark.pedantic(lambda: run.groups, rounds=1)
    loaded = time.process_time()
    assert np.isfinite(run.table.loc[run.table.metric == "miou", "low"]).all()
    made = time.process_time()
    print(
        f"\n10,000 units: {loaded - started:.1f} s CPU to load, {made - loaded:.1f} s for the table and its intervals"
    )
    assert loaded - started < 10
