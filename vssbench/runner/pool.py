"""Jobs on local processes: one worker per core, one thread each, so that counts do not depend on `--workers`."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Protocol

from vssbench.engine.memory import set_threads
from vssbench.errors import ConfigError, VssbenchError
from vssbench.experiment.schema import Experiment
from vssbench.results.helper_processes import end_with_parent
from vssbench.results.store import RunFolder
from vssbench.runner.job import JobReport, run_job
from vssbench.runner.plan import Job
from vssbench.runner.workshop import Workshop

QUEUED_PER_WORKER = 4
"""Jobs handed to the pool ahead of time, so that no worker waits for the next one."""
LOSSES_IN_A_ROW = 3
"""Deaths of workers without a finished job in between after which a run gives up."""


class PoolListener(Protocol):
    """What execution tells while it goes on; `Listener` of a session is one."""

    @property
    def on_unit(self) -> Callable[[], None]:
        """Called after each stored unit."""

    @property
    def on_stage(self) -> Callable[[str], None]:
        """Called with a line for the log."""


@dataclass(frozen=True)
class WorkerSettings:
    """How workers run; nothing in here may change a count."""

    run_path: Path
    cache: Path | None
    device: str
    threads: int


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_workers(requested: int | None, device: str, jobs: int) -> int:
    """Number of workers: as asked, else one per core on CPU and one on a GPU, never more than jobs."""
    if requested is not None and requested < 1:
        raise ConfigError(f"--workers {requested}: expected 1 or more")
    default = 1 if device.startswith("cuda") else available_cores()
    return max(1, min(requested or default, jobs))


def execute(
    experiment: Experiment,
    jobs: Sequence[Job],
    settings: WorkerSettings,
    workers: int,
    listener: PoolListener,
) -> Iterator[JobReport]:
    """Run all jobs and yield a report per finished one. The first error stops the rest and is raised."""
    jobs = [replace(job, workers=workers) for job in jobs]
    if workers == 1:
        set_threads(settings.threads)
        shop = Workshop(experiment, settings.cache, settings.device)
        folder = RunFolder(settings.run_path)
        for job in jobs:
            yield run_job(shop, folder, job, listener.on_unit)
        return
    left = dict(enumerate(jobs))
    lost = 0
    while left:
        before = len(left)
        try:
            yield from _execute_in_processes(experiment, left, settings, workers, listener)
        except BrokenProcessPool as error:
            lost = lost + 1 if len(left) == before else 1
            if lost > LOSSES_IN_A_ROW:
                raise VssbenchError(
                    f"worker processes died {lost} times in a row without finishing a job (killed, or out of memory?). "
                    "Finished units are kept: run the same command again, with fewer --workers if memory is short"
                ) from error
            listener.on_stage(f"a worker process died; {len(left)} jobs go on with new workers")


def _execute_in_processes(
    experiment: Experiment,
    left: dict[int, Job],
    settings: WorkerSettings,
    workers: int,
    listener: PoolListener,
) -> Iterator[JobReport]:
    """Run the jobs in `left` and take each out of it when it is done. Raises BrokenProcessPool if a worker dies."""
    context = multiprocessing.get_context("spawn")
    finished_units: Any = context.Queue()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(experiment.canonical(), settings, finished_units),
    )
    waiting = iter(list(left.items()))
    running: dict[Future[JobReport], int] = {}
    try:
        while left:
            # Few at a time: submitting all would make every wait look at all of them.
            for number, job in islice(waiting, QUEUED_PER_WORKER * workers - len(running)):
                with deaf_to_interrupt():  # submitting starts workers
                    running[pool.submit(_run_in_worker, job)] = number
            done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(finished_units, listener.on_unit)
            for future in done:
                number = running.pop(future)
                report = future.result()
                del left[number]
                yield report
        _drain(finished_units, listener.on_unit)
    finally:
        _stop(pool)


@contextmanager
def deaf_to_interrupt() -> Iterator[None]:
    """Threads and processes started inside never hear Ctrl-C, which reaches the whole group: the session decides.

    Ctrl-C in this moment is heard after it. A worker could only ignore the signal once its imports are done.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first start of a process starts it, and unblocks the signal after that
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(pool: ProcessPoolExecutor) -> None:
    """End the workers now; units are written atomically, so nothing half-made stays."""
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


def _drain(finished_units: Any, on_unit: Callable[[], None]) -> None:
    while True:
        try:
            finished_units.get_nowait()
        except queue.Empty:
            return
        on_unit()


_worker: dict[str, Any] = {}


def _start_worker(experiment: dict[str, Any], settings: WorkerSettings, finished_units: Any) -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; Ctrl-C reaches the whole group
    set_threads(settings.threads)
    _worker["shop"] = Workshop(Experiment.model_validate(experiment), settings.cache, settings.device)
    _worker["folder"] = RunFolder(settings.run_path)
    _worker["finished_units"] = finished_units


def _run_in_worker(job: Job) -> JobReport:
    return run_job(_worker["shop"], _worker["folder"], job, lambda: _worker["finished_units"].put(1))
