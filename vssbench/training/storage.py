"""Files that are complete or absent: temporary name, flush to disk, rename."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from vssbench.errors import StorageError


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it. Raises StorageError; leaves no half file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = _cause(error)
        if cause is None:
            raise
        full = cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "free some space" if full else "check the folder and its permissions"
        raise StorageError(f"{path}: cannot be written ({cause.strerror or cause}); {remedy}") from error


def _cause(error: BaseException) -> OSError | None:
    """The OSError behind a failed write: torch.save ends in a RuntimeError of its own when the disk is full."""
    behind = error.__context__ if isinstance(error, RuntimeError) else error
    return behind if isinstance(behind, OSError) else None
