"""Composing, reversing and searching flow: small cases by hand, translations exactly."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.cost.counter import MacsCounter
from vssbench.errors import ConfigError
from vssbench.ops import warp
from vssbench.ops.flow_chain import compose_flow, match_blocks, reverse_flow


def row(*values: float) -> torch.Tensor:
    """Horizontal flow of one row of pixels."""
    flow = torch.zeros(1, 2, 1, len(values))
    flow[0, 0, 0] = torch.tensor(values)
    return flow


def test_a_composed_flow_adds_what_is_found_where_the_first_points():
    #        position 0 points to 2, where 1 more is added; 3 points outside and is clamped to 3
    composed = compose_flow(row(2, 0, 0, 4), row(9, 5, 1, 7))
    assert composed[0, 0, 0].tolist() == [3, 5, 1, 11]


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3), st.integers(-3, 3))
@settings(max_examples=25, deadline=None)
def test_two_integer_translations_compose_to_their_sum_and_warp_alike(ax, ay, bx, by):
    first, second = (
        torch.tensor(v, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 12, 14)
        for v in ((ax, ay), (bx, by))
    )
    total = compose_flow(first, second)
    assert torch.equal(total, first + second)
    picture = torch.arange(168.0).view(1, 1, 12, 14)
    twice = warp(warp(picture, second, sampling="exact"), first, sampling="exact")
    once = warp(picture, total, sampling="exact")
    assert torch.equal(once[..., 6:-6, 6:-6], twice[..., 6:-6, 6:-6])


def test_reversing_by_hand():
    assert reverse_flow(row(-2, -2, 0, 0), "negate")[0, 0, 0].tolist() == [2, 2, 0, 0]
    # 0 and 1 point outside the row: nothing arrives from them
    assert reverse_flow(row(-2, -2, 0, 0), "splat")[0, 0, 0].tolist() == [2, 2, 0, 0]
    # 2 -> 0 and 3 -> 1 carry their opposites; nothing moves where nothing arrives
    assert reverse_flow(row(0, 0, -2, -2), "splat")[0, 0, 0].tolist() == [2, 2, 2, 2]
    assert reverse_flow(row(0, 0, 2, 0), "splat")[0, 0, 0].tolist() == [0, 0, -2, 0]
    # 1 and 3 both arrive at 2: the later place stays
    assert reverse_flow(row(0, 1, 1, -1), "splat")[0, 0, 0].tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize("rule", ["negate", "splat"])
def test_a_translation_reverses_to_its_opposite_and_back(rule):
    flow = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(2, 2, 10, 12)
    assert torch.equal(reverse_flow(flow, rule), -flow)
    assert torch.equal(reverse_flow(reverse_flow(flow, rule), rule), flow)


def test_splatting_does_not_depend_on_the_order_of_execution():
    torch.manual_seed(0)
    flow = 4 * torch.randn(1, 2, 16, 16)
    assert all(torch.equal(reverse_flow(flow), reverse_flow(flow)) for _ in range(3))


@pytest.mark.parametrize("shift", [(0, 0), (5, -3), (-8, 8)])
def test_block_matching_finds_an_integer_translation(shift):
    torch.manual_seed(1)
    wide = torch.randint(0, 256, (2, 3, 80, 96), dtype=torch.uint8)
    dx, dy = shift
    image = wide[..., 16:64, 16:80]
    reference = wide[..., 16 - dy : 64 - dy, 16 - dx : 80 - dx]
    flow = match_blocks(image, reference, block=16, radius=8)
    assert flow.shape == (2, 2, 48, 64)
    inner = flow[..., 16:32, 16:48]
    assert torch.equal(inner, torch.tensor([dx, dy], dtype=torch.float32).view(1, 2, 1, 1).expand_as(inner))


def test_a_flat_picture_stands_still_and_sizes_need_no_multiple():
    flat = torch.full((1, 3, 21, 35), 90, dtype=torch.uint8)
    assert torch.equal(match_blocks(flat, flat, radius=2), torch.zeros(1, 2, 21, 35))


def test_the_search_is_listed_and_not_counted():
    counter = MacsCounter()
    with counter.counting():
        match_blocks(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), radius=1)
    ledger = counter.ledger()
    assert ledger.total == 0
    (listed,) = [o for o in ledger.uncounted if o.name == "block_matching"]
    assert (listed.category, listed.macs) == ("search", 9 * 32 * 32)


def test_an_empty_search_is_refused():
    with pytest.raises(ConfigError, match="radius 0"):
        match_blocks(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), radius=0)
