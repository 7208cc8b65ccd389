"""A run folder on disk: frozen experiment, environment, immutable unit records, costs and pictures.

RUN/experiment.json     the frozen experiment
RUN/roster.json         who takes part: datasets, codecs, methods with all options (results/roster.py)
RUN/environment.json    code version, packages, encoder builds, device, and those of sessions that went on by force
RUN/plan.json           how many units the run has when complete
RUN/datasets.json       classes and sequences (results/documents.py)
RUN/units/DATASET/CODEC/METHOD/SEQUENCE/UNIT.json
RUN/costs/DATASET/METHOD.json
RUN/frames/...          see `results.frames`
RUN/damaged/            records and archives that failed their digest or belong elsewhere, set aside
RUN/checked.txt         size, times and belonging of unit files that were read once; may be deleted at any time

Every record but the experiment carries a digest of its content, and `belongs`: a digest of what decides it
(results/basis.py). One that does not hold is refused where it is read; a session sets it aside and makes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vssbench.errors import ConfigError, InputError, StorageError
from vssbench.files import LARGEST_JSON, read_json, storage_error, write_atomically
from vssbench.results.schema import UnitKey, UnitRecord, from_json, to_json

Record = TypeVar("Record", bound=BaseModel)
FileStamp = tuple[int, int, int]
"""Size in bytes, modification and change time in nanoseconds."""
BelongsTo = Callable[[UnitKey], Collection[str]]
"""The digests that the record of a unit may carry as `belongs`; none where the unit is no part of the run."""

_CHECKED = "checked.txt"
_MADE_AGAIN = "`vssbench run` with the same experiment and folder sets it aside and makes it again"
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


def what_is_wrong(error: InputError) -> str:
    """The error about a record without the remedy: for those who apply it."""
    return str(error).partition(f". {_MADE_AGAIN}")[0]


def foreign(path: Path | str) -> InputError:
    """The error about a record whose content is whole but which is of something else."""
    return InputError(
        f"{path}: belongs to another run: it was made by another experiment, from other frames or labels, or with other "
        "code or weights"
    )


@dataclass(frozen=True)
class RunFolder:
    """Reads and writes the files of one run. Holds no state: what is on disk is the truth."""

    path: Path

    def unit_path(self, key: UnitKey) -> Path:
        """Where a unit is stored."""
        return self.path / "units" / unit_name(key)

    def has_unit(self, key: UnitKey, belongs: str) -> bool:
        """True if the unit is stored, intact and belongs; any other file is set aside and counts as missing."""
        path = self.unit_path(key)
        if not path.exists() or self.holds(unit_name(key), (belongs,)):
            return path.exists()
        self.set_aside(path)
        return False

    def holds(self, name: str, belongs: Collection[str]) -> bool:
        """Whether a stored unit (see `unit_name`) is intact and belongs; leaves it where it is."""
        try:
            self.read_unit(self.path / "units" / name, lambda _: belongs)
        except InputError:
            return False
        return True

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
                    found[prefix + entry.name] = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        return found

    def intact_units(self, belongs_to: Mapping[str, Collection[str]]) -> tuple[set[str], list[str]]:
        """Names of the stored units that hold and belong, and a sentence on each file that was set aside.

        belongs_to: name of each planned unit -> what its record may carry as `belongs`. Each file is read once in its
        life: what was found is remembered by size and times in checked.txt. Raises StorageError.
        """
        stored, known = self.stored_units(), self._checked()
        found, told = {}, []
        for name, stamp in stored.items():
            path = self.path / "units" / name
            try:
                belongs = (
                    known[name][1]
                    if known.get(name, (None, ""))[0] == stamp
                    else self.read_unit(path).belongs
                )
                if belongs not in belongs_to.get(name, ()):
                    raise foreign(path)
                found[name] = (stamp, belongs)
            except InputError as error:
                told.append(f"{what_is_wrong(error)}; set aside as {self.set_aside(path)}, it is made again")
        if found != known:
            lines = [
                " ".join(map(str, (*stamp, belongs, name)))
                for name, (stamp, belongs) in sorted(found.items())
            ]
            with contextlib.suppress(StorageError):  # it only saves time
                write_atomically(self.path / _CHECKED, "\n".join([*lines, ""]).encode())
        return set(found), told

    def _checked(self) -> dict[str, tuple[FileStamp, str]]:
        """What checked.txt remembers; nothing if it is absent or unreadable, which costs time only."""
        try:
            lines = (self.path / _CHECKED).read_text(encoding="utf-8").splitlines()
            parts = (line.split(" ", 4) for line in lines)
            return {n: ((int(size), int(time), int(change)), b) for size, time, change, b, n in parts}
        except (OSError, ValueError):
            return {}

    def set_aside(self, path: Path) -> Path:
        """Move a file of the run to damaged/, where it stays as evidence, and return its new path. Raises StorageError."""
        target = self.path / "damaged" / path.relative_to(self.path)
        number = 1
        while target.exists():
            number += 1
            target = target.with_name(f"{path.stem}~{number}{path.suffix}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
        except OSError as error:
            raise storage_error(target, error) from error
        return target

    def write_unit(self, record: UnitRecord) -> None:
        """Store a unit. Raises StorageError."""
        write_atomically(self.unit_path(record.key), to_json(record).encode())

    def read_unit(self, path: Path | str, belongs_to: BelongsTo | None = None) -> UnitRecord:
        """Read one unit file. Raises InputError if it is damaged, in another unit's place, or does not belong."""
        try:
            with open(path, "rb") as file:
                text = file.read(LARGEST_JSON + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error})") from error
        record = from_json(text, str(path))
        if not os.fspath(path).endswith(f"/units/{unit_name(record.key)}"):
            raise InputError(
                f"{path}: holds the unit {unit_name(record.key)}, which belongs in another place"
            )
        if belongs_to is not None and record.belongs not in belongs_to(record.key):
            raise foreign(path)
        return record

    def units(self, belongs_to: BelongsTo, names: Iterable[str] | None = None) -> Iterator[UnitRecord]:
        """The stored units, all or those of these names, in a fixed order.

        Raises InputError at the first that is damaged or does not belong.
        """
        root = f"{self.path / 'units'}/"  # plain text: a Path for each of ten thousand files takes a second
        wanted = self.stored_units() if names is None else names
        for name in sorted(wanted, key=lambda name: name.split("/")):
            try:
                yield self.read_unit(root + name, belongs_to)
            except InputError as error:
                # Damage that left size and times alone: make the next session read every file again.
                with contextlib.suppress(OSError):
                    (self.path / _CHECKED).unlink(missing_ok=True)
                raise InputError(f"{error}. {_MADE_AGAIN}") from error

    def write_json(self, relative: str, value: Any) -> None:
        """Store a JSON file of the run. Raises StorageError."""
        write_atomically(self.path / relative, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())

    def write_record(self, relative: str, record: BaseModel, belongs: str = "") -> None:
        """Store a typed record with its digest and what it belongs to. Raises StorageError."""
        values = {**json.loads(record.model_dump_json()), "belongs": belongs}
        self.write_json(relative, {**values, "digest": _digest(values)})

    def read_record(
        self,
        relative: str,
        kind: type[Record],
        belongs: Collection[str] | None = None,
        *,
        remedy: str = _MADE_AGAIN,
    ) -> Record:
        """Read a typed record of the run. belongs: what it may belong to; None does not look.

        Raises InputError if it is missing, damaged, of another version or from elsewhere.
        """
        path = self.path / relative
        values = read_json(path, remedy)
        try:
            stored, own = values.pop("digest"), _digest(values)
            belonging = values.pop("belongs")
            record = kind.model_validate(values, strict=False)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the whole'}: {first['msg']}"
            raise InputError(f"{path}: cannot be read ({reason}). {remedy}") from error
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise InputError(
                f"{path}: not a record of a run ({type(error).__name__}: {error}). {remedy}"
            ) from error
        if stored != own:
            raise InputError(
                f"{path}: the content does not match its digest; the file was damaged or edited. {remedy}"
            )
        if belongs is not None and belonging not in belongs:
            raise InputError(f"{foreign(path)}. {remedy}")
        return record

    def set_aside_damaged(self) -> list[Path]:
        """Names of files that were set aside so far."""
        return sorted(path for path in (self.path / "damaged").rglob("*") if path.is_file())


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
