"""Energy per call: the arithmetic with a pretended counter, and refusals. The real counter needs a GPU."""

from __future__ import annotations

import pytest
import torch

from vssbench.cost import energy
from vssbench.cost.energy import EnergyResult, measure_energy
from vssbench.errors import CapabilityError, ConfigError


def test_energy_per_call_with_and_without_idle_power():
    result = EnergyResult("a GPU", calls=10, seconds=2.0, energy_j=300.0, idle_power_w=50.0)
    assert result.energy_per_call_j == 30.0
    assert result.energy_above_idle_per_call_j == 20.0


def test_windows_below_the_counters_resolution_are_refused():
    with pytest.raises(ConfigError, match="too short for the counter"):
        measure_energy(lambda: None, seconds=0.1)


def test_energy_on_cpu_is_refused():
    with pytest.raises(CapabilityError, match="CUDA devices only"):
        measure_energy(lambda: None, "cpu")


def test_idle_and_busy_windows_are_read_separately(monkeypatch):
    joules = iter([100.0, 220.0, 220.0, 520.0])
    clock = iter([0.0, 0.5, 1.0, 1.5, 2.0, 2.0])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    monkeypatch.setattr(energy, "_counter", lambda device: lambda: next(joules))
    monkeypatch.setattr(energy.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(energy.time, "perf_counter", lambda: next(clock))
    result = measure_energy(lambda: None, seconds=2.0, idle_seconds=2.0)
    assert (result.calls, result.seconds, result.energy_j, result.idle_power_w) == (3, 2.0, 300.0, 60.0)


@pytest.mark.needs_cuda
def test_a_busy_gpu_draws_more_than_an_idle_one(cuda):
    pytest.importorskip("pynvml")
    matrix = torch.ones(4096, 4096, device=cuda)
    assert measure_energy(lambda: matrix @ matrix, cuda).energy_above_idle_per_call_j > 0
