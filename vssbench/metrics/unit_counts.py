"""Counts by labelled frame: what intervals are made from, and the sums that they need.

IoU is true positives over union. Both are sums over frames, so only these two margins of the count matrices are needed;
the matrices themselves are not needed again.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.confusion import Counts, as_counts

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Margins:
    """True positives and unions by frame, one entry per distance; frames without pixels there are left out.

    Floats; exact below 2**53 pixels.
    """

    rows: tuple[NDArray[np.intp], ...]
    """[D] of [n_d]: which frames have pixels at distance d."""
    values: tuple[Values, ...]
    """[D] of [n_d, 2 * C]: true positives, then unions, by class."""

    def totals(self) -> Values:
        """[D, 2, C] sums over all frames."""
        return np.stack([v.sum(0).reshape(2, -1) for v in self.values])

    def grouped(self, group_of: NDArray[np.intp]) -> Margins:
        """The same summed over groups of frames; group_of [frames] numbers them from 0."""
        rows, values = [], []
        for old, value in zip(self.rows, self.values, strict=True):
            group = group_of[old]
            found, place = np.unique(group, return_inverse=True)
            total = np.zeros((len(found), value.shape[1]))
            np.add.at(total, place, value)
            rows.append(found)
            values.append(total)
        return Margins(tuple(rows), tuple(values))


def margins_of_cases(
    counts: Counts, rows: NDArray[np.intp], columns: NDArray[np.intp], distances: int
) -> Margins:
    """Margins of cases [n, C, C] that lie at frame `rows` [n] and distance index `columns` [n]."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(1) + counts.sum(2) - hits
    values = np.concatenate([hits, union], axis=1).astype(np.float64)
    filled = values.any(axis=1)
    chosen = [np.flatnonzero(filled & (columns == d)) for d in range(distances)]
    chosen = [index[np.argsort(rows[index], kind="stable")] for index in chosen]
    return Margins(tuple(rows[index] for index in chosen), tuple(values[index] for index in chosen))


@dataclass(frozen=True, eq=False)
class UnitCounts:
    """Pixel-pair counts of one method, one entry per labelled frame. Sorted by sequence and frame on construction.

    Raises InputError naming the entry for shapes that do not fit, a frame given twice, or a frame without a
    single scored pixel at any distance.
    """

    name: str
    """The method (and operating point) as tables show it."""
    counts: Counts
    """int64 [units, D, C, C]; row = truth, column = prediction; zeros where a unit has no frame at a distance."""
    sequences: tuple[str, ...]
    """[units] sequence of each labelled frame."""
    frames: tuple[int, ...]
    """[units] index of the labelled frame in its sequence."""
    cost: Values | None = None
    """[units] cost of each unit where it varies (bits, milliseconds), for BD curves."""

    def __post_init__(self) -> None:
        counts = as_counts(self.counts)
        lengths = {len(counts), len(self.sequences), len(self.frames)}
        if counts.ndim != 4 or len(lengths) != 1:
            raise InputError(
                f"{self.name}: counts must be [units, distances, classes, classes], got {counts.shape} with "
                f"{len(self.sequences)} sequence names and {len(self.frames)} frame indices"
            )
        keys = list(zip(self.sequences, self.frames, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        keys = [keys[index] for index in order]
        _refuse_doubles(self.name, keys)
        counts = counts[order]
        empty = np.flatnonzero(counts.sum((1, 2, 3)) == 0)
        if empty.size:
            sequence, frame = keys[int(empty[0])]
            raise InputError(
                f"{self.name}: frame {frame} of sequence {sequence!r} has no scored pixel "
                f"({empty.size} such frame(s)); leave such frames out"
            )
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "sequences", tuple(key[0] for key in keys))
        object.__setattr__(self, "frames", tuple(key[1] for key in keys))
        object.__setattr__(self, "cost", _checked_cost(self.name, self.cost, order))

    @property
    def shape(self) -> tuple[int, int]:
        """Distances and classes."""
        return self.counts.shape[1], self.counts.shape[-1]

    @cached_property
    def margins(self) -> Margins:
        """True positives and unions by frame."""
        units, distances, classes = self.counts.shape[:3]
        rows, columns = np.divmod(np.arange(units * distances), distances)
        return margins_of_cases(self.counts.reshape(-1, classes, classes), rows, columns, distances)


@dataclass(frozen=True, eq=False)
class UnitMargins:
    """The same as `UnitCounts` for many frames: margins only, memory by case instead of by frame x distance.

    Frames must be sorted by sequence and frame; raises InputError naming the first that is not, or is given twice.
    """

    name: str
    margins: Margins
    shape: tuple[int, int]
    """Distances and classes."""
    sequences: tuple[str, ...]
    frames: tuple[int, ...]
    cost: Values | None = None

    def __post_init__(self) -> None:
        keys = list(zip(self.sequences, self.frames, strict=True))
        _refuse_doubles(self.name, keys)
        for earlier, later in itertools.pairwise(keys):
            if later < earlier:
                raise InputError(f"{self.name}: frame {later[1]} of sequence {later[0]!r} is out of order")
        object.__setattr__(self, "cost", _checked_cost(self.name, self.cost, range(len(keys))))


Units = UnitCounts | UnitMargins


def _refuse_doubles(name: str, keys: Sequence[tuple[str, int]]) -> None:
    for earlier, later in itertools.pairwise(keys):
        if earlier == later:
            raise InputError(f"{name}: frame {later[1]} of sequence {later[0]!r} is given twice")


def _checked_cost(name: str, cost: Values | None, order: Sequence[int]) -> Values | None:
    if cost is None:
        return None
    values = np.asarray(cost, dtype=np.float64)
    if values.shape != (len(order),) or not np.isfinite(values).all():
        raise InputError(f"{name}: cost must be one finite number per unit, got shape {values.shape}")
    return values[list(order)]
