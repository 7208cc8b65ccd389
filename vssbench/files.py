"""Files that are complete or absent: one way to write, to lock and to digest them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from vssbench.errors import DiskFullError, InputError, StorageError

PART = ".part-"
"""Beginning of the names of files that are still being written; what a killed process leaves may be removed."""
ANOTHER_FOLDER = "choose another folder with -o"
_SIGNATURES = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"RIFF": "a RIFF file (WebP, AVI)", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"BM": "BMP", b"GIF8": "GIF", b"%!PS": "PostScript", b"8BPS": "Photoshop", b"\0\0\0\x0cjP": "JPEG 2000",
    b"version https://git-lfs": "a Git LFS pointer", b"PK\3\4": "a zip archive", b"%PDF": "PDF", b"<": "a text or web page",
}  # fmt: skip


def write_atomically(
    path: Path, content: bytes | Callable[[IO[bytes]], Any], *, remedy: str = ANOTHER_FOLDER
) -> None:
    """Write a file under a temporary name, flush it to disk and rename it; its mode is what the umask leaves.

    content: bytes, or what fills an open file. Missing folders are made. remedy: what to do where permission is lacking.
    Raises StorageError, DiskFullError where space, quota or file size is used up; nothing half-written stays.
    """
    temporary = path.parent / f"{PART}{uuid.uuid4().hex[:12]}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = _cause(error)
        if cause is None:
            raise
        needed = None if callable(content) else len(content)
        raise storage_error(path, cause, needed, remedy=remedy) from error


def _cause(error: BaseException) -> OSError | None:
    """The OSError behind a failed write: torch.save ends in a RuntimeError of its own when the disk is full."""
    behind = error.__context__ if isinstance(error, RuntimeError) else error
    return behind if isinstance(behind, OSError) else None


def storage_error(
    path: Path, error: OSError, needed_bytes: int | None = None, *, remedy: str = ANOTHER_FOLDER
) -> StorageError:
    """The error a user gets when `path` cannot be written: cause and remedy by errno."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        needed = f"; {needed_bytes} more bytes are needed at once" if needed_bytes else ""
        what = "the limit on file sizes is reached" if error.errno == errno.EFBIG else "the disk is full"
        return DiskFullError(
            f"{path}: {what}{needed}. Free some space and run the same command again to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: no permission to write here; {remedy}")
    if error.errno == errno.ENOLCK:
        return StorageError(
            f"{path}: this file system gives no locks; use a folder on a local disk ({remedy})"
        )
    return StorageError(f"{path}: cannot be written ({error.strerror or error}); {remedy}")


@contextmanager
def locked(path: Path, *, remedy: str = ANOTHER_FOLDER) -> Iterator[None]:
    """Hold the lock file `path` against other processes, waiting for it. Raises StorageError if it cannot be made."""
    lock = FileLock(str(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise storage_error(path, error, remedy=remedy) from error
    try:
        yield
    finally:
        lock.release()


LARGEST_JSON = 1 << 28
"""Bytes; far beyond the records of any run, and what fits into memory."""


def read_json(path: Path, remedy: str) -> Any:
    """The content of a JSON file. Raises InputError where it is missing, too large, too deep or no JSON."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'is no file' if path.exists() else 'is missing'}. {remedy}")
        with path.open("rb") as opened:
            text = opened.read(LARGEST_JSON + 1)
        if len(text) > LARGEST_JSON:
            raise InputError(f"{path}: larger than {LARGEST_JSON} bytes, which no file of a run is. {remedy}")
        return json.loads(text.decode("utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}). {remedy}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON ({error}). {remedy}") from error


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal. Raises InputError if it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def content_of(start: bytes) -> str:
    """What a file holds by its first 32 bytes, as the words of a message; '' for what is not known here."""
    if not start.strip(b"\0"):
        return "it holds only zeros" if start else "it is empty"
    found = next((name for signature, name in _SIGNATURES.items() if start.startswith(signature)), None)
    return f"it begins like {found}" if found else ""
