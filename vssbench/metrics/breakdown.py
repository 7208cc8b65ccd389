"""Pixel-pair counts split by a property of the pixel: size of its true segment, speed of its motion.

IoU inside a bin compares truth and prediction on the pixels of that bin only: a false alarm counts where the
bin of the *true* pixel lies. `class_accuracy` (recall) of a bin needs no such convention.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import Counts, Ratios, class_accuracy, count_pairs, iou, mean_iou
from vssbench.records import IGNORE_INDEX, FlowField

MOTION_EDGES_PX = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pixels per frame between speed bins."""
AREA_EDGES = (0.0001, 0.001, 0.01, 0.1)
"""Shares of the frame between segment-size bins."""


@dataclass(frozen=True, slots=True, eq=False)
class BreakdownResult:
    """Counts and ratios per bin; B bins in ascending order, the last one for pixels without a value."""

    quantity: str
    bins: tuple[str, ...]
    """[B] as text: '< 0.5', '0.5 .. 1', ..., '>= 16', 'unknown'."""
    counts: Counts
    """[B, C, C]."""
    iou: Ratios
    """[B, C]; NaN where a class is not in the bin."""
    miou: Ratios
    """[B] mean over the classes in the bin; NaN for an empty bin."""
    recall: Ratios
    """[B, C]."""
    pixel_share: Ratios
    """[B] share of all scored pixels; NaN if nothing was scored."""


class BreakdownCounts:
    """Accumulates counts per bin of a quantity given for every pixel.

    edges (0.5, 1):  value -> bin    0.2 -> 0    0.5 -> 1    0.9 -> 1    1 -> 2    NaN -> 3 (unknown)
    """

    def __init__(
        self, quantity: str, classes: int, edges: Sequence[float], ignore_index: int = IGNORE_INDEX
    ) -> None:
        """quantity names the bins in tables, with unit. Raises ConfigError unless edges rise strictly."""
        self.quantity, self.classes, self.ignore_index = quantity, classes, ignore_index
        self.edges = tuple(float(edge) for edge in edges)
        if not self.edges or list(self.edges) != sorted(set(self.edges)) or not np.isfinite(self.edges).all():
            raise ConfigError(f"{quantity}: bin edges must be finite and rise strictly, got {list(edges)}")
        if len(self.edges) > 200:
            raise ConfigError(f"{quantity}: at most 200 bin edges, got {len(self.edges)}")
        self.counts: Counts = np.zeros((len(self.edges) + 2, classes, classes), dtype=np.int64)

    @property
    def bins(self) -> tuple[str, ...]:
        """The bins as text."""
        edges = [f"{edge:g}" for edge in self.edges]
        middle = [f"{low} .. {high}" for low, high in itertools.pairwise(edges)]
        return (f"< {edges[0]}", *middle, f">= {edges[-1]}", "unknown")

    def update(self, truth: ArrayLike, predicted: ArrayLike, values: ArrayLike) -> None:
        """Add one frame: label maps and the quantity, all [H, W]; NaN = no value (counted as 'unknown').

        Raises InputError for shapes that do not fit and as `count_pairs` does.
        """
        true_map, predicted_map, value_map = (
            np.asarray(truth),
            np.asarray(predicted),
            np.asarray(values),
        )
        if value_map.dtype.kind not in "iuf":
            raise InputError(f"{self.quantity} must be numbers, got {value_map.dtype}")
        if value_map.shape != true_map.shape:
            raise InputError(
                f"{self.quantity} has shape {value_map.shape} but the label has {true_map.shape}"
            )
        count_pairs(true_map, predicted_map, self.classes, self.ignore_index)  # refuses what does not fit
        index = np.zeros(true_map.shape, dtype=np.uint8)
        for edge in self.edges:
            index += value_map >= edge
        index[np.isnan(value_map)] = len(self.edges) + 1
        code = index.astype(np.int32)
        for part in (true_map, predicted_map):
            code *= self.classes
            np.add(code, part, out=code, casting="unsafe")  # labels were checked above; any integer type fits
        code = code[true_map != self.ignore_index]
        self.counts += np.bincount(code, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: BreakdownCounts) -> BreakdownCounts:
        """Add the counts of `other` and return self. Raises ConfigError naming a setting that differs."""
        for name in ("quantity", "classes", "edges", "ignore_index"):
            if getattr(self, name) != getattr(other, name):
                raise ConfigError(f"cannot merge: {name} is {getattr(self, name)} and {getattr(other, name)}")
        self.counts = self.counts + other.counts
        return self

    def compute(self) -> BreakdownResult:
        """Divide once."""
        counts = self.counts.copy()
        total = int(counts.sum())
        share = counts.sum((1, 2)) / total if total else np.full(len(counts), np.nan)
        return BreakdownResult(
            self.quantity, self.bins, counts, iou(counts), mean_iou(counts), class_accuracy(counts), share
        )


def motion_breakdown(
    classes: int,
    edges_px: Sequence[float] = MOTION_EDGES_PX,
    ignore_index: int = IGNORE_INDEX,
    *,
    source: str,
) -> BreakdownCounts:
    """Counts by speed; feed it `motion_magnitude` maps. source: where the flow comes from ('exact', 'HEVC', ...)."""
    return BreakdownCounts(f"motion px/frame ({source})", classes, edges_px, ignore_index)


def size_breakdown(
    classes: int, edges: Sequence[float] = AREA_EDGES, ignore_index: int = IGNORE_INDEX
) -> BreakdownCounts:
    """Counts by size of the true segment; feed it `segment_area` maps."""
    return BreakdownCounts("true segment, share of frame", classes, edges, ignore_index)


def motion_magnitude(field: FlowField, pictures: int = 1) -> NDArray[np.float32]:
    """Length of the flow in pixels per picture [H, W]; NaN where the field is not valid.

    pictures: how many pictures the flow spans (1 for flow to the previous frame). Raises ConfigError below 1.
    """
    if pictures < 1:
        raise ConfigError(f"a flow spans one picture or more, got {pictures}")
    length = np.sqrt(field.flow[0] ** 2 + field.flow[1] ** 2) / np.float32(pictures)
    return np.where(field.valid, length, np.float32(np.nan))


def segment_area(truth: ArrayLike, ignore_index: int = IGNORE_INDEX) -> NDArray[np.float64]:
    """Area of the true segment each pixel belongs to, as a share of the frame [H, W]; NaN where ignored.

    A segment is a set of pixels of one class connected over sides or corners.
    """
    labels = np.asarray(truth)
    if labels.ndim != 2:
        raise InputError(f"a label map must be [H, W], got {labels.shape}")
    segments = _segments(labels)
    area = np.bincount(segments.reshape(-1))[segments] / labels.size
    area[labels == ignore_index] = np.nan
    return np.asarray(area)


def _segments(labels: NDArray[np.integer]) -> NDArray[np.intp]:
    """Number of the connected segment of every pixel, for all classes in one pass.

    The nodes of the graph are horizontal runs of one class; touching runs of the rows below are linked.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    starts = np.ones(labels.shape, dtype=np.bool_)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(starts).reshape(labels.shape) - 1
    links = []
    for upper, lower in (
        (slice(None), slice(None)),
        (slice(None, -1), slice(1, None)),
        (slice(1, None), slice(None, -1)),
    ):
        same = labels[:-1, upper] == labels[1:, lower]
        fresh = same.copy()  # a link is new where either run starts, or where the column before had none
        fresh[:, 1:] &= starts[:-1, upper][:, 1:] | starts[1:, lower][:, 1:] | ~same[:, :-1]
        links.append((run[:-1, upper][fresh], run[1:, lower][fresh]))
    rows, columns = (np.concatenate(part) for part in zip(*links, strict=True))
    count = int(run[-1, -1]) + 1
    graph = coo_matrix((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    return np.asarray(component[run], dtype=np.intp)
