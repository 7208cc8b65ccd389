"""A stopwatch that knows its own noise: warm-up, repeats, median and quartiles, interleaved comparison."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vssbench.cost.gpu_conditions import GpuConditions, read_conditions
from vssbench.cost.host_conditions import HostWatch
from vssbench.errors import CapabilityError, ConfigError
from vssbench.records import HostConditions

STABLE_IQR = 0.05
"""Interquartile range over median up to which a series counts as stable."""
STABLE_MAX = 0.4
"""How far the slowest call of a stable series may lie above the median."""
CPU_FLUSH_BYTES = 128 << 20
"""More than the last-level cache of common processors."""
STABLE_DRIFT = 0.05
"""How far the medians of the two halves of a stable series may differ."""


@dataclass(frozen=True, slots=True)
class LatencyResult:
    """Times of one callable. All raw; the summaries are derived and never rounded."""

    device: str
    """Name of what ran: 'cpu (n threads)' or the CUDA device's name."""
    first_call_ms: float
    """The very first call, before warm-up: lazy loading, autotuning and cold caches included."""
    samples_ms: tuple[float, ...]
    """Synchronised wall-clock time of each repeat, in order: what a user waits for."""
    device_samples_ms: tuple[float, ...] = ()
    """CUDA only: time between events around each repeat, i.e. without the launch gap at its ends."""
    conditions: tuple[GpuConditions, ...] = ()
    """CUDA with NVML only: state of the GPU before and after the repeats."""
    host: HostConditions | None = None
    """What else the machine did during the repeats."""

    @property
    def n(self) -> int:
        """Number of timed repeats."""
        return len(self.samples_ms)

    @property
    def median_ms(self) -> float:
        """Median of the repeats."""
        return float(np.median(self.samples_ms))

    @property
    def quartile_low_ms(self) -> float:
        """First quartile."""
        return float(np.percentile(self.samples_ms, 25))

    @property
    def quartile_high_ms(self) -> float:
        """Third quartile."""
        return float(np.percentile(self.samples_ms, 75))

    @property
    def p99_ms(self) -> float:
        """99th percentile; equals nearly the maximum for fewer than 100 repeats."""
        return float(np.percentile(self.samples_ms, 99))

    @property
    def device_median_ms(self) -> float | None:
        """Median of the device times; None on CPU."""
        return float(np.median(self.device_samples_ms)) if self.device_samples_ms else None

    @property
    def launch_gap_ms(self) -> float | None:
        """Median of what a user waits beyond the device's own time; None on CPU."""
        if not self.device_samples_ms:
            return None
        return float(np.median(np.subtract(self.samples_ms, self.device_samples_ms)))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: summaries beside the raw samples, unrounded."""
        return {
            "median_ms": self.median_ms,
            "quartiles_ms": [self.quartile_low_ms, self.quartile_high_ms],
            "p99_ms": self.p99_ms,
            "n": self.n,
            "first_call_ms": self.first_call_ms,
            "device_median_ms": self.device_median_ms,
            "launch_gap_ms": self.launch_gap_ms,
            "stability": self.stability,
            "conditions": [one.as_dict() for one in self.conditions],
            "samples_ms": list(self.samples_ms),
        }

    @property
    def is_stable(self) -> bool:
        """Whether spread, outliers and drift are small enough to quote the median."""
        return self.stability.startswith("stable")

    @property
    def stability(self) -> str:
        """'stable: ...' or 'unstable: ...' with the number, the likely cause and what to try."""
        median = self.median_ms
        spread = (self.quartile_high_ms - self.quartile_low_ms) / median
        excess = max(self.samples_ms) / median - 1
        half = self.n // 2
        throttled = sorted({name for one in self.conditions if one.is_throttled for name in one.throttled_by})
        drift = float(np.median(self.samples_ms[half:])) / float(np.median(self.samples_ms[: half or 1])) - 1
        if self.n < 5:
            return f"unstable: only {self.n} repeats say nothing about noise; raise repeats to 20 or more"
        if throttled:
            return (
                f"unstable: the GPU was held back by {', '.join(throttled)}; let it cool, raise its power limit, or lock "
                "lower clocks (nvidia-smi -lgc)"
            )
        if abs(drift) > STABLE_DRIFT:
            trend = "slower" if drift > 0 else "faster"
            return (
                f"unstable: the second half is {abs(drift):.0%} {trend} than the first, the clock or the temperature "
                "changes; raise warmup, let the machine settle, or lock the clocks"
            )
        if spread > STABLE_IQR:
            return (
                f"unstable: the middle half of the times spans {spread:.0%} of the median, other work shares the "
                "processor; close other jobs, set the thread count, or raise min_seconds"
            )
        if excess > STABLE_MAX:
            return (
                f"unstable: the slowest call is {excess:.0%} above the median, an interruption; "
                "close other jobs or raise repeats"
            )
        return f"stable: the middle half of the times spans {spread:.1%} of the median"

    def __str__(self) -> str:
        width = self.quartile_high_ms - self.quartile_low_ms
        note = "" if self.is_stable else f"; {self.stability}"
        note += f"; {self.host.busy}" if self.host and self.host.busy else ""
        return f"{self.median_ms:.4g} ms (IQR {width:.2g}, n = {self.n}) on {self.device}{note}"


@dataclass(frozen=True, slots=True)
class LatencyComparison:
    """Several callables timed in turns, so that drift of the machine meets all of them."""

    results: dict[str, LatencyResult]
    """In the order given; the first is the base of the ratios."""

    def ratio(self, name: str) -> tuple[float, float, float]:
        """Quartiles (low, median, high) of time(name) / time(base), paired round by round."""
        base = np.array(next(iter(self.results.values())).samples_ms)
        pairs = np.array(self.results[name].samples_ms) / base
        low, middle, high = np.percentile(pairs, (25, 50, 75))
        return float(low), float(middle), float(high)


def measure_latency(
    callable: Callable[[], Any],  # noqa: A002 - the documented name
    device: str | torch.device = "cpu",
    *,
    warmup: int = 3,
    repeats: int = 20,
    min_seconds: float = 0.5,
    cold_cache: bool = False,
) -> LatencyResult:
    """Time `callable()` on `device`: one first call, `warmup` calls, then repeats.

    Repeats until both `repeats` calls are done and `min_seconds` have passed. On CUDA each call is synchronised before
    and after. `cold_cache` overwrites the last-level cache before each repeat, outside the timed part: what an operator
    finds in a network whose other maps do not fit. Raises ConfigError for counts below 1 repeat, CapabilityError if the
    device is absent.
    """
    return compare_latency(
        {"it": callable},
        device,
        warmup=warmup,
        repeats=repeats,
        min_seconds=min_seconds,
        cold_cache=cold_cache,
    ).results["it"]


def compare_latency(
    callables: Mapping[str, Callable[[], Any]],
    device: str | torch.device = "cpu",
    *,
    warmup: int = 3,
    repeats: int = 20,
    min_seconds: float = 0.5,
    cold_cache: bool = False,
) -> LatencyComparison:
    """Time several callables in turns: A B C, B C A, C A B, ...; `min_seconds` is for all of them together.

    Raises as `measure_latency`.
    """
    if not callables or repeats < 1 or warmup < 0:
        raise ConfigError(f"nothing to time: {len(callables)} callables, {repeats = }, {warmup = }")
    watch = stopwatch(torch.device(device))
    first = {name: watch(run)[0] for name, run in callables.items()}
    for _ in range(warmup):
        for run in callables.values():
            watch(run)
    times: dict[str, list[tuple[float, float | None]]] = {name: [] for name in callables}
    order = list(callables)
    flush = _flusher(torch.device(device)) if cold_cache else None
    conditions = _conditions(torch.device(device))
    gc.collect()
    host = HostWatch()
    start = time.perf_counter()
    rounds = 0
    while rounds < repeats or time.perf_counter() - start < min_seconds:
        for name in order:
            if flush is not None:
                flush()
            times[name].append(watch(callables[name]))
        order = order[1:] + order[:1]
        rounds += 1
    described = describe_device(torch.device(device))
    watched = host.finish()
    conditions += _conditions(torch.device(device))
    return LatencyComparison(
        {
            name: LatencyResult(
                described,
                first[name],
                tuple(wall for wall, _ in series),
                tuple(event for _, event in series if event is not None),
                conditions,
                watched,
            )
            for name, series in times.items()
        }
    )


def describe_device(device: torch.device) -> str:
    """Human name of a device, with what changes its speed."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"{device.type} ({threads} thread{'s' if threads != 1 else ''})"


def _conditions(device: torch.device) -> tuple[GpuConditions, ...]:
    """One reading on CUDA where NVML is there, else none: times are worth having without it."""
    if device.type != "cuda":
        return ()
    try:
        return (read_conditions(device),)
    except CapabilityError:
        return ()


def _flusher(device: torch.device) -> Callable[[], None]:
    """Function that fills the last-level cache with other data; its buffer is allocated once."""
    size = CPU_FLUSH_BYTES
    if device.type == "cuda":
        size = 4 * int(torch.cuda.get_device_properties(device).L2_cache_size)
    buffer = torch.empty(size, dtype=torch.uint8, device=device)

    def flush() -> None:
        buffer.zero_()

    return flush


def as_cuda_graph(callable: Callable[[], Any]) -> Callable[[], None]:  # noqa: A002 - as in measure_latency
    """`callable` recorded once as a CUDA graph; calling the result replays it on the same memory.

    For a latency row of its own beside plain launches. Raises CapabilityError without CUDA.
    """
    if not torch.cuda.is_available():
        raise CapabilityError(
            "a CUDA graph was asked for, but torch finds no CUDA device; time the plain call"
        )
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # type: ignore[no-untyped-call]
        for _ in range(3):
            callable()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        callable()
    return graph.replay


Stopwatch = Callable[[Callable[[], Any]], "tuple[float, float | None]"]


def stopwatch(device: torch.device) -> Stopwatch:
    """Function that runs a callable once and returns (wall ms, device ms or None)."""
    if device.type == "cpu":
        return _time_on_cpu
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise CapabilityError(
                "latency on 'cuda' was asked for, but torch finds no CUDA device; use device='cpu'"
            )
        return lambda run: _time_on_cuda(run, device)
    raise CapabilityError(f"latency on {device.type!r} is not supported; use 'cpu' or 'cuda'")


def _time_on_cpu(run: Callable[[], Any]) -> tuple[float, float | None]:
    start = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - start) / 1e6, None


def _time_on_cuda(run: Callable[[], Any], device: torch.device) -> tuple[float, float | None]:
    with torch.cuda.device(device):
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start = time.perf_counter_ns()
        before.record()
        run()
        after.record()
        torch.cuda.synchronize()
        return (time.perf_counter_ns() - start) / 1e6, before.elapsed_time(after)
