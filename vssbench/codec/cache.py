"""Content-addressed store of bitstreams: the same clip is encoded once, by one process, and read back checked.

A folder per key holds `stream` (the bytes) and `record.json` (what they are). It is written under a temporary name,
flushed, and renamed, so a process that is killed leaves either a whole entry or rubbish that nobody reads.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.codec.colour import CONVERSION
from vssbench.codec.encode import Bitstream, encode, encoder_build
from vssbench.codec.settings import CodecSettings
from vssbench.errors import StorageError
from vssbench.files import locked, storage_error, write_atomically
from vssbench.records import CodedQuality

CACHE_VERSION = 2
"""Part of every key: raise it when the meaning of an entry changes."""

LOCATION_VARIABLE = "VSSBENCH_CACHE"
_REMEDY = f"set {LOCATION_VARIABLE} to another folder"
_STREAM, _RECORD = "stream", "record.json"
_STALE_SECONDS = 24 * 3600


def default_location() -> Path:
    """Folder of the cache: environment variable VSSBENCH_CACHE, else the platform's folder for cached data."""
    if chosen := os.environ.get(LOCATION_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "vssbench" / "bitstreams"


class BitstreamCache:
    """Bitstreams by what made them: input, settings, frame rate, encoder build, colour conversion.

    Safe with any number of processes on one folder, and with `kill -9` at any moment.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None, *, limit_bytes: int | None = None) -> None:
        """`root`: folder, made when first written to (default: `default_location()`). `limit_bytes`: beyond this size
        the entries not used for longest are removed after each write; None keeps everything.
        """
        self.root = Path(root) if root is not None else default_location()
        self.limit_bytes = limit_bytes

    def fetch(
        self,
        input_identity: str,
        frames: Callable[[], Iterable[NDArray[np.uint8]]],
        settings: CodecSettings,
        frame_rate_hz: float,
        *,
        threads: int = 1,
    ) -> Bitstream:
        """The stored bitstream of this input, or a new one encoded from `frames()` and stored.

        input_identity: stable text that changes whenever the frames could (sequence identity and frame numbers).
        A damaged entry is set aside under `damaged/` and encoded again. Raises StorageError if the folder cannot be
        written, and whatever `encode` and `frames` raise.
        """
        key = self.key(input_identity, settings, frame_rate_hz)
        stored = self._read(key, settings)
        if stored is not None:
            return stored
        # Nothing is moved or written without the lock.
        entry = self._entry(key)
        with locked(entry.with_name(f"{key}.lock"), remedy=_REMEDY):
            stored = self._read(key, settings)  # another process may have encoded it meanwhile
            if stored is None:
                self._set_aside(entry)
                stored = encode(frames(), settings, frame_rate_hz, threads=threads)
                with _storage_errors(self.root):
                    self._write(key, input_identity, stored)
        if self.limit_bytes is not None:
            self.evict(self.limit_bytes, keep=key)
        return stored

    def key(self, input_identity: str, settings: CodecSettings, frame_rate_hz: float) -> str:
        """SHA-256, hexadecimal, over everything that decides the bits."""
        parts = {
            "cache": CACHE_VERSION,
            "input": input_identity,
            "settings": json.loads(settings.canonical_json()),
            "frame_rate_hz": float(frame_rate_hz),
            "encoder": encoder_build(settings.codec),
            "conversion": CONVERSION,
        }
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def size_bytes(self) -> int:
        """Bytes of all stored streams."""
        return sum(size for _, size, _ in self._entries())

    def evict(self, limit_bytes: int, *, keep: str = "") -> int:
        """Remove the entries not used for longest until at most `limit_bytes` remain; returns how many went.

        An entry that another process reads at the same time is lost to it only between its own look and its read, and
        is then encoded again. `keep` is a key that stays.
        """
        entries = sorted(self._entries())
        total = sum(size for _, size, _ in entries)
        removed = 0
        for _, size, folder in entries:
            if total <= limit_bytes:
                break
            if folder.name != keep:
                self._discard(folder)
                total -= size
                removed += 1
        return removed

    def _entry(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, bytes, folder) of every entry."""
        for folder in self.root.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(OSError):
                if folder.is_dir() and "." not in folder.name:
                    status = (folder / _STREAM).stat()
                    yield max(status.st_mtime, status.st_atime), status.st_size, folder

    def _read(self, key: str, settings: CodecSettings) -> Bitstream | None:
        """The entry, checked; None if there is none or it is damaged."""
        folder = self._entry(key)
        try:
            record = json.loads((folder / _RECORD).read_bytes())
            data = (folder / _STREAM).read_bytes()
            bitstream = _from_record(record, data, settings)
        except PermissionError as error:
            raise StorageError(
                f"{folder}: no permission to read; change its owner or set {LOCATION_VARIABLE}"
            ) from error
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with contextlib.suppress(OSError):
            os.utime(folder / _STREAM)
        return bitstream

    def _set_aside(self, folder: Path) -> None:
        """Keep a damaged entry for whoever wants to know why, out of the way of the new one."""
        if not folder.exists():
            return
        target = self.root / "damaged" / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        with _storage_errors(self.root), contextlib.suppress(FileNotFoundError):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder, target)

    def _write(self, key: str, input_identity: str, bitstream: Bitstream) -> None:
        folder = self._entry(key)
        self._sweep(folder.parent)
        temporary = folder.parent / f"{key}.{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
        try:
            temporary.mkdir()
            write_atomically(temporary / _STREAM, bitstream.data, remedy=_REMEDY)
            record = json.dumps(_to_record(input_identity, bitstream), indent=1).encode()
            write_atomically(temporary / _RECORD, record, remedy=_REMEDY)
            os.replace(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _sweep(self, shard: Path) -> None:
        """Remove what killed processes left behind a day ago or earlier."""
        for leftover in shard.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(leftover, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Rename first: a reader then sees a whole entry or none."""
        gone = folder.parent / f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
        with contextlib.suppress(OSError):
            os.replace(folder, gone)
            shutil.rmtree(gone, ignore_errors=True)


def _to_record(input_identity: str, bitstream: Bitstream) -> dict[str, Any]:
    return {
        "cache": CACHE_VERSION,
        "input": input_identity,
        "settings": json.loads(bitstream.settings.canonical_json()),
        "frame_rate_hz": bitstream.frame_rate_hz,
        "frame_count": bitstream.frame_count,
        "size": list(bitstream.size),
        "frame_types": bitstream.frame_types,
        "packet_bytes": list(bitstream.packet_bytes),
        "encoder_build": bitstream.encoder_build,
        "quality": asdict(bitstream.quality),
        "sha256": bitstream.digest,
    }


def _from_record(record: dict[str, Any], data: bytes, settings: CodecSettings) -> Bitstream:
    """Raises ValueError, KeyError or TypeError if record and bytes are not what was written."""
    bitstream = Bitstream(
        data=data,
        settings=CodecSettings.model_validate(record["settings"]),
        frame_rate_hz=float(record["frame_rate_hz"]),
        frame_count=int(record["frame_count"]),
        size=(int(record["size"][0]), int(record["size"][1])),
        frame_types=str(record["frame_types"]),
        packet_bytes=tuple(int(size) for size in record["packet_bytes"]),
        encoder_build=str(record["encoder_build"]),
        quality=CodedQuality(**record["quality"]),
    )
    if bitstream.digest != record["sha256"] or bitstream.settings != settings:
        raise ValueError("stream and record do not belong together")
    return bitstream


@contextlib.contextmanager
def _storage_errors(root: Path) -> Iterator[None]:
    """Failures to write, as StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(Path(error.filename or root), error, remedy=_REMEDY) from error
