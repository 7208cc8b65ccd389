"""The bitstream cache: one encode per content, whole entries only, damage found, failures explained."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vssbench.codec import BitstreamCache, CodecSettings
from vssbench.codec import cache as cache_module
from vssbench.errors import InputError, StorageError

SETTINGS = CodecSettings(codec="h264", qp=20, references=1)


class Source:
    """Frames that count how often they were asked for."""

    def __init__(self, frames) -> None:
        self.frames = frames
        self.asked = 0

    def __call__(self):
        self.asked += 1
        return iter(self.frames)


@pytest.fixture
def source(pan):
    return Source(pan((64, 96), 4))


def entries(root: Path) -> list[Path]:
    return sorted(root.glob("??/" + "?" * 64))


def test_the_second_fetch_reads_what_the_first_wrote(source, tmp_path) -> None:
    cache = BitstreamCache(tmp_path / "new")
    first, second = (cache.fetch("street:0-3", source, SETTINGS, 30) for _ in range(2))
    assert source.asked == 1
    for name in (
        "data",
        "settings",
        "frame_rate_hz",
        "frame_count",
        "size",
        "frame_types",
        "packet_bytes",
        "digest",
    ):
        assert getattr(first, name) == getattr(second, name)
    assert second.encoder_build == first.encoder_build
    assert cache.size_bytes() == len(first.data)


def test_everything_that_decides_the_bits_is_in_the_key(monkeypatch) -> None:
    cache = BitstreamCache("unused")
    key = cache.key("a", SETTINGS, 30)
    assert cache.key("a", SETTINGS, 30.0) == key
    others = {
        cache.key("b", SETTINGS, 30),
        cache.key("a", SETTINGS, 25),
        cache.key("a", SETTINGS.model_copy(update={"qp": 21}), 30),
    }
    monkeypatch.setattr(cache_module, "encoder_build", lambda codec: "another build")
    others.add(cache.key("a", SETTINGS, 30))
    monkeypatch.setattr(cache_module, "CONVERSION", "another conversion")
    others.add(cache.key("a", SETTINGS, 30))
    assert len(others | {key}) == 6


def cut_stream(folder):
    (folder / "stream").write_bytes((folder / "stream").read_bytes()[:-1])


def flip_a_bit(folder):
    data = bytearray((folder / "stream").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "stream").write_bytes(data)


def lose_the_record(folder):
    (folder / "record.json").unlink()


def cut_the_record(folder):
    (folder / "record.json").write_text((folder / "record.json").read_text()[:40])


def change_the_record(folder):
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "settings": {"qp": 3}}))


def lose_a_key(folder):
    record = json.loads((folder / "record.json").read_text())
    del record["size"]
    (folder / "record.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "damage", [cut_stream, flip_a_bit, lose_the_record, cut_the_record, change_the_record, lose_a_key]
)
def test_a_damaged_entry_is_set_aside_and_made_again(source, tmp_path, damage) -> None:
    cache = BitstreamCache(tmp_path)
    first = cache.fetch("a", source, SETTINGS, 30)
    damage(entries(tmp_path)[0])
    again = cache.fetch("a", source, SETTINGS, 30)
    assert source.asked == 2
    assert again.data == first.data
    assert len(list((tmp_path / "damaged").iterdir())) == 1
    assert len(entries(tmp_path)) == 1
    cache.fetch("a", source, SETTINGS, 30)
    assert source.asked == 2


PROGRAM = """
import os, sys, time
import numpy as np
from pathlib import Path
from vssbench.codec import BitstreamCache, CodecSettings
root, mode = Path(sys.argv[1]), sys.argv[2]
def frames():
    (root / f"encoding-{os.getpid()}").touch()
    for index in range(4):
        if mode == "hang" and index == 2:
            (root / "half").touch()
            time.sleep(600)
        time.sleep(0.1)
        yield np.full((64, 96, 3), 40 * index, np.uint8)
while mode == "race" and not (root / "go").exists():
    time.sleep(0.005)
print(BitstreamCache(root / "cache").fetch("a", frames, CodecSettings(codec="h264", qp=20), 30).digest)
"""


def start(root, mode):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(root), mode], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_encode_the_same_thing_once(tmp_path) -> None:
    processes = [start(tmp_path, "race") for _ in range(2)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    digests = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert digests[0] == digests[1]
    assert len(list(tmp_path.glob("encoding-*"))) == 1


def test_a_killed_process_leaves_nothing_that_is_read(tmp_path) -> None:
    process = start(tmp_path, "hang")
    deadline = time.monotonic() + 300
    while not (tmp_path / "half").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert entries(tmp_path / "cache") == []
    digest = start(tmp_path, "plain").communicate(timeout=300)[0]
    assert digest.strip()
    assert len(entries(tmp_path / "cache")) == 1


@pytest.mark.parametrize("point", ["stream", "record.json", "rename"])
def test_dying_at_any_point_of_writing_leaves_no_entry(source, tmp_path, monkeypatch, point) -> None:
    """kill -9 leaves the temporary folder as it is at that moment: whatever is in it, it is no entry."""

    class Killed(BaseException):
        pass

    def die(path, data, **_):
        if Path(path).name == point:
            Path(path).write_bytes(data[: len(data) // 2])
            raise Killed
        Path(path).write_bytes(data)

    def die_at_rename(*_):
        raise Killed

    monkeypatch.setattr(cache_module, "write_atomically", die)
    monkeypatch.setattr(
        cache_module.shutil, "rmtree", lambda *args, **kwargs: None
    )  # the dead clean nothing up
    if point == "rename":
        monkeypatch.setattr(cache_module.os, "replace", die_at_rename)
    with pytest.raises(Killed):
        BitstreamCache(tmp_path).fetch("a", source, SETTINGS, 30)
    monkeypatch.undo()
    assert entries(tmp_path) == []
    assert len(list(tmp_path.glob("??/*.tmp"))) == 1
    BitstreamCache(tmp_path).fetch("a", source, SETTINGS, 30)
    assert len(entries(tmp_path)) == 1


def test_old_leftovers_are_swept_young_ones_are_not(source, tmp_path) -> None:
    cache = BitstreamCache(tmp_path)
    shard = tmp_path / cache.key("a", SETTINGS, 30)[:2]
    for name, age in [("old.tmp", 3 * 24 * 3600), ("young.tmp", 60)]:
        (shard / name).mkdir(parents=True)
        os.utime(shard / name, (time.time() - age,) * 2)
    cache.fetch("a", source, SETTINGS, 30)
    assert [path.name for path in shard.glob("*.tmp")] == ["young.tmp"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "disk is full.*Free some space"),
        (errno.EACCES, "no permission to write here; set VSSBENCH_CACHE to another folder"),
    ],
)
def test_a_full_disk_or_a_missing_permission_is_a_storage_error(
    source, tmp_path, monkeypatch, number, reason
) -> None:
    def fail(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=reason):
        BitstreamCache(tmp_path).fetch("a", source, SETTINGS, 30)
    assert entries(tmp_path) == []
    assert list(tmp_path.glob("??/*.tmp")) == []


def test_a_file_in_place_of_the_folder_is_a_storage_error(source, tmp_path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StorageError, match="set VSSBENCH_CACHE to another folder"):
        BitstreamCache(tmp_path / "cache").fetch("a", source, SETTINGS, 30)


def test_what_the_frames_raise_passes_through_and_stores_nothing(tmp_path) -> None:
    def frames():
        raise InputError("frame 3 is gone")

    with pytest.raises(InputError, match="frame 3 is gone"):
        BitstreamCache(tmp_path).fetch("a", frames, SETTINGS, 30)
    assert entries(tmp_path) == []


def test_the_least_recently_used_entries_go_first(source, tmp_path) -> None:
    cache = BitstreamCache(tmp_path)
    for age, name in enumerate("abc"):
        cache.fetch(name, source, SETTINGS, 30)
        folder = tmp_path / cache.key(name, SETTINGS, 30)[:2] / cache.key(name, SETTINGS, 30)
        os.utime(folder / "stream", (1000 + age,) * 2)
    cache.fetch("a", source, SETTINGS, 30)  # used now
    size = cache.size_bytes() // 3
    assert cache.evict(2 * size) == 1
    assert source.asked == 3
    for name, asked in [("a", 3), ("c", 3), ("b", 4)]:
        cache.fetch(name, source, SETTINGS, 30)
        assert source.asked == asked


def test_a_limit_keeps_the_newest_entry(source, tmp_path) -> None:
    cache = BitstreamCache(tmp_path, limit_bytes=1)
    for name in "ab":
        cache.fetch(name, source, SETTINGS, 30)
    assert [path.name for path in entries(tmp_path)] == [cache.key("b", SETTINGS, 30)]


def test_the_default_location_follows_the_environment(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("VSSBENCH_CACHE", str(tmp_path / "mine"))
    assert BitstreamCache().root == tmp_path / "mine"
    monkeypatch.delenv("VSSBENCH_CACHE")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert BitstreamCache().root == tmp_path / "vssbench" / "bitstreams"
