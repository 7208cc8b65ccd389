"""Records belong to one experiment on one data: what changed is refused by name, what is from elsewhere is made again."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from mixing_campaign import experiment, write_data
from PIL import Image

import vssbench
from vssbench.analysis.run import load_run
from vssbench.engine import data_digests
from vssbench.errors import ConfigError, InputError
from vssbench.runner.session import Listener


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder with data, a cache and the finished run `run`."""
    folder = tmp_path_factory.mktemp("belonging")
    write_data(folder / "data", 1)
    session(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of it."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def session(folder, **options):
    """The same command on the folder, wherever it lies."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        run = vssbench.run(experiment("data"), "run", workers=1, cache="cache", device="cpu", **options)
        _ = run.complete, run.kept_frames  # while the paths hold
        return run
    finally:
        os.chdir(before)


def edit_a_pixel(path):
    """Another picture of the same name and times."""
    before, pixels = path.stat(), np.array(Image.open(path))
    pixels[5, 7] = (pixels[5, 7] + 1) % 3
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("kind", ["labels", "frames"])
def test_other_data_is_refused_by_name_and_the_old_goes_on(folder, kind):
    path = folder / "data" / kind / "second" / "3.png"
    before = path.read_bytes()
    edit_a_pixel(path)
    with pytest.raises(
        ConfigError, match=rf"not what this run was begun with: data: {kind} of second\. .*-o"
    ):
        session(folder)
    path.write_bytes(before)
    assert session(folder).complete


def test_another_class_table_is_refused(folder):
    table = folder / "data" / "classes.csv"
    table.write_text(table.read_text().replace("car", "bus"))
    with pytest.raises(ConfigError, match="begun with: data: the class table"):
        session(folder)


def test_data_that_was_only_touched_or_copied_is_the_same(folder):
    for path in (folder / "data").rglob("*.png"):
        os.utime(path)
    assert session(folder).complete


def test_data_that_changes_during_a_session_is_found(folder):
    shutil.rmtree(folder / "run")
    listener = Listener(on_unit=lambda: edit_a_pixel(folder / "data" / "labels" / "first" / "1.png"))
    with pytest.raises(InputError, match="changed while the run went on: data/first"):
        session(folder, listener=listener)
    left = {path.parent.name for path in (folder / "run" / "units").rglob("*.json")}
    assert left == {"second"}


def test_without_its_documents_a_folder_goes_by_what_its_records_belong_to(folder, finished):
    for name in ("experiment.json", "roster.json", "plan.json", "datasets.json", "environment.json"):
        (folder / "run" / name).unlink()
    told = []
    units = []
    session(folder, listener=Listener(on_stage=told.append, on_unit=lambda: units.append(1)))
    assert units == []
    assert load_run(folder / "run").summary.equals(load_run(finished / "run").summary)


def test_a_folder_of_another_run_is_refused_where_its_experiment_is_lost(folder):
    (folder / "run" / "experiment.json").unlink()
    with pytest.raises(ConfigError, match="none of its 8 units is of this experiment"):
        vssbench.run(
            experiment(folder / "data", seed=5),
            folder / "run",
            workers=1,
            cache=folder / "cache",
            device="cpu",
        )


def test_a_folder_in_the_place_of_the_log_stops_nothing(folder):
    (folder / "run" / "log.txt").unlink()
    (folder / "run" / "log.txt").mkdir()
    assert session(folder).complete


def test_costs_of_another_method_are_set_aside_told_and_counted_again(folder):
    half, whole = (folder / "run" / "costs" / "data" / f"{name}.json" for name in ("half", "whole"))
    before = whole.read_bytes()
    shutil.copy(half, whole)
    with pytest.raises(InputError, match=r"whole\.json: belongs to another run"):
        load_run(folder / "run")
    told = []
    session(folder, listener=Listener(on_stage=told.append))
    assert any("set aside as" in line and "it is made again" in line for line in told)
    assert whole.read_bytes() == before


def test_a_report_leaves_damaged_frames_out_and_says_so(folder):
    archive = min((folder / "run" / "frames").rglob("*.zip"))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 4
    archive.write_bytes(data)
    run = load_run(folder / "run")
    (told,) = (line for line in run.warnings if archive.name in line)
    assert "sets it aside and makes it again" in told
    assert run.kept_frames[0]
    assert session(folder).kept_frames[1] == []


def test_files_are_digested_once_and_again_when_they_change(finished, tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    monkeypatch.setattr(data_digests, "SETTLED_NS", -(10**12))  # as if the file had been written long ago
    for content, times_read in ((b"one", 1), (b"one", 0), (b"two", 1)):
        if path.read_bytes() != content:
            before = path.stat()
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        read = []

        def digest(one, read=read):
            read.append(one)
            return one.read_bytes().hex()

        monkeypatch.setattr(data_digests, "digest_file", digest)
        with data_digests.remembered_digests(tmp_path / "cache") as files:
            assert files.of([path]) == [content.hex()]
        assert len(read) == times_read


def test_a_damaged_memory_of_digests_costs_time_only(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    monkeypatch.setattr(data_digests, "SETTLED_NS", -(10**12))
    with data_digests.remembered_digests(tmp_path / "cache") as files:
        (true,) = files.of([path])
    (memory,) = (tmp_path / "cache" / "digests").iterdir()
    memory.write_text(memory.read_text().replace(true, "0" * 64))
    with data_digests.remembered_digests(tmp_path / "cache") as files:
        assert files.of([path]) == [true]
