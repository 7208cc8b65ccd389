"""A run folder on disk: frozen experiment, environment, immutable unit records, costs and pictures.

RUN/experiment.json     the frozen experiment
RUN/environment.json    code version, packages, encoder builds, device of every session that added to the run
RUN/plan.json           how many units the run has when complete
RUN/units/DATASET/CODEC/METHOD/SEQUENCE/UNIT.json
RUN/costs/DATASET/METHOD.json
RUN/pictures/...        see `PictureCase`
RUN/damaged/            unit files that failed their digest, set aside
"""

from __future__ import annotations

import errno
import json
import os
import re
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vssbench.errors import InputError, StorageError
from vssbench.results.schema import UnitKey, UnitRecord, from_json, to_json


def slug(text: str) -> str:
    """A file name for a title: readable, no separators, and different titles stay different.

    'hevc-700k' stays; 'AR 0.5' becomes 'AR_0.5-' plus a checksum of the title.
    """
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_.") or "_"
    if plain == text:
        return plain
    return f"{plain[:80]}-{zlib.crc32(text.encode()):08x}"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name and rename it. Raises StorageError on permission or a full disk."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
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
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        needed = f"; {needed_bytes} more bytes are needed at once" if needed_bytes else ""
        return StorageError(
            f"{path}: the disk is full{needed}. Free some space and run the same command again to go on"
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
        return self.path.joinpath(
            "units",
            slug(key.dataset),
            slug(key.codec),
            slug(key.method),
            slug(key.sequence),
            f"{slug(key.unit)}.json",
        )

    def has_unit(self, key: UnitKey) -> bool:
        """True if the unit is stored and intact; a damaged file is set aside under damaged/ and counts as missing."""
        path = self.unit_path(key)
        if not path.exists():
            return False
        try:
            record = self.read_unit(path)
        except InputError:
            self._set_aside(path)
            return False
        return record.key == key

    def _set_aside(self, path: Path) -> None:
        target = self.path / "damaged" / "-".join(path.relative_to(self.path / "units").parts)
        try:
            target.parent.mkdir(exist_ok=True)
            os.replace(path, target)
        except OSError as error:
            raise storage_error(target, error) from error

    def write_unit(self, record: UnitRecord) -> None:
        """Store a unit. Raises StorageError."""
        write_atomically(self.unit_path(record.key), to_json(record).encode())

    def read_unit(self, path: Path) -> UnitRecord:
        """Read one unit file. Raises InputError if it is damaged."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error
        return from_json(text, str(path))

    def units(self) -> Iterator[UnitRecord]:
        """All stored units, in a fixed order. Raises InputError at the first damaged one."""
        for path in sorted((self.path / "units").glob("*/*/*/*/*.json")):
            yield self.read_unit(path)

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
