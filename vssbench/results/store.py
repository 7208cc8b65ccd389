"""A run folder on disk: frozen experiment, environment, immutable unit records, costs and pictures.

RUN/experiment.json     the frozen experiment
RUN/roster.json         who takes part: datasets, codecs, methods with all options (results/roster.py)
RUN/environment.json    code version, packages, encoder builds, device of every session that added to the run
RUN/plan.json           how many units the run has when complete
RUN/datasets.json       classes and sequences (results/documents.py)
RUN/units/DATASET/CODEC/METHOD/SEQUENCE/UNIT.json
RUN/costs/DATASET/METHOD.json
RUN/frames/...          see `results.frames`
RUN/damaged/            unit files that failed their digest and archives that cannot be read, set aside
RUN/checked.txt         size and time of unit files whose digest was checked; may be deleted at any time
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vssbench.errors import ConfigError, InputError, StorageError
from vssbench.files import storage_error, write_atomically
from vssbench.results.schema import UnitKey, UnitRecord, from_json, to_json

Document = TypeVar("Document", bound=BaseModel)
FileStamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds."""

_CHECKED = "checked.txt"
_LONGEST_SLUG = 200
"""Characters; file systems take 255, of which records use some for what follows the title."""


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

    def _checked(self) -> dict[str, FileStamp]:
        """What checked.txt remembers; nothing if it is absent or unreadable, which costs time only."""
        try:
            lines = (self.path / _CHECKED).read_text(encoding="utf-8").splitlines()
            parts = (line.split(" ", 2) for line in lines)
            return {name: (int(size), int(time)) for size, time, name in parts}
        except (OSError, ValueError):
            return {}

    def set_aside(self, path: Path) -> Path:
        """Move a damaged unit file or archive to damaged/, where it stays as evidence, and return its new path."""
        target = self.path / "damaged" / "-".join(path.relative_to(self.path).parts[1:])
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

    def write_record(self, relative: str, record: BaseModel) -> None:
        """Store a typed document of the run. Raises StorageError."""
        write_atomically(self.path / relative, (record.model_dump_json(indent=1) + "\n").encode())

    def read_record(self, relative: str, kind: type[Document]) -> Document:
        """Read a typed document of the run. Raises InputError if it is missing, damaged or of another version."""
        path = self.path / relative
        try:
            return kind.model_validate_json(path.read_bytes())
        except OSError as error:
            reason = error.strerror or str(error)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
        raise InputError(
            f"{path}: cannot be read ({reason}); `vssbench run` with the same experiment and folder writes it anew"
        )

    def set_aside_damaged(self) -> list[Path]:
        """Names of unit files that were set aside so far."""
        return sorted((self.path / "damaged").glob("*.json"))
