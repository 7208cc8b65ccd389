"""Experiments: one validated, frozen object, built from YAML and from `--set key=value` alike."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from vssbench.codec import CodecSettings
from vssbench.dataset import DatasetOptions
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.expand import expand_method, named_weights
from vssbench.method import MethodOptions
from vssbench.metrics.further import METRIC_GROUPS
from vssbench.registry import datasets, methods, nearest

EXPERIMENT_FILE_LIMIT_BYTES = 1_000_000
"""A YAML file larger than this is refused before it is parsed."""

_SINGULAR = {"dataset": "datasets", "codec": "codecs", "method": "methods"}

Model = TypeVar("Model", bound=BaseModel)
ClipFrames = Literal["full", "until_labelled"]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _PlugInSpec(BaseModel):
    """A registered name plus that plug-in's own options, written side by side in the YAML."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = Field(description="registered name, see `vssbench list`")
    label: str = Field("", description="how tables call it; default: the name")

    @property
    def option_values(self) -> dict[str, Any]:
        """The keys that belong to the plug-in itself."""
        return dict(self.__pydantic_extra__ or {})


class DatasetSpec(_PlugInSpec):
    """Which dataset, which split, with which options."""

    split: Literal["train", "val", "test"] = "val"
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


class InferenceOptions(_Frozen):
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
    """Codec settings with a label for tables; the keyframe interval comes from the protocol."""

    label: str = Field("", description="how tables call it; default: codec and rate")
    datasets: tuple[str, ...] = Field(
        (), description="labels or names of the datasets it encodes; default: all"
    )

    @model_validator(mode="after")
    def _interval_is_the_protocols(self) -> CodecSpec:
        if self.keyframe_interval != CodecSettings.model_fields["keyframe_interval"].default:
            raise ValueError(
                f"keyframe_interval {self.keyframe_interval} belongs to the protocol; set protocol.keyframe_interval"
            )
        return self

    @property
    def title(self) -> str:
        """Label, or codec and rate where none is given."""
        if self.label:
            return self.label
        return f"{self.codec} {getattr(self, self.rate_control):g} {self.rate_control.removesuffix('_kbps')} {self.preset}"

    def settings(self) -> CodecSettings:
        """The plain settings, without the label."""
        return CodecSettings(
            **{key: value for key, value in self.model_dump().items() if key not in ("label", "datasets")}
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


class Protocol(_Frozen):
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
    def _inside_the_gop(self) -> Protocol:
        for name in ("distances", "phases"):
            value = getattr(self, name)
            if value == "all":
                continue
            bad = [d for d in value if not 0 <= d < self.keyframe_interval]
            if bad or not value:
                raise ValueError(
                    f"{name} {list(value)} must be non-empty and lie in 0..{self.keyframe_interval - 1} "
                    f"(keyframe_interval {self.keyframe_interval})"
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


class Measurements(_Frozen):
    """What is measured besides accuracy."""

    macs: bool = Field(True, description="count MACs of key and non-key steps")
    step_time: bool = Field(True, description="keep the wall time of every step in the records")
    latency: bool = Field(
        False,
        description="time every method by stopwatch after the run: GOPs in turns, from compressed bytes to labels",
    )
    latency_rounds: int = Field(5, ge=1, description="timed GOPs per method")
    latency_seconds: float = Field(2.0, ge=0, description="least duration of the timed rounds of one dataset")


class CheckLimits(_Frozen):
    """How much worse a metric may get before `vssbench check` fails; see analysis/gate.py."""

    miou_drop: float = Field(1e-9, ge=0, description="absolute, mIoU in 0..1")
    macs_rise: float = Field(0.0, ge=0, description="relative")
    latency_rise: float = Field(0.10, ge=0, description="relative rise of the median step time")
    latency_floor_ms: float = Field(0.5, ge=0, description="absolute rise that is never a regression")
    confidence: float = Field(0.99, gt=0.5, lt=1)
    metrics: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default_factory=dict,
        description="limit of single metrics by their name in `Run.table`, in place of the general one: absolute for "
        "shares (0..1), relative for costs and step times",
    )


class PictureSettings(_Frozen):
    """Pictures kept for the report: decoded frame, motion, predictions, truth."""

    per_codec: int = Field(1, ge=0, description="scored frames kept per dataset and codec; 0 keeps none")
    distance: int | None = Field(None, ge=0, description="which keyframe distance; default: the largest")
    frames: int = Field(
        36, ge=0, description="scored frames kept per dataset and codec for the frame viewer; 0 keeps none"
    )


class Experiment(_Frozen):
    """A complete benchmark: datasets x codecs x methods under one protocol."""

    schema_version: Literal[1] = 1
    title: str = ""
    notes: str = ""
    datasets: tuple[DatasetSpec, ...] = Field(min_length=1)
    codecs: tuple[CodecSpec, ...] = Field(min_length=1)
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    protocol: Protocol = Protocol()
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
    seed: int = 0

    @model_validator(mode="after")
    def _frames_follow_one_another(self) -> Experiment:
        """Consistency over time needs the predictions of neighbouring frames, made in one stream."""
        if "consistency" not in self.metrics:
            return self
        protocol = self.protocol
        whole = tuple(range(protocol.keyframe_interval))
        for key, wanted, found in (
            ("kind", "stream", protocol.kind),
            (
                "distances",
                "all",
                "all" if protocol.scored_distances == whole else list(protocol.scored_distances),
            ),
            ("labelled_stride", 1, protocol.labelled_stride),
        ):
            if found != wanted:
                raise ValueError(
                    f"metrics: consistency needs every frame of a stream, so protocol.{key} must be {wanted}, not {found}"
                )
        return self

    @model_validator(mode="after")
    def _titles_are_unique(self) -> Experiment:
        _refuse_doubles("datasets", [entry.title for entry in self.datasets])
        for dataset in self.datasets:
            _refuse_doubles("codecs", [codec.title for codec in self.codecs_of(dataset)])
            _refuse_doubles("methods", [m.title for m in self.methods if _applies(m.datasets, dataset)])
        known = {codec.title for codec in self.codecs}
        for method in self.methods:
            unknown = [title for title in method.codecs if title not in known]
            if unknown:
                raise ValueError(f"method {method.title}: codecs {unknown} are not among {sorted(known)}")
        titles = {method.seeds_of or method.title for method in self.methods}
        if self.reference and self.reference not in titles:
            raise ValueError(
                f"reference: no method has the title {self.reference!r}; {nearest(self.reference, list(titles))}"
            )
        for method in self.methods:
            if method.base and method.base not in titles:
                raise ValueError(
                    f"method {method.title}: base: no method has the title {method.base!r}; "
                    f"{nearest(method.base, list(titles))}"
                )
        # a filter may name a dataset that was replaced with --set dataset=..., but not one that nobody knows
        names = {
            *datasets.names(),
            *(title for entry in self.datasets for title in (entry.title, entry.name)),
        }
        filters = [(c.title, c.datasets) for c in self.codecs] + [(m.title, m.datasets) for m in self.methods]
        for title, wanted in filters:
            unknown = [name for name in wanted if name not in names]
            if unknown:
                raise ValueError(f"{title}: datasets {unknown} are not among {sorted(names)}")
        return self

    def codecs_of(self, dataset: DatasetSpec) -> tuple[CodecSpec, ...]:
        """The codec settings that encode a dataset."""
        return tuple(c for c in self.codecs if _applies(c.datasets, dataset))

    def methods_on(self, dataset: DatasetSpec, codec: CodecSpec) -> tuple[MethodSpec, ...]:
        """The methods that run on a dataset under a codec setting."""
        on_dataset = (m for m in self.methods if _applies(m.datasets, dataset))
        return tuple(m for m in on_dataset if not m.codecs or codec.title in m.codecs)

    def codec_settings(self, codec: CodecSpec) -> CodecSettings:
        """Settings of one codec entry with the protocol's keyframe interval."""
        return codec.settings().model_copy(update={"keyframe_interval": self.protocol.keyframe_interval})

    def canonical(self) -> dict[str, Any]:
        """Plain JSON data from which the same experiment is rebuilt."""
        values = dict(self.model_dump(mode="json"))
        for key in ("metrics", "oracles", "reference"):  # absent where unused, as in older folders
            if not values[key]:
                del values[key]
        for method in values["methods"]:
            if not method["base"]:
                del method["base"]
            if (
                method["training_seed"] is None
            ):  # as run folders hold it that were written before seeds had keys
                del method["training_seed"], method["seeds_of"]
        return values


def _refuse_doubles(kind: str, titles: Sequence[str]) -> None:
    doubled = sorted({title for title in titles if titles.count(title) > 1})
    if doubled:
        raise ValueError(f"{kind} {', '.join(doubled)} appear twice on one dataset; give each its own label")


def _applies(wanted: Sequence[str], dataset: DatasetSpec) -> bool:
    return not wanted or dataset.title in wanted or dataset.name in wanted


def validate(model: type[Model], values: Mapping[str, Any], *, where: str) -> Model:
    """Build `model` from plain values; every problem becomes one ConfigError that names the keys.

    Unknown keys get a near-miss suggestion.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        _raise_config_error(model, error, where)


def _raise_config_error(model: type[BaseModel], error: ValidationError, where: str) -> NoReturn:
    lines = []
    problems = error.errors()
    places = [problem["loc"] for problem in problems]
    for problem in problems:
        inner = any(
            len(p) > len(problem["loc"]) and p[: len(problem["loc"])] == problem["loc"] for p in places
        )
        if problem["type"] == "too_short" and inner:
            continue  # the entry that is told of next was left out of its list
        location = ".".join(str(part) for part in problem["loc"]) or "(whole)"
        if problem["type"] == "extra_forbidden":
            known = sorted(_known_keys(model, problem["loc"][:-1]))
            lines.append(f"{location}: unknown key; {nearest(str(problem['loc'][-1]), known)}")
        else:
            given = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
            lines.append(f"{location}: {problem['msg'].removeprefix('Value error, ')}{given}")
    raise ConfigError(f"{where}: " + "; ".join(lines)) from None


def _known_keys(model: type[BaseModel], location: Sequence[int | str]) -> Iterator[str]:
    current: Any = model
    for part in location:
        if isinstance(part, int) or not hasattr(current, "model_fields") or part not in current.model_fields:
            continue
        annotation = current.model_fields[part].annotation
        nested = [a for a in getattr(annotation, "__args__", ()) if hasattr(a, "model_fields")]
        current = annotation if hasattr(annotation, "model_fields") else (nested or [current])[0]
    yield from current.model_fields


def packaged_experiments() -> dict[str, Traversable]:
    """Packaged experiment names ('quickstart', 'ar-seg/table1') with their YAML files."""
    found: dict[str, Traversable] = {}
    for folder in files("vssbench.reports").iterdir():
        if not folder.is_dir() or folder.name in ("templates", "examples", "__pycache__"):
            continue
        for entry in folder.iterdir():
            stem = entry.name.removesuffix(".yaml")
            if (
                stem == entry.name or stem == "train" or stem.startswith("train-")
            ):  # training experiments have a schema of their own
                continue
            name = folder.name.replace("_", "-")
            found[name if stem == "run" else f"{name}/{stem}"] = entry
    return dict(sorted(found.items()))


def read_yaml(name_or_path: str) -> tuple[dict[str, Any], str]:
    """The mapping in an experiment file or packaged experiment, and how to call it in messages.

    Raises ConfigError (unknown name, not a mapping, aliases) or InputError (unreadable file).
    """
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        try:
            if path.stat().st_size > EXPERIMENT_FILE_LIMIT_BYTES:
                raise ConfigError(
                    f"{path}: an experiment file may have {EXPERIMENT_FILE_LIMIT_BYTES} bytes at most"
                )
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read as an experiment file ({error})") from error
        return _parse_yaml(text, str(path)), str(path)
    packaged = packaged_experiments()
    if name_or_path not in packaged:
        raise ConfigError(
            f"no experiment file or packaged experiment {name_or_path!r}; {nearest(name_or_path, list(packaged))}"
        )
    return _parse_yaml(packaged[name_or_path].read_text(encoding="utf-8"), name_or_path), name_or_path


class _NoAliasLoader(yaml.SafeLoader):
    """Refuses aliases, with which a small file can describe an exponentially large document, and doubled keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not allowed in an experiment file")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise yaml.MarkedYAMLError(
                problem=f"the key {', '.join(doubled)} appears twice; keep one of them",
                problem_mark=node.start_mark,
            )
        values: dict[Any, Any] = super().construct_mapping(node, deep)
        return values


def _parse_yaml(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_NoAliasLoader)  # a SafeLoader: plain data only
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{where}: not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where}: expected a mapping of keys at the top level, got {type(values).__name__}"
        )
    return values


def load_experiment(
    experiment: str | Path | Mapping[str, Any] | Experiment, overrides: Sequence[str] = ()
) -> Experiment:
    """Validated experiment from a packaged name, a path, plain data or an Experiment, with `key=value` overrides.

    Raises ConfigError naming file, key, value and near misses; InputError if the file cannot be read.
    """
    if isinstance(experiment, Experiment):
        values, where = experiment.canonical(), "experiment"
    elif isinstance(experiment, Mapping):
        values, where = copy.deepcopy(dict(experiment)), "experiment"
    else:
        values, where = read_yaml(str(experiment))
    for singular, plural in _SINGULAR.items():
        if singular in values and plural not in values:
            values[plural] = [values.pop(singular)]
    for override in overrides:
        apply_override(values, override)
    if isinstance(values.get("methods"), list):
        values["methods"] = [
            named_weights(one) for entry in values["methods"] for one in expand_method(entry)
        ]
    built = validate(Experiment, values, where=where)
    for dataset in built.datasets:
        dataset.options()
    for method in built.methods:
        method.options()
    return built


def apply_override(values: dict[str, Any], override: str) -> None:
    """Apply one `key=value` to plain experiment data in place; the value is read as YAML.

    `dataset.root=X` sets a key on every dataset (likewise codec., method.); `dataset=NAME` replaces the list by
    that one; `methods.1.lr_scale=0.3` addresses one entry; `protocol.keyframe_interval=6` a nested key.
    Raises ConfigError if the key cannot be followed.
    """
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise ConfigError(f"--set {override!r}: expected key=value, like protocol.keyframe_interval=6")
    try:
        value = yaml.load(text, Loader=_NoAliasLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override!r}: the value is not valid YAML ({error})") from error
    head, *rest = key.split(".")
    if head in _SINGULAR:
        plural = _SINGULAR[head]
        if not rest:
            field = "codec" if head == "codec" else "name"
            values[plural] = [value if isinstance(value, dict) else {field: value}]
            return
        for entry in values.get(plural, []):
            _set_nested(entry, rest, value, override)
        return
    _set_nested(values, [head, *rest], value, override)


def _set_nested(target: Any, keys: Sequence[str], value: Any, override: str) -> None:
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(target, list):
            if not key.isdigit() or int(key) >= len(target):
                raise ConfigError(f"--set {override!r}: {key!r} is not an index below {len(target)}")
            if last:
                target[int(key)] = value
            else:
                target = target[int(key)]
        elif isinstance(target, dict):
            if last:
                target[key] = value
            else:
                target = target.setdefault(key, {})
        else:
            raise ConfigError(
                f"--set {override!r}: {'.'.join(keys[:position])} holds a plain value, not keys"
            )


def json_schema() -> str:
    """JSON Schema of experiment files (plug-in options are checked by the plug-ins)."""
    return json.dumps(Experiment.model_json_schema(), indent=2, sort_keys=True)
