"""Coded training windows: consecutive decoded frames with the motion between neighbours and the labels there are.

For the recipes 'window', 'triplet' and 'online'. One clip is a GOP and, where the sequence goes on, the keyframe after
it, coded as one bitstream. Files and folders follow the rules of `pairs`.

positions     0 1 2 ... L-1 L       0 and L are keyframes; flow_p leads from p to p - 1, that of L is zero
window = 3, t = 5:   frames 2 3 4 | 5      triplet, t = 5:   0 1 2 3 4 | 5 | 6 ... L      online: a window without labels
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import CodecSettings, decode, encode, flow_field_to_previous
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.ownership import sweep
from vssbench.engine.reading import label_of
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.training import PairSection
from vssbench.files import locked, write_atomically
from vssbench.method import Recipe
from vssbench.records import IGNORE_INDEX
from vssbench.training.augment import Sample
from vssbench.training.pairs import (
    ClipPlan,
    check_label,
    dense_flow,
    frames_of,
    opened_archive,
    pair_identity,
    plan_clips,
    strided_flow,
)

STORE_VERSION = 1

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class WindowClip:
    """One coded clip of the store."""

    file: str
    length: int
    """Frames, the next keyframe included where there is one."""
    labelled: tuple[int, ...]
    """Positions with at least one labelled pixel."""
    origin: str
    first: int


@dataclass(frozen=True, slots=True)
class WindowEntry:
    """One training sample: which frames of which clip."""

    clip: WindowClip
    position: int
    """Of the frame that is labelled, or of the last frame of an online window."""
    before: int
    """Frames before it."""
    after: int = 0
    """Frames behind it, the next keyframe included."""

    @property
    def origin(self) -> str:
        """'sequence:frame' for messages."""
        return f"{self.clip.origin}:{self.clip.first + self.position}"


class WindowStore:
    """A finished folder of coded clips."""

    def __init__(self, folder: Path) -> None:
        document = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.digest: str = document["digest"]
        self.interval: int = document["keyframe_interval"]
        self.clips = [
            WindowClip(**{**clip, "labelled": tuple(clip["labelled"])}) for clip in document["clips"]
        ]

    def select(self, recipe: Recipe, window: int, distances: Sequence[int] | None) -> list[WindowEntry]:
        """All samples for a recipe: `window` frames before each; `distances` keeps positions in the GOP.

        Raises ConfigError if none is left.
        """
        entries = [
            entry
            for clip in self.clips
            for entry in self._of_clip(clip, recipe, window)
            if distances is None or entry.position % self.interval in distances
        ]
        if not entries:
            raise ConfigError(
                f"{self.folder}: no sample for recipe {recipe!r} with {window} frames before the labelled one; stills have "
                "no frames behind them, and keyframe_interval must be larger than the window"
            )
        return entries

    def _of_clip(self, clip: WindowClip, recipe: Recipe, window: int) -> Iterator[WindowEntry]:
        if recipe == "online":
            for position in range(window, clip.length, window + 1):
                yield WindowEntry(clip, position, window)
        elif recipe == "window":
            for position in clip.labelled:
                if position >= window:
                    yield WindowEntry(clip, position, window)
        elif clip.length > self.interval:
            for position in clip.labelled:
                if 0 < position < self.interval:
                    yield WindowEntry(clip, position, position, self.interval - position)

    def sample(self, entry: WindowEntry) -> Sample:
        """The frame at the entry's position with its label, and in `others` the frames around it in order."""
        around = range(entry.position - entry.before, entry.position + entry.after + 1)
        with opened_archive(self.folder / entry.clip.file) as archive:
            image = archive[f"image_{entry.position:02d}"]
            name = f"label_{entry.position:02d}"
            label = archive[name] if name in archive else np.full(image.shape[:2], IGNORE_INDEX, np.uint8)
            others = tuple(archive[f"image_{p:02d}"] for p in around if p != entry.position)
            flows = tuple(dense_flow(archive[f"flow_{p:02d}"], label.shape) for p in around[1:])
        return Sample(image, label, others=others, other_flows=flows)


def build_windows(
    dataset: Dataset,
    section: PairSection,
    codecs: Sequence[CodecSettings],
    seed: int,
    root: Path,
    progress: Progress | None = None,
) -> WindowStore:
    """The store for these settings below `root`, made now if it does not exist.

    Raises InputError for labels outside the class table, CapabilityError for codec settings without motion.
    """
    sequences = {sequence.name: sequence for sequence in dataset.sequences(section.split)}
    plans = [
        _extended(plan, sequences, section) for plan in plan_clips(list(sequences.values()), section, seed)
    ]
    content = {
        "version": STORE_VERSION,
        "dataset": type(dataset).__name__,
        "sequences": [[sequence.name, sequence.identity] for sequence in sequences.values()],
        "pairs": pair_identity(section),
        "codecs": [codec.model_dump(mode="json") for codec in codecs],
        "seed": seed,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    folder = root / f"windows-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        sweep(folder)
        if not (folder / "index.json").exists():
            clips = [
                _fill(
                    folder,
                    number,
                    plan,
                    dataset,
                    sequences[plan.sequence],
                    section,
                    codecs,
                    seed,
                    progress,
                    len(plans),
                )
                for number, plan in enumerate(plans)
            ]
            document = {
                "digest": digest,
                "keyframe_interval": section.keyframe_interval,
                "clips": [asdict(clip) for clip in clips],
            }
            write_atomically(folder / "index.json", json.dumps(document, indent=1).encode())
    return WindowStore(folder)


def _extended(plan: ClipPlan, sequences: dict[str, VideoSequence], section: PairSection) -> ClipPlan:
    """The clip with the rest of its GOP and the next keyframe, as far as the sequence goes; stills end where they end."""
    if section.source == "stills":
        return plan
    sequence = sequences[plan.sequence]
    length = min(section.keyframe_interval + 1, len(sequence) - plan.first)
    labelled = set(sequence.labelled)
    return replace(plan, length=length, kept=tuple(p for p in range(length) if plan.first + p in labelled))


def _fill(
    folder: Path,
    number: int,
    plan: ClipPlan,
    dataset: Dataset,
    sequence: VideoSequence,
    section: PairSection,
    codecs: Sequence[CodecSettings],
    seed: int,
    progress: Progress | None,
    count: int,
) -> WindowClip:
    path = folder / f"clip-{number:06d}.npz"
    if not path.exists():
        settings = codecs[number % len(codecs)].model_copy(
            update={"keyframe_interval": section.keyframe_interval}
        )
        arrays = _code(sequence, plan, section, settings, dataset, seed)
        write_atomically(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type]
    with np.load(path) as archive:
        labelled = tuple(
            p for p in plan.kept if (archive[f"label_{p:02d}"] != dataset.classes.ignore_index).any()
        )
    if progress is not None:
        progress(number + 1, count)
    return WindowClip(path.name, plan.length, labelled, plan.sequence, plan.first)


def _code(
    sequence: VideoSequence,
    plan: ClipPlan,
    section: PairSection,
    settings: CodecSettings,
    dataset: Dataset,
    seed: int,
) -> dict[str, NDArray[Any]]:
    """The arrays of one clip file."""
    labels = {p: np.array(label_of(sequence, plan.first + p)) for p in plan.kept}
    for p, label in labels.items():
        check_label(label, dataset.classes, sequence, plan.first + p)
    originals = frames_of(sequence, plan, section, dataset.classes, labels, seed)
    bitstream = encode(originals, settings, sequence.frame_rate_hz)
    decoded = list(decode(bitstream, motion=True))
    if len(decoded) != plan.length:
        raise InputError(f"{sequence.name}: {plan.length} frames were coded but {len(decoded)} decoded")
    fields = [frame.motion for frame in decoded if frame.motion is not None]
    arrays: dict[str, NDArray[Any]] = {f"label_{p:02d}": label for p, label in labels.items()}
    for p, frame in enumerate(decoded):
        arrays[f"image_{p:02d}"] = frame.image
        if p:
            field = flow_field_to_previous(fields, p, section.flow_rule)
            arrays[f"flow_{p:02d}"] = strided_flow(field, section.flow_stride)
    return arrays
