"""Jobs on a Dask cluster: the same units as on local processes, stored as the same records.

Needs the extra `cluster`. A worker that sees the run folder writes its units there; one that does not returns them,
and the client checks and writes them. Which it is, is found for every job anew by a mark in the run folder.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vssbench.engine.build import choose_device
from vssbench.engine.data_digests import data_digests, remembered_digests
from vssbench.engine.memory import set_threads
from vssbench.errors import CapabilityError, ConfigError, InputError, VssbenchError
from vssbench.experiment.schema import Experiment
from vssbench.experiment.validation import validate
from vssbench.experiment.yaml import read_yaml
from vssbench.files import write_atomically
from vssbench.results.schema import from_json
from vssbench.results.store import RunFolder, unit_name
from vssbench.runner.environment import describe, differences
from vssbench.runner.job import JobReport, run_job
from vssbench.runner.plan import Job
from vssbench.runner.pool import QUEUED_PER_WORKER, PoolListener, WorkerSettings, deaf_to_interrupt
from vssbench.runner.workshop import Workshop

CONNECT_SECONDS = 15
"""How long an address may take to answer, and its first worker to appear."""
SILENCE_SECONDS = 30
"""After so long without any worker the log says what is being waited for."""
RETRIES = 2
"""How often a job is tried again after an error that is no finding about the user's input."""

GPU = "GPU"
"""Resource tag of workers that own a GPU: `dask worker ADDRESS --nthreads 1 --resources GPU=1`."""

_SCHEDULERS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "lsf": "LSFCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
    "htcondor": "HTCondorCluster",
}


class ClusterFile(BaseModel):
    """A `--cluster FILE.yaml`: which batch system, how many jobs, and what dask-jobqueue needs to know of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: Literal["slurm", "pbs", "sge", "lsf", "oar", "moab", "htcondor"]
    jobs: int = Field(1, ge=1, description="batch jobs to ask for")
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="keywords of the dask-jobqueue class: cores, memory, queue, walltime, ...",
    )


@dataclass(frozen=True)
class _Task:
    """What travels to a worker; everything in it is plain data."""

    experiment: dict[str, Any]
    bits: dict[str, Any]
    job: Job
    settings: WorkerSettings
    mark: str
    """File in the run folder by which a worker knows that it sees the same folder."""


@dataclass(frozen=True)
class _Done:
    """What comes back; `files` by path below the run folder, empty where the worker wrote them itself."""

    report: JobReport
    files: dict[str, bytes]


class DaskNodes:
    """An open connection to a cluster, made by `open_cluster`."""

    def __init__(self, client: Any, name: str, listener: PoolListener, *, shared: bool = True) -> None:
        """`shared`: False makes workers return their records even where they see the run folder."""
        self._client, self._name, self._listener = client, name, listener
        self._shared = shared
        self._bits: dict[str, Any] = {}
        self._device = "cpu"

    planning_device = "cpu"
    """What the client itself does (planning, counting MACs) needs no GPU."""

    def describe(self, experiment: Experiment, device: str, threads: int, *, force: bool) -> dict[str, Any]:
        """Environment of the workers; with `force` they need not be alike.

        Raises CapabilityError if none can do what `device` asks for.
        """
        self._device = self._choose_device(device)
        task = self._client.submit(
            _describe_on_worker, experiment.canonical(), self._device, threads, pure=False, **self._where()
        )
        found = _unwrapped(task.result())
        self._bits = {} if force else found["bits"]
        return dict(found)

    def execute(
        self, experiment: Experiment, jobs: Sequence[Job], settings: WorkerSettings
    ) -> Iterator[JobReport]:
        """Run all jobs and yield a report per finished one. The first error stops the rest and is raised.

        Raises VssbenchError if the scheduler is lost or one job keeps killing its workers.
        """
        mark = f".cluster-{uuid.uuid4().hex}"
        folder = RunFolder(settings.run_path)
        if self._shared:
            write_atomically(folder.path / mark, b"")
        settings = replace(
            settings,
            device=self._device,
            run_path=settings.run_path.resolve(),
            cache=settings.cache.resolve() if settings.cache else None,
        )
        plain, workers = experiment.canonical(), len(self._workers())
        try:
            for done in self._finished(
                [_Task(plain, self._bits, replace(job, workers=workers), settings, mark) for job in jobs]
            ):
                _write_returned(folder, done)
                for _ in range(done.report.units):
                    self._listener.on_unit()
                yield done.report
        finally:
            (folder.path / mark).unlink(missing_ok=True)

    def _finished(self, tasks: Sequence[_Task]) -> Iterator[_Done]:
        """Results in the order in which they come; a window of tasks is kept on the cluster, so memory stays flat."""
        from distributed import wait

        waiting = iter(tasks)
        running: set[Any] = set()
        silent_since = None
        try:
            while True:
                for task in islice(waiting, max(0, self._window() - len(running))):
                    running.add(
                        self._client.submit(
                            _run_on_worker, task, pure=False, retries=RETRIES, **self._where()
                        )
                    )
                if not running:
                    return
                with contextlib.suppress(TimeoutError):
                    wait(list(running), timeout=0.5, return_when="FIRST_COMPLETED")  # type: ignore[no-untyped-call]
                silent_since = self._note_silence(silent_since)
                for future in [future for future in running if future.status != "pending"]:
                    running.remove(future)
                    yield self._result(future)
        finally:
            if running:
                with contextlib.suppress(Exception):
                    self._client.cancel(list(running), force=True)

    def _result(self, future: Any) -> _Done:
        from distributed.scheduler import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise VssbenchError(
                f"cluster {self._name}: the scheduler was lost. Finished units are kept: run the same command again"
            )
        error = future.exception() if future.status == "error" else None
        if isinstance(error, KilledWorker):
            raise VssbenchError(
                f"cluster {self._name}: a job lost its worker several times (killed, or out of memory?): {error}. "
                "Finished units are kept: give the workers more memory and run the same command again"
            )
        done: _Done = _unwrapped(future.result())
        return done

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info(n_workers=-1)["workers"])

    def _window(self) -> int:
        return QUEUED_PER_WORKER * max(4, len(self._workers()))

    def _where(self) -> dict[str, Any]:
        return {"resources": {GPU: 1}} if self._device.startswith("cuda") else {}

    def _choose_device(self, device: str) -> str:
        """'auto' is a GPU where a worker offers one; a mixture would give different bits."""
        offering = sum(bool(worker.get("resources", {}).get(GPU)) for worker in self._workers().values())
        if device == "auto":
            return "cuda" if offering else "cpu"
        if device.startswith("cuda") and not offering:
            raise CapabilityError(
                f"--device {device}: no worker of {self._name} offers the resource {GPU}; start GPU workers with "
                f"`dask worker ADDRESS --nthreads 1 --resources {GPU}=1`"
            )
        return device

    def _note_silence(self, since: float | None) -> float | None:
        """When the last worker went, to be told once after a while; None while there are workers."""
        if self._workers():
            return None
        since = since or time.monotonic()
        if since > 0 and time.monotonic() - since > SILENCE_SECONDS:
            self._listener.on_stage(
                "no worker is left; waiting for one to join (Ctrl-C stops, finished units are kept)"
            )
            return -1.0
        return since


@contextlib.contextmanager
def open_cluster(cluster: str, listener: PoolListener, *, shared: bool = True) -> Iterator[DaskNodes]:
    """Connect to the cluster that `--cluster` names, start it where it is ours to start, and end that one again.

    cluster: 'tcp://HOST:PORT' of a Dask scheduler, 'local:N' for N processes here, or a YAML file for a batch system.
    Raises ConfigError (not one of these, nobody answers, no worker), CapabilityError (extra `cluster` not installed).
    """
    distributed = _imported("distributed")
    with contextlib.ExitStack() as stack:
        target, own = _started(cluster, distributed)
        if own is not None:
            stack.callback(_close, own)
        try:
            client = distributed.Client(target, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TimeoutError) as error:
            raise ConfigError(
                f"--cluster {cluster}: no Dask scheduler answers ({_first_line(error)}); start one with `dask scheduler`, "
                "or use local:N"
            ) from error
        stack.callback(_close, client)
        _await_first_worker(client, cluster, listener, queued=cluster.endswith((".yaml", ".yml")))
        listener.on_stage(_greeting(client, cluster))
        yield DaskNodes(client, cluster, listener, shared=shared)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CapabilityError(
            f"--cluster needs the package {name}, which is not installed; run `pip install vssbench[cluster]`"
        ) from error


def _started(cluster: str, distributed: Any) -> tuple[Any, Any]:
    """What the client connects to, and the cluster that was started for it (None for a given address)."""
    if "://" in cluster:
        return cluster, None
    kind, _, count = cluster.partition(":")
    if kind == "local" and count.isdigit() and int(count) > 0:
        with deaf_to_interrupt():
            own = distributed.LocalCluster(
                n_workers=int(count),
                threads_per_worker=1,
                memory_limit=0,  # the machine's owner decides; dask would kill workers at a share of its own
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
        return own, own
    if cluster.endswith((".yaml", ".yml")):
        own = _batch_cluster(cluster)
        return own, own
    raise ConfigError(
        f"--cluster {cluster!r}: expected a scheduler's address (tcp://HOST:8786), local:N with N processes, or a YAML "
        "file for a batch system (see docs/cluster.md)"
    )


def _batch_cluster(path: str) -> Any:
    file = validate(ClusterFile, read_yaml(Path(path)), where=str(path))
    jobqueue = _imported("dask_jobqueue")
    options = dict(file.options)
    if "cores" in options:
        options.setdefault("processes", options["cores"])  # one thread each: counts must not depend on it
    try:
        cluster = getattr(jobqueue, _SCHEDULERS[file.scheduler])(**options)
        cluster.scale(jobs=file.jobs)
    except (TypeError, ValueError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"{path}: {file.scheduler} does not start with these options ({_first_line(error)}); see docs/cluster.md"
        ) from error
    return cluster


def _await_first_worker(client: Any, cluster: str, listener: PoolListener, *, queued: bool) -> None:
    """Batch systems may take hours, and that is told; anything else has a worker soon or never."""
    if queued:
        listener.on_stage("waiting for the batch system to start a worker (Ctrl-C gives up)")
    deadline = None if queued else time.monotonic() + CONNECT_SECONDS
    while not client.scheduler_info(n_workers=-1)["workers"]:
        if deadline is not None and time.monotonic() > deadline:
            raise ConfigError(
                f"--cluster {cluster}: the scheduler has no worker; start some with `dask worker ADDRESS --nthreads 1`"
            )
        time.sleep(0.2)


def _greeting(client: Any, cluster: str) -> str:
    workers = list(client.scheduler_info(n_workers=-1)["workers"].values())
    parts = [f"cluster {cluster}: {len(workers)} workers, dashboard {client.dashboard_link}"]
    try:
        importlib.import_module("bokeh")
    except ImportError:
        parts.append("(pages need `pip install bokeh`)")
    if any(worker.get("nthreads", 1) > 1 for worker in workers):
        parts.append("; workers with several threads use one at a time, start them with --nthreads 1")
    return " ".join(parts).replace(" ;", ";")


def _close(thing: Any) -> None:
    """Ctrl-C must not wait for a cluster that takes its time."""
    with contextlib.suppress(Exception):
        thing.close(timeout=1)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _unwrapped(value: Any) -> Any:
    if isinstance(value, VssbenchError):
        raise value
    return value


def _write_returned(folder: RunFolder, done: _Done) -> None:
    """Store what a worker returned; unit records are checked again, for they came over the network."""
    for relative, data in done.files.items():
        if relative.startswith("units/"):
            record = from_json(data, relative)
            write_atomically(folder.path / "units" / unit_name(record.key), data)
        elif relative.startswith("frames/") and ".." not in Path(relative).parts:
            if not (folder.path / relative).exists():  # what is there is not made better by a second copy
                write_atomically(folder.path / relative, data)
        else:
            raise VssbenchError(f"a worker returned the file {relative!r}; expected units and frames only")


# What runs on workers -------------------------------------------------------------------------------------------------

_LOCK = threading.Lock()
"""Torch's number of threads is one for the process, so a worker does one job at a time whatever its threads."""
_shops: dict[str, Workshop] = {}
_seen: dict[tuple[str, str], tuple[str, str]] = {}
"""Digests of frames and labels of (dataset, sequence), as this worker sees them."""


def _describe_on_worker(
    experiment: dict[str, Any], device: str, threads: int
) -> dict[str, Any] | VssbenchError:
    try:
        return describe(Experiment.model_validate(experiment), choose_device(device), threads)
    except VssbenchError as error:
        return error  # as a value: what is wrong with the input is not tried again


def _run_on_worker(task: _Task) -> _Done | VssbenchError:
    try:
        with _LOCK:
            return _worked(task)
    except VssbenchError as error:
        return error


def _worked(task: _Task) -> _Done:
    shop = _shop(task)
    _refuse_other_data(shop, task.job)
    if (task.settings.run_path / task.mark).exists():
        return _Done(run_job(shop, RunFolder(task.settings.run_path), task.job, lambda: None), {})
    with tempfile.TemporaryDirectory(prefix="vssbench-") as name:
        folder = Path(name)
        report = run_job(shop, RunFolder(folder), task.job, lambda: None)
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        return _Done(report, {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})


def _refuse_other_data(shop: Workshop, job: Job) -> None:
    """Raise InputError if the sequence has other frames or labels here than where the run was planned."""
    place = (job.dataset, job.sequence)
    if place not in _seen:
        with remembered_digests(shop.cache.root) as files:
            _seen[place] = data_digests(shop.sequence(*place), files)
    if _seen[place] != job.data:
        kinds = [
            kind
            for kind, own, theirs in zip(("frames", "labels"), _seen[place], job.data, strict=True)
            if own != theirs
        ]
        raise InputError(
            f"worker process {os.getpid()} on {os.uname().nodename} sees other {' and '.join(kinds)} of {job.dataset}/"
            f"{job.sequence} than the client; give every worker the same files"
        )


def _shop(task: _Task) -> Workshop:
    """The workshop of this experiment, kept from job to job; made after a look at what decides the bits."""
    set_threads(task.settings.threads)
    key = repr((task.experiment, task.settings.cache, task.settings.device, task.bits))
    if key not in _shops:
        experiment = Experiment.model_validate(task.experiment)
        own = describe(experiment, choose_device(task.settings.device), task.settings.threads)["bits"]
        changed = differences(task.bits, own) if task.bits else []
        if changed:
            raise ConfigError(
                f"worker process {os.getpid()} on {os.uname().nodename} would give other bits than the rest: "
                + "; ".join(changed)
                + ". Install the same versions on every worker"
            )
        _seen.clear()
        _shops.clear()  # one experiment at a time: networks are large
        _shops[key] = Workshop(experiment, task.settings.cache, task.settings.device)
    return _shops[key]
