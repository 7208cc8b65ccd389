"""Validation by the real protocol: coded clips, decoded frames, the method's own `step`, mIoU by distance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vssbench.codec import CodecSettings
from vssbench.dataset import Dataset, VideoSequence
from vssbench.errors import CapabilityError, InputError
from vssbench.method import Frame, Method
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU
from vssbench.training.coded_clip import CodedClip, code_clip
from vssbench.training.config import TrainingExperiment

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class ValidationClip:
    """Frames `first` .. `first + length - 1` of a sequence, scored at `scored`."""

    sequence: VideoSequence
    first: int
    length: int
    scored: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadyClip:
    """A coded clip with only the frames and labels that are used."""

    origin: str
    images: dict[int, NDArray[np.uint8]]
    flows: dict[int, NDArray[np.float32]]
    valid: dict[int, NDArray[np.bool_]]
    labels: dict[int, NDArray[np.uint8]]
    frame_types: dict[int, str]


def choose_clips(
    sequences: Sequence[VideoSequence], distances: Sequence[int], interval: int, clips: int
) -> list[ValidationClip]:
    """Clips spread evenly over a split, each scored at `distances`.

    Where all frames are labelled one clip serves all distances; where labels are sparse every (frame, distance) is a
    clip of its own that starts `distance` frames earlier. Raises InputError if no frame can be scored.
    """
    dense = [
        ValidationClip(sequence, first, min(interval, len(sequence) - first), tuple(distances))
        for sequence, labelled in ((sequence, set(sequence.labelled)) for sequence in sequences)
        for first in range(len(sequence) - max(distances))
        if labelled.issuperset(first + d for d in distances)
    ]
    if dense:
        return _spread(dense, clips)
    sparse = [
        [ValidationClip(sequence, t - d, d + 1, (d,)) for d in distances]
        for sequence in sequences
        for t in sequence.labelled
        if t >= max(distances)
    ]
    if not sparse:
        raise InputError(
            f"no labelled validation frame has {max(distances)} frames before it; lower the distances"
        )
    return [clip for group in _spread(sparse, clips) for clip in group]


def _spread(items: list[Item], count: int) -> list[Item]:
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


class ValidationSet:
    """Coded validation clips, made once and kept decoded (scored frames and keyframes only)."""

    def __init__(
        self, dataset: Dataset, experiment: TrainingExperiment, *, distances: Sequence[int], clips: int
    ) -> None:
        interval = experiment.pairs.keyframe_interval
        codec = experiment.validation_codec or experiment.codecs[0]
        self.settings = codec.model_copy(update={"keyframe_interval": interval})
        self.classes = dataset.classes
        self.normalisation = dataset.normalisation
        self.distances = tuple(distances)
        chosen = choose_clips(dataset.sequences(experiment.validation.split), distances, interval, clips)
        self.clips = [_prepare(clip, self.settings, experiment) for clip in chosen]

    def score(self, method: Method, device: torch.device) -> DistanceIoU:
        """MIoU by distance of `method` (networks in eval mode during the call)."""
        counter = KeyframeDistanceIoU(
            self.classes, self.distances, self.classes.ignore_index, empty_frame="count"
        )
        modules = [module for part in method.parts().values() for module in part.modules()]
        training = [module.training for module in modules]
        for module in modules:
            module.training = False
        try:
            with torch.inference_mode():
                for clip in self.clips:
                    for d, labels in predict(method, clip, device):
                        if d in clip.labels:
                            counter.update(clip.labels[d], labels, d)
        finally:
            for module, mode in zip(modules, training, strict=True):
                module.training = mode
        return counter.compute()


def _prepare(clip: ValidationClip, settings: CodecSettings, experiment: TrainingExperiment) -> ReadyClip:
    frames = [np.array(clip.sequence.image(clip.first + d)) for d in range(clip.length)]
    rate, rule = clip.sequence.frame_rate_hz, experiment.pairs.flow_rule
    coded: CodedClip = code_clip(frames, settings, rate, rule=rule, motion=clip.length > 1)
    used = sorted({0, *clip.scored})
    return ReadyClip(
        origin=f"{clip.sequence.name}:{clip.first}",
        images={d: coded.images[d] for d in used},
        flows={d: coded.flows[d].flow for d in used} if coded.flows else {},
        valid={d: coded.flows[d].valid for d in used} if coded.flows else {},
        labels={d: np.array(clip.sequence.label(clip.first + d)) for d in clip.scored},
        frame_types={d: coded.frame_types[d] for d in used},
    )


def predict(method: Method, clip: ReadyClip, device: torch.device) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """(distance, labels [H, W]) of the used frames, in order. Raises CapabilityError for needs it cannot serve."""
    needs = method.needs
    if (
        (needs.every_frame and not needs.stateless)
        or needs.history
        or needs.flow_previous
        or needs.residual
        or needs.block_types
    ):
        raise CapabilityError(
            f"{type(method).__name__}: validation during training serves methods that depend on the last keyframe "
            "only (needs.every_frame = False, pixels and flow_key)"
        )
    state = method.begin(1)
    for d, image in sorted(clip.images.items()):
        if needs.stateless and d not in clip.labels:
            continue
        for prediction in method.step(state, _frame(method, clip, d, image, device)):
            yield prediction.index, prediction.labels[0].cpu().numpy()
    for prediction in method.flush(state):
        yield prediction.index, prediction.labels[0].cpu().numpy()


def _frame(method: Method, clip: ReadyClip, d: int, image: NDArray[np.uint8], device: torch.device) -> Frame:
    flow: Tensor | None = None
    valid: Tensor | None = None
    if method.needs.flow_key:
        if clip.flows:
            flow = torch.from_numpy(np.array(clip.flows[d]))[None].to(device)
            valid = torch.from_numpy(np.array(clip.valid[d]))[None].to(device)
        else:
            flow = torch.zeros(1, 2, *image.shape[:2], device=device)
            valid = torch.ones(1, *image.shape[:2], dtype=torch.bool, device=device)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(device)
    return Frame(
        index=d,
        keyframe_distance=d,
        image=pixels if method.needs.pixels or d == 0 else None,
        frame_type=clip.frame_types[d],
        size=image.shape[:2],
        flow_key=flow,
        flow_valid=valid,
    )
