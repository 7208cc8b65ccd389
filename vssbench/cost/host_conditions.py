"""How busy the machine was while something was timed on it, and how fast its processors ran: Linux, from /proc."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from vssbench.records import HostConditions

PROC = Path("/proc")
_BUSY = (0, 1, 2, 5, 6, 7)
"""Columns of the first line of /proc/stat: user, nice, system, irq, softirq, steal (proc(5))."""


class HostWatch:
    """Looks at the machine now, and again at the end."""

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        self._clock = clock_mhz(proc)
        self._before = self._readings()

    def finish(self) -> HostConditions:
        """What happened since."""
        (wall, own, busy), (wall_then, own_then, busy_then) = self._readings(), self._before
        processors = os.cpu_count() or 1
        share = None
        if busy is not None and busy_then is not None and wall > wall_then:
            others = (busy - busy_then) - (own - own_then)
            share = min(1.0, max(0.0, others / ((wall - wall_then) * processors)))
        clock = clock_mhz(self._proc)
        ends = None if clock is None or self._clock is None else (self._clock, clock)
        return HostConditions(processors, share, self._load, ends)

    def _readings(self) -> tuple[float, float, float | None]:
        """Seconds: of the wall clock, of processor time of this process, of processor time of all."""
        return time.monotonic(), time.process_time(), busy_seconds(self._proc)


def busy_seconds(proc: Path = PROC) -> float | None:
    """Processor time since the machine started in which its processors were not idle; None where it is not told."""
    try:
        columns = (proc / "stat").read_text().split("\n", 1)[0].split()[1:]
        return sum(int(columns[i]) for i in _BUSY) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def clock_mhz(proc: Path = PROC) -> float | None:
    """Mean clock of all processors now; None where it is not told."""
    try:
        found = re.findall(r"^cpu MHz\s*:\s*([\d.]+)", (proc / "cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return sum(map(float, found)) / len(found) if found else None
