"""Further metrics from stored counts: equal to the classes that count whole sequences, whatever the split."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.errors import InputError
from vssbench.metrics.boundary import BoundaryIoU, TrimapIoU
from vssbench.metrics.breakdown import size_breakdown
from vssbench.metrics.consistency import TemporalConsistency, VideoConsistency, WindowTracker, warped_counts
from vssbench.metrics.further import (
    NO_WINDOW,
    WINDOWS,
    boundary_counts,
    frame_areas,
    hits_and_union,
    hits_truth_predicted,
    motion_counts,
    rows_of,
    segment_counts,
)
from vssbench.records import FlowField

CLASSES = 3


def maps(seed: int, frames: int, size: tuple[int, int] = (12, 16)) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction [frames, H, W] that stay mostly still, with some ignored pixels."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(generator.integers(0, CLASSES, (1, *size), dtype=np.uint8), frames, 0)
    change = generator.random(truth.shape) < 0.02
    truth = np.where(change, generator.integers(0, CLASSES, truth.shape, dtype=np.uint8), truth)
    predicted = np.where(generator.random(truth.shape) < 0.05, (truth + 1) % CLASSES, truth).astype(np.uint8)
    truth[:, :2, :2] = 255
    return truth, predicted


def numbers(name: str, values: np.ndarray, columns: list[int], distances: list[int]) -> dict[tuple, float]:
    frames = list(range(len(values)))
    found = rows_of(name, values, np.array(columns), distances, ["s/phase-00"] * len(values), frames)
    return {(row.distance, row.class_index, row.metric): row.value for row in found}


def test_contours_equal_the_accumulating_classes():
    truth, predicted = maps(1, 4)
    bands, rings = BoundaryIoU(CLASSES), TrimapIoU(CLASSES)
    parts = []
    for t, p in zip(truth, predicted, strict=True):
        bands.update(t, p)
        rings.update(t, p)
        parts.append(boundary_counts(t, p, CLASSES))
    boundary = numbers("boundary", np.stack([c["boundary"] for c in parts]), [0] * 4, [0])
    trimap = numbers("trimap", np.stack([c["trimap"] for c in parts]), [0] * 4, [0])
    name = "boundary IoU (2 % of the diagonal)"
    assert boundary[-1, -1, name] == pytest.approx(bands.compute().mean)
    for index, value in enumerate(bands.compute().iou):
        assert boundary[0, index, name] == pytest.approx(value)
    for radius, value in zip(rings.radii, rings.compute().miou, strict=True):
        assert trimap[0, -1, f"trimap mIoU (r = {radius} px)"] == pytest.approx(value)


def test_the_mean_over_distances_is_nan_where_one_is_empty():
    values = np.array([[[1, 0, 0], [2, 0, 0]], [[0, 0, 0], [0, 0, 0]]], dtype=np.int64)
    found = numbers("boundary", values, [0, 1], [0, 1])
    name = "boundary IoU (2 % of the diagonal)"
    assert found[0, -1, name] == 1 / 2
    assert np.isnan(found[1, -1, name])
    assert np.isnan(found[-1, -1, name])


def test_bins_pool_their_counts_over_distances():
    truth, predicted = maps(2, 2)
    counts = [segment_counts(t, p, frame_areas(t), CLASSES) for t, p in zip(truth, predicted, strict=True)]
    whole = size_breakdown(CLASSES)
    for t, p in zip(truth, predicted, strict=True):
        whole.update(t, p, frame_areas(t))
    found = numbers("segment", np.stack(counts), [0, 1], [0, 5])
    result = whole.compute()
    for title, miou, share in zip(result.bins, result.miou, result.pixel_share, strict=True):
        np.testing.assert_allclose(found[-1, -1, f"pooled mIoU, {result.quantity} {title}"], miou)
        np.testing.assert_allclose(found[-1, -1, f"share of pixels, {result.quantity} {title}"], share)


def test_a_keyframe_without_motion_is_in_the_bin_unknown():
    truth, predicted = maps(3, 1)
    counts = motion_counts(truth[0], predicted[0], None, CLASSES)
    assert counts[:-1].sum() == 0
    assert counts[-1, 1].sum() == (truth[0] != 255).sum()


def window_counts(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    trackers = WindowTracker("released"), WindowTracker("corrected")
    rows = []
    for t, p in zip(truth, predicted, strict=True):
        for tracker in trackers:
            tracker.push(t, p)
        none = (NO_WINDOW, NO_WINDOW)
        rows.append([[tracker.window(n) or none for tracker in trackers] for n in WINDOWS])
    return np.array(rows, dtype=np.int64)


def test_windows_of_stored_frames_give_the_vc_of_whole_sequences():
    values, streams, frames = [], [], []
    wanted = {(n, v): VideoConsistency(n, v) for n in WINDOWS for v in ("released", "corrected")}
    for number, length in enumerate((20, 9, 4)):
        truth, predicted = maps(10 + number, length)
        values.append(window_counts(truth, predicted))
        streams += [f"s{number}/phase-00"] * length
        frames += range(length)
        for metric in wanted.values():
            for t, p in zip(truth, predicted, strict=True):
                metric.update(f"s{number}", t, p)
    order = np.random.default_rng(0).permutation(len(streams))  # units are stored in any order
    rows = rows_of(
        "vc",
        np.concatenate(values)[order],
        np.zeros(len(order), dtype=np.intp),
        [0],
        [streams[i] for i in order],
        [frames[i] for i in order],
    )
    assert {row.metric: row.value for row in rows} == {
        metric.name: pytest.approx(metric.compute().value) for metric in wanted.values()
    }


def test_warped_pairs_of_stored_frames_give_the_tc_of_whole_sequences():
    generator = np.random.default_rng(4)
    metric = TemporalConsistency(CLASSES, "exact")
    values, streams = [], []
    for number in range(2):
        _, predicted = maps(20 + number, 5)
        for i, labels in enumerate(predicted):
            flow = FlowField(
                generator.integers(-1, 2, (2, 12, 16)).astype(np.float32), generator.random((12, 16)) < 0.9
            )
            metric.update(f"s{number}", labels, flow if i else None)
            pairs = (
                warped_counts(predicted[i - 1], labels, flow, CLASSES) if i else np.zeros((3, 3), np.int64)
            )
            values.append(hits_truth_predicted(pairs))
            streams.append(f"s{number}/phase-00")
    rows = list(
        rows_of("tc:exact", np.stack(values), np.arange(10) % 5, list(range(5)), streams, list(range(10)))
    )
    assert rows[0].metric == "TC (flow: exact, nearest, occlusions masked)"
    assert rows[0].value == pytest.approx(metric.compute().value)
    assert np.isnan(rows[1].value)  # the first frame of a stream has none before it


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_counts_of_any_split_sum_to_those_of_the_whole(seed, parts):
    truth, predicted = maps(seed, 6)
    counts = np.stack(
        [boundary_counts(t, p, CLASSES)["trimap"] for t, p in zip(truth, predicted, strict=True)]
    )
    pieces = [piece.sum(0) for piece in np.array_split(counts, parts)]
    np.testing.assert_array_equal(np.sum(pieces, axis=0), counts.sum(0))


def test_margins_are_hits_and_unions():
    counts = np.array([[3, 1], [2, 4]])
    np.testing.assert_array_equal(hits_and_union(counts), [[3, 4], [6, 7]])
    np.testing.assert_array_equal(hits_truth_predicted(counts), [[3, 4], [4, 6], [5, 5]])


def test_unknown_counts_are_named():
    with pytest.raises(InputError, match="'sharpness'"):
        numbers("sharpness", np.zeros((1, 2, 3), np.int64), [0], [0])
