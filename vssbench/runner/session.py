"""A session on a run folder: lock it, freeze or compare the experiment, do what is missing, measure costs."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vssbench import __version__
from vssbench.analysis.run import Run, load_run
from vssbench.codec import read_source
from vssbench.engine.build import check_lookahead, check_source_motion, choose_device
from vssbench.engine.data_digests import remembered_digests
from vssbench.engine.ownership import owned, sweep
from vssbench.engine.reading import image_of, label_of
from vssbench.errors import (
    ConfigError,
    DiskFullError,
    InputError,
    OutOfMemoryError,
    is_out_of_memory,
    out_of_memory,
)
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.files import storage_error
from vssbench.method import Method
from vssbench.metrics.confusion import count_pairs
from vssbench.results.basis import Basis, make_basis
from vssbench.results.documents import (
    EXPERIMENT_FILE,
    DatasetRecord,
    DatasetRecords,
    EnvironmentRecord,
    FrozenExperiment,
    PlanSummary,
    describe_dataset,
)
from vssbench.results.roster import make_roster
from vssbench.results.store import Record, RunFolder, slug, unit_name, what_is_wrong
from vssbench.results.stored import DATASETS_FILE, ENVIRONMENT_FILE, write_start
from vssbench.runner.environment import describe, differences, drift, refuse_drift, truth_digest
from vssbench.runner.estimate import space_needed
from vssbench.runner.job import JobReport
from vssbench.runner.observers.frames import missing_frames, set_aside_damaged
from vssbench.runner.observers.latency import measure_run_latency
from vssbench.runner.observers.macs import measure_costs
from vssbench.runner.observers.oracles import refuse_impossible_oracles
from vssbench.runner.plan import Job, make_plan, summarise
from vssbench.runner.pool import WorkerSettings, choose_workers, execute
from vssbench.runner.tracking import Track, track_results
from vssbench.runner.workshop import Workshop

KEPT = "Finished units are kept: run the same command again"


TRIED_SEQUENCES = 8
"""Sequences of a dataset of which a frame and its label are read before work starts."""


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


def tracked(listener: Listener, track: Track) -> Listener:
    """A listener that also tells `track` of each unit: step is the number of units done in this session."""
    done, owed = 0, 0

    def on_plan(summary: PlanSummary, number: int) -> None:
        nonlocal owed
        owed = number
        listener.on_plan(summary, number)

    def on_unit() -> None:
        nonlocal done
        done += 1
        track(done, {"units": float(done), "share_done": done / max(owed, 1)})
        listener.on_unit()

    return replace(listener, on_plan=on_plan, on_unit=on_unit)


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
    track: Track | None = None,
) -> Run:
    """Run an experiment, or what is missing of it, and return its results.

    experiment: packaged name ('quickstart'), YAML path, plain data or Experiment; overrides: 'key=value' texts.
    output: run folder, default runs/NAME. workers: processes, default one per core (one on a GPU); threads: torch
    threads in each. cache: folder of bitstreams. force: resume although the environment changed. cluster: where to
    work instead of local processes, see `open_cluster`. track: called as track(step, numbers) after each unit and at the
    end with all results, for experiment trackers (docs/experiments.md).
    Raises ConfigError, InputError, StorageError; finished units are kept and the same call goes on from there.
    """
    frozen = load_experiment(experiment, overrides)
    folder = RunFolder(Path(output) if output is not None else _default_output(experiment, frozen.title))
    if cluster is not None and workers is not None:
        raise ConfigError("--workers counts local processes and --cluster has its own; give one of them")
    settings = WorkerSettings(folder.path, Path(cache) if cache else None, device, threads)
    with owned(folder.path), _Log(folder.path / "log.txt") as log:
        listener = log.following(listener or Listener())
        if track is not None:
            listener = tracked(listener, track)
        log.write(
            f"session of vssbench {__version__}: {experiment if isinstance(experiment, (str, Path)) else 'experiment'}"
        )
        sweep(folder.path)
        _refuse_another_experiment(folder, frozen, listener)
        with _workplace(cluster, workers, listener) as workplace:
            now = EnvironmentRecord(**workplace.describe(frozen, device, threads, force=force))
            environment = _environment(folder, now, force, listener)
            with _telling_lack_of_memory(device):
                _session(frozen, folder, settings, workplace, listener, environment, now)
    done = load_run(folder.path)
    if track is not None:
        track_results(done, track)
    return done


@contextmanager
def _telling_lack_of_memory(device: str) -> Iterator[None]:
    """What did not fit, and that finished units are kept."""
    try:
        yield
    except OutOfMemoryError as error:
        raise OutOfMemoryError(f"{error}. {KEPT}") from error
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory("the run", device, error, f"use fewer --workers. {KEPT}") from error


class _Workplace(Protocol):
    """Where work is done: local processes or a cluster."""

    @property
    def planning_device(self) -> str: ...

    def describe(
        self, experiment: Experiment, device: str, threads: int, *, force: bool
    ) -> dict[str, Any]: ...

    def execute(
        self, experiment: Experiment, jobs: Sequence[Job], settings: WorkerSettings
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
        self, experiment: Experiment, jobs: Sequence[Job], settings: WorkerSettings
    ) -> Iterator[JobReport]:
        workers = choose_workers(self.workers, settings.device, max(1, len(jobs)))
        return execute(experiment, jobs, settings, workers, self.listener)


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
    environment: EnvironmentRecord,
    now: EnvironmentRecord,
) -> None:
    """Plan, do what is owed, count MACs and time. environment: of the whole run; now: of this session.

    Raises as `run`; on a full disk with the space that is missing.
    """
    listener.on_stage("planning")
    shop, jobs = prepare(experiment, settings.cache, workplace.planning_device or settings.device)
    roster = shop.of_weights(make_roster(experiment))
    datasets = describe_datasets(shop, jobs)
    _refuse_other_data(folder, datasets, listener, roster.truth_name)
    bits = [*(bits for bits in environment.all_bits if bits != now.bits), now.bits]
    basis = make_basis(roster, datasets, bits)
    jobs = _with_owed_units(folder, [_belonging(job, basis) for job in jobs], basis, listener)
    owed = [job for job in jobs if job.owed or missing_frames(folder, job)]
    summary = summarise(jobs)
    try:
        if any(job.owed for job in owed):
            others = {*environment.processors, *now.processors} - {environment.machine["processor"]}
            environment = environment.model_copy(update={"other_processors": tuple(sorted(others))})
        write_start(folder, experiment, roster, summary, datasets, environment)
        listener.on_plan(summary, sum(len(job.owed) for job in owed))
        for report in workplace.execute(experiment, owed, settings):
            listener.totals.add(report)
        if owed:
            sweep(
                folder.path
            )  # a worker that was killed while this session went on leaves what it was writing
            _set_aside_what_changed(folder, owed, datasets, describe_datasets(shop, jobs))
        if experiment.measure.macs:
            listener.on_stage("counting MACs")
            measure_costs(shop, folder, jobs, basis, listener.on_stage)
        if experiment.measure.latency:
            measure_run_latency(shop, folder, jobs, basis, listener.on_stage)
    except DiskFullError as error:
        still_owed = _owing(jobs, folder.stored_units())
        raise DiskFullError(f"{error}. {space_needed(shop, folder, still_owed).text}") from error


def _default_output(named: object, title: str) -> Path:
    """runs/NAME below the working directory: the name of the experiment's file, else of its title."""
    name = str(named) if isinstance(named, (str, Path)) else slug(title) if title else "experiment"
    name = Path(name).stem if name.endswith((".yaml", ".yml")) else name.replace("/", "-")
    return Path("runs") / name


class _Log:
    """Appends what happens in a session to a text file, errors included."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Log:
        try:
            # a folder of that name is no reason to stop: nothing is read from the log
            place = Path(os.devnull) if self.path.is_dir() else self.path
            self.file = place.open("a", encoding="utf-8")
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


def _stored(folder: RunFolder, name: str, kind: type[Record], listener: Listener) -> Record | None:
    """A document of an earlier session; None where there is none or no unit was stored: a mistake blocks no folder.

    One that is damaged or was edited is told and counts as none: what every record belongs to decides then.
    """
    if not any((folder.path / "units").rglob("*.json")):
        return None
    try:
        return folder.read_record(name, kind)
    except InputError as error:
        listener.on_stage(f"{what_is_wrong(error)}; it is written anew")
        return None


def _refuse_another_experiment(folder: RunFolder, experiment: Experiment, listener: Listener) -> None:
    before = _stored(folder, EXPERIMENT_FILE, FrozenExperiment, listener)
    changed = (
        differences(_comparable(before.model_dump()), _comparable(experiment.canonical())) if before else []
    )
    if changed:
        raise ConfigError(
            f"{folder.path}: holds a run of another experiment; different keys: {'; '.join(changed[:8])}. "
            "Choose another folder with -o"
        )


def _refuse_other_data(
    folder: RunFolder, now: Mapping[str, DatasetRecord], listener: Listener, truth: str
) -> None:
    """Raise ConfigError naming what changed in the datasets since the run was begun; truth: `Roster.truth_name`."""
    before = _stored(folder, DATASETS_FILE, DatasetRecords, listener)
    changed = [
        f"{title}: {difference}"
        for title, record in (before.datasets if before else {}).items()
        for difference in (record.differences(now[title], truth) if title in now else ["the dataset is gone"])
    ]
    if changed:
        more = f" and {len(changed) - 8} more" if len(changed) > 8 else ""
        raise ConfigError(
            f"{folder.path}: the data is not what this run was begun with: {'; '.join(changed[:8])}{more}. Units of both "
            "would stand in one table: put the old files back, or start a new run with -o"
        )


def _belonging(job: Job, basis: Basis) -> Job:
    record = basis.datasets[job.dataset].sequences[job.sequence]
    belongs = basis.of_sequence(job.dataset, job.sequence)[-1]
    return replace(job, belongs=belongs, data=(record.frames_digest, record.labels_digest))


def _set_aside_what_changed(
    folder: RunFolder,
    done: Sequence[Job],
    before: Mapping[str, DatasetRecord],
    now: Mapping[str, DatasetRecord],
) -> None:
    """Raise InputError if data changed while the session went on; what it made of these sequences is set aside."""
    changed = {
        (title, name)
        for title, record in before.items()
        for name, sequence in record.sequences.items()
        if sequence != now[title].sequences[name]
    }
    for job in done:
        if (job.dataset, job.sequence) in changed:
            made = [folder.unit_path(key) for key in job.owed]
            made += [folder.path / job.archive(kept) for kept in job.kept]
            for path in made:
                if path.exists():
                    folder.set_aside(path)
    if changed:
        names = ", ".join(f"{title}/{name}" for title, name in sorted(changed)[:8])
        raise InputError(
            f"{folder.path}: frames or labels changed while the run went on: {names}. What this session made of them is "
            "set aside under damaged; put the old files back and run the same command again, or start a new run with -o"
        )


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


def _environment(
    folder: RunFolder, now: EnvironmentRecord, force: bool, listener: Listener
) -> EnvironmentRecord:
    """The record of the whole run, this session included.

    Raises ConfigError if today's give other bits than those of the beginning, unless forced.
    """
    before = _stored(folder, ENVIRONMENT_FILE, EnvironmentRecord, listener)
    if before is None:
        return now
    changed = drift(before, now)
    if changed and not force:
        refuse_drift(changed, folder.path)
    if now.bits not in before.all_bits:
        forced, bits = (*before.forced, tuple(changed)), (*before.forced_bits, now.bits)
        before = before.model_copy(update={"forced": forced, "forced_bits": bits})
    return before


def _with_owed_units(folder: RunFolder, jobs: Sequence[Job], basis: Basis, listener: Listener) -> list[Job]:
    """The jobs with the units they still owe. What is damaged or from elsewhere is set aside, told, and missing.

    Raises ConfigError if nothing in the folder is of this run.
    """
    planned = {unit_name(key): basis.of_unit(key) for job in jobs for key in job.unit_keys()}
    _refuse_a_foreign_folder(folder, planned)
    intact, told = folder.intact_units(planned)
    for line in [*told, *set_aside_damaged(folder, jobs, basis)]:
        listener.on_stage(line)
    return _owing(jobs, intact)


def _refuse_a_foreign_folder(folder: RunFolder, planned: Mapping[str, Collection[str]]) -> None:
    """Where experiment.json is lost, one unit that belongs shows whose folder this is."""
    if _stored(folder, EXPERIMENT_FILE, FrozenExperiment, Listener()) is not None:
        return
    stored = folder.stored_units()
    if stored and not any(folder.holds(name, planned.get(name, ())) for name in stored):
        raise ConfigError(
            f"{folder.path}: has no readable experiment.json, and none of its {len(stored)} units is of this experiment on "
            "this data; choose another folder with -o"
        )


def _owing(jobs: Sequence[Job], stored: Collection[str]) -> list[Job]:
    return [
        replace(job, owed=frozenset(key for key in job.unit_keys() if unit_name(key) not in stored))
        for job in jobs
    ]


def describe_datasets(shop: Workshop, jobs: Sequence[Job]) -> dict[str, DatasetRecord]:
    """Datasets that take part, by title, with the digests of their frames and labels. Raises InputError."""
    described = {}
    with remembered_digests(shop.cache.root) as files:
        for title in dict.fromkeys(job.dataset for job in jobs):
            own = [job for job in jobs if job.dataset == title]
            sequences = [shop.sequence(title, name) for name in dict.fromkeys(job.sequence for job in own)]
            as_they_are = any(shop.codec(title, job.codec).codec == "source" for job in own)
            spec = next(one for one in shop.experiment.datasets if one.title == title)
            truth = truth_digest(shop.experiment, spec)
            described[title] = describe_dataset(shop.dataset(title), sequences, files, as_they_are, truth)
    return described


def prepare(experiment: Experiment, cache: Path | None, device: str) -> tuple[Workshop, list[Job]]:
    """The plan of an experiment, and everything it needs built and tried once: what cannot work is refused here.

    Weights, capabilities of codecs, sizes, and a frame with its label of the first sequences. Raises as `run`.
    """
    jobs = make_plan(experiment)
    shop = Workshop(experiment, cache, device)
    for job in jobs:
        sequence = shop.sequence(job.dataset, job.sequence)
        methods = shop.methods(job.dataset, job.codec, sequence.size)
        _refuse_an_untrained_truth(methods.get(experiment.truth.method))
        for title, method in methods.items():
            check_lookahead(method, title, sequence, job.encodes)
            if shop.codec(job.dataset, job.codec).codec == "source" and sequence.coded_file is not None:
                check_source_motion(method, title, read_source(sequence.coded_file))
    for dataset, codec, name in dict.fromkeys((job.dataset, job.codec, job.sequence) for job in jobs):
        if experiment.oracles:
            refuse_impossible_oracles(dataset, shop.specs(dataset, codec), shop.sequence(dataset, name))
    first = {(job.dataset, job.sequence): job for job in reversed(jobs)}
    tried: Counter[str] = Counter()
    for job in reversed(first.values()):
        tried[job.dataset] += 1
        if tried[job.dataset] <= TRIED_SEQUENCES:
            _read_first(shop, job)
    return shop, jobs


def _refuse_an_untrained_truth(method: Method | None) -> None:
    if method is not None and method.untrained:
        raise ConfigError(
            f"truth.method: {method.label} has no weights for {', '.join(method.untrained)}, so its answers are chance; name a "
            "method with weights for every part"
        )


def _read_first(shop: Workshop, job: Job) -> None:
    """Read the first scored frame and its label. Raises InputError as the dataset, or naming what does not fit."""
    sequence, classes = shop.sequence(job.dataset, job.sequence), shop.dataset(job.dataset).classes
    scored = [clip.first + d for encode in job.encodes for clip in encode.clips for d in clip.scored]
    for frame in sorted(scored)[:1]:
        try:
            size = image_of(sequence, frame, job.dataset).shape[:2]
            if shop.experiment.truth.method:
                continue
            label = label_of(sequence, frame, job.dataset)
            if not size == label.shape == sequence.size:
                raise InputError(
                    f"the frame is {size}, its label {label.shape} and its sequence {sequence.size}"
                )
            count_pairs(label, np.zeros_like(label), len(classes), classes.ignore_index)
        except InputError as error:
            raise InputError(
                f"{job.dataset}, {job.sequence}, frame {frame}: {error}; `vssbench data verify` looks at all of them"
            ) from error
