"""The stacked figure and table of the loss, from made-up staircases."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.decomposition import PARTS, Decomposition
from vssbench.rendering.figures.decomposition import (
    LOOKS,
    decomposition_charts,
    decomposition_markdown,
)
from vssbench.rendering.figures.decomposition_mpl import decomposition_figure
from vssbench.rendering.tables.further import further_markdown, further_section


def staircase(method: str, *steps: float) -> Decomposition:
    """Two distances; steps in mIoU from the method up to the top."""
    stairs = np.cumsum([0.5, *steps])
    miou, exact, filled, full, source = (np.array([value, value - 0.01]) for value in stairs)
    return Decomposition("d", "c", method, "1.0x", (0, 3), miou, exact, filled, full, source)


FOUND = [staircase("<b>", 0.04, 0.02, 0.03, 0.01), staircase("helped", -0.02, 0.01, 0.05, 0.02)]


def test_bars_stack_to_the_loss_and_negative_parts_hang_below_zero() -> None:
    figure = decomposition_figure(FOUND)
    for ax, one in zip(figure.axes, FOUND, strict=True):
        first = [bar for bar in ax.patches if abs(bar.get_x() + bar.get_width() / 2) < 1e-9]
        assert len(first) == len(PARTS)
        assert sum(bar.get_height() for bar in first) == pytest.approx(100 * one.loss[0])
        tops = [bar.get_y() + bar.get_height() for bar in first]
        assert max(tops) == pytest.approx(100 * sum(max(v[0], 0) for v in one.parts.values()))
        assert min([*tops, 0]) == pytest.approx(100 * sum(min(v[0], 0) for v in one.parts.values()))
    assert len({ax.get_ylim() for ax in figure.axes}) == 1
    assert set(LOOKS) == set(PARTS)


def test_the_table_sums_to_the_loss_and_escapes_names() -> None:
    run: Any = SimpleNamespace(decompositions=FOUND)
    legend, drawn, table = decomposition_charts(run, {"<b>": 1, "helped": 0})
    assert legend.count("<li>") == len(PARTS) + 1
    assert drawn.count('class="chart"') == 2
    assert drawn.count('class="part') == 2 * 2 * len(PARTS)  # methods, distances
    assert "wrong motion: -2.00" in drawn  # on hover
    assert "loss: +6.00" in drawn
    assert "<b>" not in table + drawn
    assert table.index("helped") < table.index("&lt;b&gt;")  # in the order of the experiment
    assert "+10.00" in table
    assert decomposition_charts(SimpleNamespace(decompositions=[]), {}) == []
    text = decomposition_markdown(FOUND)
    assert "| +6.00 | -2.00 | +1.00 | +5.00 | +2.00 |" in text
    assert decomposition_markdown([]) == ""


def test_bars_of_the_page_stand_on_one_another() -> None:
    run: Any = SimpleNamespace(decompositions=FOUND[:1])
    drawn = decomposition_charts(run, {})[1]
    bars = re.findall(r'class="part u\d" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)
    first = [(float(y), float(height)) for x, y, height in bars if x == bars[0][0]]
    assert len(first) == len(PARTS)
    for (below, _), (y, height) in itertools.pairwise(first):
        assert y + height == pytest.approx(below, abs=0.02)
    heights = [height for _, height in first]
    assert heights[1] / heights[0] == pytest.approx(0.5, abs=0.01)  # 0.02 of 0.04


def test_the_same_figure_is_the_same_picture() -> None:
    run: Any = SimpleNamespace(decompositions=FOUND)
    assert decomposition_charts(run, {}) == decomposition_charts(run, {})


def test_further_tables_are_empty_without_further_metrics_and_print_what_there_is() -> None:
    from vssbench.metrics.further import Measured

    rows = [
        Measured(-1, -1, "VC8 (corrected)", 0.5),
        Measured(-1, -1, "pooled mIoU, motion px/frame (exact) < 0.5", float("nan")),
        Measured(3, -1, "VC8 (corrected)", 0.1),
    ]
    group = SimpleNamespace(dataset="d", codec="c", method="<i>", further=rows)
    run: Any = SimpleNamespace(groups=[group])
    text = further_section(run)
    assert "VC8 (corrected)" in text
    assert "50.00" in text
    assert "10.00" not in text
    assert "<i>" not in text
    assert "## mIoU by motion px/frame (exact)" in further_markdown(run)
    assert further_section(SimpleNamespace(groups=[])) == ""
