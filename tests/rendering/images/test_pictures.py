from __future__ import annotations

import numpy as np
import pytest

from vssbench.analysis.run import Run
from vssbench.rendering.images.colours import (
    WRONG,
    error_image,
    label_image,
    motion_image,
)
from vssbench.rendering.page.frames import tracks
from vssbench.results.frames import PictureCase


def tiny_case(truth: list[list[int]], predicted: list[list[int]]) -> PictureCase:
    palette = np.zeros((256, 3), np.uint8)
    palette[:2] = [[10, 20, 30], [40, 50, 60]]
    maps = np.array(truth, np.uint8), np.array(predicted, np.uint8)
    image = np.full((*maps[0].shape, 3), 128, np.uint8)
    return PictureCase(
        "data", "codec", "seq", 0, 0, "I", None, ("a", "b"), palette, 255, image, maps[0], {"method": maps[1]}, None, None
    )  # fmt: skip


def test_labels_take_class_colours_and_ignored_pixels_are_black() -> None:
    case = tiny_case([[0, 1, 255]], [[0, 1, 1]])
    assert label_image(case.truth, case).tolist() == [[[10, 20, 30], [40, 50, 60], [0, 0, 0]]]


def test_only_wrong_scored_pixels_are_vermilion() -> None:
    image = error_image(tiny_case([[0, 1, 255]], [[0, 0, 1]]), "method")[0]
    assert tuple(image[1]) == WRONG
    assert len(set(image[0].tolist())) == 1  # grey
    assert tuple(image[2]) == (0, 0, 0)


def test_miou_of_the_frame_leaves_ignored_pixels_out() -> None:
    # class a: 1 of 2 in the union; class b: 1 of 2
    assert tiny_case([[0, 1, 1, 255]], [[0, 0, 1, 0]]).frame_miou("method") == pytest.approx(0.5)


def test_a_case_without_motion_has_no_motion_picture() -> None:
    assert motion_image(tiny_case([[0]], [[0]])) is None


def test_a_kept_picture_is_decoded_in_the_order_of_the_experiment(run: Run) -> None:
    still = next(track.cases[0] for track in tracks(run) if track.sequence == "seq-1").picture()
    assert list(still.predictions) == ["constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5"]
    assert still.frame_miou("constant 1.0") == 1.0
    assert still.flow is not None
    assert still.flow[0, 72, 0] == pytest.approx((2 - 96) / 12, abs=0.01)  # kept at the middle of 4 samples
    motion = motion_image(still)
    assert motion is not None
    assert motion.shape == (144, 192, 3)
