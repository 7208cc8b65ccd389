"""Pair counts and their ratios: hand fractions, properties, torchmetrics and a re-stated Cityscapes as oracles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_allclose, assert_array_equal
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import (
    absent_classes,
    class_accuracy,
    count_pairs,
    frequency_weighted_iou,
    group_counts,
    iou,
    mean_iou,
    pixel_accuracy,
)
from vssbench.records import ClassTable

nan = float("nan")
CLASSES = 5


def label_maps(values: st.SearchStrategy[int]) -> st.SearchStrategy[np.ndarray]:
    return array_shapes(min_dims=2, max_dims=2, max_side=9).flatmap(
        lambda shape: arrays(np.uint8, (2, *shape), elements=values)
    )


pairs = label_maps(st.integers(0, CLASSES - 1))


def cityscapes_restated(truth: np.ndarray, predicted: np.ndarray, classes: int, ignored: int) -> list[float]:
    """The definition in words, pixel by pixel: hits over hits, misses and false alarms outside ignored truth."""
    scores = []
    for label in range(classes):
        hit = miss = false_alarm = 0
        for t, p in zip(truth.ravel().tolist(), predicted.ravel().tolist(), strict=True):
            if t == ignored:
                continue
            hit += t == label and p == label
            miss += t == label and p != label
            false_alarm += t != label and p == label
        scores.append(hit / (hit + miss + false_alarm) if hit + miss + false_alarm else nan)
    return scores


def test_rows_are_truth_and_columns_prediction() -> None:
    assert_array_equal(count_pairs([0, 0, 1], [0, 1, 1], 3), [[1, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_a_class_absent_everywhere_is_nan_and_left_out_of_the_mean() -> None:
    counts = count_pairs([0, 0, 1], [0, 1, 1], classes=3)
    assert_array_equal(iou(counts), [1 / 2, 1 / 2, nan])
    assert mean_iou(counts) == 1 / 2
    assert absent_classes(counts) == (2,)


def test_a_class_only_predicted_scores_zero_and_stays_in_the_mean() -> None:
    counts = count_pairs([0, 0, 0, 0], [0, 0, 0, 1], classes=2)
    assert_array_equal(iou(counts), [3 / 4, 0])
    assert mean_iou(counts) == 3 / 8


def test_ignored_truth_is_counted_nowhere() -> None:
    counts = count_pairs([0, 255, 1, 255], [0, 0, 1, 1], classes=2)
    assert_array_equal(counts, [[1, 0], [0, 1]])


def test_ratios_are_the_fractions_on_paper() -> None:
    counts = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 4]])
    assert_allclose(iou(counts), [6 / 9, 3 / 6, 4 / 4])
    assert_allclose(mean_iou(counts), (6 / 9 + 3 / 6 + 1) / 3)
    assert_allclose(frequency_weighted_iou(counts), 8 / 16 * 6 / 9 + 4 / 16 * 3 / 6 + 4 / 16)
    assert_allclose(pixel_accuracy(counts), 13 / 16)
    assert_allclose(class_accuracy(counts), [6 / 8, 3 / 4, 1])


def test_a_stack_of_matrices_gives_a_stack_of_ratios() -> None:
    stack = np.array([[[1, 1], [0, 2]], [[0, 0], [0, 0]]])
    assert_array_equal(iou(stack), [[1 / 2, 2 / 3], [nan, nan]])
    assert_allclose(mean_iou(stack), [7 / 12, nan])
    assert_allclose(frequency_weighted_iou(stack), [7 / 12, nan])
    assert_allclose(pixel_accuracy(stack), [3 / 4, nan])


def test_categories_forgive_confusion_inside_them() -> None:
    table = ClassTable(("road", "walk", "car"), ((0, 0, 0),) * 3, categories=("flat", "flat", "vehicle"))
    names, grouped = group_counts(np.array([[5, 3, 1], [2, 4, 0], [0, 1, 7]]), table)
    assert names == ("flat", "vehicle")
    assert_array_equal(grouped, [[14, 1], [1, 7]])


def test_category_of_a_category_less_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="no categories"):
        group_counts(np.zeros((1, 1), int), ClassTable(("a",), ((0, 0, 0),)))


@given(label_maps(st.integers(0, CLASSES - 1) | st.just(255)), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_equals_the_cityscapes_definition(maps: np.ndarray, random: object) -> None:
    truth = maps[0]
    predicted = np.where(maps[1] == 255, 0, maps[1]).astype(np.uint8)
    assert_allclose(
        iou(count_pairs(truth, predicted, CLASSES)), cityscapes_restated(truth, predicted, CLASSES, 255)
    )


@pytest.mark.parametrize("seed", range(5))
def test_equals_torchmetrics_jaccard(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predicted = rng.integers(0, 7, (2, 3, 40, 50), np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    oracle = MulticlassJaccardIndex(num_classes=9, ignore_index=255, average="none")
    oracle.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    macro = MulticlassJaccardIndex(num_classes=9, ignore_index=255, average="macro")
    macro.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    counts = count_pairs(truth, predicted, 9)
    # torchmetrics writes 0 where a class is absent; its macro mean leaves absent classes out, as ours does.
    assert_allclose(np.nan_to_num(iou(counts)), oracle.compute().numpy(), rtol=1e-6)
    assert_allclose(mean_iou(counts), macro.compute().item(), rtol=1e-6)
    assert absent_classes(counts) == (7, 8)


def test_counts_of_a_full_size_map_are_torchmetrics_counts() -> None:
    rng = np.random.default_rng(0)
    truth, predicted = rng.integers(0, 19, (2, 1024, 2048), np.uint8)
    truth[:60] = 255
    oracle = MulticlassConfusionMatrix(num_classes=19, ignore_index=255, validate_args=False)
    oracle.update(torch.from_numpy(predicted).long(), torch.from_numpy(truth).long())
    np.testing.assert_array_equal(count_pairs(truth, predicted, 19), oracle.compute().numpy())


@given(pairs, st.integers(0, 9))
@settings(max_examples=60, deadline=None)
def test_split_maps_count_like_the_whole(maps: np.ndarray, cut: int) -> None:
    truth, predicted = maps
    parts = count_pairs(truth[:cut], predicted[:cut], CLASSES) + count_pairs(
        truth[cut:], predicted[cut:], CLASSES
    )
    assert_array_equal(parts, count_pairs(truth, predicted, CLASSES))


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_every_integer_type_counts_alike(maps: np.ndarray) -> None:
    expected = count_pairs(maps[0], maps[1], CLASSES)
    for dtype in (np.int8, np.int16, np.uint16, np.int32, np.int64):
        assert_array_equal(count_pairs(maps[0].astype(dtype), maps[1].astype(dtype), CLASSES), expected)
    assert_array_equal(count_pairs(maps[0], maps[1], 300, ignore_index=-1)[:CLASSES, :CLASSES], expected)


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_swapping_the_maps_transposes_the_counts_and_keeps_iou(maps: np.ndarray) -> None:
    forth, back = count_pairs(maps[0], maps[1], CLASSES), count_pairs(maps[1], maps[0], CLASSES)
    assert_array_equal(forth, back.T)
    assert_array_equal(iou(forth), iou(back))


def test_sliced_and_transposed_views_count_like_copies() -> None:
    rng = np.random.default_rng(3)
    truth, predicted = rng.integers(0, CLASSES, (2, 30, 40), np.uint8)
    view = count_pairs(truth[::2, ::3].T, predicted[::2, ::3].T, CLASSES)
    assert_array_equal(view, count_pairs(truth[::2, ::3].T.copy(), predicted[::2, ::3].T.copy(), CLASSES))


def test_an_ignore_index_may_be_negative_but_no_class() -> None:
    assert_array_equal(count_pairs([-1, 0, 1], [0, 0, 1], 2, ignore_index=-1), [[1, 0], [0, 1]])
    with pytest.raises(ConfigError, match="ignore_index 2 is one of the 3 classes"):
        count_pairs([2, 0, 2], [2, 2, 0], 3, ignore_index=2)


def test_an_ignored_class_is_left_out_by_the_ratios() -> None:
    counts = count_pairs([2, 0, 2, 1], [2, 2, 0, 1], 3)
    assert_array_equal(iou(counts, 2), [0, 1, np.nan])
    assert mean_iou(counts, 2) == 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_a_prediction_outside_the_classes_is_named_and_never_dropped(dtype: type) -> None:
    truth = np.array([0, 1, 1, 255], dtype)
    with pytest.raises(InputError, match=r"prediction holds 2 \(2 px\), 200 \(1 px\); allowed is 0\.\.1"):
        count_pairs(truth, np.array([2, 2, 0, 200], dtype), 2)


def test_a_strange_prediction_under_ignored_truth_is_an_error_too() -> None:
    with pytest.raises(InputError, match=r"prediction holds 255 \(1 px\)"):
        count_pairs([0, 255], [0, 255], 2)


def test_a_strange_truth_is_named_with_the_ignore_index() -> None:
    with pytest.raises(InputError, match=r"truth holds 7 \(1 px\).*0\.\.1 or 255 \(ignored\)"):
        count_pairs([0, 7], [0, 0], 2)
    with pytest.raises(InputError, match=r"prediction holds -1 \(1 px\)"):
        count_pairs([0, 1], [0, -1], 2)
    with pytest.raises(InputError, match=r"prediction holds 300 \(1 px\)"):
        count_pairs([0, 1], [0, 300], 2)


def test_shapes_and_types_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2\).*\(2, 3\)"):
        count_pairs(np.zeros((2, 2), int), np.zeros((2, 3), int), 2)
    with pytest.raises(InputError, match="float64; take the argmax"):
        count_pairs([0.5], [0.5], 2)
    with pytest.raises(ConfigError, match="classes must be at least 1"):
        count_pairs([0], [0], 0)
    with pytest.raises(InputError, match="must be integers"):
        iou(np.zeros((2, 2)))
    with pytest.raises(InputError, match="must not be negative"):
        iou([[1, -1], [0, 0]])
    with pytest.raises(InputError, match=r"got shape \(2, 3\)"):
        iou(np.zeros((2, 3), int))
