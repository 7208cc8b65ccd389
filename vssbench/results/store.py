"""A run folder on disk: frozen experiment, environment, immutable unit records, costs and pictures.

RUN/experiment.json     the frozen experiment
RUN/environment.json    code version, packages, encoder builds, device of every session that added to the run
RUN/plan.json           how many units the run has when complete
RUN/units/DATASET/CODEC/METHOD/SEQUENCE/UNIT.json
RUN/costs/DATASET/METHOD.json
RUN/pictures/...        see `PictureCase`
RUN/damaged/            unit files that failed their digest, set aside
RUN/checked.txt         size and time of unit files whose digest was checked; may be deleted at any time
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vssbench.errors import ConfigError, DiskFullError, InputError, StorageError
from vssbench.results.schema import UnitKey, UnitRecord, from_json, to_json

FileStamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""

_CHECKED = "checked.txt"
_LONGEST_SLUG = 200
"""Characters; file systems take 255, of which records use some for what follows the title."""
_PART = ".part-"
"""Beginning of the names of files that are still being written."""


@lru_cache(maxsize=1 << 16)
def slug(text: str) -> str:
    """A file name for a title: readable, no separators, and different titles stay different.

    'hevc-700k' stays; 'AR 0.5' becomes 'AR_0.5-' plus a checksum of the title, and so does a title that is too long for
    a file system. A title that reads like another one's file name is refused by `require_distinct_slugs`.
    """
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_.") or "_"
    if plain == text and len(plain) <= _LONGEST_SLUG:
        return plain
    return f"{plain[:80]}-{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"


def require_distinct_slugs(kind: str, titles: Iterable[str]) -> None:
    """Raises ConfigError if two titles of a run would share record files, here or where capitals count as small."""
    owner: dict[str, str] = {}
    for title in dict.fromkeys(titles):
        other = owner.setdefault(slug(title).lower(), title)
        if other != title:
            raise ConfigError(
                f"{kind} {other!r} and {title!r} would share the record files {slug(title)}; give one another label"
            )


def unit_name(key: UnitKey) -> str:
    """Path of a unit's file below `units`: DATASET/CODEC/METHOD/SEQUENCE/UNIT.json."""
    folders = "/".join(map(slug, (key.dataset, key.codec, key.method, key.sequence)))
    return f"{folders}/{slug(key.unit)}.json"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it. Raises StorageError on permission or a full disk."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_PART)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes it private; run folders are shared between people
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)
        raise storage_error(path, error, len(data)) from error


def storage_error(path: Path, error: OSError, needed_bytes: int | None = None) -> StorageError:
    """The error a user gets when `path` cannot be written: cause and remedy by errno."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        needed = f"; {needed_bytes} more bytes are needed at once" if needed_bytes else ""
        what = "the limit on file sizes is reached" if error.errno == errno.EFBIG else "the disk is full"
        return DiskFullError(
            f"{path}: {what}{needed}. Free some space and run the same command again to go on"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: no permission to write here; choose another folder with -o")
    return StorageError(f"{path}: cannot be written ({error})")


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes the files of one run. Holds no state: what is on disk is the truth."""

    path: Path

    def unit_path(self, key: UnitKey) -> Path:
        """Where a unit is stored."""
        return self.path / "units" / unit_name(key)

    def has_unit(self, key: UnitKey) -> bool:
        """True if the unit is stored and intact; a damaged file is set aside under damaged/ and counts as missing."""
        path = self.unit_path(key)
        if not path.exists():
            return False
        try:
            record = self.read_unit(path)
        except InputError:
            self.set_aside(path)
            return False
        return record.key == key

    def stored_units(self) -> dict[str, FileStamp]:
        """Unit files by name (see `unit_name`), from the folders alone: nothing is read."""
        found: dict[str, FileStamp] = {}
        pending = [("", str(self.path / "units"))]
        while pending:
            prefix, folder = pending.pop()
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                continue
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((f"{prefix}{entry.name}/", entry.path))
                elif entry.name.endswith(".json") and not entry.name.startswith("."):
                    status = entry.stat()
                    found[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
        return found

    def intact_units(self) -> tuple[set[str], list[Path]]:
        """Names of the stored units whose digest holds, and the damaged files that were set aside.

        Each file is read once in its life: what was checked is remembered by size and time in checked.txt.
        Raises StorageError.
        """
        stored, known = self.stored_units(), self._checked()
        fresh = [name for name, stamp in stored.items() if known.get(name) != stamp]
        damaged = []
        for name in fresh:
            path = self.path / "units" / name
            try:
                holds = unit_name(self.read_unit(path).key)
            except InputError:
                holds = ""
            if holds != name:
                damaged.append(self.set_aside(path))
                del stored[name]
        if fresh or len(known) != len(stored):
            lines = [f"{size} {time} {name}" for name, (size, time) in sorted(stored.items())]
            with contextlib.suppress(StorageError):  # it only saves time
                write_atomically(self.path / _CHECKED, "\n".join([*lines, ""]).encode())
        return set(stored), damaged

    def sweep(self) -> int:
        """Remove what killed writers left half-written; returns how many files. For the holder of the lock only."""
        removed = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                if name.startswith(_PART):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(folder, name))
                        removed += 1
        return removed

    def _checked(self) -> dict[str, FileStamp]:
        """What checked.txt remembers; nothing if it is absent or unreadable, which costs time only."""
        try:
            lines = (self.path / _CHECKED).read_text(encoding="utf-8").splitlines()
            parts = (line.split(" ", 2) for line in lines)
            return {name: (int(size), int(time)) for size, time, name in parts}
        except (OSError, ValueError):
            return {}

    def set_aside(self, path: Path) -> Path:
        """Move a damaged unit file to damaged/, where it stays as evidence, and return its new path."""
        target = self.path / "damaged" / "-".join(path.relative_to(self.path / "units").parts)
        try:
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
        except OSError as error:
            raise storage_error(target, error) from error
        return target

    def write_unit(self, record: UnitRecord) -> None:
        """Store a unit. Raises StorageError."""
        write_atomically(self.unit_path(record.key), to_json(record).encode())

    def read_unit(self, path: Path | str) -> UnitRecord:
        """Read one unit file. Raises InputError if it is damaged."""
        try:
            with open(path, "rb") as file:
                text = file.read()
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error})") from error
        return from_json(text, str(path))

    def units(self, names: Iterable[str] | None = None) -> Iterator[UnitRecord]:
        """The stored units, all or those of these names, in a fixed order. Raises InputError at the first damaged one."""
        root = f"{self.path / 'units'}/"  # plain text: a Path for each of ten thousand files takes a second
        wanted = self.stored_units() if names is None else names
        for name in sorted(wanted, key=lambda name: name.split("/")):
            path = root + name
            try:
                yield self.read_unit(path)
            except InputError as error:
                # Damage that left size and time alone: make the next session read every file again.
                with contextlib.suppress(OSError):
                    (self.path / _CHECKED).unlink(missing_ok=True)
                raise InputError(
                    f"{error}. `vssbench run` with the same experiment and folder sets it aside and makes it again"
                ) from error

    def write_json(self, relative: str, value: Any) -> None:
        """Store a JSON file of the run. Raises StorageError."""
        write_atomically(self.path / relative, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def read_json(self, relative: str) -> Any:
        """Read a JSON file of the run. Raises InputError if it is missing or damaged."""
        path = self.path / relative
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: missing or not readable as JSON ({error}); is {self.path} a vssbench run folder?"
            ) from error

    def set_aside_damaged(self) -> list[Path]:
        """Names of unit files that were set aside so far."""
        return sorted((self.path / "damaged").glob("*.json"))
