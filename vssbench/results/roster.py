"""Who takes part in a run: datasets, codecs and methods as typed records, made once from the validated experiment.

`roster.json` is written when a run starts. Options stand in it with their defaults filled in, so an option that an
experiment file writes out and one that it leaves to its default are the same to everything that reads a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict

from vssbench.codec.settings import CodecSettings
from vssbench.experiment.schema import (
    CheckLimits,
    DatasetSpec,
    Experiment,
    InferenceOptions,
    MethodSpec,
    ProtocolSettings,
)
from vssbench.registry import methods
from vssbench.results.identity import PaperIdentity, paper_identity
from vssbench.results.store import RunFolder

ROSTER_FILE = "roster.json"
Entry = TypeVar("Entry")


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetEntry(_Record):
    """One dataset of the experiment."""

    title: str
    name: str
    """Registered name."""
    split: str
    only: tuple[str, ...]
    """Sequences that are used; empty: all."""
    clip_frames: Literal["full", "until_labelled"]
    """That of the dataset, else the protocol's."""
    options: dict[str, Any]
    """All options of the dataset class but those that say where its files are."""
    paths: dict[str, str | None]
    """The options that do; what lies there is known by its digests (results/documents.py)."""


class CodecEntry(_Record):
    """One codec setting of the experiment."""

    title: str
    settings: CodecSettings
    """With the protocol's keyframe interval."""
    datasets: tuple[str, ...]
    """Titles of the datasets that it encodes."""


class NetworkEntry(_Record):
    """A segmentation network that a method runs."""

    name: str
    """Registered name."""
    width: int | None
    """Base channels; None where the method has no such option."""


class MethodEntry(_Record):
    """One method of the experiment. Titles are unique on one dataset, not over all of them."""

    title: str
    name: str
    """Registered name."""
    networks: tuple[NetworkEntry, ...]
    """Its segmentation networks, the one of the frames between keyframes first; empty where it names none."""
    lr_scale: float
    """alpha; 1 for methods without it."""
    training_seed: int | None
    title_without_seed: str
    """The title that all training seeds of the method share."""
    options: dict[str, Any]
    """All options but the weights."""
    weights: dict[str, str]
    """Part -> where its weights come from."""
    untrained: tuple[str, ...] = ()
    """Parts that have parameters and no weights, known once the method is built."""
    inference: InferenceOptions
    budget_knob: tuple[str, ...]
    """Options that move the method along its curve of accuracy against cost."""
    family: str
    """Equal for methods that differ in lr_scale, budget knob, weights and seed alone."""
    base: str
    """Title, without seed, of the method that relative changes are against; '': the constant method of its network."""
    datasets: tuple[str, ...]
    """Titles of the datasets it runs on."""
    codecs: tuple[str, ...]
    """Titles of the codec settings it runs on."""

    @property
    def untrained_mark(self) -> str:
        """'untrained', 'untrained: lr' where other parts have weights, or ''."""
        if not self.untrained:
            return ""
        return f"untrained: {', '.join(self.untrained)}" if self.weights else "untrained"

    @property
    def network(self) -> NetworkEntry | None:
        """The network of the frames between keyframes; None where the method names none."""
        return self.networks[0] if self.networks else None

    @property
    def is_constant(self) -> bool:
        """True for a network run at one constant resolution, frame by frame."""
        return self.name == "constant"

    def may_be_held_against(self, constant: MethodEntry) -> bool:
        """Whether a constant-resolution method is of this one's network; a method of several networks takes any."""
        return constant.is_constant and (len(self.networks) != 1 or self.networks == constant.networks)


class PaperEntry(_Record):
    """What one method on one dataset and codec is in the paper; all by title."""

    dataset: str
    codec: str
    method: str
    identity: PaperIdentity


class Roster(_Record):
    """Everything that decides what the numbers of a run are called and compared with."""

    schema_version: Literal[1] = 1
    title: str
    """The experiment's title; may be ''."""
    seed: int
    protocol: ProtocolSettings
    limits: CheckLimits
    truth: str = ""
    """Title of the method whose answers are the truth of the others; '' where labels are."""
    reference: str
    """Title, without seed, of the method that differences are taken against; '': the dearest constant method."""
    equivalence_margin: float | None = None
    """Difference of mIoU (0..1) within which two methods count as equivalent; None: that is not tested."""
    datasets: tuple[DatasetEntry, ...]
    codecs: tuple[CodecEntry, ...]
    methods: tuple[MethodEntry, ...]
    paper: tuple[PaperEntry, ...]
    metrics: tuple[str, ...]
    """Names of what is measured beyond mIoU."""
    oracles: bool
    remarks: tuple[str, ...] = ()
    """On the weights of the methods: contradictions, defaults, other scales and sizes than in training."""

    def dataset(self, title: str) -> DatasetEntry:
        """The dataset of this title. Raises KeyError."""
        return _only([entry for entry in self.datasets if entry.title == title], title)

    def codec(self, dataset: str, title: str) -> CodecEntry:
        """The codec setting of this title on a dataset. Raises KeyError."""
        found = [entry for entry in self.codecs if entry.title == title and dataset in entry.datasets]
        return _only(found, f"{dataset}, {title}")

    def method(self, dataset: str, title: str) -> MethodEntry:
        """The method of this title on a dataset. Raises KeyError."""
        found = [entry for entry in self.methods if entry.title == title and dataset in entry.datasets]
        return _only(found, f"{dataset}, {title}")

    def methods_on(self, dataset: str, codec: str) -> list[MethodEntry]:
        """The methods that run on a dataset under a codec setting, in the order of the experiment."""
        return [entry for entry in self.methods if dataset in entry.datasets and codec in entry.codecs]

    def combinations(self) -> Iterator[tuple[str, str, str]]:
        """(dataset, codec, method) titles of everything that runs, in the order of the experiment."""
        for dataset in self.datasets:
            for codec in self.codecs:
                if dataset.title in codec.datasets:
                    for method in self.methods_on(dataset.title, codec.title):
                        yield dataset.title, codec.title, method.title

    def with_weights(
        self, untrained: Mapping[tuple[str, str], tuple[str, ...]], remarks: tuple[str, ...]
    ) -> Roster:
        """This roster with what is known once methods are built: (dataset, method) -> untrained parts, and remarks."""
        methods = tuple(
            entry.model_copy(
                update={
                    "untrained": next(
                        (untrained[d, entry.title] for d in entry.datasets if (d, entry.title) in untrained),
                        (),
                    )
                }
            )
            for entry in self.methods
        )
        return self.model_copy(update={"methods": methods, "remarks": remarks})

    @property
    def weights_warnings(self) -> list[str]:
        """What a reader must know of weights: methods with untrained parts, then the remarks."""
        lines = [
            f"{entry.title} is untrained: no weights for {', '.join(entry.untrained)}, which stays as initialised"
            for entry in self.methods
            if entry.untrained
        ]
        return [*lines, *self.remarks]

    @property
    def score(self) -> str:
        """What the methods are scored by: 'mIoU' on labels, 'agreement' with the answers of a method."""
        return "agreement" if self.truth else "mIoU"

    @property
    def metric(self) -> str:
        """Its name in tables of numbers and in limits: 'miou' or 'agreement'."""
        return self.score.lower()

    @property
    def class_score(self) -> str:
        """What a class is scored by."""
        return "agreement" if self.truth else "IoU"

    @property
    def truth_title(self) -> str:
        """Title of the picture of what is taken for true."""
        return f"reference: {self.truth}" if self.truth else "truth"

    @property
    def truth_name(self) -> str:
        """'labels', or 'answers of TITLE'."""
        return f"answers of {self.truth}" if self.truth else "labels"

    @property
    def method_titles(self) -> tuple[str, ...]:
        """Titles of all methods, each once, in the order of the experiment."""
        return tuple(dict.fromkeys(entry.title for entry in self.methods))

    @property
    def codec_titles(self) -> tuple[str, ...]:
        """Titles of all codec settings, each once, in the order of the experiment."""
        return tuple(dict.fromkeys(entry.title for entry in self.codecs))

    def identity(self, dataset: str, codec: str, method: str) -> PaperIdentity | None:
        """What a method is in the paper; None where the paper has nothing alike."""
        place = (dataset, codec, method)
        return next(
            (one.identity for one in self.paper if (one.dataset, one.codec, one.method) == place), None
        )


def _only(found: Sequence[Entry], what: str) -> Entry:
    if not found:
        raise KeyError(what)
    return found[0]


def make_roster(experiment: Experiment) -> Roster:
    """The roster of a validated experiment. Imports the plug-ins that it names. Raises ConfigError for bad options."""
    return Roster(
        title=experiment.title,
        seed=experiment.seed,
        protocol=experiment.protocol,
        limits=experiment.limits,
        truth=experiment.truth.method,
        reference=experiment.reference,
        equivalence_margin=experiment.equivalence_margin,
        datasets=tuple(_dataset(spec, experiment.protocol) for spec in experiment.datasets),
        codecs=tuple(
            CodecEntry(
                title=codec.title,
                settings=experiment.codec_settings(codec),
                datasets=tuple(d.title for d in experiment.datasets if codec in experiment.codecs_of(d)),
            )
            for codec in experiment.codecs
        ),
        methods=tuple(method_entry(spec, _places(spec, experiment)) for spec in experiment.methods),
        paper=() if experiment.truth.method else tuple(_paper(experiment)),
        metrics=tuple(experiment.metrics),
        oracles=bool(experiment.oracles),
    )


def _dataset(spec: DatasetSpec, protocol: ProtocolSettings) -> DatasetEntry:
    options = spec.options()
    values = options.model_dump(mode="json")
    fields = type(options).model_fields
    paths = {
        name for name, field in fields.items() if Path in (field.annotation, *get_args(field.annotation))
    }
    return DatasetEntry(
        title=spec.title,
        name=spec.name,
        split=spec.split,
        only=spec.only,
        clip_frames=spec.clip_frames or protocol.clip_frames,
        options={name: value for name, value in values.items() if name not in paths},
        paths={name: values[name] for name in sorted(paths)},
    )


def _places(spec: MethodSpec, experiment: Experiment) -> list[tuple[str, str]]:
    """(dataset, codec) titles of where a method runs."""
    return [
        (dataset.title, codec.title)
        for dataset in experiment.datasets
        for codec in experiment.codecs_of(dataset)
        if spec in experiment.methods_on(dataset, codec)
    ]


def method_entry(spec: MethodSpec, places: Sequence[tuple[str, str]] = ()) -> MethodEntry:
    """The record of one method that runs in these places: (dataset, codec) titles. Raises ConfigError for bad options."""
    options = spec.options()
    values = options.model_dump(mode="json", exclude={"weights"})
    knob = tuple(methods.load(spec.name).budget_knob)
    alike = {key: value for key, value in values.items() if key not in {"lr_scale", *knob}}
    return MethodEntry(
        title=spec.title,
        name=spec.name,
        networks=tuple(NetworkEntry(name=name, width=width) for name, width in options.networks),
        lr_scale=float(getattr(options, "lr_scale", 1.0)),
        training_seed=spec.training_seed,
        title_without_seed=spec.seeds_of or spec.title,
        options=values,
        weights=dict(options.weights),
        inference=spec.inference,
        budget_knob=knob,
        family=_digest([spec.name, alike, spec.inference.model_dump(mode="json")]),
        base=spec.base,
        datasets=tuple(dict.fromkeys(dataset for dataset, _ in places)),
        codecs=tuple(dict.fromkeys(codec for _, codec in places)),
    )


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _paper(experiment: Experiment) -> Iterator[PaperEntry]:
    for dataset in experiment.datasets:
        for codec in experiment.codecs_of(dataset):
            for method in experiment.methods_on(dataset, codec):
                settings = experiment.codec_settings(codec)
                identity = paper_identity(dataset, settings, method, experiment.protocol)
                if identity is not None:
                    yield PaperEntry(
                        dataset=dataset.title, codec=codec.title, method=method.title, identity=identity
                    )


def read_roster(folder: RunFolder) -> Roster:
    """The roster of a run folder. Raises InputError if it is missing, damaged or of another version."""
    return folder.read_record(ROSTER_FILE, Roster)
