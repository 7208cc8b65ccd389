"""A session on a run folder: lock it, freeze or compare the experiment, do what is missing, measure costs."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from vssbench import __version__
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.errors import ConfigError, DiskFullError, StorageError
from vssbench.analysis.run import Run, load_run
from vssbench.results.store import RunFolder, slug, storage_error
from vssbench.runner.observers.macs import measure_costs
from vssbench.runner.environment import describe, differences, drift, refuse_drift
from vssbench.runner.estimate import space_needed
from vssbench.runner.job import JobReport, OwedItem, owed_item
from vssbench.runner.observers.latency import measure_run_latency
from vssbench.runner.observers.further import refuse_what_cannot_be_measured
from vssbench.runner.plan import PlanSummary, WorkItem, make_plan, summarise
from vssbench.runner.pool import WorkerSettings, choose_workers, execute
from vssbench.runner.workshop import Workshop, check_lookahead, choose_device


@dataclass
class Totals:
    """Stage timings of one session, for the log and the closing line."""

    encode_seconds: float = 0.0
    encoded_frames: int = 0
    decode_seconds: float = 0.0
    decoded_frames: int = 0
    units: int = 0

    def add(self, report: JobReport) -> None:
        """Add one job."""
        for name, value in asdict(report).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Listener:
    """Callbacks through which a front end follows a session."""

    on_plan: Callable[[PlanSummary, int], None] = lambda summary, owed: None
    """Plan size and how many units are still owed."""
    on_unit: Callable[[], None] = lambda: None
    on_stage: Callable[[str], None] = lambda text: None
    totals: Totals = field(default_factory=Totals)


def run(
    experiment: str | Path | Mapping[str, Any] | Experiment,
    output: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    device: str = "auto",
    workers: int | None = None,
    threads: int = 1,
    cache: str | Path | None = None,
    force: bool = False,
    cluster: str | None = None,
    listener: Listener | None = None,
) -> Run:
    """Run an experiment, or what is missing of it, and return its results.

    experiment: packaged name ('quickstart'), YAML path, plain data or Experiment; overrides: 'key=value' texts.
    output: run folder, default runs/NAME. workers: processes, default one per core (one on a GPU); threads: torch
    threads in each. cache: folder of bitstreams. force: resume although the environment changed. cluster: where to
    work instead of local processes, see `open_cluster`.
    Raises ConfigError, InputError, StorageError; finished units are kept and the same call goes on from there.
    """
    frozen = load_experiment(experiment, overrides)
    folder = RunFolder(Path(output) if output is not None else default_output(experiment))
    if cluster is not None and workers is not None:
        raise ConfigError("--workers counts local processes and --cluster has its own; give one of them")
    settings = WorkerSettings(folder.path, Path(cache) if cache else None, device, threads)
    with _Locked(folder.path), _Log(folder.path / "log.txt") as log:
        listener = log.following(listener or Listener())
        log.write(
            f"session of vssbench {__version__}: {experiment if isinstance(experiment, (str, Path)) else 'experiment'}"
        )
        _freeze_experiment(folder, frozen)
        with _workplace(cluster, workers, listener) as workplace:
            _check_environment(folder, workplace.describe(frozen, device, threads, force=force), force)
            _session(frozen, folder, settings, workplace, listener)
    return load_run(folder.path)


class _Workplace(Protocol):
    """Where work is done: local processes or a cluster."""

    @property
    def planning_device(self) -> str: ...

    def describe(
        self, experiment: Experiment, device: str, threads: int, *, force: bool
    ) -> dict[str, Any]: ...

    def execute(
        self, experiment: Experiment, items: Sequence[OwedItem], settings: WorkerSettings
    ) -> Iterator[JobReport]: ...


@dataclass(frozen=True)
class _LocalProcesses:
    """The machine this session runs on."""

    workers: int | None
    listener: Listener
    planning_device: str

    def describe(self, experiment: Experiment, device: str, threads: int, *, force: bool) -> dict[str, Any]:
        return describe(experiment, choose_device(device), threads)

    def execute(
        self, experiment: Experiment, items: Sequence[OwedItem], settings: WorkerSettings
    ) -> Iterator[JobReport]:
        workers = choose_workers(self.workers, settings.device, max(1, len(items)))
        return execute(experiment, items, settings, workers, self.listener)


@contextmanager
def _workplace(cluster: str | None, workers: int | None, listener: Listener) -> Iterator[_Workplace]:
    if cluster is None:
        yield _LocalProcesses(workers, listener, "")
        return
    from vssbench.runner.cluster import open_cluster

    with open_cluster(cluster, listener) as nodes:
        yield nodes


def _session(
    experiment: Experiment,
    folder: RunFolder,
    settings: WorkerSettings,
    workplace: _Workplace,
    listener: Listener,
) -> None:
    """Plan, do what is owed, count MACs. Raises as `run`; on a full disk with the space that is missing."""
    listener.on_stage("planning")
    items = make_plan(experiment)
    owed = _owed_items(folder, items, listener)
    shop = Workshop(experiment, settings.cache, workplace.planning_device or settings.device)
    _build_everything_once(shop, items)
    summary = summarise(items)
    try:
        folder.write_json("plan.json", {**asdict(summary), "titles": _titles(experiment)})
        folder.write_json("datasets.json", _describe_datasets(shop, items))
        listener.on_plan(summary, sum(len(item.units) for item in owed))
        for report in workplace.execute(experiment, owed, settings):
            listener.totals.add(report)
        if owed:
            folder.sweep()  # a worker that was killed while this session went on leaves what it was writing
        if experiment.measure.macs:
            listener.on_stage("counting MACs")
            measure_costs(shop, folder, items)
        if experiment.measure.latency:
            measure_run_latency(shop, folder, items, listener.on_stage)
    except DiskFullError as error:
        stored = folder.stored_units()
        still_owed = [owed_item(folder, item, stored) for item in items]
        raise DiskFullError(f"{error}. {space_needed(shop, folder, still_owed).text}") from error


def default_output(experiment: str | Path | Mapping[str, Any] | Experiment) -> Path:
    """runs/NAME below the working directory."""
    if isinstance(experiment, (str, Path)):
        name = str(experiment)
        name = Path(name).stem if name.endswith((".yaml", ".yml")) else name.replace("/", "-")
    else:
        title = experiment.title if isinstance(experiment, Experiment) else str(experiment.get("title", ""))
        name = slug(title) if title else "experiment"
    return Path("runs") / name


class _Log:
    """Appends what happens in a session to a text file, errors included."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Log:
        try:
            self.file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise storage_error(self.path, error) from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.write(f"stopped: {type(error).__name__}: {error}")
        with suppress(OSError):
            self.file.close()

    def write(self, text: str) -> None:
        """Add one line with the time. A log that cannot grow (full disk) stops nothing; records tell that better."""
        with suppress(OSError):
            self.file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self.file.flush()

    def following(self, listener: Listener) -> Listener:
        """A listener that also writes plan and stages to the log."""

        def on_plan(summary: PlanSummary, owed: int) -> None:
            self.write(f"plan: {summary}; {owed} units owed")
            listener.on_plan(summary, owed)

        def on_stage(text: str) -> None:
            self.write(text)
            listener.on_stage(text)

        return replace(listener, on_plan=on_plan, on_stage=on_stage)


class _Locked:
    """Holds the run folder for one session and says who holds it if that fails."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self.lock = FileLock(path / ".lock", timeout=0)
            self.lock.acquire()
        except Timeout:
            owner = (path / ".owner").read_text() if (path / ".owner").exists() else "another process"
            raise StorageError(
                f"{path}: in use by {owner}; wait for it to end or choose another folder with -o"
            ) from None
        except OSError as error:
            raise storage_error(path, error) from error
        with suppress(OSError):  # without the note a second session only learns less about this one
            (path / ".owner").write_text(
                f"process {os.getpid()} on {platform.node()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exception: object) -> None:
        with suppress(OSError):
            (self.path / ".owner").unlink(missing_ok=True)
        self.lock.release()


def _freeze_experiment(folder: RunFolder, experiment: Experiment) -> None:
    values = experiment.canonical()
    if not (folder.path / "experiment.json").exists():
        folder.write_json("experiment.json", values)
        return
    before = folder.read_json("experiment.json")
    changed = differences(_comparable(before), _comparable(values))
    if changed:
        raise ConfigError(
            f"{folder.path}: holds a run of another experiment; different keys: {'; '.join(changed[:8])}. "
            "Choose another folder with -o, or delete this one"
        )
    if values != before:
        folder.write_json("experiment.json", values)  # its words and limits are the newer file's


def _comparable(values: dict[str, Any]) -> dict[str, Any]:
    """What decides the records; words, limits, what is kept to look at and compared may change between sessions."""
    free = ("title", "notes", "limits", "pictures", "reference")
    return _flatten({key: value for key, value in values.items() if key not in free})


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}{key}.").items()}
    if isinstance(value, list):
        return {k: v for i, item in enumerate(value) for k, v in _flatten(item, f"{prefix}{i}.").items()} or {
            prefix: "[]"
        }
    return {prefix.rstrip("."): value}


def _check_environment(folder: RunFolder, now: dict[str, Any], force: bool) -> None:
    if not (folder.path / "environment.json").exists():
        folder.write_json("environment.json", {**now, "forced": []})
        return
    before = folder.read_json("environment.json")
    changed = drift(before, now)
    if changed and not force:
        refuse_drift(changed, folder.path)
    if changed and changed not in before["forced"]:
        folder.write_json("environment.json", {**before, "forced": [*before["forced"], changed]})


def _owed_items(folder: RunFolder, items: Sequence[WorkItem], listener: Listener) -> list[OwedItem]:
    """Items with missing units or pictures. Damaged unit files are set aside, told, and count as missing."""
    folder.sweep()
    intact, damaged = folder.intact_units()
    for path in damaged:
        listener.on_stage(f"damaged unit file set aside as {path}; it is made again")
    found = (owed_item(folder, item, intact) for item in items)
    return [owing for owing in found if owing.units or owing.picture]


def _titles(experiment: Experiment) -> dict[str, list[str]]:
    return {
        "datasets": [entry.title for entry in experiment.datasets],
        "codecs": list(dict.fromkeys(entry.title for entry in experiment.codecs)),
        "methods": list(dict.fromkeys(entry.title for entry in experiment.methods)),
    }


def _describe_datasets(shop: Workshop, items: Sequence[WorkItem]) -> dict[str, Any]:
    """What tables and figures must know of each dataset, so that they need not open it."""
    described = {}
    for title in dict.fromkeys(item.dataset for item in items):
        dataset = shop.dataset(title)
        names = list(dict.fromkeys(item.sequence for item in items if item.dataset == title))
        sequences = [shop.sequence(title, name) for name in names]
        described[title] = {
            "class_names": list(dataset.classes.names),
            "palette": [list(colour) for colour in dataset.classes.palette],
            "ignore_index": dataset.classes.ignore_index,
            "categories": list(dataset.classes.categories) if dataset.classes.categories else None,
            "protocol_mark": dataset.protocol_mark,
            "remarks": [f"{s.name}: {remark}" for s in sequences for remark in s.remarks()],
            "sequences": {
                s.name: {
                    "frames": len(s),
                    "labelled": len(s.labelled),
                    "size": list(s.size),
                    "frame_rate_hz": s.frame_rate_hz,
                }
                for s in sequences
            },
        }
    return described


def _build_everything_once(shop: Workshop, items: Sequence[WorkItem]) -> None:
    """Build every method for every size before work starts, so that what cannot work fails in the first second."""
    for item in items:
        sequence = shop.sequence(item.dataset, item.sequence)
        for title, method in shop.methods(item.dataset, item.codec, sequence.size).items():
            check_lookahead(method, title, sequence, item.job)
    for dataset, codec, name in dict.fromkeys((i.dataset, i.codec, i.sequence) for i in items):
        refuse_what_cannot_be_measured(
            shop.experiment, dataset, shop.specs(dataset, codec), shop.sequence(dataset, name)
        )
