"""What a worker builds once and uses for many jobs: datasets, methods with their weights, the bitstream cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from vssbench.experiment.clips import Job
from vssbench.codec import BitstreamCache, CodecSettings
from vssbench.experiment.schema import CodecSpec, Experiment, MethodSpec
from vssbench.dataset import Dataset, VideoSequence
from vssbench.errors import CapabilityError, CheckpointError
from vssbench.method import BuildContext, Method
from vssbench.networks import load_weights
from vssbench.networks.weights import require_classes
from vssbench.registry import methods
from vssbench.engine.inference import apply_inference
from vssbench.runner.plan import chosen_sequences, load_dataset


def choose_device(name: str) -> torch.device:
    """The torch device for 'auto', 'cpu', 'cuda' or 'cuda:N'. Raises CapabilityError if it is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise CapabilityError(
            f"--device {name!r}: not a torch device ({error}); use auto, cpu, cuda or cuda:N"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise CapabilityError(f"--device {name}: torch finds no CUDA device here; use --device cpu")
    return device


def build_method(spec: MethodSpec, context: BuildContext, class_names: Sequence[str] = ()) -> Method:
    """Build a method and load the weights its options name; all parts in eval mode on the context's device.

    class_names: the dataset's, which the weights must have been trained for; () does not look.
    Raises ConfigError, CheckpointError (naming method and part).
    """
    torch.manual_seed(context.seed)
    options = spec.options()
    method: Method = methods.load(spec.name)(options, context)
    parts = method.parts()
    unknown = sorted(set(options.weights) - set(parts))
    if unknown:
        raise CheckpointError(
            f"method {spec.title}: weights name the parts {unknown}; it has {sorted(parts)}"
        )
    for name, part in parts.items():
        if name in options.weights:
            try:
                metadata = load_weights(part, options.weights[name])
                require_classes(metadata, class_names, options.weights[name])
            except CheckpointError as error:
                raise CheckpointError(f"method {spec.title}, part {name}: {error}") from error
        part.to(context.device).eval()
    return apply_inference(method, spec.inference, spec.title)


def check_capabilities(
    method: Method, spec: MethodSpec, settings: CodecSettings, size: tuple[int, int], protocol: str
) -> None:
    """Refuse before any work what codec, size or protocol cannot give. Raises CapabilityError naming the method."""
    needs = method.needs
    if needs.flow_key or needs.flow_previous or needs.residual or needs.block_types:
        try:
            settings.check_motion()
        except CapabilityError as error:
            raise CapabilityError(f"method {spec.title} needs motion: {error}") from error
    if any(side % needs.size_multiple for side in size):
        raise CapabilityError(
            f"method {spec.title} needs frame sides that are multiples of {needs.size_multiple}, got {size[0]}x{size[1]}"
        )
    if needs.memory == "sequence" and protocol == "clip":
        raise CapabilityError(
            f"method {spec.title} keeps a memory over a sequence, but the protocol 'clip' encodes every clip on its own; "
            "use protocol.kind=stream, or a memory that is made anew for every clip"
        )


def check_lookahead(method: Method, title: str, sequence: VideoSequence, job: Job) -> None:
    """Refuse clips whose last scored frame needs pictures behind the end of what is encoded.

    Keyframes answer themselves. Raises CapabilityError naming method, sequence and frame.
    """
    needs = method.needs
    if not needs.lookahead or needs.bridges_end:
        return
    for encode in job.encodes:
        for clip in encode.clips:
            waiting = [d for d in clip.scored if d > 0]
            last = clip.first + (waiting[-1] if waiting else 0) + needs.lookahead
            if waiting and last >= len(sequence):
                raise CapabilityError(
                    f"method {title} answers {needs.lookahead} frames late, but frame {clip.first + waiting[-1]} of "
                    f"sequence {sequence.name} is scored and the sequence ends at frame {len(sequence) - 1}; leave the "
                    "last frames unscored (protocol.labelled_stride, shorter splits) or choose the method's option "
                    "for the end of a sequence, if it has one"
                )


class Workshop:
    """Lazily builds and keeps what jobs of one experiment need."""

    def __init__(self, experiment: Experiment, cache: Path | None, device: str) -> None:
        self.experiment = experiment
        self.device = choose_device(device)
        self.cache = BitstreamCache(cache)
        self._datasets: dict[str, tuple[Dataset, dict[str, VideoSequence]]] = {}
        self._methods: dict[tuple[Any, ...], Method] = {}

    def dataset(self, title: str) -> Dataset:
        """Dataset by title."""
        return self._dataset(title)[0]

    def sequence(self, dataset: str, name: str) -> VideoSequence:
        """Sequence by dataset title and name."""
        return self._dataset(dataset)[1][name]

    def codec(self, dataset: str, title: str) -> CodecSpec:
        """Codec entry of a dataset by title."""
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        return next(codec for codec in self.experiment.codecs_of(source) if codec.title == title)

    def specs(self, dataset: str, codec: str) -> list[MethodSpec]:
        """The method entries that run on one codec setting of a dataset."""
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        return list(self.experiment.methods_on(source, self.codec(dataset, codec)))

    def methods(self, dataset: str, codec: str, size: tuple[int, int]) -> dict[str, Method]:
        """All methods that run on one codec setting, by title, built for one frame size."""
        entry = self.codec(dataset, codec)
        settings = self.experiment.codec_settings(entry)
        source = next(spec for spec in self.experiment.datasets if spec.title == dataset)
        built = {}
        for spec in self.experiment.methods_on(source, entry):
            key = (dataset, spec.title, size)
            if key not in self._methods:
                names = self.dataset(dataset).classes.names
                self._methods[key] = build_method(spec, self._context(dataset, size), names)
            check_capabilities(self._methods[key], spec, settings, size, self.experiment.protocol.kind)
            built[spec.title] = self._methods[key]
        return built

    def _context(self, dataset: str, size: tuple[int, int]) -> BuildContext:
        source = self.dataset(dataset)
        return BuildContext(
            classes=len(source.classes),
            size=size,
            keyframe_interval=self.experiment.protocol.keyframe_interval,
            device=self.device,
            normalisation=source.normalisation,
            seed=self.experiment.seed,
        )

    def _dataset(self, title: str) -> tuple[Dataset, dict[str, VideoSequence]]:
        if title not in self._datasets:
            spec = next(spec for spec in self.experiment.datasets if spec.title == title)
            dataset = load_dataset(spec)
            self._datasets[title] = (dataset, {s.name: s for s in chosen_sequences(spec, dataset)})
        return self._datasets[title]
