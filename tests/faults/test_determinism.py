"""The quickstart (one short sequence of it) is the same to the byte wherever and in however many pieces it is run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from kill_campaign import contents, streams

import vssbench
from vssbench.runner.session import Listener

SHORT = ("dataset.sequences=1", "dataset.frames=8", "measure.macs=false", "pictures.per_codec=0")
UNITS = 2 * 4
"""Codecs and methods; a job for each codec."""


def quickstart(place: Path, **where: Any) -> Path:
    """Run it, or what is missing, with a bitstream cache of its own."""
    cache = place.with_name(f"{place.name}-cache")
    return vssbench.run("quickstart", place, overrides=SHORT, cache=cache, device="cpu", **where).path


def found(place: Path) -> tuple[dict[str, str], dict[str, str]]:
    """All files of a run but times and logs, and the bitstreams that were made for it."""
    return contents(place), streams(place.with_name(f"{place.name}-cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("determinism")


@pytest.fixture(scope="module")
def one_process(folder: Path) -> Path:
    return quickstart(folder / "one", workers=1)


@pytest.fixture(scope="module")
def two_workers(folder: Path) -> Path:
    return quickstart(folder / "two", workers=2)


@pytest.fixture(scope="module")
def nodes():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None, silence_logs=50
    ) as cluster:
        yield {"cluster": cluster.scheduler_address}


def half_of(run: Path, place: Path) -> Path:
    """A copy that lacks every second unit and half of the bitstreams."""
    shutil.copytree(run, place)
    cache = shutil.copytree(run.with_name(f"{run.name}-cache"), place.with_name(f"{place.name}-cache"))
    for path in sorted(place.glob("units/*/*/*/*/*.json"))[::2]:
        path.unlink()
    for entry in sorted(cache.glob("[0-9a-f][0-9a-f]/*/record.json"))[::2]:
        shutil.rmtree(entry.parent)
    return place


@pytest.mark.slow
def test_two_workers_give_what_one_process_gives(one_process, two_workers):
    assert len(list(one_process.glob("units/*/*/*/*/*.json"))) == UNITS
    assert found(two_workers) == found(one_process)


@pytest.mark.slow
def test_a_run_resumed_in_one_process_is_the_fresh_one(one_process, two_workers, folder):
    resumed = half_of(two_workers, folder / "resumed")
    count: list[int] = []
    quickstart(resumed, workers=1, listener=Listener(on_unit=lambda: count.append(1)))
    assert len(count) == UNITS // 2
    assert found(resumed) == found(one_process)


@pytest.mark.slow
def test_a_cluster_gives_the_same_fresh_and_resumed(one_process, nodes, folder):
    fresh = quickstart(folder / "fresh", **nodes)
    assert found(fresh) == found(one_process)
    resumed = half_of(fresh, folder / "cluster-resumed")
    assert found(resumed) != found(one_process)
    quickstart(resumed, **nodes)
    assert found(resumed) == found(one_process)
