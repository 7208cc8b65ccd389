"""Names of throttle reasons, and a series that knows it was throttled. Reading them needs a GPU."""

from __future__ import annotations

import builtins

import pytest
import torch

from vssbench.cost.gpu_conditions import GpuConditions, open_nvml, read_conditions, reasons
from vssbench.cost.latency import LatencyResult, as_cuda_graph, compare_latency
from vssbench.errors import CapabilityError


def test_set_bits_are_named():
    assert reasons(0) == ()
    assert reasons(0x1 | 0x40) == ("gpu idle", "hardware thermal slowdown")
    assert reasons(0x4 | 0x1000) == ("software power cap", "reason 0x1000")


@pytest.mark.parametrize(
    ("bits", "throttled"), [(0x0, False), (0x1, False), (0x2, False), (0x4, True), (0x21, True)]
)
def test_idleness_and_chosen_clocks_are_no_throttling(bits, throttled):
    assert GpuConditions(1500, 2600, 300.0, 60, reasons(bits)).is_throttled is throttled


def test_a_throttled_series_is_unstable_and_says_what_to_do():
    hot = GpuConditions(900, 2600, 300.0, 88, ("software thermal slowdown",))
    result = LatencyResult("a GPU", 3.0, (2.0,) * 20, (1.9,) * 20, (hot,))
    assert not result.is_stable
    assert "held back by software thermal slowdown" in result.stability
    assert "let it cool" in result.stability


def test_the_launch_gap_is_what_the_user_waits_beyond_the_device():
    result = LatencyResult("a GPU", 3.0, (2.0, 2.2, 2.1), (1.5, 1.5, 1.5))
    assert result.launch_gap_ms == pytest.approx(0.6)
    assert LatencyResult("cpu", 3.0, (2.0,)).launch_gap_ms is None
    assert result.as_dict()["samples_ms"] == [2.0, 2.2, 2.1]


def test_a_cold_cache_is_made_outside_the_timed_part(monkeypatch):
    monkeypatch.setattr("vssbench.cost.latency.CPU_FLUSH_BYTES", 1 << 16)
    events: list[str] = []
    flush = torch.Tensor.zero_
    monkeypatch.setattr(torch.Tensor, "zero_", lambda self: (events.append("flush"), flush(self))[1])
    compare_latency(
        {"a": lambda: events.append("a"), "b": lambda: events.append("b")},
        warmup=0,
        repeats=2,
        min_seconds=0,
        cold_cache=True,
    )
    assert events == ["a", "b", "flush", "a", "flush", "b", "flush", "b", "flush", "a"]


def test_nvml_is_asked_for_by_name(monkeypatch):
    found = builtins.__import__

    def absent(name, *rest, **options):
        if name == "pynvml":
            raise ImportError(name)
        return found(name, *rest, **options)

    monkeypatch.setattr("importlib.import_module", lambda name: absent(name))
    with pytest.raises(CapabilityError, match=r"energy needs NVML: pip install 'vssbench\[gpu\]'"):
        open_nvml(torch.device("cuda"), "energy")


def test_a_graph_without_cuda_is_refused():
    if torch.cuda.is_available():
        pytest.skip("needs a machine without CUDA")
    with pytest.raises(CapabilityError, match="a CUDA graph was asked for"):
        as_cuda_graph(lambda: None)


@pytest.mark.needs_cuda
def test_the_state_of_a_gpu_can_be_read(cuda):
    pytest.importorskip("pynvml")
    assert read_conditions(torch.device(cuda)).temperature_c > 0
