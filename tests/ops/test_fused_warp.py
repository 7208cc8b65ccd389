"""Warping in one pass of C++ against the same warp by torch's operators, and its closed forms in float32."""

from __future__ import annotations

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.ops import warp
from vssbench.ops.accounting import span, watching


def by_operators(*arguments, **options) -> torch.Tensor:
    """The differentiable way, which the loop must not differ from."""
    module = sys.modules["vssbench.ops.warp"]
    suits, module._suits_the_loop = module._suits_the_loop, lambda feature, flow: False
    try:
        return warp(*arguments, **options)
    finally:
        module._suits_the_loop = suits


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 13), st.integers(1, 13)),
    st.sampled_from(["paper", "exact"]),
    st.sampled_from(["zero", "clamp"]),
    st.booleans(),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_one_pass_equals_the_operators(seed, shape, sampling, border, channels_last, flow_type):
    generator = torch.Generator().manual_seed(seed)
    feature = torch.randn(*shape, generator=generator)
    if channels_last:
        feature = feature.contiguous(memory_format=torch.channels_last)
    flow = (12 * torch.rand(shape[0], 2, *shape[2:], generator=generator) - 6).to(flow_type)
    ours = warp(feature, flow, sampling=sampling, border=border)
    torch.testing.assert_close(
        ours, by_operators(feature, flow, sampling=sampling, border=border), rtol=1e-5, atol=2e-5
    )


@pytest.mark.parametrize("border", ["zero", "clamp"])
def test_zero_flow_and_whole_shifts_are_exact(border):
    feature = torch.randn(1, 5, 9, 11)
    assert torch.equal(warp(feature, torch.zeros(1, 2, 9, 11), sampling="exact", border=border), feature)
    flow = torch.tensor([2.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, 9, 11)
    moved = warp(feature, flow, sampling="exact", border=border)
    assert torch.equal(moved[..., 3:, :-2], feature[..., :-3, 2:])


def test_flow_that_is_no_number_or_far_away_samples_the_border_value():
    feature = torch.ones(1, 2, 4, 5)
    flow = torch.zeros(1, 2, 4, 5)
    flow[0, 0, 0, 0], flow[0, 1, 1, 1], flow[0, 0, 2, 2] = float("nan"), float("inf"), -1e30
    moved = warp(feature, flow, sampling="exact", border="zero")
    assert moved[0, 0, 0, 0] == moved[0, 0, 1, 1] == moved[0, 0, 2, 2] == 0
    assert moved.sum() == 2 * (20 - 3)


def test_a_gradient_goes_the_differentiable_way():
    feature = torch.randn(1, 2, 4, 5, requires_grad=True)
    warp(feature, torch.zeros(1, 2, 4, 5), sampling="exact").sum().backward()
    assert torch.equal(feature.grad, torch.ones_like(feature))


def test_parts_of_a_step_are_named_to_whoever_watches():
    from contextlib import contextmanager

    seen = []

    @contextmanager
    def watch(name):
        seen.append(f"{name} begins")
        yield
        seen.append(f"{name} ends")

    with span("unwatched"):
        pass
    with watching(watch), span("upsample"):
        seen.append("inside")
    assert seen == ["upsample begins", "inside", "upsample ends"]
