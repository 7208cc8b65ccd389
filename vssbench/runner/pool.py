"""Work items on local processes: one worker per core, one thread each, so that counts do not depend on `--workers`."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vssbench.config import Experiment
from vssbench.errors import ConfigError, VssbenchError
from vssbench.results.store import RunFolder
from vssbench.runner.job import JobReport, run_job
from vssbench.runner.plan import WorkItem
from vssbench.runner.workshop import Workshop


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


def choose_workers(requested: int | None, device: str, items: int) -> int:
    """Number of workers: as asked, else one per core on CPU and one on a GPU, never more than items."""
    if requested is not None and requested < 1:
        raise ConfigError(f"--workers {requested}: expected 1 or more")
    default = 1 if device.startswith("cuda") else available_cores()
    return max(1, min(requested or default, items))


def execute(
    experiment: Experiment,
    items: Sequence[WorkItem],
    settings: WorkerSettings,
    workers: int,
    on_unit: Callable[[], None],
) -> Iterator[JobReport]:
    """Run all items and yield a report per finished one. The first error stops the rest and is raised."""
    if workers == 1:
        _set_threads(settings.threads)
        shop = Workshop(experiment, settings.cache, settings.device)
        folder = RunFolder(settings.run_path)
        for item in items:
            yield run_job(shop, folder, item, on_unit)
        return
    yield from _execute_in_processes(experiment, items, settings, workers, on_unit)


def _execute_in_processes(
    experiment: Experiment,
    items: Sequence[WorkItem],
    settings: WorkerSettings,
    workers: int,
    on_unit: Callable[[], None],
) -> Iterator[JobReport]:
    context = multiprocessing.get_context("spawn")
    finished_units: Any = context.Queue()
    pool = ProcessPoolExecutor(
        workers,
        mp_context=context,
        initializer=_start_worker,
        initargs=(experiment.canonical(), settings, finished_units),
    )
    try:
        pending: set[Future[JobReport]] = {pool.submit(_run_in_worker, item) for item in items}
        while pending:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            _drain(finished_units, on_unit)
            for future in done:
                yield future.result()
        _drain(finished_units, on_unit)
    except BrokenProcessPool as error:
        raise VssbenchError(
            "a worker process died (killed, or out of memory?). Finished units are kept: run the same command again, "
            "with fewer --workers if memory is short"
        ) from error
    finally:
        _stop(pool)


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; Ctrl-C reaches the whole group
    _set_threads(settings.threads)
    _worker["shop"] = Workshop(Experiment.model_validate(experiment), settings.cache, settings.device)
    _worker["folder"] = RunFolder(settings.run_path)
    _worker["finished_units"] = finished_units


def _run_in_worker(item: WorkItem) -> JobReport:
    return run_job(_worker["shop"], _worker["folder"], item, lambda: _worker["finished_units"].put(1))


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
