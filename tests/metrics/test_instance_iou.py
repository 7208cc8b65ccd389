"""Cityscapes' iIoU by hand, and that merging is exact."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.instance_iou import InstanceIoU
from vssbench.records import ClassTable

TABLE = ClassTable(("road", "person", "rider"), ((0, 0, 0),) * 3, categories=("flat", "human", "human"))
SIZES = {"person": 4.0, "rider": 2.0}
TRUTH = [[0, 0, 1, 1, 1, 1], [0, 2, 2, 1, 1, 0]]
OBJECTS = [[0, 0, 1, 1, 1, 1], [0, 1, 1, 2, 2, 0]]
PREDICTED = [[0, 1, 1, 1, 1, 0], [0, 2, 1, 0, 1, 0]]


def test_a_small_object_counts_like_a_large_one() -> None:
    metric = InstanceIoU(TABLE, SIZES)
    metric.update(TRUTH, PREDICTED, OBJECTS)
    result = metric.compute()
    # person: object of 4 px weighs 1, object of 2 px weighs 2; hits 3 * 1 + 1 * 2, misses 1 * 1 + 1 * 2, and two
    # false alarms (a road and a rider pixel). rider: object of 2 px weighs 1; hits 1, misses 1, no false alarm.
    assert_allclose(result.iou, [np.nan, 5 / (5 + 3 + 2), 1 / 2])
    assert result.mean == pytest.approx((1 / 2 + 1 / 2) / 2)
    # human: a rider taken for a person is a hit, and no false alarm
    assert result.category_names == ("flat", "human")
    assert_allclose(result.category_iou, [np.nan, (5 + 2) / (5 + 2 + 3 + 1)])
    assert result.category_mean == pytest.approx(7 / 11)


def test_pixels_without_an_object_are_neither_hit_nor_miss() -> None:
    metric = InstanceIoU(TABLE, SIZES)
    metric.update([[1, 1, 1]], [[1, 1, 0]], [[0, 0, 0]])
    assert np.isnan(metric.compute().iou).all()


def test_merging_parts_equals_the_whole() -> None:
    rng = np.random.default_rng(0)
    frames = [
        (rng.integers(0, 3, (6, 6)), rng.integers(0, 3, (6, 6)), rng.integers(0, 4, (6, 6))) for _ in range(6)
    ]
    whole, left, right = (InstanceIoU(TABLE, SIZES) for _ in range(3))
    for index, frame in enumerate(frames):
        whole.update(*frame)
        (left if index % 2 else right).update(*frame)
    assert_array_equal(left.merge(right).compute().iou, whole.compute().iou)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ConfigError, match="none of person, rider is a class of this table"):
        InstanceIoU(ClassTable(("sky",), ((0, 0, 0),)), SIZES)
    with pytest.raises(InputError, match=r"instance map has shape \(1, 1\)"):
        InstanceIoU(TABLE, SIZES).update(TRUTH, PREDICTED, [[0]])
    with pytest.raises(ConfigError, match="different class tables or mean sizes"):
        InstanceIoU(TABLE, SIZES).merge(InstanceIoU(TABLE, {"person": 4.0}))
