"""Counts by segment size and by motion: hand cases and the sum over bins."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import label

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.breakdown import (
    BreakdownCounts,
    motion_breakdown,
    motion_magnitude,
    segment_area,
    size_breakdown,
)
from vssbench.metrics.confusion import count_pairs
from vssbench.records import FlowField

nan = float("nan")


def test_bins_are_closed_below_and_nan_is_unknown() -> None:
    metric = BreakdownCounts("speed", 2, (0.5, 1))
    metric.update([[0, 0, 0, 0, 1, 1]], [[0, 0, 1, 1, 1, 0]], [[0.2, 0.5, 0.9, 1.0, nan, nan]])
    result = metric.compute()
    assert result.bins == ("< 0.5", "0.5 .. 1", ">= 1", "unknown")
    assert_array_equal(result.counts[:, 0], [[1, 0], [1, 1], [0, 1], [0, 0]])
    assert_array_equal(result.counts[3], [[0, 0], [1, 1]])
    assert_allclose(result.pixel_share, [1 / 6, 2 / 6, 1 / 6, 2 / 6])
    assert_allclose(result.recall[:, 0], [1, 1 / 2, 0, nan])
    assert_allclose(result.miou, [1, (1 / 2 + 0) / 2, 0, (0 + 1 / 2) / 2])


def test_the_bins_together_hold_every_scored_pixel() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 5, (2, 30, 40), np.uint8)
    truth[:4] = 255
    metric = size_breakdown(5)
    metric.update(truth, predicted, segment_area(truth))
    assert_array_equal(metric.counts.sum(0), count_pairs(truth, predicted, 5))
    assert metric.counts[-1].sum() == 0


def test_segments_touch_over_corners_and_ignored_pixels_have_none() -> None:
    truth = np.array([[0, 1, 0, 255], [1, 0, 0, 1]])
    # class 0: four pixels joined over corners; class 1: two joined over a corner, one apart
    assert_allclose(segment_area(truth), np.array([[4, 2, 4, nan], [2, 4, 4, 1]]) / 8)


@pytest.mark.parametrize("seed", range(5))
def test_segments_equal_those_of_labelling_class_by_class(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, (20, 25), np.uint8).repeat(1 + seed % 3, axis=0)
    expected = np.empty(truth.shape)
    for value in range(3):
        segments, _ = label(truth == value, structure=np.ones((3, 3)))
        expected[truth == value] = (np.bincount(segments.ravel()) / truth.size)[segments[truth == value]]
    assert_allclose(segment_area(truth), expected)


def test_motion_is_the_length_per_picture_where_it_is_known() -> None:
    flow = np.zeros((2, 1, 3), np.float32)
    flow[:, 0, 0] = 3, 4
    flow[:, 0, 1] = -6, 8
    field = FlowField(flow, np.array([[True, True, False]]))
    assert_allclose(motion_magnitude(field), [[5, 10, nan]])
    assert_allclose(motion_magnitude(field, pictures=5), [[1, 2, nan]])
    metric = motion_breakdown(2, source="exact")
    assert metric.quantity == "motion px/frame (exact)"
    metric.update([[0, 0, 1]], [[0, 1, 1]], motion_magnitude(field))
    assert_array_equal(metric.counts.sum((1, 2)), [0, 0, 0, 0, 1, 1, 0, 1])


def test_merging_parts_equals_the_whole() -> None:
    rng = np.random.default_rng(1)
    truth, predicted = rng.integers(0, 3, (2, 10, 10))
    values = rng.random((10, 10))
    parts = [BreakdownCounts("v", 3, (0.3, 0.6)) for _ in range(3)]
    parts[0].update(truth.astype(np.uint64), predicted.astype(np.uint64), values)
    parts[1].update(truth[:4], predicted[:4], values[:4])
    parts[2].update(truth[4:], predicted[4:], values[4:])
    assert_array_equal(parts[0].counts, parts[2].merge(parts[1]).counts)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ConfigError, match="speed: bin edges must be finite and rise strictly"):
        BreakdownCounts("speed", 2, (1, 1))
    with pytest.raises(InputError, match=r"speed has shape \(1, 2\) but the label has \(1, 1\)"):
        BreakdownCounts("speed", 2, (1,)).update([[0]], [[0]], [[0, 1]])
    with pytest.raises(InputError, match="speed must be numbers, got bool"):
        BreakdownCounts("speed", 2, (1,)).update([[0]], [[0]], [[True]])
    with pytest.raises(InputError, match="prediction holds 7"):
        BreakdownCounts("speed", 2, (1,)).update([[0]], [[7]], [[0]])
    with pytest.raises(ConfigError, match="edges is"):
        BreakdownCounts("speed", 2, (1,)).merge(BreakdownCounts("speed", 2, (2,)))
    with pytest.raises(ConfigError, match="one picture or more"):
        motion_magnitude(FlowField(np.zeros((2, 1, 1), np.float32), np.ones((1, 1), bool)), pictures=0)
