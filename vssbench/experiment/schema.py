"""The run experiment: one validated, frozen object, built from YAML and from `--set key=value` alike."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from vssbench.codec import CodecSettings
from vssbench.dataset import DatasetOptions
from vssbench.errors import ConfigError
from vssbench.experiment.document import DocumentKind, read_document
from vssbench.experiment.expand import ExpansionRule
from vssbench.experiment.paths import anchor_options
from vssbench.experiment.validation import Location, Section, mistake, validate
from vssbench.experiment.yaml import Keys, origin_of, value_at
from vssbench.method import MethodOptions
from vssbench.metrics.further import METRIC_GROUPS
from vssbench.registry import Registry, datasets, methods, nearest

RUN = DocumentKind(
    "run", ("datasets", "codecs", "methods"), {"methods": ExpansionRule(seeds=True)}, foreign="contestants"
)
ClipFrames = Literal["full", "until_labelled"]


class _PlugInSpec(BaseModel):
    """A registered name plus that plug-in's own options, written side by side in the YAML."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    name: str = Field(description="registered name, see `vssbench list`")
    label: str = Field("", description="how tables call it; default: the name")

    @property
    def option_values(self) -> dict[str, Any]:
        """The keys that belong to the plug-in itself."""
        return dict(self.__pydantic_extra__ or {})


_Spec = TypeVar("_Spec", bound=_PlugInSpec)


class DatasetSpec(_PlugInSpec):
    """Which dataset, which split, with which options."""

    split: Literal["train", "val", "test"] = "val"
    """Frames of which split are scored."""
    only: tuple[str, ...] = Field((), description="names of the sequences to use; default: all")
    clip_frames: ClipFrames | None = Field(None, description="protocol.clip_frames for this dataset alone")

    def options(self) -> DatasetOptions:
        """Validated options of the dataset class. Raises ConfigError."""
        options_class: type[DatasetOptions] = datasets.load(self.name).Options
        return validate(options_class, self.option_values, where=f"dataset {self.name}")

    @property
    def title(self) -> str:
        """Label, or name where none is given."""
        return self.label or self.name


class InferenceOptions(Section):
    """How a method's steps are executed; what they change in accuracy is measured and stored with the run."""

    fold_normalisation: bool = Field(True, description="fold batch normalisation into convolutions")
    channels_last: bool = Field(False, description="memory layout of the networks")
    autocast: Literal["none", "bf16", "fp16"] = Field(
        "none", description="reduced precision; fp16 on CUDA only"
    )
    compile: bool = Field(False, description="torch.compile of the networks")
    cuda_graphs: bool = Field(False, description="record the steps once per keyframe distance; CUDA only")
    half_reference: bool = Field(
        False, description="keep what outlives a step (keyframe features) in float16"
    )
    batch: int = Field(1, ge=1, description="clips stepped in lockstep")
    runtime: Literal["torch", "onnxruntime"] = Field(
        "torch", description="what runs the segmentation networks; onnxruntime on the CPU only"
    )


class MethodSpec(_PlugInSpec):
    """Which method with which options."""

    inference: InferenceOptions = Field(InferenceOptions(), description="how its steps are executed")

    codecs: tuple[str, ...] = Field((), description="labels of the codec settings it runs on; default: all")
    datasets: tuple[str, ...] = Field(
        (), description="labels or names of the datasets it runs on; default: all"
    )
    base: str = Field(
        "",
        description="title of the method that relative changes are against, seeds left out; default: the constant method of "
        "its network at full resolution",
    )
    training_seed: int | None = Field(
        None, description="training seed of its weights, filled in for each of `seeds`"
    )
    seeds_of: str = Field(
        "", description="title that the seeds of one method share, filled in with `training_seed`"
    )

    def options(self) -> MethodOptions:
        """Validated options of the method class. Raises ConfigError."""
        options_class: type[MethodOptions] = methods.load(self.name).Options
        return validate(options_class, self.option_values, where=f"method {self.title}")

    @property
    def title(self) -> str:
        """Label, or name where none is given."""
        return self.label or self.name


class CodecSpec(CodecSettings):
    """Codec settings with a label for tables; the keyframe interval of encoders comes from the protocol."""

    label: str = Field("", description="how tables call it; default: codec and rate")
    datasets: tuple[str, ...] = Field(
        (), description="labels or names of the datasets it encodes; default: all"
    )

    seconds: float | None = Field(
        None,
        gt=0,
        description="codec source: how much of each file is run, from its first keyframe on in whole groups of pictures; "
        "default: all",
    )

    @model_validator(mode="after")
    def _only_files_are_sampled(self) -> CodecSpec:
        if self.seconds is not None and self.codec != "source":
            raise mistake(
                ("seconds",), f"{self.seconds} is for codec: source; name sequences with only instead"
            )
        return self

    @model_validator(mode="after")
    def _interval_is_the_protocols(self) -> CodecSpec:
        if (
            self.codec != "source"
            and self.keyframe_interval != CodecSettings.model_fields["keyframe_interval"].default
        ):
            raise mistake(
                ("keyframe_interval",),
                f"{self.keyframe_interval} belongs to the protocol; set protocol.keyframe_interval",
            )
        return self

    @property
    def title(self) -> str:
        """Label, or codec and rate where none is given."""
        if self.label:
            return self.label
        if self.codec == "source":
            return self.describe().replace(", keyframes irap", "")
        return f"{self.codec} {getattr(self, self.rate_control):g} {self.rate_control.removesuffix('_kbps')} {self.preset}"

    def settings(self) -> CodecSettings:
        """The plain settings, without the label."""
        return CodecSettings(
            **{k: v for k, v in self.model_dump().items() if k not in ("label", "datasets", "seconds")}
        )


def _parse_distances(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        match = re.fullmatch(r"(\d+)\.\.(\d+)", value.strip())
        if match is None:
            raise ValueError(f"{value!r} is neither 'all', a list of integers, nor a range like '0..11'")
        return list(range(int(match[1]), int(match[2]) + 1))
    return value


Distances = Annotated[Literal["all"] | tuple[int, ...], BeforeValidator(_parse_distances)]


def _known_metrics(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in METRIC_GROUPS:
            raise ValueError(f"unknown metric {name!r}; {nearest(name, list(METRIC_GROUPS))}")
    return tuple(dict.fromkeys(names))


MetricNames = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    AfterValidator(_known_metrics),
]


class ProtocolSettings(Section):
    """Which clips are cut from a sequence and which of their frames are scored."""

    kind: Literal["clip", "stream"] = Field(
        "stream",
        description="clip: one encode per labelled frame and distance (the paper's); "
        "stream: the whole sequence encoded once per phase",
    )
    keyframe_interval: int = Field(12, ge=1, description="L: pictures per closed GOP")
    distances: Distances = Field(
        "all", description="keyframe distances that are scored: all, a list, or '0..11'"
    )
    phases: Distances = Field(
        (0,),
        description="stream only: positions of the first keyframe, one encode each; 'all' scores every frame at every d",
    )
    clip_frames: ClipFrames = Field(
        "full",
        description="clip only: encode all L pictures (CamVid) or stop at the labelled one (Cityscapes)",
    )
    labelled_stride: int = Field(1, ge=1, description="use every n-th labelled frame")

    @model_validator(mode="after")
    def _inside_the_gop(self) -> ProtocolSettings:
        for name in ("distances", "phases"):
            value = getattr(self, name)
            if value == "all":
                continue
            bad = [d for d in value if not 0 <= d < self.keyframe_interval]
            if bad or not value:
                raise mistake(
                    (name,),
                    f"{list(value)} must be non-empty and lie in 0..{self.keyframe_interval - 1} "
                    f"(keyframe_interval {self.keyframe_interval})",
                )
        return self

    @property
    def scored_distances(self) -> tuple[int, ...]:
        """The distances as a sorted tuple."""
        return _expand(self.distances, self.keyframe_interval)

    @property
    def stream_phases(self) -> tuple[int, ...]:
        """The phases as a sorted tuple."""
        return _expand(self.phases, self.keyframe_interval)


def _expand(value: Literal["all"] | tuple[int, ...], interval: int) -> tuple[int, ...]:
    return tuple(range(interval)) if value == "all" else tuple(sorted(set(value)))


class Measurements(Section):
    """What is measured besides accuracy."""

    macs: bool = Field(True, description="count MACs of key and non-key steps")
    step_time: bool = Field(True, description="keep the wall time of every step in the records")
    latency: bool = Field(
        False,
        description="time every method by stopwatch after the run: GOPs in turns, from compressed bytes to labels",
    )
    latency_rounds: int = Field(5, ge=1, description="timed GOPs per method")
    latency_seconds: float = Field(2.0, ge=0, description="least duration of the timed rounds of one dataset")


class CheckLimits(Section):
    """How much worse a metric may get before `vssbench check` fails; see analysis/gate.py."""

    miou_drop: float = Field(1e-9, ge=0, description="absolute, mIoU in 0..1")
    pixels: int | None = Field(
        None,
        ge=0,
        description="pixels of one method that may be classified otherwise; default: none, on another kind of CPU a "
        "hundred-thousandth of them",
    )
    macs_rise: float = Field(0.0, ge=0, description="relative")
    latency_rise: float = Field(0.10, ge=0, description="relative rise of the median step time")
    latency_floor_ms: float = Field(0.5, ge=0, description="absolute rise that is never a regression")
    confidence: float = Field(0.99, gt=0.5, lt=1)
    """Of the intervals that tell a regression from chance."""
    metrics: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="limit of single metrics by their name in `Run.table`, in place of the general one: absolute for "
        "shares (0..1), relative for costs and step times; iou.CLASS holds one class",
    )


class PictureSettings(Section):
    """Pictures kept for the report: decoded frame, motion, predictions, truth."""

    per_codec: int = Field(1, ge=0, description="scored frames kept per dataset and codec; 0 keeps none")
    distance: int | None = Field(None, ge=0, description="which keyframe distance; default: the largest")
    frames: int = Field(
        36, ge=0, description="scored frames kept per dataset and codec for the frame viewer; 0 keeps none"
    )


class TruthSettings(Section):
    """What the answers of the methods are held against."""

    method: str = Field(
        "",
        description="title of the method whose answers are the truth of the others, which is called agreement; default: "
        "the labels of the dataset",
    )


class Experiment(Section):
    """A complete benchmark: datasets x codecs x methods under one protocol."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    title: str = ""
    """First line of reports."""
    notes: str = ""
    """Printed below the title of reports."""
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    codecs: tuple[CodecSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    protocol: ProtocolSettings = ProtocolSettings()
    truth: TruthSettings = TruthSettings()
    measure: Measurements = Measurements()
    pictures: PictureSettings = PictureSettings()
    limits: CheckLimits = CheckLimits()
    metrics: MetricNames = Field(
        (), description=f"further metrics that are counted: {', '.join(METRIC_GROUPS)}"
    )
    oracles: bool = Field(
        False, description="decompose the loss with oracle runs; for datasets with exact flow (synthetic)"
    )
    reference: str = Field(
        "",
        description="title of the method that differences are taken against, seeds left out; "
        "default: the dearest constant-resolution method",
    )
    equivalence_margin: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="difference of mIoU (0..1) that counts as none: differences are tested for lying inside it too",
    )
    seed: int = 0
    """Of everything random."""

    @model_validator(mode="after")
    def _frames_follow_one_another(self) -> Experiment:
        """Consistency over time needs the predictions of neighbouring frames, made in one stream."""
        if "consistency" not in self.metrics:
            return self
        protocol = self.protocol
        whole = protocol.scored_distances == tuple(range(protocol.keyframe_interval))
        for key, wanted, found in (
            ("kind", "stream", protocol.kind),
            ("distances", "all", "all" if whole else list(protocol.scored_distances)),
            ("labelled_stride", 1, protocol.labelled_stride),
        ):
            if found != wanted:
                raise mistake(
                    ("protocol", key),
                    f"metrics: consistency needs every frame of a stream, so this must be {wanted}, not {found}",
                )
        return self

    @model_validator(mode="after")
    def _truth_is_one_method_everywhere(self) -> Experiment:
        """The answers of a method can only be the truth where it runs, on every frame of a stream, once."""
        title = self.truth.method
        if not title:
            return self
        at = ("truth", "method")
        seeds = [m.title for m in self.methods if m.seeds_of == title]
        if seeds:
            raise mistake(
                at, f"{title!r} has {len(seeds)} training seeds and so many answers; name one of {seeds}"
            )
        titles = [method.title for method in self.methods]
        if title not in titles:
            raise mistake(at, _no_method(title, list(dict.fromkeys(titles))))
        for key, wanted, found in (
            (("protocol", "kind"), "stream", self.protocol.kind),
            (("protocol", "labelled_stride"), 1, self.protocol.labelled_stride),
            (("metrics",), [], list(self.metrics)),
            (("oracles",), False, self.oracles),
        ):
            if found != wanted:
                text = f"with truth.method every frame of a stream is scored, without labels, so this must be {wanted}"
                raise mistake(key, f"{text}, not {found}")
        for dataset in self.datasets:
            for codec in self.codecs_of(dataset):
                here = [method.title for method in self.methods_on(dataset, codec)]
                if here and title not in here:
                    text = f"{title!r} does not run on {dataset.title}, {codec.title}, where {here[0]} does"
                    raise mistake(at, f"{text}; let both run there, or neither")
        return self

    @model_validator(mode="after")
    def _titles_are_unique(self) -> Experiment:
        _refuse_doubles("datasets", self.datasets, self.datasets)
        for dataset in self.datasets:
            _refuse_doubles("codecs", self.codecs, self.codecs_of(dataset))
            _refuse_doubles(
                "methods", self.methods, [m for m in self.methods if _applies(m.datasets, dataset)]
            )
        return self

    @model_validator(mode="after")
    def _titles_exist(self) -> Experiment:
        codecs = [codec.title for codec in self.codecs]
        titles = list(dict.fromkeys(method.seeds_of or method.title for method in self.methods))
        if self.reference and self.reference not in titles:
            raise mistake(("reference",), _no_method(self.reference, titles))
        for index, method in enumerate(self.methods):
            unknown = [title for title in method.codecs if title not in codecs]
            if unknown:
                text = f"no codec has the title {unknown[0]!r}; {nearest(unknown[0], codecs)}"
                raise mistake(("methods", index, "codecs"), text)
            if method.base and method.base not in titles:
                raise mistake(("methods", index, "base"), _no_method(method.base, titles))
        # a filter may name a dataset that was replaced with --set dataset=..., but not one that nobody knows
        names = {
            *datasets.names(),
            *(title for entry in self.datasets for title in (entry.title, entry.name)),
        }
        for section in ("codecs", "methods"):
            for index, entry in enumerate(getattr(self, section)):
                for name in entry.datasets:
                    if name not in names:
                        text = f"no dataset has the name {name!r}; {nearest(name, sorted(names))}"
                        raise mistake((section, index, "datasets"), text)
        return self

    def codecs_of(self, dataset: DatasetSpec) -> tuple[CodecSpec, ...]:
        """The codec settings that encode a dataset."""
        return tuple(c for c in self.codecs if _applies(c.datasets, dataset))

    def methods_on(self, dataset: DatasetSpec, codec: CodecSpec) -> tuple[MethodSpec, ...]:
        """The methods that run on a dataset under a codec setting."""
        on_dataset = (m for m in self.methods if _applies(m.datasets, dataset))
        return tuple(m for m in on_dataset if not m.codecs or codec.title in m.codecs)

    def codec_settings(self, codec: CodecSpec) -> CodecSettings:
        """Settings of one codec entry, those of an encoder with the protocol's keyframe interval."""
        if codec.codec == "source":
            return codec.settings()
        return codec.settings().model_copy(update={"keyframe_interval": self.protocol.keyframe_interval})

    def canonical(self) -> dict[str, Any]:
        """Plain JSON data from which the same experiment is rebuilt, every default written out."""
        return dict(self.model_dump(mode="json"))


def _refuse_doubles(
    section: str, entries: Sequence[DatasetSpec | CodecSpec | MethodSpec], together: Sequence[Any]
) -> None:
    seen = set()
    for entry in together:
        if entry.title in seen:
            index = max(i for i, one in enumerate(entries) if one is entry)
            raise mistake(
                (section, index),
                f"the title {entry.title!r} appears twice on one dataset; give each its own label",
            )
        seen.add(entry.title)


def _no_method(title: str, titles: Sequence[str]) -> str:
    return f"no method has the title {title!r}; {nearest(title, list(titles))}"


def _applies(wanted: Sequence[str], dataset: DatasetSpec) -> bool:
    return not wanted or dataset.title in wanted or dataset.name in wanted


def load_experiment(
    experiment: str | Path | Mapping[str, Any] | Experiment, overrides: Sequence[str] = ()
) -> Experiment:
    """Validated experiment from a packaged name, a path, plain data or an Experiment, with `key=value` overrides.

    The options of datasets and methods are filled in with their defaults. Raises ConfigError naming file, line, column, key,
    value and near misses; InputError if the file cannot be read.
    """
    values = experiment.canonical() if isinstance(experiment, Experiment) else experiment
    document, where = read_document(values, overrides, RUN)
    for entry in document["methods"] if isinstance(document.get("methods"), list) else ():
        _name_weights(entry)
    built = validate(Experiment, document, where=where)
    return built.model_copy(
        update={
            "datasets": _complete(built.datasets, "datasets", datasets, document, where),
            "methods": _complete(built.methods, "methods", methods, document, where),
        }
    )


def _complete(
    specs: Sequence[_Spec], section: str, registry: Registry, document: Keys, where: str
) -> tuple[_Spec, ...]:
    """The entries with the options of their plug-ins checked and filled in."""
    return tuple(
        complete_options(spec, registry, document, (section, index), where)
        for index, spec in enumerate(specs)
    )


def complete_options(
    spec: _Spec, registry: Registry, document: Mapping[str, Any], location: Location, where: str
) -> _Spec:
    """The entry at `location` with its plug-in's options, which stand beside its own keys, checked and filled in.

    Raises ConfigError.
    """
    own = list(type(spec).model_fields)
    options = checked_options(spec.name, registry, document, location, where, own)
    return type(spec)(**{key: getattr(spec, key) for key in own}, **options)


def checked_options(
    name: str,
    registry: Registry,
    document: Mapping[str, Any],
    location: Location,
    where: str,
    beside: Sequence[str] = (),
) -> dict[str, Any]:
    """The options at `location` of a document as plain data: checked, paths anchored, defaults filled in.

    beside: keys there that are no options. Raises ConfigError.
    """
    try:
        options_class: type[BaseModel] = registry.load(name).Options
    except ConfigError as error:
        entry = location if beside else location[:-1]
        raise ConfigError(f"{origin_of(document, (*entry, 'name'), where)}: {error}") from None
    anchor_options(document, location, options_class)
    given = {key: value for key, value in value_at(document, location).items() if key not in beside}
    options = validate(
        options_class, given, where=where, document=document, within=location, known=list(beside)
    )
    return options.model_dump(mode="json")


def _name_weights(entry: Any) -> None:
    """Replace `weights: NAME` of a method by what the name stands for, part by part, in place.

    Raises ConfigError for a name that the manifest of packaged weights does not list as an alias.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("weights"), str):
        return
    manifest = json.loads((files("vssbench.baselines.weights") / "manifest.json").read_text("utf-8"))
    aliases, name = manifest.get("aliases", {}), entry["weights"]
    if name not in aliases:
        where = origin_of(entry, ("weights",), "experiment")
        raise ConfigError(
            f"{where}: method {entry.get('label') or entry.get('name')}: no packaged weights are called {name!r}; "
            f"{nearest(name, list(aliases))}. Files and single packages are given part by part (weights: {{part: NAME}})"
        )
    entry["weights"] = dict(aliases[name])
