"""Projections, local attention and sum in one pass: the same as the steps one by one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.baselines.ar_seg import CReFF
from vssbench.cost import count_macs
from vssbench.ops.local_attention import attend_eagerly
from vssbench.ops.projected_attention import projected_attention, suits_projection

CASES = [
    (1, 8, 20, 33, 7),
    (2, 5, 17, 70, 3),
    (1, 12, 40, 64, 11),
    (1, 3, 9, 9, 1),
    (1, 16, 7, 5, 9),
    (1, 13, 6, 95, 5),
]


def projections(channels: int) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    """Random depthwise filters; biases are not zero, so that borders show whether they reach outside the map."""
    q, k, v = (nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(3))
    return q, k, v


@pytest.mark.parametrize("border", ["zero", "exclude"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("batch", "channels", "height", "width", "window"), CASES)
@torch.inference_mode()
def test_one_pass_equals_the_steps(batch, channels, height, width, window, layout, border):
    query, reference = (
        torch.randn(batch, channels, height, width).contiguous(memory_format=layout) for _ in range(2)
    )
    q, k, v = projections(channels)
    expected = query + attend_eagerly(q(query), k(reference), v(reference), window, scale=0.5, border=border)
    found = projected_attention(query, reference, (q, k, v), window, scale=0.5, border=border)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=5e-6)


@torch.inference_mode()
def test_threads_change_no_bit():
    query, reference, filters = torch.randn(1, 6, 31, 45), torch.randn(1, 6, 31, 45), projections(6)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            found.append(projected_attention(query, reference, filters, 7))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_only_what_it_can_do_is_given_to_it():
    maps, filters = torch.randn(1, 4, 9, 9), projections(4)
    assert not suits_projection(maps, maps, filters, 3)  # a gradient may be wanted
    with torch.inference_mode():
        assert suits_projection(maps, maps, filters, 3)
        assert not suits_projection(maps, maps, filters, 13)
        assert not suits_projection(maps.double(), maps.double(), filters, 3)
        assert not suits_projection(maps, maps[..., :8], filters, 3)
        full = nn.Conv2d(4, 4, 3, padding=1)
        assert not suits_projection(maps, maps, (*filters[:2], full), 3)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not suits_projection(maps, maps, filters, 3)


def test_the_fusion_is_the_same_with_and_without_gradients_and_its_cost_lists_all_layers():
    fusion, reference, low = CReFF(8, 5), torch.randn(1, 8, 24, 32), torch.randn(1, 8, 12, 16)
    step_by_step = fusion(reference, low)
    assert step_by_step.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(fusion(reference, low), step_by_step, rtol=1e-5, atol=1e-5)
        convolutions, attention = 3 * 9 * 8 * 24 * 32, 2 * 25 * 8 * 24 * 32
        assert count_macs(fusion, reference, low).total == convolutions + attention
