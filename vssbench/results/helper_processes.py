"""Processes that help a command of this program: they read records and draw figures while it goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from typing import Generic, TypeVar

from vssbench.errors import VssbenchError

Result = TypeVar("Result")
MOST_HELPERS = 7


@contextmanager
def helper_processes() -> Iterator[Executor | None]:
    """A process for every other core; None where there is one core, so that nothing would be gained.

    For commands: a script that uses it needs an `if __name__ == "__main__"` guard, as with all spawned processes.
    """
    count = min(MOST_HELPERS, len(os.sched_getaffinity(0)) - 1 if hasattr(os, "sched_getaffinity") else 1)
    if count < 1:
        yield None
        return
    executor = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_prepare)
    try:
        yield executor
    except BaseException:  # Ctrl-C above all: nobody wants what helpers are still at
        for process in list((getattr(executor, "_processes", None) or {}).values()):
            process.kill()
        raise
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


class Shared(Generic[Result]):
    """A call that a helper does, unless this process comes to it first."""

    def __init__(self, helper: Executor | None, call: Callable[..., Result], *arguments: object) -> None:
        self._call, self._arguments = call, arguments
        self._future = helper.submit(call, *arguments) if helper is not None else None

    def result(self) -> Result:
        """What the call gave or raised. Raises VssbenchError if the process that did it was ended from outside."""
        if self._future is None or self._future.cancel():
            return self._call(*self._arguments)
        try:
            return self._future.result()
        except BrokenProcessPool as error:
            raise VssbenchError(
                "a helper process was ended from outside, perhaps for want of memory; run the command again"
            ) from error


def in_reverse(calls: Sequence[Shared[Result]]) -> list[Result]:
    """Results in the given order; this process begins with the last call, the helpers began with the first."""
    return [call.result() for call in reversed(calls)][::-1]


def _prepare() -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches all; the command ends, and its helpers with it
    threading.Thread(target=end_with_parent, daemon=True).start()


def end_with_parent() -> None:
    """For a thread of a process that helps another: without it, it would wait for work for ever once that was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
