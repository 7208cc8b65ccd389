"""Relatives of mIoU that the same counts give: frequency-weighted IoU, pixel accuracy, IoU of categories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from vssbench.metrics.confusion import (
    frequency_weighted_iou,
    group_counts,
    iou,
    mean_of_present,
    pixel_accuracy,
)
from vssbench.records import ClassTable
from vssbench.results.group import Group

Relative = tuple[int, str, str, float]
"""(d, class or category, metric, value); d = -1 is the plain mean over distances."""


def relatives(group: Group, categories: Sequence[str] | None) -> Iterator[Relative]:
    """Rows of one group; categories: that of each class, None where the dataset has none."""
    for metric, values in (
        ("frequency_weighted_iou", frequency_weighted_iou(group.total)),
        ("pixel_accuracy", pixel_accuracy(group.total)),
    ):
        yield -1, "", metric, float(values.mean())
        yield from ((d, "", metric, float(v)) for d, v in zip(group.distances, values, strict=True))
    if categories is not None:
        yield from _categories(group, categories)


def _categories(group: Group, categories: Sequence[str]) -> Iterator[Relative]:
    """Confusion inside a category is right: mean over categories by d, and each category over all d."""
    table = ClassTable(
        tuple(str(i) for i in range(len(categories))),
        ((0, 0, 0),) * len(categories),
        categories=tuple(categories),
    )
    names, counts = group_counts(group.total, table)
    ratios = iou(counts)
    means = np.asarray(mean_of_present(ratios))
    yield -1, "", "category_miou", float(means.mean())
    yield from ((d, "", "category_miou", float(v)) for d, v in zip(group.distances, means, strict=True))
    for name, value in zip(names, np.asarray(mean_of_present(ratios.T)), strict=True):
        yield -1, name, "category_iou", float(value)
