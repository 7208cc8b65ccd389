"""Kills, full disks, damage and drift: what a run finishes with is what an undisturbed one has."""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import vssbench
from vssbench.analysis.run import load_run
from vssbench.errors import ConfigError, DiskFullError, InputError
from vssbench.results.documents import EnvironmentRecord
from vssbench.results.store import RunFolder
from vssbench.results.stored import ENVIRONMENT_FILE
from vssbench.runner.session import Listener

HERE = Path(__file__).resolve().parent

VALUES = {
    "title": "faults",
    "datasets": [{"name": "synthetic", "sequences": 2, "frames": 9, "size": [64, 96]}],
    "codecs": [{"label": "c", "codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
    "protocol": {"kind": "stream", "keyframe_interval": 2},
    "methods": [
        {"label": "m", "name": "constant", "width": 4},
        {"label": "w", "name": "warp-only", "width": 4},
    ],
}


def script(name: str) -> ModuleType:
    """A program of this folder as a module."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


contents = script("kill_campaign").contents


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache) -> Path:
    place = tmp_path_factory.mktemp("undisturbed") / "run"
    vssbench.run(VALUES, place, workers=1, cache=cache, device="cpu")
    return place


@pytest.fixture
def copied(undisturbed, tmp_path) -> Path:
    """A copy of the finished run with the times of its files."""
    return Path(shutil.copytree(undisturbed, tmp_path / "run"))


def again(place: Path, cache: Path, **options: object) -> list[str]:
    """Another session on a run folder; returns what it told."""
    told: list[str] = []
    listener = Listener(on_stage=told.append, on_unit=lambda: told.append("unit"))
    vssbench.run(VALUES, place, workers=1, cache=cache, device="cpu", listener=listener, **options)
    return told


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds workers and threads in /proc")
def test_a_killed_run_finishes_as_if_nothing_had_happened(tmp_path):
    campaign = script("kill_campaign").Campaign(tmp_path, seed=1)
    outcome = campaign.run(3, ("driver", "everything", "encoder thread"), per_run=3)
    assert outcome.differences == []
    assert sum(outcome.kills.values()) == 3
    assert outcome.survived >= 1


def test_records_that_are_damaged_mixed_swapped_or_aged_never_give_a_wrong_table():
    found = script("mixing_campaign").measured(12, seed=3)
    assert found["faults"] == []
    assert found["cases"] == 12


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds processes in /proc")
def test_ctrl_c_ends_a_training_within_two_seconds(tmp_path):
    interrupts = script("interrupts")  # its long form: every situation
    found = interrupts.interrupted(interrupts.SITUATIONS["training"], tmp_path / "work", random.Random(1))
    assert found["exit_code"] == 130
    assert found["said_what_to_do"]
    assert found["seconds"] < interrupts.PROMISED_SECONDS


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="reads memory and handles from /proc")
def test_memory_and_file_handles_stay_flat():
    soak = script("soak")
    found = soak.measured("soak", 300)
    flat = soak.flatness(found["samples_units_mib_handles"])
    assert flat["handles_grown_in_second_half"] == 0
    assert flat["mib_grown_in_second_half"] < 4


def test_a_full_disk_stops_cleanly_says_what_is_missing_and_is_resumed(
    undisturbed, cache, tmp_path, monkeypatch
):
    place = tmp_path / "run"
    true_fsync, left = os.fsync, [12]

    def fsync(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        true_fsync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(
        DiskFullError, match=r"disk is full.*rest of this run needs about [\d.]+ MiB.*free now"
    ):
        again(place, cache)
    monkeypatch.undo()
    assert not list(place.rglob(".part-*"))
    kept = len(RunFolder(place).stored_units())
    assert 0 < kept < 20
    told = again(place, cache)
    assert told.count("unit") == 20 - kept
    assert contents(place) == contents(undisturbed)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system")
def test_a_really_full_disk_is_resumed_once_it_is_larger(undisturbed, cache, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "vssbench-test", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        with pytest.raises(DiskFullError, match=r"disk is full.*rest of this run needs"):
            again(disk / "run", cache)
        subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
        again(disk / "run", cache)
        assert contents(disk / "run") == contents(undisturbed)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_half_written_leftovers_of_killed_writers_are_swept(copied, cache, undisturbed):
    unit = next(copied.glob("units/*/*/*/*"))
    (unit / ".part-dead").write_text("{")
    (copied / ".part-dead").write_text("{")
    again(copied, cache)
    assert contents(copied) == contents(undisturbed)


def test_what_a_lost_worker_was_writing_is_swept_before_the_session_ends(cache, tmp_path, undisturbed):
    place = tmp_path / "run"
    listener = Listener(on_unit=lambda: (place / "units" / ".part-dead").write_text("{"))
    vssbench.run(VALUES, place, workers=1, cache=cache, device="cpu", listener=listener)
    assert contents(place) == contents(undisturbed)


def test_a_finished_run_is_found_again_without_reading_its_records(copied, cache, monkeypatch):
    again(copied, cache)

    def read_unit(self, path, belongs_to=None):
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(RunFolder, "read_unit", read_unit)
    assert "unit" not in again(copied, cache)


def test_damage_is_set_aside_told_and_redone(copied, cache, undisturbed):
    path = sorted(copied.glob("units/*/*/*/*/*.json"))[3]
    path.write_text(path.read_text()[:-30])
    told = again(copied, cache)
    assert any("set aside as" in line for line in told)
    assert told.count("unit") == 1
    assert len(RunFolder(copied).set_aside_damaged()) == 1
    assert (
        "1 files that were damaged or from another run were set aside and made again"
        in load_run(copied).warnings
    )
    shutil.rmtree(copied / "damaged")
    assert contents(copied) == contents(undisturbed)


def test_damage_that_leaves_size_and_time_is_found_by_the_report_and_then_redone(copied, cache, undisturbed):
    again(copied, cache)
    path = sorted(copied.glob("units/*/*/*/*/*.json"))[5]
    status = path.stat()
    text = path.read_text()
    path.write_text(text.replace('"I"', '"B"', 1))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(InputError, match="sets it aside and makes it again"):
        _ = load_run(copied).groups
    again(copied, cache)
    shutil.rmtree(copied / "damaged")
    assert contents(copied) == contents(undisturbed)


def test_a_unit_in_the_place_of_another_is_damage(copied, cache, undisturbed):
    first, second = sorted(copied.glob("units/*/*/*/*/*.json"))[:2]
    shutil.copy(first, second)
    again(copied, cache)
    shutil.rmtree(copied / "damaged")
    assert contents(copied) == contents(undisturbed)


def test_a_damaged_cost_record_is_counted_again(copied, cache, undisturbed):
    cost = next(copied.glob("costs/*/*.json"))
    cost.write_text("{")
    assert any("set aside as" in line for line in again(copied, cache))
    shutil.rmtree(copied / "damaged")
    assert contents(copied) == contents(undisturbed)


@pytest.fixture
def drifted(copied) -> Path:
    """A run that was begun with another encoder and with other code in one module."""
    environment = RunFolder(copied).read_record(ENVIRONMENT_FILE, EnvironmentRecord)
    environment.bits["encoders"]["h264"] = "x264 - core 1"
    environment.bits["code"] = "before"
    environment.code["vssbench.ops.resize"] = "before"
    RunFolder(copied).write_record(ENVIRONMENT_FILE, environment)
    return copied


def test_drift_is_refused_with_the_difference(drifted, cache):
    with pytest.raises(ConfigError) as refused:
        again(drifted, cache)
    assert "encoders.h264: x264 - core 1 -> x264 - core" in str(refused.value)
    assert "code: before -> " in str(refused.value)
    assert "(in vssbench.ops.resize)" in str(refused.value)
    assert "--force" in str(refused.value)


def test_a_forced_run_is_marked_in_every_report_once(drifted, cache):
    from rich.console import Console

    from vssbench.rendering.report import write_report

    again(drifted, cache, force=True)
    again(drifted, cache, force=True)
    run = load_run(drifted)
    marks = [warning for warning in run.warnings if "by force" in warning]
    assert len(marks) == 1
    report = write_report(run, drifted / "report", figure_files=False)
    console = Console(record=True, width=400)
    for warning in run.warnings:
        console.print(warning)
    written = [report.page.read_text(), *(p.read_text() for p in report.folder.glob("*.md"))]
    assert len(written) > 1
    for text in [*written, console.export_text()]:
        assert "resumed by force in another environment" in text


def test_comments_and_docstrings_are_not_code(tmp_path):
    from vssbench.runner import sources

    texts = ('"""One."""\nx = 1\n', '"""Other."""\n# why\nx = 1\n', '"""One."""\nx = 2\n')
    digests = []
    for number, text in enumerate(texts):
        path = tmp_path / f"m{number}.py"
        path.write_text(text)
        digests.append(sources._digest(path, "m")[0])
    assert digests[0] == digests[1] != digests[2]


def test_the_code_behind_a_run_is_found_by_its_imports():
    from vssbench.experiment.schema import load_experiment
    from vssbench.runner.sources import code_digests

    found = code_digests(load_experiment(VALUES))
    assert {"vssbench.baselines.warp_only", "vssbench.codec.encode", "vssbench.ops.warp"} <= set(found)
    assert "vssbench.codec.hevc._motion" in found
    assert not {
        name for name in found if name.startswith(("vssbench.baselines.ar_seg", "vssbench.rendering"))
    }
