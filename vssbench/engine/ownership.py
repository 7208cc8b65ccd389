"""One process at a time in a folder: who holds it is named to whoever comes second."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from vssbench.errors import StorageError
from vssbench.files import PART, storage_error


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold a run's or a training's folder, made if it is not there.

    Raises StorageError naming the process that holds it already, or if the folder cannot be written.
    """
    note = folder / ".owner"
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise StorageError(
            f"{folder}: in use by {_read(note)}; wait for it to end or choose another folder with -o"
        ) from None
    except OSError as error:
        raise storage_error(folder, error) from error
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):  # without the note a second session only learns less about this one
        note.write_text(f"process {os.getpid()} on {platform.node()}, started {started}", encoding="utf-8")
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)
        lock.release()


def _read(note: Path) -> str:
    try:
        return note.read_text(encoding="utf-8") or "another process"
    except (OSError, ValueError):
        return "another process"


def sweep(folder: Path) -> None:
    """Remove what killed writers left half-written in a folder that the caller holds.

    Folders below it with a lock of their own are left to those who hold them.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not os.path.exists(os.path.join(place, name, ".lock"))]
        for name in names:
            if name.startswith(PART):
                with suppress(FileNotFoundError):
                    os.unlink(os.path.join(place, name))
