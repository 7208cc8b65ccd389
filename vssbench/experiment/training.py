"""The training experiment: one validated YAML file says what is trained, on which coded pairs, for how long."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vssbench.codec import CodecSettings
from vssbench.errors import ConfigError, InputError, spelled_out
from vssbench.experiment.document import DocumentKind, read_document
from vssbench.experiment.expand import ExpansionRule, substitute
from vssbench.experiment.overrides import address
from vssbench.experiment.paths import WEIGHTS_SUFFIX, anchor_key, anchor_weights
from vssbench.experiment.schema import DatasetSpec, checked_options, complete_options
from vssbench.experiment.validation import Location, Section, mistake, validate
from vssbench.experiment.yaml import Keys, origin_of, place_of, value_at
from vssbench.registry import datasets, methods, nearest

PACKAGED_BACKBONE = Path("imagenet")
"""Stands for the ImageNet weights of EfficientNet-Lite0 in their installed package, whose checksum is known."""
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"


TRAINING = DocumentKind(
    "train",
    ("datasets", "codecs", "contestants", "evaluations", "outputs"),
    {
        "contestants": ExpansionRule(joint="-", scale="nested option"),
        "evaluations": ExpansionRule(joint="-", scale="nested option"),
        "outputs": ExpansionRule("weights", "-", "nowhere"),
    },
    foreign="methods",
)


class PairSection(Section):
    """How labelled frames become coded pairs (frame, keyframe, motion between them)."""

    source: Literal["video", "stills"] = "video"
    """'video': the frames before a labelled frame exist; 'stills': they are invented (pseudo-video)."""
    split: Literal["train", "val"] = "train"
    """Labelled frames of which split."""
    keyframe_interval: int = Field(12, ge=2)
    """L: pictures per closed GOP."""
    distances: tuple[int, ...] | None = None
    """Distances to the keyframe that are kept; None: 0..keyframe_interval-1 for video, 1.. for stills."""
    limit_clips: int | None = Field(None, ge=1)
    """At most this many coded clips, spread evenly over the split."""
    clips_per_label: int = Field(1, ge=1)
    """Coded clips per sparsely labelled frame or still, each with another distance."""
    flow_rule: Literal["paper", "exact"] = "exact"
    """'exact': sub-pel, intra blocks without motion; 'paper': whole samples, intra blocks stand still."""
    flow_stride: int = Field(4, ge=1)
    """The stored flow is sampled on every n-th pixel (4 is the grid of the codec's own motion)."""
    original_share: float = Field(0.25, ge=0, le=1)
    """Share of image-stage samples that use the uncoded frame instead of the decoded one."""
    pixels: Literal["decoded", "original"] = "decoded"
    """Frame and keyframe of pair stages: decoded, or 'original' as in AR-Seg's training, which takes only motion from
    the bitstream (specification section 4.1)."""
    seed: int | None = Field(None, ge=0)
    """What is drawn while pairs are made (distances of sparse labels, pseudo-video); None: the experiment's `seed`."""

    @model_validator(mode="after")
    def _distances_fit(self) -> PairSection:
        for d in self.distances or ():
            if not 0 <= d < self.keyframe_interval:
                raise ValueError(
                    f"distance {d} does not exist with keyframe_interval {self.keyframe_interval}"
                )
        return self


class Augmentation(Section):
    """Random changes of a training sample, in the order flip, scale, crop, jitter ('paper': jitter first, section 4.1)."""

    rule: Literal["corrected", "paper"] = "corrected"
    """What happens when the scaled frame is smaller than the crop. 'paper' enlarges it again and leaves the flow
    values as they are (so they are too small by the scale); 'corrected' pads it with ignored pixels."""
    jitter: float = Field(0.0, ge=0, lt=1)
    """Brightness, contrast and saturation factors are uniform in [1 - jitter, 1 + jitter]."""
    flip: float = Field(0.5, ge=0, le=1)
    """Probability of a horizontal flip."""
    scales: tuple[float, ...] = Field((1.0,), min_length=1)
    """One of these factors is drawn for every sample."""
    crop: tuple[int, int] | None = None
    """(H, W) of the result; None: the frame's own size."""
    label_stride: int = Field(1, ge=1)
    """The loss is taken on a grid of every n-th label. On a CPU resizing logits to full resolution and back can cost
    more than the network; 2 loses next to nothing for logits of stride 8."""
    variants: int | None = Field(None, ge=1)
    """Every sample has this many augmented versions, taken in turn; None: a new one at each visit. Versions that come
    again let features of frozen networks be kept (`feature_memory_mb`)."""

    @property
    def repeats(self) -> bool:
        """True if samples come again exactly as they were."""
        still = not self.jitter and len(self.scales) == 1 and self.crop is None
        return self.variants is not None or (still and self.flip in (0.0, 1.0))


class StageSection(Section):
    """Length and optimiser of one stage of one contestant."""

    steps: int | None = Field(None, ge=1)
    """Optimiser steps; exactly one of `steps` and `epochs` is given."""
    epochs: int | None = Field(None, ge=1)
    """Passes over the samples. A pass has floor(samples / batch) steps, the samples left over are dropped, and the cosine
    is stretched to epochs * (floor(samples / batch) + 1) steps: AR-Seg's rule (specification section 5.1)."""
    continues: str | None = None
    """Stage of this contestant that this one goes on from: last weights, optimiser state, one schedule over both, and the
    best mIoU so far, which is not reset (specification section 5.2)."""
    batch: int = Field(4, ge=1)
    accumulate: int = Field(1, ge=1)
    """Micro-batches per optimiser step; `batch` samples are split over them."""
    learning_rate: float = Field(1e-3, gt=0)
    optimiser: Literal["adam", "adamw", "sgd"] = "adamw"
    weight_decay: float = Field(0.0, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)
    warmup_steps: int = Field(0, ge=0)
    warmup_from: float = Field(0.0, ge=0, le=1)
    """Share of the learning rate at which the linear warm-up starts."""
    lr_multipliers: dict[str, float] = Field(default_factory=dict)
    """Parameter prefix 'part.module' -> factor; replaces the method's own entry for that prefix."""
    clip_norm: float | None = Field(None, gt=0)
    ema_decay: float | None = Field(None, gt=0, lt=1)
    initialise_from: dict[str, str] = Field(default_factory=dict)
    """part -> 'label/stage/part' of this experiment, a packaged weight name or a .safetensors path."""
    checkpoint: Literal["last", "best"] = "last"
    """Which checkpoint later stages and the saved weights take; 'best' selects on the validation frames."""
    distances: tuple[int, ...] | None = None
    """Distances used by this stage only; None: all that were made."""
    augmentation: Augmentation | None = None
    """Overrides the experiment's augmentation."""

    @property
    def length(self) -> int:
        """`steps`; stages given in epochs have one when the samples are counted (`schedule.spans`)."""
        if self.steps is None:
            raise ValueError("the length in steps is known when the samples are counted")
        return self.steps

    @property
    def words(self) -> str:
        """'500 steps' or '50 epochs'."""
        return f"{self.steps} steps" if self.steps is not None else f"{self.epochs} epochs"

    @model_validator(mode="after")
    def _one_length(self) -> StageSection:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give exactly one of steps and epochs")
        return self

    @model_validator(mode="after")
    def _batch_divides(self) -> StageSection:
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} is no multiple of accumulate {self.accumulate}")
        return self


def is_stage(source: str) -> bool:
    """True for 'label/stage/part' of a training experiment, False for weights that are stored."""
    return source.count("/") == 2 and not source.endswith(WEIGHTS_SUFFIX)


class ContestantSection(Section):
    """One method that is trained, under a label of its own."""

    name: str
    """Registered method."""
    label: str = Field(pattern=NAME)
    """Name of its folder and of its row."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The method's own options."""
    stages: dict[str, StageSection] = Field(min_length=1)
    """Stage that the method declares -> its length and optimiser, in the order of training."""
    seed: int | None = Field(None, ge=0)
    """Seed of this contestant where it has one of its own; None: the experiment's."""
    compare: bool = True
    """False for helpers (pretraining) that are no row of the comparison and need no matched steps."""
    channels_last: bool | None = None
    """Memory layout of this contestant where it differs; None: the experiment's."""

    @model_validator(mode="after")
    def _continues_what_comes_before(self) -> ContestantSection:
        earlier: list[str] = []
        for name, stage in self.stages.items():
            if stage.continues is not None and (not earlier or stage.continues != earlier[-1]):
                raise ValueError(
                    f"stages.{name}.continues: {stage.continues!r} is not the stage before it ({earlier[-1:] or 'none'})"
                )
            if stage.continues is not None and stage.initialise_from:
                raise ValueError(f"stages.{name}: continues and initialise_from exclude each other")
            earlier.append(name)
        return self


class EvaluationSection(Section):
    """A row of the closing table that trains nothing itself: a method with parts that others trained."""

    name: str
    """Registered method."""
    label: str = Field(pattern=NAME)
    """Name of its folder and of its row."""
    options: dict[str, Any] = Field(default_factory=dict)
    """The method's own options."""
    parts: dict[str, str]
    """part -> 'label/stage/part', a packaged weight name or a .safetensors path."""


class ValidationSection(Section):
    """Validation by the real protocol: coded clips, scored at chosen distances."""

    split: Literal["train", "val"] = "val"
    """Labelled frames of which split."""
    every: int | Literal["epoch"] = Field(200)
    """Steps between validations, or 'epoch': after each pass over the samples."""
    pixels: Literal["decoded", "original"] = "decoded"
    """'original': uncoded frames with the motion of the coded ones, as AR-Seg's code validates."""
    clips: int = Field(4, ge=1)
    """Coded clips of one validation, spread evenly over the split."""
    distances: tuple[int, ...] = (0, 5, 11)
    """Keyframe distances that are scored."""
    final_clips: int | None = Field(None, ge=1)
    """Clips of the closing validation of each contestant; None: as `clips`."""
    final_distances: tuple[int, ...] | None = None
    """Distances of the closing validation; None: as `distances`."""

    @field_validator("every")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError(f"every must be at least 1, got {value}")
        return value

    @field_validator("distances", "final_distances")
    @classmethod
    def _ascending(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or list(value) != sorted(set(value)) or value[0] < 0):
            raise ValueError(f"distances must be ascending, distinct and not negative, got {value}")
        return value


class OutputSection(Section):
    """Weights that leave the experiment."""

    weights: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./{}-]*$")
    """Packaged name: the file becomes `<weights>.safetensors`."""
    source: str
    """'label/stage/part'."""
    dtype: Literal["float16", "float32"] = "float16"
    """Number format of the file."""
    leave_out: tuple[str, ...] = ()
    """Modules of the part that stay behind: those that the method which takes the weights does not have."""


class TrainingExperiment(Section):
    """Everything that decides the result of `vssbench train`."""

    name: str = Field(pattern=NAME)
    """Folder of the results below training/."""
    description: str = ""
    """Printed by `vssbench list experiments` and at the start."""
    seed: int = Field(1, ge=0)
    """Of everything random."""
    seeds: tuple[int, ...] = ()
    """Train everything once for each of these, in folders `seed-<n>`, on the same coded pairs (those of `seed`)."""
    dataset: DatasetSpec
    codecs: tuple[CodecSettings, ...] = Field(min_length=1)
    """Codec settings of the training pairs; clips take them in turn. The keyframe interval is that of `pairs`."""
    validation_codec: CodecSettings | None = None
    """None: the first of `codecs`."""
    pairs: PairSection = PairSection()
    augmentation: Augmentation = Augmentation()
    class_weights: Literal["none", "sqrt-inverse"] = "none"
    """'sqrt-inverse': 1 / sqrt(share of pixels) over the stored labels, mean 1 over pixels."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """'auto': bfloat16 autocast where the processor has instructions for it, else float32."""
    channels_last: bool = True
    """Memory layout of maps and networks, for speed; not where torch cannot train a network so (training/layout.py)."""
    backbone_weights: Path | None = None
    """ImageNet weights that every backbone starts from, where `initialise_from` says nothing else: 'imagenet' for
    EfficientNet-Lite0 (extra `pretrained`), or a file (.pth or .safetensors): torchvision's ResNet-18, for width 64 only,
    or EfficientNet-Lite0 in its package's layout. `--backbone-weights` sets it. None: from scratch."""
    feature_memory_mb: int = Field(0, ge=0)
    """Room for features of frozen networks, where augmentation lets samples come again; 0 keeps none."""
    contestants: tuple[ContestantSection, ...] = Field(min_length=1)
    evaluations: tuple[EvaluationSection, ...] = ()
    validation: ValidationSection = ValidationSection()
    outputs: tuple[OutputSection, ...] = ()

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value) or any(seed < 0 for seed in value):
            raise ValueError(f"seeds must be distinct and not negative, got {list(value)}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _default_distances_fit(cls, data: Any) -> Any:
        """First, middle and last frame of the GOP, where the file gives its length and no distances: 0, 5, 11 of 12."""
        if not isinstance(data, dict) or not isinstance(data.get("pairs"), dict):
            return data
        interval, validation = data["pairs"].get("keyframe_interval"), data.get("validation", {})
        if not isinstance(interval, int) or interval < 1 or not isinstance(validation, dict):
            return data
        return {
            **data,
            "validation": {"distances": sorted({0, (interval - 1) // 2, interval - 1}), **validation},
        }

    @model_validator(mode="after")
    def _validation_distances_exist(self) -> TrainingExperiment:
        interval = self.pairs.keyframe_interval
        for key in ("distances", "final_distances"):
            largest = max(getattr(self.validation, key) or (0,))
            if largest >= interval:
                raise ValueError(
                    f"validation.{key}: distance {largest} does not exist with pairs.keyframe_interval {interval}"
                )
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> TrainingExperiment:
        """Contestants and evaluations are folders beside one another, outputs are files."""
        labels: set[str] = set()
        for section, key in (("contestants", "label"), ("evaluations", "label"), ("outputs", "weights")):
            labels = set() if section == "outputs" else labels
            for index, entry in enumerate(getattr(self, section)):
                name = getattr(entry, key)
                if name in labels:
                    raise mistake((section, index, key), f"{name!r} is used twice; give each its own")
                labels.add(name)
        return self

    @model_validator(mode="after")
    def _references_exist(self) -> TrainingExperiment:
        known: list[str] = []
        for index, contestant in enumerate(self.contestants):
            for stage, section in contestant.stages.items():
                here = ("contestants", index, "stages", stage, "initialise_from")
                for part, source in section.initialise_from.items():
                    _require_trained(source, known, (*here, part), "is not trained earlier")
                known.append(f"{contestant.label}/{stage}")
        for index, evaluation in enumerate(self.evaluations):
            for part, source in evaluation.parts.items():
                _require_trained(source, known, ("evaluations", index, "parts", part), "is no stage")
        for index, output in enumerate(self.outputs):
            owner = output.source.rpartition("/")[0]
            if owner not in known:
                raise mistake(("outputs", index, "source"), f"{owner!r} is no stage; {nearest(owner, known)}")
        return self

    def digest(self, label: str | None = None) -> str:
        """Hex digest of what decides the weights of contestant `label` (None: of all contestants).

        Covers the data sections, the contestant and what it is initialised from (files by content); not what is only reported
        (description, outputs, closing validation). Checkpoints of another digest are refused.
        """
        content = self.model_dump(
            mode="json", exclude={"description", "outputs", "contestants", "evaluations", "seeds"}
        )
        if (
            self.backbone_weights is not None and self.backbone_weights != PACKAGED_BACKBONE
        ):  # what the file holds decides, not where it lies
            content["backbone_weights"] = _file_digest(self.backbone_weights)
        for key in ("final_clips", "final_distances"):
            content["validation"].pop(key)
        wanted = self._ancestry(label) if label is not None else {c.label for c in self.contestants}
        chosen = [c for c in self.contestants if c.label in wanted]
        content["contestants"] = [c.model_dump(mode="json") for c in chosen]
        begun = {s for c in chosen for stage in c.stages.values() for s in stage.initialise_from.values()}
        # as for the backbone: retrained weights under an old name are other weights
        content["initial_weights"] = {
            s: _file_digest(Path(s)) for s in begun if s.endswith(WEIGHTS_SUFFIX) and Path(s).is_file()
        }
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def canonical(self) -> dict[str, Any]:
        """Plain JSON data from which the same experiment is rebuilt, every default written out."""
        return dict(self.model_dump(mode="json"))

    @property
    def pair_seed(self) -> int:
        """Seed of the coded pairs."""
        return self.seed if self.pairs.seed is None else self.pairs.seed

    def for_seed(self, seed: int) -> TrainingExperiment:
        """The experiment with one training seed, on the coded pairs of this one; `{seed}` is filled in everywhere.

        The seed of the pairs itself gives the experiment that has no `seeds`, digests included.
        """
        document = substitute(self.model_dump(mode="json", exclude={"seeds"}), {"seed": str(seed)})
        document["seed"] = seed
        document["pairs"]["seed"] = None if seed == self.pair_seed else self.pair_seed
        own = [c for c in document["contestants"] if c["seed"] is not None]
        for contestant in own if seed != self.seed else ():  # else all seeds were one training
            contestant["seed"] += seed + 1
        return TrainingExperiment.model_validate(document)

    def require_labels(self, labels: Sequence[str]) -> None:
        """Raise ConfigError for a label that no contestant has."""
        known = [contestant.label for contestant in self.contestants]
        for label in labels:
            if label not in known:
                raise ConfigError(f"--only {label}: no such contestant; {nearest(label, known)}")

    def begins_as(self, label: str) -> dict[str, str]:
        """Part -> what the contestant's first stage that names it starts it from."""
        contestant = next(c for c in self.contestants if c.label == label)
        begun: dict[str, str] = {}
        for stage in contestant.stages.values():
            begun = {**stage.initialise_from, **begun}
        return begun

    def _ancestry(self, label: str) -> set[str]:
        """`label` and every contestant whose weights its stages begin from."""
        known = {c.label: c for c in self.contestants}
        found: set[str] = set()
        queue = [label]
        while queue:
            current = queue.pop()
            if current in found or current not in known:
                continue
            found.add(current)
            for stage in known[current].stages.values():
                queue.extend(source.split("/")[0] for source in stage.initialise_from.values())
        return found

    def unmatched_steps(self) -> dict[str, int]:
        """Own steps (or epochs) of each compared contestant, empty if they all agree (compare=False left out)."""
        steps = {
            c.label: sum(stage.steps or stage.epochs or 0 for stage in c.stages.values())
            for c in self.contestants
            if c.compare
        }
        return steps if len(set(steps.values())) > 1 else {}


def _file_digest(path: Path) -> str:
    """SHA-256 of a file. Raises InputError if it cannot be read."""
    try:
        stamp = path.stat()
        return _digest_of(path, stamp.st_mtime_ns, stamp.st_size)
    except OSError as error:
        raise InputError(f"{spelled_out(path)}: weights cannot be read ({error.strerror})") from error


@lru_cache(maxsize=8)
def _digest_of(path: Path, modified: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _require_trained(source: str, known: Sequence[str], location: Location, problem: str) -> None:
    owner = source.rpartition("/")[0]
    if is_stage(source) and owner not in known:
        raise mistake(location, f"{owner!r} {problem}; {nearest(owner, list(known))}")


def load_training_experiment(
    experiment: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()
) -> TrainingExperiment:
    """Validated training experiment from a packaged name (`quickstart`), a path or plain data, with `key=value` overrides.

    The options of the dataset and of the methods are filled in with their defaults. Raises ConfigError naming file, line,
    column, key, value and near misses; InputError if the file cannot be read.
    """
    document, where = read_document(experiment, overrides, TRAINING)
    _take_the_dataset(document, where)
    _anchor_paths(document)
    built = validate(TrainingExperiment, document, where=where)
    contestants = [
        _complete(one, document, ("contestants", index), where) for index, one in enumerate(built.contestants)
    ]
    evaluations = [
        _complete(one, document, ("evaluations", index), where) for index, one in enumerate(built.evaluations)
    ]
    return built.model_copy(
        update={
            "dataset": complete_options(built.dataset, datasets, document, ("dataset",), where),
            "contestants": tuple(contestants),
            "evaluations": tuple(evaluations),
        }
    )


def _take_the_dataset(document: Keys, where: str) -> None:
    """A training has one dataset: `datasets: [{...}]` becomes `dataset: {...}`. Raises ConfigError for another number."""
    entries = document.get("datasets")
    if not isinstance(entries, list):
        return
    if len(entries) != 1:
        origin = origin_of(document, ("datasets",), where)
        raise ConfigError(f"{origin}: datasets: a training has one dataset, got {len(entries)}")
    place = place_of(document, ("datasets", 0))
    document["dataset"] = document.pop("datasets")[0]
    if place is not None:
        document.places["dataset"] = place


def _anchor_paths(document: Keys) -> None:
    """Weight files and ImageNet weights: relative to the file that names them."""
    if document.get("backbone_weights") != str(PACKAGED_BACKBONE):
        anchor_key(document, "backbone_weights")
    for section, key in (("contestants", "stages"), ("evaluations", "parts")):
        entries = document.get(section)
        for index, entry in enumerate(entries if isinstance(entries, list) else ()):
            found = entry.get(key) if isinstance(entry, dict) else None
            if not isinstance(found, dict):
                continue
            if key == "parts":
                anchor_weights(document, (section, index, key), found)
                continue
            for name, stage in found.items():
                begun = stage.get("initialise_from") if isinstance(stage, dict) else None
                if isinstance(begun, dict):
                    anchor_weights(document, (section, index, key, name, "initialise_from"), begun)


def _complete(entry: Any, document: Keys, location: Location, where: str) -> Any:
    """A contestant or evaluation with its method's options checked and filled in. Raises ConfigError."""
    value_at(document, location).setdefault("options", Keys())
    inside = (*location, "options")
    options = checked_options(entry.name, methods, document, inside, where)
    if options.pop("weights", None):
        raise ConfigError(
            f"{origin_of(document, (*inside, 'weights'), where)}: {address(document, inside)}.weights is for runs; here "
            "stages say initialise_from and evaluations say parts"
        )
    return entry.model_copy(update={"options": options})
