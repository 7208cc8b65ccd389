"""Training a whole experiment: pairs once, then every stage of every contestant, then the weights that leave it.

out/experiment.yaml            the validated experiment
out/pairs-<digest>/            coded training pairs
out/<label>/<stage>/           last.pt best.pt train.csv validation.csv, done.json when finished
out/<label>/final.json         closing validation of the contestant
out/weights/                   <name>.safetensors and manifest.json
out/summary.json               final table, plateau check, label shares
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from vssbench import __version__
from vssbench.dataset import Dataset
from vssbench.engine.build import check_capabilities, check_motion, untrained_method
from vssbench.engine.ownership import owned, sweep
from vssbench.engine.reading import image_of, label_of
from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.training import (
    ContestantSection,
    EvaluationSection,
    StageSection,
    TrainingExperiment,
    is_stage,
)
from vssbench.files import write_atomically
from vssbench.method import BuildContext, Method, Stage
from vssbench.networks.adoption import start_from
from vssbench.networks.imagenet import imagenet_networks, load_imagenet_backbone
from vssbench.networks.weights import read_weights, require_classes
from vssbench.registry import datasets, nearest
from vssbench.training.beginnings import pixels_of
from vssbench.training.checkpoint import load_checkpoint
from vssbench.training.data import BatchSource, class_weights
from vssbench.training.feature_memory import FeatureMemory
from vssbench.training.layout import trains_channels_last
from vssbench.training.log import Reporter, Silent, read_log
from vssbench.training.outputs import require_outputs, write_weights
from vssbench.training.pairs import PairEntry, PairStore, build_pairs, check_label
from vssbench.training.plateau import ENOUGH, last_third, still_improving
from vssbench.training.schedule import Span, spans
from vssbench.training.stage_trainer import Setup, StageTrainer, hash_seed
from vssbench.training.validation import ValidationSet
from vssbench.training.windows import WindowEntry, WindowStore, build_windows


@dataclass(frozen=True, slots=True, eq=False)
class Processes:
    """This process among those of a distributed run."""

    rank: int = 0
    world_size: int = 1
    reduce_gradients: Callable[[list[Tensor]], None] | None = None
    share_norms: Callable[[nn.Module], None] | None = None
    """Makes batch normalisation of a part use the statistics of the whole batch."""
    wait: Callable[[], None] = lambda: None
    """Returns when every process has called it."""


class Trainer:
    """One run of a training experiment in `folder`. Everything finished there is kept; the rest is (re)done."""

    def __init__(
        self,
        experiment: TrainingExperiment,
        folder: Path,
        *,
        device: str = "cpu",
        reporter: Reporter | None = None,
        tensorboard: bool = False,
        processes: Processes | None = None,
        common: Path | None = None,
    ) -> None:
        self.experiment, self.folder = experiment, folder
        self.common = common or folder
        """Folder of the pairs and of the weights that leave the experiment."""
        self.device = torch.device(device)
        self.reporter = reporter or Silent()
        self.tensorboard = tensorboard
        self.processes = processes or Processes()
        self.dataset: Dataset = datasets.load(experiment.dataset.name)(experiment.dataset.options())
        self.precision = choose_precision(experiment.precision, self.device)
        self._validation: dict[tuple[tuple[int, ...], int, int, int], ValidationSet] = {}
        self._store: PairStore | None = None
        self._windows: WindowStore | None = None

    def run(self, only: Sequence[str] = ()) -> dict[str, Any]:
        """Train every contestant (or those labelled in `only`) and return the summary, which is also written.

        Raises ConfigError, InputError, CheckpointError, DivergedError, OutOfMemoryError, and StorageError also where
        another training works in the folder.
        """
        for remark in self.prepare(only):
            self.reporter.message(f"warning: {remark}")
        if self.processes.rank:
            return self._run(only)
        with owned(self.folder):
            sweep(self.folder)
            return self._run(only)

    def _run(self, only: Sequence[str]) -> dict[str, Any]:
        if self.processes.rank == 0:
            self._write_experiment()
        unmatched = self.experiment.unmatched_steps()
        if unmatched:
            self.reporter.message(
                f"warning: compared contestants train for different numbers of steps: {unmatched}"
            )
        for contestant in self.experiment.contestants:
            if not only or contestant.label in only:
                self._train_contestant(contestant)
        if not only:
            for evaluation in self.experiment.evaluations:
                self._evaluate(evaluation)
        summary = self._summary()
        if self.processes.rank == 0:
            _write_json(self.folder / "summary.json", summary)
            if not only:
                write_weights(self.experiment, self.folder, self.common, self.dataset, self.build, summary)
        return summary

    def prepare(self, only: Sequence[str] = ()) -> list[str]:
        """Refuse what cannot be trained, before the first step and without writing anything.

        Returns what a reader must know of the weights it begins from. Raises as `run`.
        """
        self.experiment.require_labels(only)
        self._refuse_uneven_shares(only)
        self._read_first()
        self._refuse_early(only)
        rows: list[ContestantSection | EvaluationSection] = [
            *(row for row in self.experiment.contestants if not only or row.label in only),
            *(() if only else self.experiment.evaluations),
        ]
        default = self.dataset.normalisation
        said = (remark for row in rows for remark in pixels_of(row, self.experiment, default).remarks)
        return list(dict.fromkeys(said))

    def _read_first(self) -> None:
        """Read the first labelled frame of both splits and its label. Raises InputError."""
        for split in dict.fromkeys((self.experiment.pairs.split, self.experiment.validation.split)):
            labelled = (s for s in self.dataset.sequences(split) if s.labelled)
            for sequence in islice(labelled, 1):
                image_of(sequence, sequence.labelled[0])
                label = np.array(label_of(sequence, sequence.labelled[0]))
                check_label(label, self.dataset.classes, sequence, sequence.labelled[0])

    def _refuse_uneven_shares(self, only: Sequence[str]) -> None:
        """Every process must have as many samples of a micro-batch as the others: gradients are averaged over them."""
        shares = self.processes.world_size
        for contestant in self.experiment.contestants:
            if only and contestant.label not in only:
                continue
            for name, stage in contestant.stages.items():
                micro = stage.batch // stage.accumulate
                if micro % shares:
                    raise ConfigError(
                        f"contestant {contestant.label}, stage {name}: batch {stage.batch} over accumulate "
                        f"{stage.accumulate} is {micro} samples a pass, which {shares} processes cannot share evenly; make it "
                        f"a multiple of {shares}"
                    )

    def _refuse_early(self, only: Sequence[str]) -> None:
        """What is wrong with a later contestant, or belongs to another experiment, is said before the first one trains."""
        for contestant in self.experiment.contestants:
            finished = self._finished(self.folder / contestant.label / "final.json", contestant.label)
            if finished is None and (not only or contestant.label in only):
                method = self.build(contestant)
                self._offered(contestant, method)
                self._refuse_blind(contestant, method)
                for name, stage in contestant.stages.items():
                    self._try_sources(method, stage.initialise_from, f"{contestant.label}/{name}")
        for evaluation in () if only else self.experiment.evaluations:
            method = self.build(evaluation)
            self._refuse_blind(evaluation, method)
            self._try_sources(method, evaluation.parts, f"evaluations.{evaluation.label}.parts")

    def _refuse_blind(self, contestant: ContestantSection | EvaluationSection, method: Method) -> None:
        """Raise CapabilityError if codecs or frames cannot give what is trained on and validated with."""
        experiment, size = self.experiment, self.dataset.sequences(self.experiment.validation.split)[0].size
        codec = experiment.validation_codec or experiment.codecs[0]
        check_capabilities(method, contestant.label, codec, size, "stream")
        if experiment.pairs.keyframe_interval > 1:
            for settings in experiment.codecs:
                check_motion("training", settings, experiment.pairs.flow_rule)

    def _try_sources(self, method: Method, sources: Mapping[str, str], title: str) -> None:
        """Raise ConfigError or CheckpointError where a part is not there, or stored weights do not fit it."""
        for part, source in sources.items():
            if is_stage(source):
                self._part(method, part, title)
            else:
                self._initialise(method, part, source, title)

    def _offered(self, contestant: ContestantSection, method: Method) -> dict[str, Stage]:
        """The method's stages by name. Raises ConfigError if the contestant or an output asks for what it lacks."""
        offered = {stage.name: stage for stage in method.stages()}
        for name in contestant.stages:
            if name not in offered:
                raise ConfigError(
                    f"contestant {contestant.label}: method {contestant.name} has no stage {name!r}; "
                    f"{nearest(name, list(offered))}"
                )
        require_outputs(self.experiment, contestant, method)
        return offered

    @property
    def store(self) -> PairStore:
        """The coded pairs, made when first asked for."""
        if self._store is None:
            experiment = self.experiment
            codecs, seed = experiment.codecs, experiment.pair_seed
            self._store = build_pairs(
                self.dataset,
                experiment.pairs,
                codecs,
                seed,
                self.common,
                lambda done, total: self.reporter.advance("coding pairs", done, total),
            )
            frames, motion = len(self._store.entries), self._store.mean_motion_pixels
            self.reporter.message(f"{frames} coded frames, mean motion to the keyframe {motion:.1f} px")
        return self._store

    def build(self, contestant: ContestantSection | EvaluationSection) -> Method:
        """The contestant's method with freshly initialised networks on the device."""
        context = BuildContext(
            classes=len(self.dataset.classes),
            size=self.dataset.sequences(self.experiment.pairs.split)[0].size,
            keyframe_interval=self.experiment.pairs.keyframe_interval,
            device=self.device,
            normalisation=pixels_of(contestant, self.experiment, self.dataset.normalisation).normalisation,
            seed=self._seed(contestant),
        )
        method = untrained_method(
            contestant.name,
            contestant.options,
            context,
            where=f"contestant {contestant.label}",
            seed=hash_seed(self._seed(contestant), 77),
        )
        self._load_backbones(method, contestant.label)
        layout = (
            torch.channels_last if self._is_channels_last(contestant, method) else torch.contiguous_format
        )
        for part in method.parts().values():
            part.to(memory_format=layout)  # type: ignore[call-overload]
            if self.processes.share_norms is not None:
                self.processes.share_norms(part)
        return method

    def _is_channels_last(
        self, contestant: ContestantSection | EvaluationSection | None, method: Method | None
    ) -> bool:
        own = contestant.channels_last if isinstance(contestant, ContestantSection) else None
        wanted = self.experiment.channels_last if own is None else own
        return wanted and (method is None or trains_channels_last(method, self.device))

    def _load_backbones(self, method: Method, label: str) -> None:
        """Put the ImageNet weights, where the experiment names some, into every backbone that takes them."""
        path = self.experiment.backbone_weights
        if path is None:
            return
        for part, module in method.parts().items():
            for network in imagenet_networks(module):
                try:
                    load_imagenet_backbone(network, path)
                except ConfigError as error:
                    raise ConfigError(f"contestant {label}, part {part}: {error}") from error

    def _seed(self, contestant: ContestantSection | EvaluationSection) -> int:
        own = contestant.seed if isinstance(contestant, ContestantSection) else None
        return self.experiment.seed if own is None else own

    def _train_contestant(self, contestant: ContestantSection) -> None:
        final = self.folder / contestant.label / "final.json"
        finished = self._finished(final, contestant.label)
        if finished is not None and finished.get("closing", self._closing()) == self._closing():
            self.reporter.message(f"{contestant.label}: already trained")
            return
        method = self.build(contestant)
        offered = self._offered(contestant, method)
        samples = {
            name: len(self._entries(offered[name], section.distances)[1])
            for name, section in contestant.stages.items()
        }
        found = spans(contestant.stages, samples)
        for name in contestant.stages:
            self._train_stage(contestant, method, offered[name], found[name])
        if self.processes.rank == 0:
            digest = self.experiment.digest(contestant.label)
            document = {"digest": digest, "closing": self._closing(), "scores": self._final_scores(method)}
            _write_json(final, document)
        self.processes.wait()

    def _evaluate(self, evaluation: EvaluationSection) -> None:
        """Closing validation of a row that trains nothing."""
        if self.processes.rank == 0:
            method = self.build(evaluation)
            for part, source in evaluation.parts.items():
                self._initialise(method, part, source, evaluation.label)
            scores = self._final_scores(method)
            _write_json(self.folder / evaluation.label / "final.json", {"scores": scores})

    def _train_stage(self, contestant: ContestantSection, method: Method, stage: Stage, span: Span) -> None:
        title = f"{contestant.label}/{stage.name}"
        folder = self.folder / contestant.label / stage.name
        section = contestant.stages[stage.name]
        for part, source in section.initialise_from.items():
            told = self._initialise(method, part, source, title)
            if told:
                self.reporter.message(told)
        validation = self.experiment.validation
        setup = Setup(
            folder=folder,
            experiment=self.experiment.digest(contestant.label),
            title=title,
            seed=self._seed(contestant),
            device=self.device,
            precision=self.precision,
            validate_every=self._interval(span),
            validate=lambda: self._scores(stage.predictor or method, validation.distances, validation.clips),
            reporter=self.reporter,
            tensorboard=self.tensorboard,
            reduce_gradients=self.processes.reduce_gradients,
            is_main=self.processes.rank == 0,
            span=span,
            before=(folder.parent / section.continues, f"{contestant.label}/{section.continues}")
            if section.continues is not None
            else None,
        )
        trainer = StageTrainer(
            method, stage, section, self._source(stage, section, title, method, contestant), setup
        )
        if not self._finished(folder / "done.json", contestant.label):
            started = time.time()
            trainer.run()
            if self.processes.rank == 0:
                _write_json(
                    folder / "done.json",
                    {"digest": setup.experiment, "steps": span.steps, "seconds": time.time() - started},
                )
        self.processes.wait()  # the main process has written the checkpoints by now
        trainer.finish(section.checkpoint)

    def _interval(self, span: Span) -> int:
        """Steps between validations."""
        every = self.experiment.validation.every
        if every != "epoch":
            return every
        if span.epoch is None:
            raise ConfigError("validation.every = 'epoch' needs stages whose length is given in epochs")
        return span.epoch

    @property
    def windows(self) -> WindowStore:
        """The coded windows, made when a stage first asks for them."""
        if self._windows is None:
            experiment = self.experiment
            self._windows = build_windows(
                self.dataset,
                experiment.pairs,
                experiment.codecs,
                experiment.pair_seed,
                self.common,
                lambda done, total: self.reporter.advance("coding windows", done, total),
            )
        return self._windows

    def _entries(
        self, stage: Stage, distances: Sequence[int] | None
    ) -> tuple[PairStore | WindowStore, Sequence[PairEntry | WindowEntry]]:
        """The store that a stage's recipe is fed from and the samples it may take."""
        if stage.recipe in ("image", "pair"):
            return self.store, self.store.select(pairs=stage.recipe == "pair", distances=distances)
        return self.windows, self.windows.select(stage.recipe, stage.window, distances)

    def _source(
        self,
        stage: Stage,
        section: StageSection,
        title: str,
        method: Method | None = None,
        contestant: ContestantSection | None = None,
    ) -> BatchSource:
        store, entries = self._entries(stage, section.distances)
        return BatchSource(
            store,
            stage.recipe,
            entries,
            section.augmentation or self.experiment.augmentation,
            batch=section.batch,
            accumulate=section.accumulate,
            seed=self.experiment.seed if contestant is None else self._seed(contestant),
            stage_key=hash_seed(*title.encode()) % 2**32,
            original_share=self.experiment.pairs.original_share,
            normalisation=self.dataset.normalisation if method is None else method.normalisation,
            device=self.device,
            ignore_index=self.dataset.classes.ignore_index,
            channels_last=self._is_channels_last(contestant, method),
            class_weights=self._loss_weights(),
            rank=self.processes.rank,
            world_size=self.processes.world_size,
            memory=self._memory(),
            drop_last=section.epochs is not None,
            pixels=self.experiment.pairs.pixels,
        )

    def _memory(self) -> FeatureMemory | None:
        """Empty at each stage: networks that are frozen in one may have trained in another."""
        megabytes = self.experiment.feature_memory_mb
        return FeatureMemory(megabytes * 2**20) if megabytes else None

    def _loss_weights(self) -> Tensor | None:
        if self.experiment.class_weights == "none":
            return None
        return class_weights(self.store.label_counts).to(self.device)

    def _initialise(self, method: Method, part: str, source: str, title: str) -> str:
        """Begin a part with what `source` holds; returns what is to be told of it. Raises ConfigError."""
        module = self._part(method, part, title)
        values, metadata = (self.trained_part(source), None) if is_stage(source) else read_weights(source)
        try:
            if start_from(module, values, source):
                return f"{title}: part {part!r} takes the backbone of {source}, another network"
            require_classes(metadata, self.dataset.classes.names, source)
        except CheckpointError as error:
            raise ConfigError(f"{title}: part {part!r} {error}") from error
        return ""

    def _part(self, method: Method, part: str, title: str) -> nn.Module:
        parts = method.parts()
        if part not in parts:
            raise ConfigError(f"{title}: the method has no part {part!r}; {nearest(part, list(parts))}")
        return parts[part]

    def trained_part(self, source: str) -> dict[str, Tensor]:
        """State dict of 'label/stage/part' as the stage's `checkpoint` setting chooses it."""
        label, stage, part = source.split("/")
        contestant = next(c for c in self.experiment.contestants if c.label == label)
        path = self.folder / label / stage / f"{contestant.stages[stage].checkpoint}.pt"
        if not path.exists():
            raise ConfigError(f"{source}: {path} does not exist yet; train {label!r} first")
        state = load_checkpoint(path, experiment=self.experiment.digest(label), stage=f"{label}/{stage}")
        parts: dict[str, dict[str, Tensor]] = state["average"] or state["parts"]
        if part not in parts:
            raise ConfigError(
                f"{source}: stage {stage!r} trains no part {part!r}; {nearest(part, list(parts))}"
            )
        return parts[part]

    def _scores(self, method: Method, distances: tuple[int, ...], clips: int) -> dict[str, float]:
        key = (distances, clips, method.needs.history, method.needs.lookahead)
        if key not in self._validation:
            self._validation[key] = ValidationSet(
                self.dataset, self.experiment, method.needs, distances=distances, clips=clips
            )
        result = self._validation[key].score(method, self.device)
        by_distance = {f"miou_d{d}": float(v) for d, v in zip(result.distances, result.miou_d, strict=True)}
        return {"miou": result.miou, **by_distance}

    def _closing(self) -> dict[str, Any]:
        """Distances and number of clips of the closing validation: other ones are scored anew, without training."""
        section = self.experiment.validation
        return {
            "distances": list(section.final_distances or section.distances),
            "clips": section.final_clips or section.clips,
        }

    def _final_scores(self, method: Method) -> dict[str, float]:
        closing = self._closing()
        return self._scores(method, tuple(closing["distances"]), closing["clips"])

    def _summary(self) -> dict[str, Any]:
        rows: dict[str, Any] = {}
        for contestant in self.experiment.contestants:
            final = self.folder / contestant.label / "final.json"
            finished = self._finished(final, contestant.label)
            if finished is None:
                continue
            curve = [
                (row["step"], row["miou"])
                for row in read_log(
                    self.folder / contestant.label / list(contestant.stages)[-1] / "validation.csv"
                )
            ]
            gain = still_improving(curve)
            if gain is not None and contestant.compare:
                self.reporter.message(
                    f"warning: {contestant.label} was still improving at the end "
                    f"(+{100 * gain:.1f} points of mIoU over the last third); train all contestants longer"
                )
            known = len(last_third(curve)) >= ENOUGH
            if not known and contestant.compare:
                self.reporter.message(
                    f"warning: {contestant.label} has too few validations in its last third to tell whether it was still "
                    "improving; lower validation.every"
                )
            rows[contestant.label] = {
                "final": finished["scores"],
                "still_improving": gain is not None if known else None,
                "steps": self._steps(contestant),
            }
        for evaluation in self.experiment.evaluations:
            final = self.folder / evaluation.label / "final.json"
            if final.exists():
                rows[evaluation.label] = {"final": json.loads(final.read_text(encoding="utf-8"))["scores"]}
        return {
            "experiment": self.experiment.name,
            "digest": self.experiment.digest(),
            "seed": self.experiment.seed,
            "data_digest": self.store.digest,
            "mean_motion_pixels": self.store.mean_motion_pixels,
            "environment": _environment(self.device, self.precision),
            "unmatched_steps": self.experiment.unmatched_steps(),
            "contestants": rows,
        }

    def _steps(self, contestant: ContestantSection) -> int:
        """Optimiser steps of a finished contestant."""
        folder = self.folder / contestant.label
        found = [json.loads((folder / name / "done.json").read_text()) for name in contestant.stages]
        return sum(int(document["steps"]) for document in found)

    def _write_experiment(self) -> None:
        document = self.experiment.canonical()
        note = "# What was trained. Relative paths begin in the folder where `vssbench train` was started.\n"
        text = note + yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        write_atomically(self.folder / "experiment.yaml", text.encode())

    def _finished(self, path: Path, label: str) -> dict[str, Any] | None:
        """Content of done.json or final.json, None if absent. Raises CheckpointError if another experiment wrote it."""
        if not path.exists():
            return None
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wanted = self.experiment.digest(label)
        if document["digest"] != wanted:
            raise CheckpointError(
                f"{path}: belongs to experiment {document['digest']}, expected {wanted}; the experiment changed since: "
                f"choose another output folder with -o or delete {path.parent}"
            )
        return document


def choose_precision(wanted: str, device: torch.device) -> torch.dtype:
    """'auto' takes bfloat16 only where it has instructions: without them autocast is slower than float32."""
    if wanted != "auto":
        return torch.bfloat16 if wanted == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return torch.bfloat16 if check() else torch.float32


def _environment(device: torch.device, precision: torch.dtype) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "vssbench": __version__,
        "torch": torch.__version__,
        "device": f"{device.type} {name}",
        "precision": str(precision).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


def _write_json(path: Path, document: Any) -> None:
    write_atomically(path, json.dumps(document, indent=1).encode())
