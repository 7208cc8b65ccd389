"""From an experiment to the list of work: which bitstreams are made, which units they fill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vssbench.experiment.clips import Job, cut
from vssbench.experiment.schema import DatasetSpec, Experiment
from vssbench.dataset import Dataset, VideoSequence
from vssbench.errors import ConfigError, InputError
from vssbench.registry import datasets
from vssbench.results.schema import UnitKey
from vssbench.results.store import require_distinct_slugs


@dataclass(frozen=True, slots=True)
class WorkItem:
    """One job of one sequence under one codec setting; small and picklable."""

    dataset: str
    codec: str
    sequence: str
    job: Job
    methods: tuple[str, ...]
    """Titles of the methods that run on it."""
    picture: tuple[str, int] | None = None
    """Unit and distance of the case that is kept as pictures, if it lies in this job."""
    viewer_units: tuple[str, ...] = ()
    """Units whose scored frames are kept for the report's viewer."""

    def unit_keys(self) -> Iterator[UnitKey]:
        """Keys of all units this item fills."""
        for unit in self.job.units:
            for method in self.methods:
                yield UnitKey(self.dataset, self.codec, method, self.sequence, unit)


@dataclass(frozen=True)
class PlanSummary:
    """Size of a plan, for `--dry-run` and the progress bar."""

    items: int
    units: int
    cases: int
    encodes: int
    encoded_frames: int


def load_dataset(spec: DatasetSpec) -> Dataset:
    """Build a dataset from its spec. Raises ConfigError or InputError."""
    dataset: Dataset = datasets.load(spec.name)(spec.options())
    return dataset


def chosen_sequences(spec: DatasetSpec, dataset: Dataset) -> Sequence[VideoSequence]:
    """Sequences of the split that the spec names. Raises ConfigError for unknown names, InputError for none."""
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


def make_plan(experiment: Experiment) -> list[WorkItem]:
    """All work of an experiment, in a fixed order. Raises InputError if nothing would be scored."""
    items: list[WorkItem] = []
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
            found = [
                WorkItem(spec.title, codec.title, sequence.name, job, methods)
                for sequence in sequences
                for job in cut(len(sequence), sequence.labelled, protocol)
            ]
            items += _with_viewer(_with_picture(found, experiment), experiment)
    if not items:
        raise InputError(
            "no labelled frame can be scored: the sequences are shorter than the smallest distance, "
            "have no labels, or no method runs on any codec"
        )
    return items


def _with_picture(items: list[WorkItem], experiment: Experiment) -> list[WorkItem]:
    """Mark the case in the middle of the plan at the wanted distance (default: the largest that occurs)."""
    if not experiment.pictures.per_codec:
        return items
    cases = [
        (i, clip.unit, d)
        for i, item in enumerate(items)
        for e in item.job.encodes
        for clip in e.clips
        for d in clip.scored
    ]
    if not cases:
        return items
    wanted = experiment.pictures.distance
    largest = max(d for _, _, d in cases) if wanted is None else wanted
    candidates = [case for case in cases if case[2] == largest] or cases
    count = min(experiment.pictures.per_codec, len(candidates))
    marked = list(items)
    for k in range(count):
        index, unit, distance = candidates[(2 * k + 1) * len(candidates) // (2 * count)]
        item = items[index]
        marked[index] = replace(item, picture=(unit, distance))
    return marked


def _with_viewer(items: list[WorkItem], experiment: Experiment) -> list[WorkItem]:
    """Mark the units whose frames are kept, as many as `pictures.frames` allows, one at least.

    Streams keep neighbouring groups of pictures, so that a sequence can be followed, from that of the picture on;
    single clips are spread evenly over the dataset.
    """
    budget = experiment.pictures.frames
    cases = Counter(
        (i, c.unit) for i, it in enumerate(items) for e in it.job.encodes for c in e.clips for _ in c.scored
    )
    if not budget or not cases:
        return items
    order = list(cases)
    if experiment.protocol.kind == "stream":
        shown = next((item.sequence for item in items if item.picture is not None), items[0].sequence)
        order.sort(key=lambda place: items[place[0]].sequence != shown)  # stable: the rest keeps its order
    else:
        count = max(1, min(len(order), budget * len(order) // sum(cases.values())))
        order = [order[(2 * k + 1) * len(order) // (2 * count)] for k in range(count)]
    kept: dict[int, list[str]] = {}
    for index, unit in order:
        if kept and cases[index, unit] > budget:
            break
        budget -= cases[index, unit]
        kept.setdefault(index, []).append(unit)
    return [replace(item, viewer_units=tuple(kept.get(i, ()))) for i, item in enumerate(items)]


def summarise(items: Sequence[WorkItem]) -> PlanSummary:
    """Count a plan."""
    return PlanSummary(
        items=len(items),
        units=sum(len(item.job.units) * len(item.methods) for item in items),
        cases=sum(item.job.cases * len(item.methods) for item in items),
        encodes=sum(len(item.job.encodes) for item in items),
        encoded_frames=sum(encode.length for item in items for encode in item.job.encodes),
    )
