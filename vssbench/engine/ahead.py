"""Decoding on a thread of its own, a bounded number of pictures ahead of the networks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def run_ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items in the same order, made by a thread that is `depth` items ahead at most.

    What the thread raises is raised here, in its place; when the caller stops early, the thread ends after the item it
    is making. Worth it where the caller waits for a GPU; the decoder releases the interpreter lock.
    """
    made: queue.Queue[object] = queue.Queue(max(1, depth))
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:
            put(_Failure(error))

    worker = threading.Thread(target=produce, name="decode ahead", daemon=True)
    worker.start()
    try:
        while (item := made.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stopped.set()
        worker.join()


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error
