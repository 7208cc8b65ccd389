"""Pixels of frames and labels: exact at every depth, upright, and refused by name where there is no exact answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from PIL import Image

from vssbench import pictures
from vssbench.errors import InputError


def save(path, array, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8), mode).save(path)
    return path


def test_frames_are_rgb_whatever_the_file_holds(tmp_path):
    grey = save(tmp_path / "a.png", [[0, 100], [200, 255]])
    assert_array_equal(pictures.read_image(grey)[0, 1], [100, 100, 100])
    assert pictures.picture_size(grey) == (2, 2)


def test_a_missing_frame_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.png: no such file"):
        pictures.read_image(tmp_path / "nothing.png")


def test_a_truncated_png_is_named_with_its_size(tmp_path):
    path = save(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 256, (64, 48, 3)))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"cut\.png: damaged or truncated.*expected 48x64"):
        pictures.read_image(path)


def test_a_text_file_is_not_a_picture(tmp_path):
    path = tmp_path / "text.png"
    path.write_text("hello")
    with pytest.raises(InputError, match="not a readable picture"):
        pictures.read_image(path)


def test_an_absurd_size_is_refused_unread(tmp_path, monkeypatch):
    path = save(tmp_path / "big.png", np.zeros((20, 20), np.uint8))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 399)
    with pytest.raises(InputError, match=r"big\.png: claims 20x20 pixels"):
        pictures.read_image(path)


def test_palette_labels_are_indices_unless_colours_are_asked_for(tmp_path):
    picture = Image.fromarray(np.array([[1, 0]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "p.png")
    assert_array_equal(pictures.read_label_values(tmp_path / "p.png"), [[1, 0]])
    assert_array_equal(
        pictures.read_label_values(tmp_path / "p.png", colours=True), [[[40, 50, 60], [10, 20, 30]]]
    )


def test_labels_of_the_wrong_kind_are_refused(tmp_path):
    save(tmp_path / "rgb.png", np.zeros((2, 2, 3)))
    with pytest.raises(InputError, match="mode RGB, expected whole numbers"):
        pictures.read_label_values(tmp_path / "rgb.png", colours=False)
