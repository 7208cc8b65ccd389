from __future__ import annotations

import numpy as np
import pytest

from vssbench.errors import InputError
from vssbench.rendering.images.colours import (
    WRONG,
    PictureCase,
    error_image,
    label_image,
    motion_image,
    picture_cases,
)
from vssbench.analysis.run import Run


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


def test_stored_pictures_are_read_in_the_order_of_the_experiment(run: Run) -> None:
    cases = picture_cases(run)
    assert [case.codec for case in cases] == ["hevc-700k", "h264-700k"]
    assert list(cases[0].predictions) == ["constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5"]
    assert cases[0].frame_miou("constant 1.0") == 1.0
    assert cases[0].largest_motion > 5
    motion = motion_image(cases[0])
    assert motion is not None
    assert motion.shape == (144, 192, 3)


def test_a_damaged_picture_is_one_clear_error(fabricate, tmp_path) -> None:  # type: ignore[no-untyped-def]
    run = fabricate(tmp_path / "run", sequences=1, units=1, distances=2)
    next((run.path / "pictures").glob("*/*/*/truth.png")).write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read"):
        picture_cases(run)
