"""pytest-benchmark's JSON both ways: written by a run, read by `check`, filled by the plug-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vssbench.analysis.benchmark_json import (
    Benchmarks,
    compare_benchmarks,
    from_document,
    is_benchmark_document,
    stats_of,
    to_document,
)
from vssbench.analysis.gate import Limits
from vssbench.errors import ConfigError, InputError


def made(samples: dict[str, list[float]], processor: str = "p") -> Benchmarks:
    return Benchmarks("here.json", processor, samples)


def test_what_is_written_is_read_back():
    benchmarks = made({"a": [1.0, 2.0, 4.0], "b": [3.5]})
    found = from_document(json.loads(json.dumps(to_document(benchmarks))), "here.json")
    assert found.processor == "p"
    assert list(found.samples_ms) == ["a", "b"]
    assert list(found.samples_ms["a"]) == pytest.approx([1.0, 2.0, 4.0])
    assert is_benchmark_document(to_document(benchmarks))


def test_the_summary_is_in_seconds():
    stats = stats_of([1000.0, 2000.0, 3000.0, 4000.0, 100000.0])
    assert (stats["min"], stats["median"], stats["q1"], stats["q3"]) == (1.0, 3.0, 2.0, 4.0)
    assert (stats["rounds"], stats["iqr"], stats["total"]) == (5, 2.0, 110.0)
    assert (stats["outliers"], stats["hd15iqr"]) == ("1;1", 4.0)


def test_the_fields_are_those_of_pytest_benchmark():
    stats = pytest.importorskip("pytest_benchmark.stats")
    assert set(stats.Stats.fields) | {"data", "iterations"} == set(stats_of([1.0, 2.0]))


def test_pytest_benchmark_compares_what_is_written(tmp_path):
    pytest.importorskip("pytest_benchmark")
    for name, factor in (("0001_base", 1.0), ("0002_head", 2.0)):
        document = to_document(made({"vssbench::d::c::m::key": [10 * factor, 11 * factor]}))
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    command = [sys.executable, "-m", "pytest_benchmark", "compare", "0001_base.json", "0002_head.json"]
    # inside a worker of pytest-xdist benchmarks are not stored
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "vssbench::d::c::m::key" in done.stdout
    assert "(2.0" in done.stdout  # the head's time relative to the base's


def test_a_slower_benchmark_is_a_regression_and_a_missing_one_too():
    generator = np.random.default_rng(0)
    noise = list(10 * generator.normal(1, 0.03, 30))
    base = made({"slow": noise, "same": noise, "gone": noise})
    head = made({"slow": [1.3 * v for v in noise], "same": noise, "new": noise})
    verdicts = {row.method: row.outcome for row in compare_benchmarks(head, base, paired=True)}
    assert verdicts == {"slow": "regression", "same": "pass", "gone": "regression", "new": "skipped"}
    loose = compare_benchmarks(head, base, Limits(metrics={"time_ms": 0.5}))
    assert {row.method: row.outcome for row in loose}["slow"] == "pass"


def test_times_of_another_processor_are_not_compared():
    base, head = made({"a": [1.0] * 5}), made({"a": [9.0] * 5}, processor="q")
    assert [row.outcome for row in compare_benchmarks(head, base)] == ["skipped"]
    with pytest.raises(ConfigError, match=r"machine\.processor"):
        compare_benchmarks(head, base, paired=True)


def test_files_without_a_common_name_are_refused():
    with pytest.raises(ConfigError, match="share no benchmark; here for example 'a', there 'b'"):
        compare_benchmarks(made({"a": [1.0]}), made({"b": [1.0]}))


def test_samples_that_were_not_saved_are_asked_for():
    document = to_document(made({"a": [1.0]}))
    del document["benchmarks"][0]["stats"]["data"]
    with pytest.raises(
        InputError, match="benchmark a was saved without its samples; write it with --benchmark-json"
    ):
        from_document(document, "f.json")
    document["benchmarks"][0]["stats"]["data"] = [float("nan")]
    with pytest.raises(InputError, match="benchmark a holds no samples, NaN or negative ones"):
        from_document(document, "f.json")
    with pytest.raises(InputError, match="holds no benchmark"):
        from_document({**document, "benchmarks": []}, "f.json")


def test_the_fixture_stores_the_stopwatch_s_samples(tmp_path: Path):
    pytest.importorskip("pytest_benchmark")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["vssbench.pytest_latency"]\n')
    (tmp_path / "test_time.py").write_text(
        "def test_step(store_latency):\n    store_latency([5.0, 7.0, 9.0])\n"
    )
    command = [
        sys.executable,
        "-P",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "--benchmark-json=times.json",
        ".",
    ]
    # inside a worker of pytest-xdist benchmarks are not stored
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    values = json.loads((tmp_path / "times.json").read_text())
    found = from_document(values, "times.json")
    assert {name: list(v) for name, v in found.samples_ms.items()} == {
        "test_time.py::test_step": pytest.approx([5.0, 7.0, 9.0])
    }
    assert "vssbench_samples_ms" not in values["benchmarks"][0]["extra_info"]
