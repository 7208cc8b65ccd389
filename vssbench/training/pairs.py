"""Coded training pairs: labelled frames decoded from real bitstreams, with their keyframe and decoded motion.

Encoding is done once, ahead of training, into a folder of uncompressed .npz files (one a coded clip) beside an
`index.json`; a training step then costs a file read. The folder's name is a digest of everything that decides its
content, every file is renamed into place when complete, and an interrupted build continues where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import CodecSettings
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.ownership import sweep
from vssbench.engine.reading import image_of, label_of
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.training import PairSection
from vssbench.files import locked, write_atomically
from vssbench.records import ClassTable, FlowField
from vssbench.training.augment import Sample
from vssbench.training.coded_clip import code_clip
from vssbench.training.pseudo_video import pseudo_clip

STORE_VERSION = 1
FLOW_UNITS_PER_PIXEL = 32
"""Stored flow is int16 in 1/32 pixel: range +-1023 px, error at most 1/64 px."""

MOVABLE = ("car", "pedestrian", "bicyclist", "person", "rider", "truck", "bus", "motorcycle", "bicycle")
"""Class names whose segments move on their own in pseudo-video."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """One clip that will be coded: consecutive frames of a sequence, and the distances kept from it."""

    sequence: str
    first: int
    length: int
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairEntry:
    """One labelled frame of the store."""

    file: str
    distance: int
    origin: str
    """'sequence:frame' for messages."""
    has_flow: bool


class PairStore:
    """A finished folder of coded pairs."""

    def __init__(self, folder: Path) -> None:
        document = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.digest: str = document["digest"]
        self.entries = [PairEntry(**entry) for entry in document["entries"]]
        self.label_counts = np.asarray(document["label_counts"], np.int64)
        """Pixels per class over all stored labels."""
        self.mean_motion_pixels: float = document["mean_motion_pixels"]

    def select(self, *, pairs: bool, distances: Sequence[int] | None) -> list[PairEntry]:
        """Entries for image stages, or for pair stages (d >= 1 with motion). Raises ConfigError if none is left."""
        wanted = [
            entry
            for entry in self.entries
            if (not pairs or (entry.distance > 0 and entry.has_flow))
            and (distances is None or entry.distance in distances)
        ]
        if not wanted:
            raise ConfigError(
                f"{self.folder}: no {'pair' if pairs else 'frame'} at distances "
                f"{'any' if distances is None else list(distances)}; check pairs.distances"
            )
        return wanted

    def image(self, entry: PairEntry, *, original: bool = False) -> Sample:
        """The decoded frame (or the frame before coding) with its label."""
        d = entry.distance
        with opened_archive(self.folder / entry.file) as archive:
            return Sample(
                archive[f"{'original' if original else 'image'}_{d:02d}"], archive[f"label_{d:02d}"]
            )

    def pair(self, entry: PairEntry, *, pixels: Literal["decoded", "original"] = "decoded") -> Sample:
        """The frame with label, keyframe and flow [2, H, W], each stored vector filling its cell.

        'original' pixels exist where the store was made with them (`pairs.pixels`).
        """
        d = entry.distance
        with opened_archive(self.folder / entry.file) as archive:
            label = archive[f"label_{d:02d}"]
            flow = archive[f"flow_{d:02d}"]
            kind = "image" if pixels == "decoded" else "original"
            frames = archive[f"{kind}_{d:02d}"], label, archive[f"{kind}_00"]
        return Sample(*frames, dense_flow(flow, label.shape))


@contextmanager
def opened_archive(path: Path) -> Iterator[Any]:
    """A stored clip. Raises InputError if it cannot be read, also while it is used."""
    try:
        with np.load(path) as archive:
            yield archive
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete the folder to rebuild it") from error


def dense_flow(stored: NDArray[np.int16], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Stored vectors [2, h, w] as pixels [2, H, W] of `size`, each vector filling its cell."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, stored.shape[1:], strict=True))
    dense: NDArray[np.float32] = stored.astype(np.float32).take(columns, 2).take(rows, 1)
    dense /= FLOW_UNITS_PER_PIXEL
    return dense


def build_pairs(
    dataset: Dataset,
    section: PairSection,
    codecs: Sequence[CodecSettings],
    seed: int,
    root: Path,
    progress: Progress | None = None,
) -> PairStore:
    """The store for these settings below `root`, made now if it does not exist.

    Raises InputError for labels outside the class table or a split without a single labelled pixel.
    """
    sequences = {sequence.name: sequence for sequence in dataset.sequences(section.split)}
    plans = plan_clips(list(sequences.values()), section, seed)
    digest = _digest(dataset, list(sequences.values()), section, codecs, seed)
    folder = root / f"pairs-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        sweep(folder)
        if not (folder / "index.json").exists():
            _fill(folder, digest, dataset, sequences, plans, section, codecs, seed, progress)
    return PairStore(folder)


def plan_clips(sequences: Sequence[VideoSequence], section: PairSection, seed: int) -> list[ClipPlan]:
    """Which clips are coded. Densely labelled video is tiled by GOPs, sparse labels and stills get clips of their own.

    keyframe_interval 4, all of 9 frames labelled:  0-3, 4-7, 8;  only frame 6 labelled, d = 2 drawn:  4-6
    """
    plans: list[ClipPlan] = []
    for sequence in sequences:
        labelled = list(sequence.labelled)
        dense = len(labelled) > 0.5 * len(sequence)
        if section.source == "video" and dense:
            plans.extend(_tile(sequence, set(labelled), section))
        else:
            plans.extend(_single(sequence, labelled, section, seed))
    if not plans:
        raise InputError(f"split {section.split!r} has no labelled frame that a clip can end on")
    if section.limit_clips is not None and len(plans) > section.limit_clips:
        spread = np.linspace(0, len(plans) - 1, section.limit_clips).round().astype(int)
        plans = [plans[index] for index in spread]
    return plans


def _tile(sequence: VideoSequence, labelled: set[int], section: PairSection) -> Iterator[ClipPlan]:
    interval = section.keyframe_interval
    wanted = section.distances or tuple(range(interval))
    for first in range(0, len(sequence), interval):
        length = min(interval, len(sequence) - first)
        kept = tuple(d for d in wanted if d < length and first + d in labelled)
        if kept and length > 1:
            yield ClipPlan(sequence.name, first, length, kept)


def _single(
    sequence: VideoSequence, labelled: Sequence[int], section: PairSection, seed: int
) -> Iterator[ClipPlan]:
    """Clips that end on the labelled frame; stills begin before the first frame, which is then negative."""
    wanted = [d for d in section.distances or range(1, section.keyframe_interval) if d > 0]
    for t in labelled:
        possible = [d for d in wanted if section.source == "stills" or d <= t]
        if not possible:
            continue
        rng = np.random.default_rng([seed, t, *sequence.name.encode()])
        drawn = rng.choice(possible, min(section.clips_per_label, len(possible)), replace=False)
        for d in sorted(int(value) for value in drawn):
            yield ClipPlan(sequence.name, t - d, d + 1, (d,))


def pair_identity(section: PairSection) -> dict[str, Any]:
    """What the section says about the content of a store; keys that came later are left out while unset."""
    content = section.model_dump(mode="json", exclude={"original_share", "seed"})
    if content["pixels"] == "decoded":
        del content["pixels"]
    return content


def _digest(
    dataset: Dataset,
    sequences: Sequence[VideoSequence],
    section: PairSection,
    codecs: Sequence[CodecSettings],
    seed: int,
) -> str:
    content = {
        "version": STORE_VERSION,
        "dataset": type(dataset).__name__,
        "sequences": [[sequence.name, sequence.identity] for sequence in sequences],
        "pairs": pair_identity(section),
        "codecs": [codec.model_dump(mode="json") for codec in codecs],
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _fill(
    folder: Path,
    digest: str,
    dataset: Dataset,
    sequences: dict[str, VideoSequence],
    plans: Sequence[ClipPlan],
    section: PairSection,
    codecs: Sequence[CodecSettings],
    seed: int,
    progress: Progress | None,
) -> None:
    entries: list[PairEntry] = []
    counts = np.zeros(len(dataset.classes), np.int64)
    motion: list[float] = []
    for number, plan in enumerate(plans):
        path = folder / f"clip-{number:06d}.npz"
        sequence = sequences[plan.sequence]
        if not path.exists():
            settings = codecs[number % len(codecs)].model_copy(
                update={"keyframe_interval": section.keyframe_interval}
            )
            arrays = _code(sequence, plan, section, settings, dataset.classes, seed)
            write_atomically(path, lambda stream, a=arrays: np.savez(stream, **a))  # type: ignore[misc]
        with np.load(path) as archive:
            for d in plan.kept:
                label = archive[f"label_{d:02d}"]
                found = np.bincount(label.ravel(), minlength=256)
                counts += found[: len(counts)]
                if not found[: len(counts)].any():
                    continue  # nothing to learn from a frame without one labelled pixel
                has_flow = f"flow_{d:02d}" in archive
                if has_flow:
                    flow = archive[f"flow_{d:02d}"].astype(np.float32) / FLOW_UNITS_PER_PIXEL
                    motion.append(float(np.hypot(flow[0], flow[1]).mean()))
                entries.append(PairEntry(path.name, d, f"{plan.sequence}:{plan.first + d}", has_flow))
        if progress is not None:
            progress(number + 1, len(plans))
    if not counts.any():
        raise InputError(
            f"split {section.split!r}: every label pixel is ignored; there is nothing to train on"
        )
    document = {
        "digest": digest,
        "label_counts": counts.tolist(),
        "mean_motion_pixels": float(np.mean(motion)) if motion else 0.0,
        "entries": [asdict(entry) for entry in entries],
    }
    write_atomically(folder / "index.json", json.dumps(document, indent=1).encode())


def _code(
    sequence: VideoSequence,
    plan: ClipPlan,
    section: PairSection,
    settings: CodecSettings,
    classes: ClassTable,
    seed: int,
) -> dict[str, NDArray[np.generic]]:
    """The arrays of one clip file."""
    labels = {d: np.array(label_of(sequence, plan.first + d)) for d in plan.kept}
    for d, label in labels.items():
        check_label(label, classes, sequence, plan.first + d)
    originals = frames_of(sequence, plan, section, classes, labels, seed)
    clip = code_clip(
        originals, settings, sequence.frame_rate_hz, rule=section.flow_rule, motion=plan.length > 1
    )
    arrays: dict[str, NDArray[np.generic]] = {"image_00": clip.images[0]}
    if section.pixels == "original":
        arrays["original_00"] = originals[0]
    for d in plan.kept:
        arrays[f"image_{d:02d}"] = clip.images[d]
        arrays[f"label_{d:02d}"] = labels[d]
        arrays[f"original_{d:02d}"] = originals[d]
        if d:
            arrays[f"flow_{d:02d}"] = strided_flow(clip.flows[d], section.flow_stride)
    return arrays


def frames_of(
    sequence: VideoSequence,
    plan: ClipPlan,
    section: PairSection,
    classes: ClassTable,
    labels: dict[int, NDArray[np.uint8]],
    seed: int,
) -> list[NDArray[np.uint8]]:
    """Frames before coding: the video's own, or those invented before a still."""
    if section.source == "video":
        return [np.array(image_of(sequence, plan.first + d)) for d in range(plan.length)]
    (d,) = plan.kept
    still = image_of(sequence, plan.first + d)
    movable = [index for index, name in enumerate(classes.names) if name in MOVABLE]
    return pseudo_clip(
        still,
        labels[d],
        plan.length,
        [seed, d, plan.first + d, *sequence.name.encode()],
        movable=movable,
    )


def strided_flow(field: FlowField, stride: int) -> NDArray[np.int16]:
    """Flow at the centre pixel of every stride x stride cell, zero where the codec gave none (as methods assume it).

    int16 in units of 1 / FLOW_UNITS_PER_PIXEL pixel.
    """
    still = np.where(field.valid, field.flow, np.float32(0))
    flow = still[:, stride // 2 :: stride, stride // 2 :: stride]
    limit = np.iinfo(np.int16).max
    stored: NDArray[np.int16] = np.clip(np.rint(flow * FLOW_UNITS_PER_PIXEL), -limit, limit).astype(np.int16)
    return stored


def check_label(label: NDArray[np.uint8], classes: ClassTable, sequence: VideoSequence, index: int) -> None:
    """Raise InputError naming the pixel if a label is no class and not the ignored value."""
    bad = (label >= len(classes)) & (label != classes.ignore_index)
    if bad.any():
        y, x = (int(value[0]) for value in np.nonzero(bad))
        raise InputError(
            f"{sequence.name} frame {index}: label {int(label[y, x])} at (x={x}, y={y}) is outside the table of "
            f"{len(classes)} classes (ignore {classes.ignore_index}); see `vssbench data verify`"
        )
