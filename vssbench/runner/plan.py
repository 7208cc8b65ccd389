"""From an experiment to the list of work: which bitstreams are made, which units they fill."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vssbench.codec import CodecSettings, read_source
from vssbench.codec.source import require_file
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.streams import groups_of
from vssbench.errors import ConfigError, InputError, in_plugin
from vssbench.experiment.clips import Clip, Encode, cut_clips, cut_source
from vssbench.experiment.schema import CodecSpec, DatasetSpec, Experiment, ProtocolSettings
from vssbench.registry import datasets
from vssbench.results.documents import PlanSummary
from vssbench.results.frames import archive_name
from vssbench.results.schema import UnitKey
from vssbench.results.store import require_distinct_slugs


@dataclass(frozen=True, slots=True)
class KeptFrames:
    """Frames of a unit that are kept to look at."""

    unit: str
    distance: int | None = None
    """None: all scored frames of the unit."""


@dataclass(frozen=True, slots=True)
class Job:
    """The smallest piece of work that is handed to a worker: bitstreams of one sequence whose units are stored together.

    Small and picklable.
    """

    dataset: str
    codec: str
    sequence: str
    encodes: tuple[Encode, ...]
    methods: tuple[str, ...]
    """Titles of the methods that run on it."""
    kept: tuple[KeptFrames, ...] = ()
    owed: frozenset[UnitKey] = frozenset()
    """Units that are still missing; found once, by the session that holds the run folder."""
    belongs: str = ""
    """What the records of the job belong to (results/basis.py)."""
    workers: int = 1
    """How many worker processes run side by side, which decides what its times mean."""
    data: tuple[str, str] = ("", "")
    """Digests of frames and labels of the sequence (engine/data_digests.py)."""

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips of all bitstreams in order."""
        return tuple(clip for encode in self.encodes for clip in encode.clips)

    @property
    def units(self) -> tuple[str, ...]:
        """Names of the units in order, each once; clips without a scored frame make no unit."""
        return tuple(dict.fromkeys(clip.unit for clip in self.clips if clip.scored))

    def key(self, method: str, unit: str) -> UnitKey:
        """Where the cases of one method on one unit are stored."""
        return UnitKey(self.dataset, self.codec, method, self.sequence, unit)

    def unit_keys(self) -> Iterator[UnitKey]:
        """Keys of all units that this job fills."""
        return (self.key(method, unit) for unit in self.units for method in self.methods)

    def archive(self, kept: KeptFrames) -> str:
        """Where frames are kept, relative to the run folder."""
        return archive_name(self.dataset, self.codec, self.sequence, kept.unit, kept.distance)


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Build a dataset from its spec. Raises ConfigError or InputError, and PluginError if its code fails."""
    kind = datasets.load(spec.name)
    with in_plugin(kind, f"dataset {spec.title}, while it was opened"):
        dataset: Dataset = kind(spec.options())
    return dataset


def chosen_sequences(spec: DatasetSpec, dataset: Dataset) -> Sequence[VideoSequence]:
    """Sequences of the split that the spec names. Raises ConfigError for unknown names, InputError for none."""
    with in_plugin(type(dataset), f"dataset {spec.title}, split {spec.split}"):
        available = {sequence.name: sequence for sequence in dataset.sequences(spec.split)}
    unknown = [name for name in spec.only if name not in available]
    if unknown:
        raise ConfigError(
            f"dataset {spec.title}: no sequence {unknown} in split {spec.split}; there are {sorted(available)}"
        )
    chosen = [available[name] for name in spec.only] if spec.only else list(available.values())
    if not chosen:
        raise InputError(
            f"dataset {spec.title}: split {spec.split!r} has no sequences; check its root with `vssbench data verify`"
        )
    for sequence in chosen:
        if len(sequence) == 0:
            raise InputError(
                f"dataset {spec.title}: sequence {sequence.name} has no frames; remove it or add its frames"
            )
    return chosen


def make_plan(experiment: Experiment) -> list[Job]:
    """All work of an experiment, in a fixed order. Raises InputError if nothing would be scored."""
    jobs: list[Job] = []
    for kind in ("datasets", "codecs", "methods"):
        require_distinct_slugs(kind, (entry.title for entry in getattr(experiment, kind)))
    for spec in experiment.datasets:
        sequences = chosen_sequences(spec, load_dataset(spec))
        protocol = experiment.protocol
        if spec.clip_frames is not None:
            protocol = protocol.model_copy(update={"clip_frames": spec.clip_frames})
        for codec in experiment.codecs_of(spec):
            methods = tuple(method.title for method in experiment.methods_on(spec, codec))
            if not methods:
                continue
            settings = experiment.codec_settings(codec)
            found = [
                Job(spec.title, codec.title, sequence.name, encodes, methods)
                for sequence in sequences
                for encodes in _cut(
                    spec, codec, settings, sequence, protocol, scored_frames(experiment, sequence)
                )
            ]
            jobs += _with_kept_frames(found, experiment)
    if not jobs:
        raise InputError(
            "no labelled frame can be scored: the sequences are shorter than the smallest distance, "
            "have no labels (truth.method takes the answers of a method instead), or no method runs on any codec"
        )
    return jobs


def scored_frames(experiment: Experiment, sequence: VideoSequence) -> Sequence[int]:
    """Ascending indices of the frames that have a truth: a label, or the answer of a method, which all have."""
    return range(len(sequence)) if experiment.truth.method else sequence.labelled


def _cut(
    spec: DatasetSpec,
    codec: CodecSpec,
    settings: CodecSettings,
    sequence: VideoSequence,
    protocol: ProtocolSettings,
    known: Sequence[int],
) -> Iterator[tuple[Encode, ...]]:
    """known: frames that have a truth."""
    if settings.codec != "source":
        return cut_clips(len(sequence), known, protocol)
    source = read_source(require_file(f"dataset {spec.title}, {sequence.name}", sequence.coded_file))
    most = math.inf if codec.seconds is None else codec.seconds * sequence.frame_rate_hz
    return cut_source(source.frame_count, groups_of(source, settings), known, protocol, most)


def _with_kept_frames(jobs: list[Job], experiment: Experiment) -> list[Job]:
    """Mark what is kept of one dataset and codec: the units of the viewer, and stills that these leave out."""
    stills = _stills(jobs, experiment)
    units = _viewer_units(jobs, experiment, jobs[stills[0][0]].sequence if stills else None)
    kept = [(index, KeptFrames(unit)) for index, unit in units]
    kept += [(index, KeptFrames(unit, d)) for index, unit, d in stills if (index, unit) not in units]
    return [
        replace(job, kept=tuple(one for place, one in kept if place == index))
        for index, job in enumerate(jobs)
    ]


def _stills(jobs: list[Job], experiment: Experiment) -> list[tuple[int, str, int]]:
    """(job, unit, distance) of cases spread over the plan at the wanted distance (default: the largest that occurs)."""
    cases = [(i, clip.unit, d) for i, job in enumerate(jobs) for clip in job.clips for d in clip.scored]
    if not cases:
        return []
    wanted = experiment.pictures.distance
    largest = max(d for _, _, d in cases) if wanted is None else wanted
    candidates = [case for case in cases if case[2] == largest] or cases
    count = min(experiment.pictures.per_codec, len(candidates))
    return [candidates[(2 * k + 1) * len(candidates) // (2 * count)] for k in range(count)]


def _viewer_units(jobs: list[Job], experiment: Experiment, shown: str | None) -> list[tuple[int, str]]:
    """(job, unit) of which all frames are kept, as many as `pictures.frames` allows, one at least.

    Streams keep neighbouring groups of pictures, so that a sequence can be followed, from the sequence `shown` on;
    single clips are spread evenly over the dataset.
    """
    budget = experiment.pictures.frames
    cases = Counter((i, clip.unit) for i, job in enumerate(jobs) for clip in job.clips for _ in clip.scored)
    if not budget or not cases:
        return []
    order = list(cases)
    if experiment.protocol.kind == "stream":
        first = shown or jobs[0].sequence
        order.sort(key=lambda place: jobs[place[0]].sequence != first)  # stable: the rest keeps its order
    else:
        count = max(1, min(len(order), budget * len(order) // sum(cases.values())))
        order = [order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)]
    kept: list[tuple[int, str]] = []
    for place in order:
        if kept and cases[place] > budget:
            break
        budget -= cases[place]
        kept.append(place)
    return kept


def summarise(jobs: Sequence[Job]) -> PlanSummary:
    """Count a plan."""
    return PlanSummary(
        jobs=len(jobs),
        units=sum(len(job.units) * len(job.methods) for job in jobs),
        cases=sum(len(clip.scored) * len(job.methods) for job in jobs for clip in job.clips),
        encodes=sum(len(job.encodes) for job in jobs),
        encoded_frames=sum(encode.length for job in jobs for encode in job.encodes),
    )
