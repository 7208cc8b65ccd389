"""VC_n in both readings and flow-warped TC: hand cases, window by window as oracle, merge laws."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import count_pairs, mean_iou
from vssbench.metrics.consistency import TemporalConsistency, VideoConsistency, warp_labels
from vssbench.records import FlowField


def scored(variant: str, n: int, truth: list, predicted: list) -> VideoConsistency:
    metric = VideoConsistency(n, variant)  # type: ignore[arg-type]
    for true_map, predicted_map in zip(truth, predicted, strict=True):
        metric.update("s", np.array(true_map), np.array(predicted_map))
    return metric


def windows_restated(truth: np.ndarray, predicted: np.ndarray, n: int, variant: str, ignored: int) -> list:
    """Every window stacked whole, as the definition reads."""
    found = []
    for start in range(len(truth) - n + (variant == "corrected")):
        t, p = truth[start : start + n], predicted[start : start + n]
        still = (t == t[0]).all(0)
        if variant == "corrected":
            still &= t[0] != ignored
            kept = still & (p == t).all(0)
        else:
            kept = still & (p == p[0]).all(0)
        found.append((int(kept.sum()), int(still.sum())))
    return found


def test_a_constant_wrong_label_scores_one_as_released_and_zero_corrected() -> None:
    truth, wrong = [[[0, 0]]] * 4, [[[1, 1]]] * 4
    assert scored("released", 3, truth, wrong).compute().value == 1
    assert scored("corrected", 3, truth, wrong).compute().value == 0


def test_released_drops_the_last_window_and_corrected_keeps_it() -> None:
    truth = [[[0, 0]]] * 4
    predicted = [[[0, 0]], [[0, 0]], [[0, 0]], [[1, 0]]]
    released, corrected = (scored(v, 3, truth, predicted).compute() for v in ("released", "corrected"))
    assert (released.value, released.windows) == (1, 1)
    assert (corrected.value, corrected.windows) == ((1 + 1 / 2) / 2, 2)
    assert (released.name, corrected.name) == ("VC3 (released)", "VC3 (corrected)")


def test_released_scores_ignored_pixels_and_corrected_does_not() -> None:
    truth, predicted = [[[255, 0]]] * 3, [[[1, 0]], [[0, 0]], [[1, 0]]]
    assert scored("released", 2, truth, predicted).compute().value == 1 / 2
    assert scored("corrected", 2, truth, predicted).compute().value == 1


@pytest.mark.parametrize("variant", ["released", "corrected"])
@pytest.mark.parametrize("n", [2, 8, 16])
def test_streaming_equals_stacking_every_window(variant: str, n: int) -> None:
    rng = np.random.default_rng(n)
    truth = np.repeat(rng.choice([0, 1, 255], (4, 6, 7)), 8, axis=0)
    predicted = np.where(rng.random(truth.shape) < 0.03, 1, np.where(truth == 255, 0, truth))
    truth[rng.random(truth.shape) < 0.01] = 0
    metric = scored(variant, n, list(truth), list(predicted))
    metric.end_sequence()
    assert list(metric.windows["s"]) == windows_restated(truth, predicted, n, variant, 255)


def test_released_averages_windows_and_corrected_averages_sequences() -> None:
    for variant, expected in (("released", (1 + 1 + 0) / 3), ("corrected", (1 + 0) / 2)):
        metric = VideoConsistency(2, variant)  # type: ignore[arg-type]
        extra = variant == "released"
        for _ in range(3 + extra):
            metric.update("long", [[0]], [[0]])
        for value in (0, 1, 0)[: 2 + extra]:
            metric.update("short", [[0]], [[value]])
        assert metric.compute().value == pytest.approx(expected)


def test_windows_without_a_still_pixel_and_short_sequences_are_named() -> None:
    metric = VideoConsistency(2, "corrected")
    for true_map in ([[0]], [[1]], [[1]]):
        metric.update("a", true_map, [[1]])
    metric.update("b", [[0]], [[0]])
    result = metric.compute()
    assert (result.value, result.windows, result.empty_windows, result.short_sequences) == (1, 1, 1, ("b",))
    assert np.isnan(VideoConsistency(8, "released").compute().value)


def test_merging_sequences_in_any_order_equals_the_whole() -> None:
    rng = np.random.default_rng(0)
    maps = {name: rng.integers(0, 2, (6, 3, 3)) for name in "abc"}

    def part(names: str) -> VideoConsistency:
        metric = VideoConsistency(2, "corrected")
        for name in names:
            for frame in maps[name]:
                metric.update(name, np.zeros((3, 3), int), frame)
        return metric

    whole = part("abc").compute()
    assert part("ab").merge(part("c")).compute() == part("c").merge(part("ba")).compute() == whole
    with pytest.raises(InputError, match="sequence 'a' is in both parts"):
        part("ab").merge(part("a"))
    with pytest.raises(ConfigError, match=r"cannot merge VC2 \(corrected\) with VC3 \(corrected\)"):
        part("a").merge(VideoConsistency(3, "corrected"))


def test_bad_frames_are_named() -> None:
    metric = VideoConsistency(2, "released")
    metric.update("a", [[0, 0]], [[0, 0]])
    with pytest.raises(InputError, match=r"sequence 'a' has frames \(1, 2\), got truth \(1, 1\)"):
        metric.update("a", [[0]], [[0]])
    metric.update("b", [[0]], [[0]])
    with pytest.raises(InputError, match="sequence 'a' was ended"):
        metric.update("a", [[0, 0]], [[0, 0]])
    with pytest.raises(ConfigError, match="n must be 2 or more"):
        VideoConsistency(1, "released")
    with pytest.raises(ConfigError, match="choose released or corrected"):
        VideoConsistency(8, "fixed")  # type: ignore[arg-type]


def shift(dx: float, dy: float, size: tuple[int, int]) -> FlowField:
    flow = np.empty((2, *size), np.float32)
    flow[0], flow[1] = dx, dy
    return FlowField(flow, np.ones(size, bool))


def test_labels_move_to_where_their_content_went() -> None:
    labels, valid = warp_labels(np.array([[5, 6, 7]]), shift(-1, 0, (1, 3)))
    assert_array_equal(labels[valid], [5, 6])
    assert_array_equal(valid, [[False, True, True]])
    labels, valid = warp_labels(np.array([[1], [2], [3]]), shift(0.4, 1.4, (3, 1)))
    assert_array_equal(labels[valid], [2, 3])


def test_a_scene_that_moves_with_its_flow_is_fully_consistent() -> None:
    rng = np.random.default_rng(0)
    world = rng.integers(0, 3, (8, 20), np.uint8)
    metric = TemporalConsistency(3, "exact")
    for t in range(5):
        metric.update("s", world[:, t : t + 12], shift(1, 0, (8, 12)) if t else None)
    result = metric.compute()
    assert result.value == result.pooled == 1
    assert result.compared_share == pytest.approx(11 / 12)
    assert result.name == "TC (flow: exact, nearest, occlusions masked)"
    assert not result.circular
    assert TemporalConsistency(3, "motion vectors").compute().circular


def test_tc_is_the_miou_of_moved_and_current_labels_where_flow_is_valid() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 3, (2, 6, 7), np.uint8)
    valid = rng.random((6, 7)) < 0.7
    metric = TemporalConsistency(3, "exact")
    metric.update("a", first, None)
    metric.update("a", second, FlowField(np.zeros((2, 6, 7), np.float32), valid))
    expected = mean_iou(count_pairs(first[valid], second[valid], 3))
    assert metric.compute().value == pytest.approx(float(expected))


def test_tc_sequences_are_kept_apart_and_merge() -> None:
    still = shift(0, 0, (1, 2))
    left, right = TemporalConsistency(2, "exact"), TemporalConsistency(2, "exact")
    left.update("a", [[0, 1]], None)
    left.update("a", [[0, 1]], still)
    right.update("b", [[0, 1]], still)
    right.update("b", [[1, 0]], still)
    right.update("single", [[0, 0]], None)
    result = left.merge(right).compute()
    assert result.value == 1 / 2
    assert result.pooled == pytest.approx(1 / 3)
    assert result.unpaired_sequences == ("single",)
    with pytest.raises(ConfigError, match="cannot merge TC"):
        left.merge(TemporalConsistency(2, "RAFT"))
    with pytest.raises(InputError, match="'a' is in both parts"):
        left.merge(left)


def test_tc_refuses_missing_flow_and_frames_out_of_order() -> None:
    metric = TemporalConsistency(2, "exact")
    metric.update("a", [[0, 1]], None)
    with pytest.raises(InputError, match="'a' has a frame without flow"):
        metric.update("a", [[0, 1]], None)
    with pytest.raises(InputError, match=r"flow \(2, 2\)"):
        metric.update("a", [[0, 1]], shift(0, 0, (2, 2)))
    metric.update("b", [[0, 1]], None)
    with pytest.raises(InputError, match="'a' must come in one run"):
        metric.update("a", [[0, 1]], None)
    with pytest.raises(InputError, match=r"(prediction|truth) holds 2"):
        metric.update("c", [[0, 2]], None)
    with pytest.raises(ConfigError, match="name the flow source"):
        TemporalConsistency(2, "")
