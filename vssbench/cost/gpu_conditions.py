"""In what state a GPU was while it was timed: clocks, power, temperature and what throttled it, through NVML."""

from __future__ import annotations

import importlib
from dataclasses import asdict, dataclass
from typing import Any

import torch

from vssbench.errors import CapabilityError

HARMLESS = {"gpu idle", "applications clocks setting", "none"}
THROTTLE_REASONS = {
    0x0000000000000001: "gpu idle",
    0x0000000000000002: "applications clocks setting",
    0x0000000000000004: "software power cap",
    0x0000000000000008: "hardware slowdown",
    0x0000000000000010: "sync boost",
    0x0000000000000020: "software thermal slowdown",
    0x0000000000000040: "hardware thermal slowdown",
    0x0000000000000080: "hardware power brake",
    0x0000000000000100: "display clock setting",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons (NVML API reference)."""


@dataclass(frozen=True, slots=True)
class GpuConditions:
    """One reading."""

    sm_clock_mhz: int
    memory_clock_mhz: int
    power_w: float
    temperature_c: int
    throttled_by: tuple[str, ...]

    @property
    def is_throttled(self) -> bool:
        """Whether something other than idleness or a chosen clock held the GPU back."""
        return bool(set(self.throttled_by) - HARMLESS)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "throttled_by": list(self.throttled_by)}


def open_nvml(device: torch.device, purpose: str) -> tuple[Any, Any]:
    """NVML and its handle of a CUDA device. Raises CapabilityError without nvidia-ml-py or where NVML refuses."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError as error:
        raise CapabilityError(f"{purpose} needs NVML: pip install 'vssbench[gpu]'") from error
    try:
        nvml.nvmlInit()
        # CUDA may number devices unlike NVML; the UUID is the same in both
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        return nvml, nvml.nvmlDeviceGetHandleByUUID(uuid)
    except nvml.NVMLError as error:
        raise CapabilityError(f"NVML cannot open {device} for {purpose}: {error}") from error


def read_conditions(device: torch.device) -> GpuConditions:
    """The GPU's state now. Raises CapabilityError as `open_nvml`."""
    nvml, handle = open_nvml(device, "the state of the GPU")
    bits = int(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))
    return GpuConditions(
        sm_clock_mhz=int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)),
        memory_clock_mhz=int(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_MEM)),
        power_w=float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1e3,
        temperature_c=int(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        throttled_by=reasons(bits),
    )


def reasons(bits: int) -> tuple[str, ...]:
    """Names of the set bits; unknown ones by number."""
    named = [name for bit, name in THROTTLE_REASONS.items() if bits & bit]
    unknown = bits & ~sum(THROTTLE_REASONS)
    return tuple(named + ([f"reason {unknown:#x}"] if unknown else []))
