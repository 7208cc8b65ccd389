"""Speed of the HEVC motion parser against FFmpeg's full decode, both sides interleaved in one run.

Run with `pytest tests/benchmarks/test_hevc_motion_speed.py --benchmark-enable --benchmark-only -s`; the printed
ratios are medians. CPU time is given as well: it is the better guide on a busy machine.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from vssbench.codec.hevc import read_motion

ROUNDS = 7
STREAMS = ("bench_960x720", "bench_2048x1024")


def parse(path: Path, threads: int) -> int:
    return sum(1 for _ in read_motion(path, threads=threads))


def decode(path: Path) -> int:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
        return sum(1 for _ in container.decode(stream))


def rates(job: Callable[[], int]) -> tuple[float, float]:
    """Pictures per second of wall clock and of CPU time."""
    wall, cpu = time.perf_counter(), time.process_time()
    pictures = job()
    return pictures / (time.perf_counter() - wall), pictures / (time.process_time() - cpu)


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", STREAMS)
def test_the_parser_beats_a_full_decode(benchmark, shared: Path, name: str) -> None:
    path = shared / "data" / "hevc" / "bench" / f"{name}.hevc"
    jobs: dict[str, Callable[[], int]] = {
        "parser, 1 thread": lambda: parse(path, 1),
        "FFmpeg, 1 thread": lambda: decode(path),
        "parser, 2 threads": lambda: parse(path, 2),
    }
    measured: dict[str, list[tuple[float, float]]] = {label: [] for label in jobs}
    for _ in range(ROUNDS):
        for label, job in jobs.items():
            measured[label].append(rates(job))
    wall = {label: statistics.median(rate for rate, _ in values) for label, values in measured.items()}
    cpu = {label: statistics.median(rate for _, rate in values) for label, values in measured.items()}
    print(f"\n{name}, pictures/s (median of {ROUNDS}, wall | CPU)")
    for label in jobs:
        print(f"  {label:18} {wall[label]:8.1f} | {cpu[label]:8.1f}")
    single, full, double = jobs
    print(f"  parser / FFmpeg: {wall[single] / wall[full]:.2f} | {cpu[single] / cpu[full]:.2f} (goal 2)")
    print(f"  2 threads / 1:   {wall[double] / wall[single]:.2f} (goal 1.5)")
    benchmark.extra_info.update(wall=wall, cpu=cpu)
    benchmark.pedantic(jobs[single], rounds=1)
    assert cpu[single] > 2 * cpu[full]
