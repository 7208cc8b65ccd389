"""MIoU by keyframe distance: hand fractions, merge laws, refusals."""

from __future__ import annotations

import pickle
import subprocess
import sys
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from vssbench.errors import ConfigError, InputError
from vssbench.metrics import KeyframeDistanceIoU
from vssbench.records import ClassTable

nan = float("nan")
TABLE = ClassTable(("road", "walk", "car"), ((0, 0, 0),) * 3, categories=("flat", "flat", "vehicle"))

frames = st.lists(
    st.tuples(
        st.lists(st.integers(0, 2), min_size=4, max_size=4),
        st.lists(st.integers(0, 2), min_size=4, max_size=4),
        st.integers(0, 3),
    ),
    max_size=8,
)


def accumulated(items: list[tuple[list[int], list[int], int]]) -> KeyframeDistanceIoU:
    metric = KeyframeDistanceIoU(3, 4)
    for truth, predicted, distance in items:
        metric.update(truth, predicted, distance)
    return metric


def test_the_headline_is_the_plain_mean_over_distances_not_the_pooled_miou() -> None:
    metric = KeyframeDistanceIoU(2, 2)
    metric.update([0, 0, 1, 1], [0, 0, 1, 1], 0)
    metric.update([0, 0, 1, 1], [0, 1, 1, 1], 1)
    result = metric.compute()
    assert_allclose(result.miou_d, [1, (1 / 2 + 2 / 3) / 2])
    assert_allclose(result.miou, (1 + 7 / 12) / 2)
    assert_allclose(result.per_class, [3 / 4, 5 / 6])
    assert_allclose(result.pooled_miou, (3 / 4 + 4 / 5) / 2)
    assert_allclose(result.pixel_accuracy, (1 + 3 / 4) / 2)
    assert_allclose(result.frequency_weighted_iou, (1 + (1 / 2 * 1 / 2 + 1 / 2 * 2 / 3)) / 2)
    assert_array_equal(result.frames, [1, 1])


def test_the_published_mean_of_a_released_result_file_is_the_plain_mean_over_d() -> None:
    # AR-Seg, CamVid PSP18, AR 0.5x (spec/ar-seg.md, section 6)
    released = [
        0.7039,
        0.7114,
        0.7083,
        0.7065,
        0.7051,
        0.7024,
        0.7046,
        0.7022,
        0.7044,
        0.7038,
        0.7030,
        0.7026,
    ]
    assert_allclose(np.mean(released), 0.7048, atol=5e-5)


def test_an_empty_distance_makes_the_mean_nan_and_is_named() -> None:
    metric = KeyframeDistanceIoU(TABLE, (0, 5))
    metric.update([0, 2], [0, 2], 0)
    result = metric.compute()
    assert_array_equal(result.miou_d, [1, nan])
    assert np.isnan(result.miou)
    assert result.empty_distances == (5,)
    assert result.absent_classes == ("walk",)
    assert (0, "walk") in result.undefined
    with pytest.raises(InputError, match="no scored pixel at keyframe distance 5; class walk in neither"):
        result.require_complete()


def test_categories_merge_classes_of_the_table() -> None:
    metric = KeyframeDistanceIoU(TABLE, 1)
    metric.update([0, 1, 2, 2], [1, 0, 2, 0], 0)
    result = metric.compute().categories()
    assert result.class_names == ("flat", "vehicle")
    assert_allclose(result.miou_d, [(2 / 3 + 1 / 2) / 2])
    with pytest.raises(ConfigError, match="ClassTable"):
        KeyframeDistanceIoU(3, 1).compute().categories()


@given(frames, frames)
@settings(max_examples=40, deadline=None)
def test_merge_is_commutative_and_equals_the_whole(a: list, b: list) -> None:
    assert accumulated(a) + accumulated(b) == accumulated(b) + accumulated(a) == accumulated(a + b)


@given(frames, frames, frames)
@settings(max_examples=40, deadline=None)
def test_merge_is_associative(a: list, b: list, c: list) -> None:
    x, y, z = accumulated(a), accumulated(b), accumulated(c)
    assert (x + y) + z == x + (y + z)
    assert reduce(add, [x, y, z]) == accumulated(a).merge(y).merge(z)


@given(frames)
@settings(max_examples=20, deadline=None)
def test_pickling_and_adding_ready_counts_keep_everything(items: list) -> None:
    metric = accumulated(items)
    assert pickle.loads(pickle.dumps(metric)) == metric
    rebuilt = metric.empty_copy()
    for distance, counts, count in zip(metric.distances, metric.counts, metric.frames, strict=True):
        if count:
            rebuilt.add_counts(counts, distance, frames=int(count))
    assert rebuilt == metric


def test_an_all_ignored_frame_is_an_error_that_adds_nothing_or_is_counted_apart() -> None:
    metric = KeyframeDistanceIoU(2, 3)
    with pytest.raises(InputError, match="keyframe distance 2 has no scored pixel: every label is 255"):
        metric.update([255, 255], [0, 1], 2)
    assert metric == KeyframeDistanceIoU(2, 3)
    lenient = KeyframeDistanceIoU(2, 3, empty_frame="count")
    lenient.update([255, 255], [0, 1], 2)
    assert_array_equal(lenient.compute().empty_frames, [0, 0, 1])
    assert_array_equal(lenient.compute().frames, [0, 0, 0])


def test_unlike_metrics_do_not_merge() -> None:
    other = ClassTable(("road", "path", "car"), ((0, 0, 0),) * 3)
    with pytest.raises(ConfigError, match=r"differ at 1: 'walk' and 'path'"):
        KeyframeDistanceIoU(TABLE, 2).merge(KeyframeDistanceIoU(other, 2))
    with pytest.raises(ConfigError, match="of 3 and of 4 classes"):
        KeyframeDistanceIoU(3, 2).merge(KeyframeDistanceIoU(4, 2))
    with pytest.raises(ConfigError, match="distances 0, 1 with distances 0, 1, 2"):
        KeyframeDistanceIoU(3, 2).merge(KeyframeDistanceIoU(3, 3))
    with pytest.raises(ConfigError, match="ignore_index 255 with 0"):
        KeyframeDistanceIoU(3, 2).merge(KeyframeDistanceIoU(3, 2, ignore_index=0))


@pytest.mark.parametrize("ignored", [0, 2, 255])
def test_an_ignored_class_is_in_no_mean_as_torchmetrics_has_it(ignored: int) -> None:
    torch = pytest.importorskip("torch")
    classification = pytest.importorskip("torchmetrics.classification")
    truth, predicted = np.random.default_rng(ignored).integers(0, 4, (2, 9, 11))
    oracle = classification.MulticlassJaccardIndex(num_classes=4, ignore_index=ignored)
    metric = KeyframeDistanceIoU(4, 1, ignored)
    metric.update(truth, predicted, 0)
    result = metric.compute()
    expected = float(oracle(torch.from_numpy(predicted), torch.from_numpy(truth)))
    assert (result.miou, result.pooled_miou) == pytest.approx((expected, expected), abs=1e-6)
    by_hand = KeyframeDistanceIoU(3, 1, 0)
    by_hand.update([2, 1, 0, 1], [2, 1, 0, 0], 0)
    assert by_hand.compute().miou == (1 / 2 + 1) / 2


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="keyframe distance 7 is not among the distances 0, 1"):
        KeyframeDistanceIoU(3, 2).update([0], [0], 7)
    with pytest.raises(ConfigError, match="distances must be"):
        KeyframeDistanceIoU(3, [])
    with pytest.raises(ConfigError, match="distances must be"):
        KeyframeDistanceIoU(3, [1, 1])
    with pytest.raises(ConfigError, match="classes must be at least 1"):
        KeyframeDistanceIoU(0, 2)
    with pytest.raises(InputError, match=r"expected \(3, 3\)"):
        KeyframeDistanceIoU(3, 2).add_counts(np.zeros((2, 2), int), 0)


def test_the_result_does_not_change_when_the_metric_goes_on() -> None:
    metric = KeyframeDistanceIoU(2, 1)
    metric.update([0], [0], 0)
    result = metric.compute()
    metric.update([1], [1], 0)
    assert int(result.counts.sum()) == 1
    with pytest.raises(ValueError, match="read-only"):
        result.counts[0, 0, 0] = 5


def test_the_metrics_import_neither_torch_nor_scipy() -> None:
    code = (
        "import sys, vssbench.metrics; print([m for m in ('torch', 'scipy', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
