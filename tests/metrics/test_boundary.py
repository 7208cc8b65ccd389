"""Boundary IoU and trimap curve: hand cases, erosion and brute force as oracles, merge laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.ndimage import binary_erosion

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.boundary import BoundaryIoU, TrimapIoU, contour_distance
from vssbench.metrics.confusion import count_pairs

nan = float("nan")
FAR = np.iinfo(np.int64).max


def blobs(seed: int, classes: int = 4, size: tuple[int, int] = (24, 30)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (size[0] // 6, size[1] // 6), np.uint8)
    labels = coarse.repeat(6, 0).repeat(6, 1)
    noisy = rng.random(labels.shape) < 0.03
    labels[noisy] = rng.integers(0, classes, int(noisy.sum()))
    return labels


def eroded_band(mask: np.ndarray, distance: int) -> np.ndarray:
    """The authors' definition: the mask less its erosion by 3x3, `distance` times, outside the frame = background."""
    return mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)


@pytest.mark.parametrize("seed", range(6))
def test_every_class_equals_boundary_iou_of_its_eroded_mask(seed: int) -> None:
    truth, predicted = blobs(seed), blobs(seed)
    predicted[5:9] = blobs(seed + 50)[5:9]
    metric = BoundaryIoU(5, distance_share=0.06)
    metric.update(truth, predicted)
    distance = round(0.06 * math.hypot(*truth.shape))
    expected = []
    for c in range(5):
        bands = [eroded_band(labels == c, distance) for labels in (truth, predicted)]
        union = (bands[0] | bands[1]).sum()
        expected.append((bands[0] & bands[1]).sum() / union if union else nan)
    result = metric.compute()
    assert_allclose(result.iou, expected)
    assert np.isnan(result.iou[4])
    assert result.mean == pytest.approx(np.nanmean(expected))
    assert result.distances == (distance,)


def test_a_shifted_edge_by_hand() -> None:
    # One row of eight, truth 0000|1111, prediction 000|11111, band of 1 pixel, picture edge open.
    # class 0: truth band {3}, predicted band {2} -> 0/2;  class 1: {4} and {3} -> 0/2
    metric = BoundaryIoU(2, distance_share=0.1, image_edge="open")
    metric.update([[0, 0, 0, 0, 1, 1, 1, 1]], [[0, 0, 0, 1, 1, 1, 1, 1]])
    assert_array_equal(metric.compute().union, [2, 2])
    assert_array_equal(metric.compute().iou, [0, 0])
    # With a band of 2: class 0 {2,3} and {1,2} -> 1/3; class 1 {4,5} and {3,4} -> 1/3
    wide = BoundaryIoU(2, distance_share=0.25, image_edge="open")
    wide.update([[0, 0, 0, 0, 1, 1, 1, 1]], [[0, 0, 0, 1, 1, 1, 1, 1]])
    assert_allclose(wide.compute().iou, [1 / 3, 1 / 3])


def test_the_default_distance_is_two_percent_of_the_diagonal() -> None:
    metric = BoundaryIoU(1)
    metric.update(np.zeros((300, 400), np.uint8), np.zeros((300, 400), np.uint8))
    assert metric.compute().distances == (10,)
    assert metric.compute().iou[0] == 1  # the frame's edge is a contour by default


def test_ignored_pixels_make_no_contour_and_are_not_scored() -> None:
    metric = BoundaryIoU(2, distance_share=0.1, image_edge="open")
    metric.update([[0, 0, 255, 0, 0, 1]], [[0, 0, 1, 0, 0, 1]])
    assert_array_equal(metric.compute().union, [1, 1])
    assert_array_equal(metric.compute().intersection, [1, 1])


def test_contour_distance_by_hand_and_by_brute_force() -> None:
    assert_array_equal(contour_distance(np.array([[0, 0, 0, 1, 1]])), [[3, 2, 1, 1, 2]])
    assert_array_equal(contour_distance(np.array([[0, 255, 1, 1]])), [[FAR] * 4])
    assert_array_equal(contour_distance(np.zeros((2, 2), int)), [[FAR] * 2] * 2)
    truth = blobs(3, size=(12, 18))
    y, x = np.mgrid[:12, :18]
    for row, column in ((0, 0), (5, 7), (11, 17), (6, 3)):
        other = truth != truth[row, column]
        expected = np.maximum(abs(y - row), abs(x - column))[other].min()
        assert contour_distance(truth)[row, column] == expected


def test_the_trimap_curve_counts_the_pixels_within_each_radius() -> None:
    truth, predicted = blobs(1), blobs(1)
    predicted[10:14] = blobs(9)[10:14]
    truth[:3] = 255
    metric = TrimapIoU(4, radii=(1, 2, 4))
    metric.update(truth, predicted)
    result = metric.compute()
    distance = contour_distance(truth)
    for index, radius in enumerate((1, 2, 4)):
        masked = np.where(distance <= radius, truth, 255)
        assert_array_equal(result.counts[index], count_pairs(masked, predicted, 4))
    assert result.counts[0].sum() < result.counts[2].sum()


def test_a_frame_without_contour_leaves_the_trimap_curve_undefined() -> None:
    metric = TrimapIoU(2)
    metric.update([[0, 0]], [[0, 1]])
    assert np.isnan(metric.compute().miou).all()


def test_merging_parts_equals_the_whole() -> None:
    frames = [(blobs(i), blobs(i + 20)) for i in range(4)]
    for make in (lambda: BoundaryIoU(4), lambda: TrimapIoU(4)):
        whole, left, right, swapped = make(), make(), make(), make()
        for index, pair in enumerate(frames):
            whole.update(*pair)
            (left if index < 2 else right).update(*pair)
        swapped.merge(right).merge(left)
        left.merge(right)
        assert_array_equal(whole.compute().iou, left.compute().iou)
        assert_array_equal(whole.compute().iou, swapped.compute().iou)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(ConfigError, match="distance_share must lie between"):
        BoundaryIoU(2, distance_share=2)
    with pytest.raises(ConfigError, match="radii must be ascending"):
        TrimapIoU(2, radii=(4, 2))
    with pytest.raises(ConfigError, match=r"distance_share is 0\.02 here and 0\.05 there"):
        BoundaryIoU(2).merge(BoundaryIoU(2, distance_share=0.05))
    with pytest.raises(InputError, match=r"prediction holds 9"):
        BoundaryIoU(2).update([[0]], [[9]])
    with pytest.raises(InputError, match=r"must be \[H, W\]"):
        TrimapIoU(2).update([0], [0])
