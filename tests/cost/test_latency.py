"""The stopwatch: order of calls, derived statistics, stability texts. No assertion depends on real speed."""

from __future__ import annotations

import pytest
import torch

from vssbench.cost import latency
from vssbench.cost.latency import LatencyComparison, LatencyResult, compare_latency, measure_latency
from vssbench.errors import CapabilityError, ConfigError


def _series(*samples):
    return LatencyResult("cpu (1 thread)", 50.0, tuple(samples))


def test_summaries_are_order_statistics_of_the_samples():
    result = _series(4.0, 1.0, 3.0, 2.0, 5.0)
    assert (result.n, result.median_ms, result.quartile_low_ms, result.quartile_high_ms) == (5, 3.0, 2.0, 4.0)
    assert result.p99_ms == pytest.approx(4 + 0.96)
    assert result.device_median_ms is None


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        ([10.0] * 20, "stable: the middle half of the times spans 0.0% of the median"),
        ([10.0] * 3, "unstable: only 3 repeats say nothing about noise; raise repeats to 20 or more"),
        ([10.0] * 10 + [12.0] * 10, "unstable: the second half is 20% slower than the first"),
        ([10.0, 12.0] * 10, "unstable: the middle half of the times spans 18% of the median, other work"),
        (
            [10.0] * 19 + [15.0],
            "unstable: the slowest call is 50% above the median, an interruption; close other jobs",
        ),
    ],
)
def test_stability_names_number_cause_and_remedy(samples, text):
    assert _series(*samples).stability.startswith(text)


def test_the_text_of_a_stable_series_is_short():
    assert str(_series(*[12.4] * 20)) == "12.4 ms (IQR 0, n = 20) on cpu (1 thread)"
    assert "; unstable: only 1 repeats" in str(_series(12.4))


def test_first_call_warmup_and_repeats_are_separate():
    calls = []
    result = measure_latency(lambda: calls.append(1), warmup=4, repeats=7, min_seconds=0)
    assert len(calls) == 1 + 4 + 7
    assert result.n == 7
    assert result.first_call_ms > 0


def test_repeats_go_on_until_the_time_is_filled(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(latency.time, "perf_counter", lambda: float(next(clock)))
    assert measure_latency(lambda: None, warmup=0, repeats=2, min_seconds=10).n == 2 + 9


def test_contestants_take_turns_in_rotating_order():
    calls = []
    compare_latency(
        {name: lambda name=name: calls.append(name) for name in "ABC"}, warmup=1, repeats=3, min_seconds=0
    )
    assert "".join(calls) == "ABC" + "ABC" + "ABC" + "BCA" + "CAB"


def test_ratios_are_paired_round_by_round():
    comparison = LatencyComparison({"base": _series(1.0, 2.0, 4.0), "new": _series(2.0, 4.0, 8.0)})
    assert comparison.ratio("new") == (2.0, 2.0, 2.0)
    assert comparison.ratio("base") == (1.0, 1.0, 1.0)


def test_impossible_requests_are_refused():
    with pytest.raises(ConfigError, match="repeats = 0"):
        measure_latency(lambda: None, repeats=0)
    with pytest.raises(ConfigError, match="nothing to time"):
        compare_latency({})
    with pytest.raises(CapabilityError, match="'meta' is not supported"):
        measure_latency(lambda: None, "meta")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_gpu_is_an_error():
    with pytest.raises(CapabilityError, match="finds no CUDA device"):
        measure_latency(lambda: None, "cuda")


@pytest.mark.needs_cuda
def test_device_times_do_not_exceed_wall_times(cuda):
    matrix = torch.ones(1024, 1024, device=cuda)
    result = measure_latency(lambda: matrix @ matrix, cuda, min_seconds=0)
    assert len(result.device_samples_ms) == result.n
    assert all(
        0 < event <= wall for event, wall in zip(result.device_samples_ms, result.samples_ms, strict=True)
    )
