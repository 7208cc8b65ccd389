from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vssbench.rendering.figures.axes import distance_ticks, linear_axis, log_axis

FINITE = st.floats(1e-3, 1e5, allow_nan=False)


def test_linear_ends_map_to_the_ends_of_the_picture() -> None:
    axis = linear_axis([0, 10], 100, 200, margin=0)
    assert (axis.at(0), axis.at(5), axis.at(10)) == (100, 150, 200)
    assert axis.ticks == (0, 2, 4, 6, 8, 10)


def test_a_decade_is_equally_long_everywhere_on_a_log_axis() -> None:
    axis = log_axis([1, 100], 0, 300)
    assert axis.at(10) - axis.at(1) == pytest.approx(axis.at(100) - axis.at(10), abs=0.02)


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_all_values_and_ticks_lie_inside(values: list[float]) -> None:
    for axis in (linear_axis(values, 0, 100), log_axis(values, 0, 100)):
        assert all(-0.01 <= axis.at(v) <= 100.01 for v in (*values, *axis.ticks))
        assert len(axis.ticks) >= 2


def test_missing_values_do_not_matter() -> None:
    assert linear_axis([1, math.nan, 2], 0, 1) == linear_axis([1, 2], 0, 1)
    assert linear_axis([], 0, 1).ticks


def test_many_distances_get_every_nth_tick() -> None:
    assert distance_ticks(range(12)) == tuple(range(12))
    assert distance_ticks(range(30)) == tuple(range(0, 30, 3))
