"""Accuracy near contours: semantic boundary IoU and the trimap mIoU curve.

Distances are chessboard distances in pixels (a square window), as repeated 3x3 erosion gives them. A contour
runs where two scored pixels of different class touch; ignored pixels make none and are not scored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import Counts, Ratios, count_pairs, iou, mean_iou, mean_of_present
from vssbench.records import IGNORE_INDEX

ImageEdge = Literal["contour", "open"]

DEFAULT_DISTANCE_SHARE = 0.02
DEFAULT_RADII = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True, eq=False)
class BoundaryIoUResult:
    """Boundary IoU over all frames; 0..1, NaN where a class has no band in truth and prediction."""

    iou: Ratios
    """[C]."""
    intersection: Counts
    """[C] pixels of the class in both bands."""
    union: Counts
    """[C] pixels of the class in one of the bands."""
    distance_share: float
    distances: tuple[int, ...]
    """Band widths that were used, in pixels (one per frame size)."""

    @property
    def mean(self) -> float:
        """Plain mean over the classes that have a band."""
        return float(mean_of_present(self.iou))


class BoundaryIoU:
    """Semantic boundary IoU: per class |truth band and prediction band| / |truth band or prediction band|.

    The band of a class holds its pixels within distance d of a pixel of another class, d = `distance_share` of
    the image diagonal (at least 1). Integers are summed over frames and divided once.
    Source: Cheng et al., Boundary IoU, CVPR 2021, eq. 1, per class of a semantic map instead of per instance.
    """

    def __init__(
        self,
        classes: int,
        distance_share: float = DEFAULT_DISTANCE_SHARE,
        ignore_index: int = IGNORE_INDEX,
        *,
        image_edge: ImageEdge = "contour",
    ) -> None:
        """image_edge: whether the edge of the picture counts as a contour ('contour', as in the authors' code).

        Raises ConfigError for a share that is not in (0, 1).
        """
        if not 0 < distance_share < 1:
            raise ConfigError(
                f"distance_share must lie between 0 and 1 (share of the diagonal), got {distance_share}"
            )
        self.classes, self.distance_share = classes, distance_share
        self.ignore_index, self.image_edge = ignore_index, image_edge
        self.sums: Counts = np.zeros((2, classes), dtype=np.int64)
        self.distances: set[int] = set()

    def update(self, truth: ArrayLike, predicted: ArrayLike) -> None:
        """Add one frame: label maps [H, W]. Raises InputError as `count_pairs` does."""
        true_map, predicted_map = _maps(truth, predicted, self.classes, self.ignore_index)
        distance = band_width(true_map.shape, self.distance_share)
        self.sums += _band_counts(
            true_map, predicted_map, self.classes, distance, self.ignore_index, self.image_edge
        )
        self.distances.add(distance)

    def merge(self, other: BoundaryIoU) -> BoundaryIoU:
        """Add the sums of `other` and return self. Raises ConfigError naming a setting that differs."""
        _require_equal(self, other, ("classes", "distance_share", "ignore_index", "image_edge"))
        self.sums = self.sums + other.sums
        self.distances = self.distances | other.distances
        return self

    def compute(self) -> BoundaryIoUResult:
        """Divide once."""
        common, union = self.sums.copy()
        ratio = np.full(self.classes, np.nan)
        np.divide(common, union, out=ratio, where=union > 0)
        return BoundaryIoUResult(ratio, common, union, self.distance_share, tuple(sorted(self.distances)))


def band_width(shape: tuple[int, ...], distance_share: float = DEFAULT_DISTANCE_SHARE) -> int:
    """Width of the band in pixels for frames [H, W], at least 1."""
    return max(1, round(distance_share * math.hypot(*shape)))


def _band_counts(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    classes: int,
    distance: int,
    ignore_index: int,
    image_edge: ImageEdge,
) -> Counts:
    """[2, C] pixels of each class in both bands, and in one of them."""
    ignored = truth == ignore_index
    near = [_near_contour(labels, ignored, distance, image_edge) & ~ignored for labels in (truth, predicted)]
    both = near[0] & near[1] & (truth == predicted)
    in_truth, in_prediction, common = (
        np.bincount(labels[mask], minlength=classes)[:classes]
        for labels, mask in ((truth, near[0]), (predicted, near[1]), (truth, both))
    )
    return np.stack([common, in_truth + in_prediction - common]).astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class TrimapResult:
    """mIoU of the pixels within r of a true contour, for several r."""

    radii: tuple[int, ...]
    """Chessboard distance in pixels to a pixel of another class; 1 = the pixels on both sides of a contour."""
    counts: Counts
    """[R, C, C] cumulative: every radius includes the smaller ones."""
    iou: Ratios
    """[R, C]."""
    miou: Ratios
    """[R]; NaN where no frame has a contour."""


class TrimapIoU:
    """Counts pixel pairs by their distance to the nearest true contour.

    The image edge is no contour.
    """

    def __init__(
        self, classes: int, radii: Sequence[int] = DEFAULT_RADII, ignore_index: int = IGNORE_INDEX
    ) -> None:
        """Raises ConfigError unless radii are ascending and start at 1 or more."""
        self.classes, self.radii, self.ignore_index = classes, tuple(int(r) for r in radii), ignore_index
        if not self.radii or self.radii[0] < 1 or list(self.radii) != sorted(set(self.radii)):
            raise ConfigError(f"radii must be ascending pixel distances from 1 up, got {radii}")
        self.rings: Counts = np.zeros((len(self.radii), classes, classes), dtype=np.int64)

    def update(self, truth: ArrayLike, predicted: ArrayLike) -> None:
        """Add one frame: label maps [H, W]. Raises InputError as `count_pairs` does."""
        true_map, predicted_map = _maps(truth, predicted, self.classes, self.ignore_index)
        distance = contour_distance(true_map, self.ignore_index)
        ring = np.searchsorted(self.radii, distance)
        scored = (ring < len(self.radii)) & (true_map != self.ignore_index)
        code = (ring[scored] * self.classes + true_map[scored]) * self.classes + predicted_map[scored]
        self.rings += np.bincount(code, minlength=self.rings.size).reshape(self.rings.shape)

    def merge(self, other: TrimapIoU) -> TrimapIoU:
        """Add the counts of `other` and return self. Raises ConfigError naming a setting that differs."""
        _require_equal(self, other, ("classes", "radii", "ignore_index"))
        self.rings = self.rings + other.rings
        return self

    def compute(self) -> TrimapResult:
        """Divide once."""
        counts = np.cumsum(self.rings, axis=0)
        return TrimapResult(self.radii, counts, iou(counts), mean_iou(counts))


def contour_distance(truth: NDArray[np.integer], ignore_index: int = IGNORE_INDEX) -> NDArray[np.int64]:
    """Chessboard distance [H, W] in pixels to the nearest pixel of another class; a huge number without contour.

    truth  0 0 0 1 1   ->   3 2 1 1 2
    """
    from scipy.ndimage import distance_transform_cdt

    on_contour = _contour(truth, truth == ignore_index)
    if not on_contour.any():
        return np.full(truth.shape, np.iinfo(np.int64).max)
    return np.asarray(distance_transform_cdt(~on_contour, metric="chessboard"), dtype=np.int64) + 1


def _contour(labels: NDArray[np.integer], ignored: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Scored pixels that touch, over a side or a corner, a scored pixel of another class."""
    found = np.zeros(labels.shape, dtype=np.bool_)
    scored = ~ignored
    here, right, left = slice(None), slice(1, None), slice(None, -1)
    for one, other in (
        ((here, left), (here, right)),
        ((left, here), (right, here)),
        ((left, left), (right, right)),
        ((left, right), (right, left)),
    ):
        differs = (labels[one] != labels[other]) & scored[one] & scored[other]
        found[one] |= differs
        found[other] |= differs
    return found


def _near_contour(
    labels: NDArray[np.integer], ignored: NDArray[np.bool_], distance: int, image_edge: ImageEdge
) -> NDArray[np.bool_]:
    """Pixels within `distance` of a pixel of another class, for all classes at once.

    Such a pixel lies within distance - 1 of a contour pixel, so one dilation by a square serves all classes.
    """
    near = _contour(labels, ignored)
    if image_edge == "contour":
        for edge in (near[0], near[-1], near[:, 0], near[:, -1]):
            edge[...] = True
        near &= ~ignored
    return _dilate(_dilate(near, distance - 1).T, distance - 1).T


def _dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilation along axis 0 by a segment of 2 * radius + 1, doubling the covered span step by step."""
    window, span = 2 * radius + 1, 1
    reach = np.pad(mask, ((radius, radius), (0, 0)))
    while 2 * span <= window:
        reach = reach[:-span] | reach[span:]
        span *= 2
    rest = window - span
    return reach[:-rest] | reach[rest:] if rest else reach


def _maps(
    truth: ArrayLike, predicted: ArrayLike, classes: int, ignore_index: int
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    count_pairs(truth, predicted, classes, ignore_index)  # refuses shapes and values that do not fit
    true_map, predicted_map = np.asarray(truth), np.asarray(predicted)
    if true_map.ndim != 2:
        raise InputError(f"label maps must be [H, W], got {true_map.shape}")
    return true_map, predicted_map


def _require_equal(one: object, other: object, settings: Sequence[str]) -> None:
    for name in settings:
        if getattr(one, name) != getattr(other, name):
            raise ConfigError(
                f"cannot merge: {name} is {getattr(one, name)} here and {getattr(other, name)} there"
            )
