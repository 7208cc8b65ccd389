"""Cityscapes' instance-weighted IoU (iIoU) of classes and categories: small objects count as much as large ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import Counts, Ratios, count_pairs, mean_of_present
from vssbench.records import ClassTable

CITYSCAPES_MEAN_INSTANCE_PX = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Mean pixels per instance in Cityscapes' training set, as its evaluation script has them."""


@dataclass(frozen=True, slots=True, eq=False)
class InstanceIoUResult:
    """Instance-weighted IoU; 0..1, NaN where a class has no instance and no false alarm, or is not countable."""

    class_names: tuple[str, ...]
    iou: Ratios
    """[C]; classes without a mean instance size are NaN."""
    category_names: tuple[str, ...]
    category_iou: Ratios
    """[G]; categories with an uncountable class are NaN; empty without categories."""

    @property
    def mean(self) -> float:
        """Mean over the countable classes that occur."""
        return float(mean_of_present(self.iou))

    @property
    def category_mean(self) -> float:
        """Mean over the categories of countable classes that occur."""
        return float(mean_of_present(self.category_iou))


class InstanceIoU:
    """iIoU = iTP / (iTP + FP + iFN): hits and misses weigh (mean size of the class) / (size of the instance).

    False alarms are plain pixels, because they belong to no instance. Counts are kept as integers per class and
    instance size and weighted once at the end, so merging is exact. In a category, hitting another class of the
    category is a hit. Source: Cityscapes' evaluation script (instance level statistics).
    """

    def __init__(
        self, table: ClassTable, mean_sizes: Mapping[str, float] = CITYSCAPES_MEAN_INSTANCE_PX
    ) -> None:
        """mean_sizes: pixels per instance by class name. Raises ConfigError if none of the names is in the table."""
        self.table = table
        self.mean_sizes = {
            index: mean_sizes[name] for index, name in enumerate(table.names) if name in mean_sizes
        }
        if not self.mean_sizes:
            raise ConfigError(
                f"none of {', '.join(mean_sizes)} is a class of this table ({', '.join(table.names)})"
            )
        self.counts: Counts = np.zeros((len(table), len(table)), dtype=np.int64)
        self.instances: dict[tuple[int, int], Counts] = {}
        """(class, instance size in scored pixels) -> [C] pixels by predicted class, over all such instances."""

    def update(self, truth: ArrayLike, predicted: ArrayLike, instances: ArrayLike) -> None:
        """Add one frame: label maps and instance numbers, all [H, W]; instance 0 = no single object (a crowd).

        A number names an object inside its class. Raises InputError as `count_pairs` does.
        """
        true_map, predicted_map, numbers = np.asarray(truth), np.asarray(predicted), np.asarray(instances)
        if numbers.shape != true_map.shape:
            raise InputError(f"instance map has shape {numbers.shape} but the label has {true_map.shape}")
        self.counts += count_pairs(true_map, predicted_map, len(self.table), self.table.ignore_index)
        for label in self.mean_sizes:
            inside = (true_map == label) & (numbers != 0)
            found, index = np.unique(numbers[inside], return_inverse=True)
            code = index * len(self.table) + predicted_map[inside]
            rows = np.bincount(code, minlength=len(found) * len(self.table)).reshape(-1, len(self.table))
            for row in rows:
                key = (label, int(row.sum()))
                self.instances[key] = self.instances.get(key, 0) + row

    def merge(self, other: InstanceIoU) -> InstanceIoU:
        """Add the counts of `other` and return self. Raises ConfigError for another class table."""
        if self.table != other.table or self.mean_sizes != other.mean_sizes:
            raise ConfigError("cannot merge instance-weighted counts of different class tables or mean sizes")
        self.counts = self.counts + other.counts
        for key, row in other.instances.items():
            self.instances[key] = self.instances.get(key, 0) + row
        return self

    def compute(self) -> InstanceIoUResult:
        """Weigh and divide once."""
        categories = self.table.categories or ()
        names = tuple(dict.fromkeys(categories))
        groups = [[i for i, category in enumerate(categories) if category == name] for name in names]
        return InstanceIoUResult(
            class_names=self.table.names,
            iou=np.array([self._ratio([index]) for index in range(len(self.table))]),
            category_names=names,
            category_iou=np.array([self._ratio(group) for group in groups]),
        )

    def _ratio(self, group: list[int]) -> float:
        """iIoU of a set of classes taken as one."""
        if not all(index in self.mean_sizes for index in group):
            return float("nan")
        hits = misses = 0.0
        for (label, size), row in sorted(self.instances.items(), key=lambda item: item[0]):
            if label in group:
                weight = self.mean_sizes[label] / size
                right = int(row[group].sum())
                hits += weight * right
                misses += weight * (int(row.sum()) - right)
        false_alarms = int(self.counts[:, group].sum() - self.counts[np.ix_(group, group)].sum())
        total = hits + misses + false_alarms
        return hits / total if total else float("nan")
