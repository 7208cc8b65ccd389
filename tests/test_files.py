"""Files are complete or absent, with the mode that the umask leaves, and failures say what to do."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from vssbench.errors import DiskFullError, InputError, StorageError
from vssbench.files import digest_file, locked, write_atomically


def test_a_full_disk_is_named_with_its_remedy_and_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError, match=r"disk is full; 5 more bytes.*run the same command again"):
        write_atomically(tmp_path / "unit.json", b"12345")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(StorageError, match=r"no permission.*-o"):
        write_atomically(tmp_path / "unit.json", b"")


def test_a_writer_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fill(stream: Any) -> None:
        stream.write(b"half")
        raise RuntimeError("not the disk")

    with pytest.raises(RuntimeError, match="not the disk"):
        write_atomically(path, fill)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"old")]


def test_an_error_of_the_writer_that_hides_a_full_disk_is_still_one(tmp_path: Path) -> None:
    def fill(_: Any) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError:
            raise RuntimeError("enforce fail")  # noqa: B904  as torch.save ends

    with pytest.raises(DiskFullError, match="disk is full"):
        write_atomically(tmp_path / "file", fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_the_mode_is_what_the_umask_leaves(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a" / "file", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / "file").stat().st_mode) == mode


def test_a_digest_is_that_of_the_content(tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000  # more than one block
    write_atomically(tmp_path / "file", data)
    assert digest_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    with pytest.raises(InputError, match="absent: cannot be read"):
        digest_file(tmp_path / "absent")


def test_a_lock_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="do this"), locked(tmp_path / "file" / "x.lock", remedy="do this"):
        pass
