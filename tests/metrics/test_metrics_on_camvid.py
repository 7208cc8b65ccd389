"""The metrics on 101 consecutive real label maps: copying the keyframe's labels must get worse with distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vssbench.metrics import (
    BoundaryIoU,
    KeyframeDistanceIoU,
    UnitCounts,
    VideoConsistency,
    count_pairs,
    miou_difference,
    miou_intervals,
)

pytestmark = pytest.mark.needs_shared
CLASSES, IGNORED, INTERVAL = 11, 11, 6


@pytest.fixture(scope="module")
def labels(shared: Path) -> np.ndarray:
    paths = sorted((shared / "data/camvid/val_sequence/labels").glob("*.png"))
    maps = np.stack([np.asarray(Image.open(path)) for path in paths])
    return np.where(maps < CLASSES, maps, IGNORED).astype(np.uint8)


def copied(labels: np.ndarray, index: int) -> np.ndarray:
    """The keyframe's labels, its ignored pixels guessed as class 0."""
    key = labels[index - index % INTERVAL]
    return np.where(key == IGNORED, 0, key).astype(np.uint8)


def test_copying_the_keyframe_gets_worse_with_distance(labels: np.ndarray) -> None:
    metric, contours = (
        KeyframeDistanceIoU(CLASSES, INTERVAL, IGNORED),
        BoundaryIoU(CLASSES, ignore_index=IGNORED),
    )
    for index, truth in enumerate(labels):
        metric.update(truth, copied(labels, index), index % INTERVAL)
        contours.update(truth, copied(labels, index))
    result = metric.compute()
    assert result.frames.sum() == len(labels) == 101
    assert result.miou_d[0] == 1
    assert (np.diff(result.miou_d) < 0).all()
    assert contours.compute().mean < result.pooled_miou  # contours suffer first


def test_windows_of_one_sequence_tell_two_copies_apart_but_carry_no_interval_alone(
    labels: np.ndarray,
) -> None:
    copies = np.stack([count_pairs(t, copied(labels, i), CLASSES, IGNORED) for i, t in enumerate(labels)])
    previous = np.stack(
        [
            count_pairs(
                t, np.where(labels[max(i - 1, 0)] == IGNORED, 0, labels[max(i - 1, 0)]), CLASSES, IGNORED
            )
            for i, t in enumerate(labels)
        ]
    )
    frames = tuple(range(len(labels)))
    names = tuple(f"window {n // 17}" for n in frames)
    keyframe = UnitCounts("copy keyframe", copies[:, None], names, frames)
    last = UnitCounts("copy previous", previous[:, None], names, frames)
    interval = miou_intervals(keyframe).miou
    assert interval.low < interval.estimate < interval.high
    alone = miou_intervals(UnitCounts("copy keyframe", copies[:, None], ("0016E5",) * len(labels), frames))
    assert alone.miou.note == "1 sequence, an interval needs 4"
    difference = miou_difference(keyframe, last)
    assert difference.mark == "+"
    assert difference.miou.high - difference.miou.low < interval.high - interval.low


def test_the_truth_itself_is_consistent_when_corrected(labels: np.ndarray) -> None:
    metric = VideoConsistency(8, "corrected", IGNORED)
    for truth in labels:
        metric.update("0016E5", truth, np.where(truth == IGNORED, 0, truth))
    result = metric.compute()
    assert (result.value, result.windows, result.empty_windows) == (1, 94, 0)
