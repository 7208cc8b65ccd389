"""Files that are complete or absent: temporary name, flush to disk, rename."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
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
    except OSError as error:
        temporary.unlink(missing_ok=True)
        remedy = "free some space" if error.errno == errno.ENOSPC else "check the folder and its permissions"
        raise StorageError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
