"""Bilinear conventions against closed-form interpolation, and LR input sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vssbench.errors import ConfigError
from vssbench.ops import normalise_image, predict_labels, resize, resize_input, resize_nearest, scaled_size


def interpolation_matrix(inputs: int, outputs: int, corners: str) -> np.ndarray:
    """[outputs, inputs]: weight of each source sample, from the specification's formulas."""
    matrix = np.zeros((outputs, inputs))
    for i in range(outputs):
        if corners == "align-corners":
            position = i * (inputs - 1) / (outputs - 1) if outputs > 1 else 0.0
        else:
            position = max(0.0, (i + 0.5) * inputs / outputs - 0.5)
        low = min(int(np.floor(position)), inputs - 1)
        high = min(low + 1, inputs - 1)
        matrix[i, low] += 1 - (position - low)
        matrix[i, high] += position - low
    return matrix


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 12),
    st.integers(1, 12),
    st.sampled_from(["align-corners", "half-pixel"]),
)
def test_resize_equals_the_closed_form(height, width, rows, columns, corners):
    maps = torch.randn(
        1, 2, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(height * 97 + width)
    )
    expected = np.einsum(
        "ih,nchw,jw->ncij",
        interpolation_matrix(height, rows, corners),
        maps.numpy(),
        interpolation_matrix(width, columns, corners),
    )
    np.testing.assert_allclose(resize(maps, (rows, columns), corners=corners).numpy(), expected, atol=1e-12)


def test_equal_sizes_return_the_input_itself():
    maps = torch.randn(1, 1, 3, 5)
    assert resize(maps, (3, 5)) is maps
    assert resize_nearest(maps, (3, 5)) is maps


@given(st.integers(1, 40), st.integers(1, 40))
def test_nearest_takes_the_floor_index(inputs, outputs):
    taken = resize_nearest(torch.arange(inputs).view(1, 1, 1, inputs), (1, outputs))[0, 0, 0].tolist()
    assert taken == [i * inputs // outputs for i in range(outputs)]


@pytest.mark.parametrize(
    ("size", "lr_scale", "rule", "expected"),
    [
        ((720, 960), 0.7, "truncate", (503, 672)),
        ((720, 960), 0.7, "round", (504, 672)),
        ((1024, 2048), 0.3, "truncate", (307, 614)),
        ((1024, 2048), 0.9, "truncate", (921, 1843)),
        ((720, 960), 1.0, "truncate", (720, 960)),
    ],
)
def test_lr_sizes_are_those_of_the_specification(size, lr_scale, rule, expected):
    assert scaled_size(size, lr_scale, size_rule=rule) == expected


@pytest.mark.parametrize("lr_scale", [0.0, -0.5, float("nan"), float("inf"), 0.01])
def test_an_lr_scale_that_leaves_no_pixel_is_refused(lr_scale):
    with pytest.raises(ConfigError, match="lr_scale"):
        scaled_size((64, 96), lr_scale)


def test_full_scale_input_is_the_frame_itself():
    image = torch.randn(1, 3, 11, 13)
    assert resize_input(image, 1.0) is image


def test_normalisation_is_per_channel_in_rgb_order():
    image = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    values = normalise_image(image, ((0.5, 0.0, 0.25), (0.5, 0.1, 0.5))).flatten().tolist()
    assert values == pytest.approx([-1.0, 2.0, 1.5])


def test_logits_and_log_probabilities_give_the_same_labels():
    logits = torch.randn(1, 5, 9, 7, dtype=torch.float64) * 4
    labels = predict_labels(logits, (20, 31))
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, predict_labels(torch.log_softmax(logits, 1), (20, 31)))


@pytest.mark.parametrize("classes", [2, 11, 255])
def test_the_first_of_equal_classes_wins_on_every_device(classes):
    scores = torch.randint(0, 3, (2, classes, 7, 9), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(predict_labels(scores, (7, 9)), scores.argmax(1).byte())
    assert predict_labels(torch.full((1, classes, 2, 2), float("nan")), (2, 2)).max() < classes
    assert predict_labels(scores.to("meta"), (5, 5)).shape == (2, 5, 5)
