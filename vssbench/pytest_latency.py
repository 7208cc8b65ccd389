"""A plug-in for pytest-benchmark: times of vssbench's stopwatch in pytest-benchmark's JSON.

In conftest.py:  pytest_plugins = ["vssbench.pytest_latency"]

    def test_the_keyframe_step(store_latency):
        store_latency(measure_latency(step, device))

With --benchmark-json the file then holds the stopwatch's synchronised samples under the test's name. The table on the
terminal shows the empty call that stands for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from vssbench.errors import InputError

_SAMPLES = "vssbench_samples_ms"


@pytest.fixture
def store_latency(benchmark: Any) -> Callable[[Any], None]:
    """A function that stores a `LatencyResult`, or a list of milliseconds, as the benchmark of this test."""

    def store(result: Any) -> None:
        samples: Sequence[float] = getattr(result, "samples_ms", result)
        if len(samples) == 0 or not np.isfinite(samples).all():
            raise InputError(f"store_latency: expected finite milliseconds, got {list(samples)[:5]}")
        benchmark.extra_info[_SAMPLES] = [float(value) for value in samples]
        benchmark.pedantic(lambda: None, rounds=1, iterations=1)

    return store


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: Any, benchmarks: Any, output_json: dict[str, Any]) -> None:
    """Put the stored samples in place of the empty call's."""
    from vssbench.analysis.benchmark_json import stats_of

    for entry in output_json["benchmarks"]:
        samples = entry["extra_info"].pop(_SAMPLES, None)
        if samples is not None:
            entry["stats"] = stats_of(samples)
