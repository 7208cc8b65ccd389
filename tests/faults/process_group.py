"""Whether anything of a process group is still running."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def living(group: int) -> bool:
    """True if the group has a member that is more than an entry which nobody has collected yet."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                return True
    return False


def await_end(group: int, seconds: float = 60) -> float:
    """Wait until nothing of the group runs; returns the time of `time.monotonic()` then."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not living(group):
            return time.monotonic()
        time.sleep(0.01)
    raise AssertionError(f"processes outlived their command by {seconds} seconds")
