"""Energy of a GPU per call, from NVML's counter. Needs the extra `gpu` (nvidia-ml-py)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from vssbench.cost.gpu_conditions import open_nvml
from vssbench.errors import CapabilityError, ConfigError

MIN_SECONDS = 2.0
"""The counter moves every 20 to 100 ms, so shorter windows read mostly its rounding."""


@dataclass(frozen=True, slots=True)
class EnergyResult:
    """Energy of repeated calls on one GPU, board power included."""

    device: str
    calls: int
    seconds: float
    """Length of the busy window."""
    energy_j: float
    """Counter difference over the busy window, idle power included."""
    idle_power_w: float
    """Mean power in an idle window just before."""

    @property
    def energy_per_call_j(self) -> float:
        """Joules per call, idle power included."""
        return self.energy_j / self.calls

    @property
    def energy_above_idle_per_call_j(self) -> float:
        """Joules per call on top of what the idle GPU would have drawn in the same time."""
        return (self.energy_j - self.idle_power_w * self.seconds) / self.calls


def measure_energy(
    callable: Callable[[], Any],  # noqa: A002 - as in measure_latency
    device: str | torch.device = "cuda",
    *,
    seconds: float = 2.0,
    idle_seconds: float = 2.0,
) -> EnergyResult:
    """Repeat `callable()` for `seconds` on a CUDA device and divide the energy it drew by the calls.

    Raises CapabilityError without CUDA, without nvidia-ml-py, or if the GPU has no energy counter (before Volta);
    ConfigError if a window is shorter than the counter can resolve.
    """
    if min(seconds, idle_seconds) < MIN_SECONDS:
        raise ConfigError(
            f"energy windows of {seconds} s and {idle_seconds} s are too short for the counter; use at least {MIN_SECONDS} s"
        )
    device = torch.device(device)
    if device.type != "cuda" or not torch.cuda.is_available():
        raise CapabilityError(f"energy is measured on CUDA devices only, not on {device}")
    read_joules = _counter(device)
    callable()
    torch.cuda.synchronize(device)
    before_idle = read_joules()
    time.sleep(idle_seconds)
    idle_power_w = (read_joules() - before_idle) / idle_seconds
    before, start, calls = read_joules(), time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        callable()
        torch.cuda.synchronize(device)
        calls += 1
    elapsed = time.perf_counter() - start
    return EnergyResult(
        torch.cuda.get_device_name(device), calls, elapsed, read_joules() - before, idle_power_w
    )


def _counter(device: torch.device) -> Callable[[], float]:
    """Function that reads the device's lifetime energy in joules."""
    nvml, handle = open_nvml(device, "energy")
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        raise CapabilityError(f"NVML cannot read the energy of {device}: {error}") from error
    return lambda: float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
