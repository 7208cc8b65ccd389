"""Warping against closed forms: exact shifts, and the released code's stretch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vssbench.ops import scale_flow, warp


def sample(feature: np.ndarray, columns: np.ndarray, rows: np.ndarray, clamp: bool) -> np.ndarray:
    """Bilinear samples of [C, H, W] at [H, W] positions, from the definition; outside 0 or the nearest pixel."""
    channels, height, width = feature.shape
    if clamp:
        columns, rows = np.clip(columns, 0, width - 1), np.clip(rows, 0, height - 1)
    out = np.zeros((channels, *columns.shape))
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = np.floor(rows).astype(int) + dy, np.floor(columns).astype(int) + dx
            weight = (1 - abs(rows - y)) * (1 - abs(columns - x))
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            out += feature[:, np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] * (weight * inside)
    return out


def random_case(seed: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(1, 3, height, width, generator=generator, dtype=torch.float64)
    flow = (
        (torch.rand(1, 2, height, width, generator=generator, dtype=torch.float64) - 0.5)
        * 2
        * max(height, width)
    )
    return feature, flow


@given(st.integers(0, 10**6), st.integers(2, 9), st.integers(2, 9), st.booleans())
def test_paper_sampling_is_the_stretched_closed_form(seed, height, width, clamp):
    feature, flow = random_case(seed, height, width)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    columns = (x + flow[0, 0].numpy()) * width / (width - 1) - 0.5
    rows = (y + flow[0, 1].numpy()) * height / (height - 1) - 0.5
    warped = warp(feature, flow, sampling="paper", border="clamp" if clamp else "zero")
    np.testing.assert_allclose(warped[0].numpy(), sample(feature[0].numpy(), columns, rows, clamp), atol=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_exact_sampling_is_the_plain_closed_form(seed, height, width, clamp):
    feature, flow = random_case(seed, height, width)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    expected = sample(feature[0].numpy(), x + flow[0, 0].numpy(), y + flow[0, 1].numpy(), clamp)
    warped = warp(feature, flow, sampling="exact", border="clamp" if clamp else "zero")
    np.testing.assert_allclose(warped[0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("border", ["zero", "clamp"])
def test_zero_flow_returns_the_input_bit_for_bit(dtype, border):
    feature = torch.randn(2, 5, 13, 17).to(dtype)
    assert torch.equal(warp(feature, torch.zeros(2, 2, 13, 17), sampling="exact", border=border), feature)


@given(st.integers(-12, 12), st.integers(-12, 12))
def test_integer_flow_shifts_exactly(dx, dy):
    feature = torch.randn(1, 2, 10, 11, generator=torch.Generator().manual_seed(3))
    flow = torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, 10, 11)
    expected = torch.zeros_like(feature)
    for y in range(10):
        for x in range(11):
            if 0 <= y + dy < 10 and 0 <= x + dx < 11:
                expected[..., y, x] = feature[..., y + dy, x + dx]
    assert torch.equal(warp(feature, flow, sampling="exact", border="zero"), expected)


def test_positive_flow_samples_to_the_right_and_below():
    feature = torch.arange(12.0).view(1, 1, 3, 4)
    flow = torch.ones(1, 2, 3, 4)
    assert warp(feature, flow, sampling="exact")[0, 0].tolist() == [
        [5, 6, 7, 7],
        [9, 10, 11, 11],
        [9, 10, 11, 11],
    ]


def test_zero_flow_under_paper_sampling_halves_the_border():
    warped = warp(torch.ones(1, 1, 5, 6), torch.zeros(1, 2, 5, 6))[0, 0]
    assert warped[0, 0] == pytest.approx(1 / 4)
    assert warped[0, 2].item() == pytest.approx(1 / 2, abs=1e-6)
    assert warped[2, 2].item() == pytest.approx(1.0)


def test_labels_move_by_nearest_sampling_without_new_values():
    labels = torch.tensor([[0.0, 3.0, 7.0, 9.0]]).view(1, 1, 1, 4)
    flow = torch.tensor([0.4, 0.6, -0.4, 0.0]).view(1, 1, 1, 4)
    flow = torch.cat([flow, torch.zeros_like(flow)], 1)
    moved = warp(labels, flow, sampling="exact", interpolation="nearest")
    assert moved.flatten().tolist() == [0, 7, 7, 9]


def test_gradients_of_exact_sampling_are_right():
    feature, flow = random_case(5, 4, 5)
    flow = flow * 0.1 + 0.23  # away from integers, where the derivative jumps
    for border in ("zero", "clamp"):
        assert torch.autograd.gradcheck(
            lambda f, v, b=border: warp(f, v, sampling="exact", border=b),
            (feature.requires_grad_(), flow.requires_grad_()),
        )


def test_flow_of_another_size_is_refused():
    with pytest.raises(ValueError, match="flow must be"):
        warp(torch.zeros(1, 3, 4, 4), torch.zeros(1, 2, 8, 8))


def test_paper_ratio_scales_both_components_by_the_heights():
    flow = torch.full((1, 2, 90, 120), 8.0)
    paper = scale_flow(flow, (23, 40), ratio="paper")
    exact = scale_flow(flow, (23, 40), ratio="exact")
    assert paper.dtype == torch.float64
    assert paper[0, :, 0, 0].tolist() == pytest.approx([8 * 23 / 90, 8 * 23 / 90])
    assert exact[0, :, 0, 0].tolist() == pytest.approx([8 * 40 / 120, 8 * 23 / 90])


def test_nearest_resampling_invents_no_motion():
    flow = torch.zeros(1, 2, 8, 8)
    flow[..., 4:] = 16.0
    values = scale_flow(flow, (4, 3), resample="nearest", ratio="exact")[0, 0].unique().tolist()
    assert values == [0.0, 6.0]
    assert len(scale_flow(flow, (4, 3), resample="bilinear", ratio="exact")[0, 0].unique()) > 2


def test_a_whole_flow_at_stride_8_is_exact():
    flow = torch.randint(-64, 64, (1, 2, 16, 24)).double()
    assert torch.equal(scale_flow(flow, (2, 3), resample="nearest"), flow[:, :, ::8, ::8] / 8)
