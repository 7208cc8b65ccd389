"""How a process computes: its threads, and freed memory kept for the next map instead of given back to the system."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to serve large blocks from its heap and never to shrink it; True if it does.

    By default every map of more than 32 MB is mapped anew and its pages are filled with zeros on first touch, which takes
    longer than most operators take on it (a ReLU on 64x720x960: 240 ms instead of 60). The process then keeps its largest
    extent, which worker processes need again for the next frame. Elsewhere than on Linux nothing is done.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))


def set_threads(threads: int) -> None:
    """Give torch its threads and keep freed memory: what every process does before it runs networks."""
    import torch

    torch.set_num_threads(threads)
    keep_freed_memory()
