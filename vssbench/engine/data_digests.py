"""What the frames and labels of a sequence are, as digests: where one pixel is another, so is the digest.

Files are digested by content, once: what was found is remembered by name, size, times and inode beside the bitstreams.

    CACHE/digests/FOLDER.txt    a line per file of a folder: size mtime ctime inode digest name; may be deleted at any time
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from vssbench.dataset import VideoSequence
from vssbench.errors import InputError, StorageError, in_plugin
from vssbench.files import digest_file, write_atomically

SETTLED_NS = 2_000_000_000
"""A file that changed less than so long ago may change again without another time, so it is not remembered."""

Stamp = tuple[int, int, int, int]
"""Size in bytes, modification and change time in nanoseconds, inode."""


class FileDigests:
    """SHA-256 of files by content; made by `remembered_digests`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: dict[Path, dict[str, tuple[Stamp, str]]] = {}
        self._changed: set[Path] = set()

    def of(self, paths: Sequence[Path]) -> list[str]:
        """The digest of each file. Raises InputError naming the first that cannot be read."""
        now = time.time_ns()
        places = [(path, path.parent, _stamp(path)) for path in paths]
        fresh = [place for place in places if self._remembered(*place) is None]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            made = dict(
                zip((p for p, _, _ in fresh), pool.map(digest_file, (p for p, _, _ in fresh)), strict=True)
            )
        for path, folder, stamp in fresh:
            if stamp[2] < now - SETTLED_NS and _stamp(path) == stamp:
                self._known[folder][path.name] = (stamp, made[path])
                self._changed.add(folder)
        return [made.get(path) or self._known[folder][path.name][1] for path, folder, _ in places]

    def _remembered(self, path: Path, folder: Path, stamp: Stamp) -> str | None:
        if folder not in self._known:
            self._known[folder] = _read(self._memory(folder))
        before = self._known[folder].get(path.name)
        return before[1] if before is not None and before[0] == stamp else None

    def _memory(self, folder: Path) -> Path:
        name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
        return self.root / "digests" / f"{name[:32]}.txt"

    def save(self) -> None:
        """Write what is new. A cache that cannot be written costs time only."""
        for folder in self._changed:
            lines = [
                " ".join([*map(str, stamp), digest, name.encode("utf-8", "surrogateescape").hex()])
                for name, (stamp, digest) in sorted(self._known[folder].items())
            ]
            body = "".join(f"{line}\n" for line in lines)
            with suppress(StorageError):
                write_atomically(
                    self._memory(folder), f"{hashlib.sha256(body.encode()).hexdigest()}\n{body}".encode()
                )
        self._changed.clear()


@contextmanager
def remembered_digests(cache: Path) -> Iterator[FileDigests]:
    """Digests of files that are remembered below a cache folder, also of what was read before something failed."""
    files = FileDigests(cache)
    try:
        yield files
    finally:
        files.save()


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}; check the dataset's folder") from error
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _read(path: Path) -> dict[str, tuple[Stamp, str]]:
    """What was remembered of a folder; nothing where the memory is absent or damaged."""
    try:
        checksum, _, body = path.read_text(encoding="ascii").partition("\n")
    except (OSError, ValueError):
        return {}
    if hashlib.sha256(body.encode()).hexdigest() != checksum:
        return {}
    found = {}
    for line in body.splitlines():
        size, modified, changed, inode, digest, name = line.split(" ")
        stamp = (int(size), int(modified), int(changed), int(inode))
        found[bytes.fromhex(name).decode("utf-8", "surrogateescape")] = (stamp, digest)
    return found


def data_digests(sequence: VideoSequence, files: FileDigests) -> tuple[str, str]:
    """Digests of all frames and of all labels of a sequence. Raises InputError, or what the sequence raises."""
    with in_plugin(type(sequence), f"sequence {sequence.name}"):
        return _digests(sequence, files)


def _digests(sequence: VideoSequence, files: FileDigests) -> tuple[str, str]:
    frames = sequence.frame_files()
    identity = [sequence.identity] if frames is None else files.of(frames)
    labelled = list(sequence.labelled)
    of_labels = sequence.label_files()
    if of_labels is None:
        labels = [hashlib.sha256(sequence.label(i).tobytes()).hexdigest() for i in labelled]
    else:
        labels = files.of(of_labels) if of_labels else identity
    return _combined(identity), _combined([*map(str, labelled), *labels])


def _combined(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
