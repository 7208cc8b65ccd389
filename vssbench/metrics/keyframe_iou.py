"""mIoU by distance to the keyframe (mIoU_d): int64 counts per distance, summed, then divided once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import (
    Counts,
    Ratios,
    absent_classes,
    as_counts,
    count_pairs,
    frequency_weighted_iou,
    group_counts,
    iou,
    mean_iou,
    mean_of_present,
    pixel_accuracy,
)
from vssbench.records import IGNORE_INDEX, ClassTable

EmptyFrame = Literal["error", "count"]


@dataclass(frozen=True, slots=True, eq=False)
class DistanceIoU:
    """Accuracy by keyframe distance. D distances, C classes; every ratio lies in 0..1, NaN = undefined."""

    distances: tuple[int, ...]
    class_names: tuple[str, ...]
    counts: Counts
    """[D, C, C], row = truth, column = prediction."""
    frames: NDArray[np.int64]
    """[D] frames that were scored."""
    empty_frames: NDArray[np.int64]
    """[D] frames without any scored pixel (only with empty_frame="count")."""
    iou: Ratios
    """[D, C]; NaN where a class is in neither truth nor prediction at that distance."""
    miou_d: Ratios
    """[D] mean over the classes present; NaN where the distance has no scored pixel."""
    frequency_weighted_iou_d: Ratios
    """[D]."""
    pixel_accuracy_d: Ratios
    """[D]."""
    table: ClassTable | None = None
    ignore_index: int | None = None
    """Where it is one of the classes, that class is in no mean."""

    @property
    def miou(self) -> float:
        """The headline: plain mean of mIoU_d over all distances, 0 included; NaN if any distance is empty."""
        return float(self.miou_d.mean())

    @property
    def per_class(self) -> Ratios:
        """[C] mean over distances of a class's IoU, left out where undefined (see `undefined`)."""
        return mean_of_present(self.iou.T)

    @property
    def frequency_weighted_iou(self) -> float:
        """Plain mean over distances; NaN if any distance is empty."""
        return float(self.frequency_weighted_iou_d.mean())

    @property
    def pixel_accuracy(self) -> float:
        """Plain mean over distances; NaN if any distance is empty."""
        return float(self.pixel_accuracy_d.mean())

    @property
    def pooled_miou(self) -> float:
        """MIoU of the counts summed over distances: another quantity than `miou`, never its substitute."""
        return float(mean_iou(self.counts.sum(0), self.ignore_index))

    @property
    def absent_classes(self) -> tuple[str, ...]:
        """Names of the classes that are nowhere in truth or prediction; they are in no mean."""
        return tuple(self.class_names[index] for index in absent_classes(self.counts))

    @property
    def empty_distances(self) -> tuple[int, ...]:
        """Distances without any scored pixel."""
        return tuple(
            d for d, total in zip(self.distances, self.counts.sum((1, 2)), strict=True) if total == 0
        )

    @property
    def undefined(self) -> tuple[tuple[int, str], ...]:
        """(distance, class name) of every undefined IoU."""
        rows, columns = np.nonzero(np.isnan(self.iou))
        return tuple(
            (self.distances[row], self.class_names[column]) for row, column in zip(rows, columns, strict=True)
        )

    def categories(self) -> DistanceIoU:
        """The same result with classes merged into their categories (Cityscapes' category IoU).

        Raises ConfigError if the metric was made without a class table that has categories.
        """
        if self.table is None:
            raise ConfigError("make KeyframeDistanceIoU with a ClassTable to group classes into categories")
        names, grouped = group_counts(self.counts, self.table)
        return _result(self.distances, names, grouped, self.frames, self.empty_frames, None)

    def require_complete(self) -> DistanceIoU:
        """Return self, or raise InputError naming the empty distances and the absent classes."""
        faults = []
        if self.empty_distances:
            faults.append(f"no scored pixel at keyframe distance {_join(self.empty_distances)}")
        if self.absent_classes:
            faults.append(f"class {_join(self.absent_classes)} in neither truth nor prediction")
        if faults:
            raise InputError("mIoU_d is incomplete: " + "; ".join(faults))
        return self


class KeyframeDistanceIoU:
    """Accumulates pixel-pair counts per keyframe distance.

    keyframe_interval 4:  frame 0 1 2 3 4 5 6  ->  keyframe_distance 0 1 2 3 0 1 2

    `merge` is associative and commutative, and any split of the updates gives the same counts. Plain state:
    picklable, comparable with ==. Source of the definition: AR-Seg's evaluation (mIoU_d and its plain mean).
    """

    def __init__(
        self,
        classes: int | ClassTable,
        distances: int | Sequence[int],
        ignore_index: int = IGNORE_INDEX,
        *,
        empty_frame: EmptyFrame = "error",
    ) -> None:
        """Make an empty accumulator.

        classes: number of classes, or the table that names them. distances: L for 0..L-1, or the distances
        themselves. empty_frame: what `update` does with a frame without a scored pixel.
        Raises ConfigError for no classes, no distances, negative or repeated distances.
        """
        self.table = classes if isinstance(classes, ClassTable) else None
        self.classes = len(classes) if isinstance(classes, ClassTable) else int(classes)
        self.distances = _distances(distances)
        self.ignore_index = ignore_index
        self.empty_frame = empty_frame
        if self.classes < 1:
            raise ConfigError(f"classes must be at least 1, got {self.classes}")
        self.counts: Counts = np.zeros((len(self.distances), self.classes, self.classes), dtype=np.int64)
        self.frames: NDArray[np.int64] = np.zeros(len(self.distances), dtype=np.int64)
        self.empty_frames: NDArray[np.int64] = np.zeros(len(self.distances), dtype=np.int64)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes; their indices as text if only a number was given."""
        return self.table.names if self.table else tuple(str(index) for index in range(self.classes))

    def update(self, truth: ArrayLike, predicted: ArrayLike, keyframe_distance: int) -> None:
        """Add one frame: two label maps [H, W] and the frame's distance to its keyframe.

        Raises InputError for values outside the classes (see `count_pairs`) and for a frame without a single
        scored pixel, ConfigError for a distance that this accumulator does not hold. Nothing is added then.
        """
        index = self._index(keyframe_distance)
        if 0 <= self.ignore_index < self.classes:
            counts = count_pairs(truth, predicted, self.classes, ignore_index=-1)
            counts[self.ignore_index] = 0
        else:
            counts = count_pairs(truth, predicted, self.classes, self.ignore_index)
        self._add(counts, index, frames=1)

    def add_counts(self, counts: ArrayLike, keyframe_distance: int, frames: int = 1) -> None:
        """Add ready counts [C, C] of `frames` frames at one distance; raises like `update`."""
        matrix = as_counts(counts)
        if matrix.shape != (self.classes, self.classes):
            raise InputError(f"counts have shape {matrix.shape}, expected {(self.classes, self.classes)}")
        self._add(matrix, self._index(keyframe_distance), frames)

    def merge(self, other: KeyframeDistanceIoU) -> KeyframeDistanceIoU:
        """Add the counts of `other` to this accumulator and return it.

        Raises ConfigError naming what differs: class table, number of classes, distances or ignore_index.
        """
        self._check_alike(other)
        self.counts += other.counts
        self.frames += other.frames
        self.empty_frames += other.empty_frames
        return self

    def __add__(self, other: KeyframeDistanceIoU) -> KeyframeDistanceIoU:
        return self.empty_copy().merge(self).merge(other)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, KeyframeDistanceIoU):
            return NotImplemented
        return (
            (self.class_names, self.distances, self.ignore_index)
            == (other.class_names, other.distances, other.ignore_index)
            and bool((self.counts == other.counts).all())
            and bool((self.frames == other.frames).all())
            and bool((self.empty_frames == other.empty_frames).all())
        )

    __hash__ = None  # type: ignore[assignment]

    def empty_copy(self) -> KeyframeDistanceIoU:
        """An accumulator of the same kind with nothing in it."""
        return KeyframeDistanceIoU(
            self.table or self.classes, self.distances, self.ignore_index, empty_frame=self.empty_frame
        )

    def compute(self) -> DistanceIoU:
        """Divide once. Empty distances and absent classes are NaN and listed by the result."""
        return _result(
            self.distances,
            self.class_names,
            self.counts,
            self.frames,
            self.empty_frames,
            self.table,
            self.ignore_index if self.ignore_index < self.classes else None,
        )

    def _index(self, keyframe_distance: int) -> int:
        try:
            return self.distances.index(keyframe_distance)
        except ValueError:
            raise ConfigError(
                f"keyframe distance {keyframe_distance} is not among the distances {_join(self.distances)} "
                "of this metric; construct it with the clip's keyframe_interval"
            ) from None

    def _add(self, counts: Counts, index: int, frames: int) -> None:
        empty = int(counts.sum()) == 0
        if empty and self.empty_frame == "error":
            raise InputError(
                f"a frame at keyframe distance {self.distances[index]} has no scored pixel: every label is "
                f"{self.ignore_index}. Leave the frame out, or choose empty_frame='count'"
            )
        self.counts[index] += counts
        if empty:
            self.empty_frames[index] += frames
        else:
            self.frames[index] += frames

    def _check_alike(self, other: KeyframeDistanceIoU) -> None:
        if self.classes != other.classes:
            raise ConfigError(f"cannot merge counts of {self.classes} and of {other.classes} classes")
        if self.table and other.table and self.table.names != other.table.names:
            pairs = zip(self.table.names, other.table.names, strict=True)
            different = [f"{i}: {a!r} and {b!r}" for i, (a, b) in enumerate(pairs) if a != b]
            raise ConfigError(f"cannot merge different class tables; they differ at {'; '.join(different)}")
        if self.distances != other.distances:
            raise ConfigError(
                f"cannot merge distances {_join(self.distances)} with distances {_join(other.distances)}"
            )
        if self.ignore_index != other.ignore_index:
            raise ConfigError(f"cannot merge ignore_index {self.ignore_index} with {other.ignore_index}")


def _distances(distances: int | Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(range(distances)) if isinstance(distances, int) else tuple(int(d) for d in distances)
    if not chosen or min(chosen) < 0 or len(set(chosen)) != len(chosen):
        raise ConfigError(f"distances must be one or more different numbers from 0 up, got {distances!r}")
    return chosen


def _result(
    distances: tuple[int, ...],
    names: tuple[str, ...],
    counts: Counts,
    frames: NDArray[np.int64],
    empty_frames: NDArray[np.int64],
    table: ClassTable | None,
    ignore_index: int | None = None,
) -> DistanceIoU:
    frozen = counts.copy(), frames.copy(), empty_frames.copy()
    for array in frozen:
        array.setflags(write=False)
    return DistanceIoU(
        distances=distances,
        class_names=names,
        counts=frozen[0],
        frames=frozen[1],
        empty_frames=frozen[2],
        iou=iou(counts, ignore_index),
        miou_d=mean_iou(counts, ignore_index),
        frequency_weighted_iou_d=frequency_weighted_iou(counts),
        pixel_accuracy_d=pixel_accuracy(counts),
        table=table,
        ignore_index=ignore_index,
    )


def _join(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)
