"""Ctrl-C that is heard: the command ends soon even where the main thread is deep inside a long computation."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import NoReturn

PATIENCE_SECONDS = 1.0
"""How long the ordinary way out may take before the process is ended. Records are atomic, so nothing is lost."""

STOPPED = "vssbench: stopped; finished work is kept, the same command goes on from there"
EXIT_CODE = 130


@contextlib.contextmanager
def heard_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C raises KeyboardInterrupt as always, and ends the process if that takes too long.

    Python tells the main thread of a signal only between two of its own instructions; one forward pass of a large
    network may take many seconds. The wake-up descriptor is written at once, and a thread of ours waits for it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    left = threading.Event()
    threading.Thread(target=_watch, args=(reading, left), daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        raise  # still watched: taking the interpreter down may be what takes long
    except BaseException:
        _unwatch(left, before, writing)
        raise
    else:
        _unwatch(left, before, writing)


def end_now() -> NoReturn:
    """End the process with the exit code of Ctrl-C, without taking the interpreter apart first.

    What is registered for the end runs (workers are joined, semaphores removed). What is left out is the destruction of
    every module: with torch loaded that is most of a second, several on a busy machine, and no thread of ours could cut
    it short, because none gets the interpreter then.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(EXIT_CODE)


def _unwatch(left: threading.Event, before: int, writing: int) -> None:
    left.set()
    signal.set_wakeup_fd(before)
    os.close(writing)  # ends the watching thread, which closes its own end


def _watch(reading: int, left: threading.Event) -> None:
    with os.fdopen(reading, "rb", buffering=0) as signals:
        while number := signals.read(1):
            if number[0] == signal.SIGINT and not left.wait(PATIENCE_SECONDS):
                with contextlib.suppress(OSError, ValueError):
                    print(STOPPED, file=sys.stderr, flush=True)
                os._exit(EXIT_CODE)
