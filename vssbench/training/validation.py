"""Validation by the real protocol: coded clips, decoded frames, the method's own `step`, mIoU by distance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from vssbench.codec import CodecSettings, decode, encode
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.evaluate import run_method
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.engine.reading import image_of, label_of
from vssbench.errors import InputError
from vssbench.experiment.clips import Clip
from vssbench.experiment.training import TrainingExperiment
from vssbench.method import Method, Needs
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU
from vssbench.records import DecodedFrame

Item = TypeVar("Item")

KEPT_BYTES = 2 * 2**30
"""Decoded pictures of one validation set that stay in memory."""


@dataclass(frozen=True, slots=True)
class ValidationClip:
    """Frames `first` .. `first + length - 1` of a sequence, scored at `scored`."""

    sequence: VideoSequence
    first: int
    length: int
    scored: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ReadyClip:
    """A coded clip with the labels of its scored frames."""

    clip: DecodedClip
    labels: dict[int, NDArray[np.uint8]]


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
    """Coded validation clips, kept decoded while there is room, with the history and lookahead that `needs` asks for."""

    def __init__(
        self,
        dataset: Dataset,
        experiment: TrainingExperiment,
        needs: Needs,
        *,
        distances: Sequence[int],
        clips: int,
    ) -> None:
        interval = experiment.pairs.keyframe_interval
        codec = experiment.validation_codec or experiment.codecs[0]
        self.settings = codec.model_copy(update={"keyframe_interval": interval})
        self.classes = dataset.classes
        self.distances = tuple(distances)
        self.needs, self.pixels = needs, experiment.validation.pixels
        self.plan = choose_clips(dataset.sequences(experiment.validation.split), distances, interval, clips)
        self._kept: dict[int, ReadyClip] = {}
        self._kept_bytes = 0

    def clips(self) -> Iterator[ReadyClip]:
        """The clips in order; those that do not fit into `KEPT_BYTES` are coded anew each time."""
        for number, clip in enumerate(self.plan):
            ready = self._kept.get(number)
            if ready is None:
                ready = _prepare(clip, self.settings, self.needs, self.pixels)
                size = sum(frame.image.nbytes for frame in ready.clip.frames)
                if self._kept_bytes + size <= KEPT_BYTES:
                    self._kept[number] = ready
                    self._kept_bytes += size
            yield ready

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
            for clip in self.clips():
                result = run_method(method, clip.clip, ClipFeed(clip.clip, device))
                for d, label in clip.labels.items():
                    counter.update(label, result.predictions[d].labels[0].cpu().numpy(), d)
        finally:
            for module, mode in zip(modules, training, strict=True):
                module.training = mode
        return counter.compute()


def _prepare(
    clip: ValidationClip, settings: CodecSettings, needs: Needs, pixels: Literal["decoded", "original"]
) -> ReadyClip:
    sequence, interval = clip.sequence, settings.encoded_interval
    frames = _coded(sequence, clip.first, clip.first + clip.length, settings, pixels)
    plan = Clip(f"{sequence.name}:{clip.first}", clip.first, clip.length, clip.scored)
    decoded = DecodedClip(plan, frames, interval)
    if needs.history:
        before = max(0, clip.first - interval * math.ceil(needs.history / interval))
        decoded.history = _coded(sequence, before, clip.first, settings, pixels)[-needs.history :]
    if needs.lookahead:
        after = clip.first + clip.length
        stop = min(len(sequence), after + needs.lookahead)
        decoded.lookahead = _coded(sequence, after, stop, settings, pixels)
    labels = {d: np.array(label_of(sequence, clip.first + d)) for d in clip.scored}
    return ReadyClip(decoded, labels)


def _coded(
    sequence: VideoSequence,
    first: int,
    stop: int,
    settings: CodecSettings,
    pixels: Literal["decoded", "original"],
) -> list[DecodedFrame]:
    """Frames first .. stop-1 as one bitstream of their own, decoded; none where stop <= first.

    'original' puts the uncoded frame in place of the decoded one and keeps its motion.
    """
    if stop <= first:
        return []
    originals = (np.array(image_of(sequence, index)) for index in range(first, stop))
    decoded = list(decode(encode(originals, settings, sequence.frame_rate_hz), motion=True))
    if len(decoded) != stop - first:
        raise InputError(f"{sequence.name}: {stop - first} frames were coded but {len(decoded)} decoded")
    if pixels == "original":
        return [
            replace(frame, image=np.array(image_of(sequence, first + number)))
            for number, frame in enumerate(decoded)
        ]
    return decoded
