"""The stacked charts and the table of the loss, from made-up staircases; and the tables of further metrics."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vssbench.analysis.decomposition import PARTS as NAMES
from vssbench.analysis.decomposition import Decomposition
from vssbench.metrics.further import Measured
from vssbench.rendering.figures import mpl, svg
from vssbench.rendering.figures.of_run import loss_charts
from vssbench.rendering.styles import PARTS
from vssbench.rendering.tables.html import html_table
from vssbench.rendering.tables.markdown import section
from vssbench.rendering.tables.scores import further_tables, loss_table


def staircase(method: str, *steps: float) -> Decomposition:
    """Two distances; steps in mIoU from the method up to the top."""
    stairs = np.cumsum([0.5, *steps])
    miou, exact, filled, full, source = (np.array([value, value - 0.01]) for value in stairs)
    return Decomposition("d", "c", method, "1.0x", (0, 3), miou, exact, filled, full, source)


FOUND = [staircase("<b>", 0.04, 0.02, 0.03, 0.01), staircase("helped", -0.02, 0.01, 0.05, 0.02)]


def test_parts_stack_to_the_loss_and_negative_parts_hang_below_zero() -> None:
    for chart, one in zip(loss_charts(FOUND), FOUND, strict=True):
        first = [row[0] for row in chart.stacked()]
        assert sum(end - start for start, end in first) == pytest.approx(100 * one.loss[0])
        assert max(end for _, end in first) == pytest.approx(
            100 * sum(max(v[0], 0) for v in one.parts.values())
        )
        assert min(0, *(end for _, end in first)) == pytest.approx(
            100 * sum(min(v[0], 0) for v in one.parts.values())
        )
        assert chart.y_extent[0] == pytest.approx(-2.0)  # one scale for both
    assert tuple(PARTS) == NAMES


def test_the_figure_draws_the_stacks_on_one_scale() -> None:
    figure = mpl.drawn(loss_charts(FOUND))
    for ax, chart in zip(figure.axes, loss_charts(FOUND), strict=True):
        drawn = [(bar.get_y(), bar.get_y() + bar.get_height()) for bar in ax.patches]
        assert drawn == [pytest.approx(ends) for row in chart.stacked() for ends in row]
    assert len({ax.get_ylim() for ax in figure.axes}) == 1


def test_the_table_sums_to_the_loss_and_escapes_names() -> None:
    table = loss_table(FOUND)
    assert "<b>" not in html_table(table)
    assert [cell.text for cell in table.rows[1].cells[4:]] == ["+6.00", "-2.00", "+1.00", "+5.00", "+2.00"]
    assert "| +6.00 | -2.00 | +1.00 | +5.00 | +2.00 |" in section(table)
    for row in table.rows:
        loss, *parts = (cell.value for cell in row.cells[4:])
        assert sum(parts) == pytest.approx(loss)
    assert loss_table([]).rows == ()


def test_bars_of_the_page_stand_on_one_another_and_tell_their_values() -> None:
    drawn = svg.drawn(loss_charts(FOUND[:1])[0])
    assert "wrong motion: +4.00" in drawn  # on hover
    assert "loss: +10.00" in drawn
    assert "<b>" not in drawn
    bars = re.findall(r'class="part u\d" x="([\d.]+)" y="([\d.]+)" width="[\d.]+" height="([\d.]+)"', drawn)
    first = [(float(y), float(height)) for x, y, height in bars if x == bars[0][0]]
    assert len(first) == len(PARTS)
    for (below, _), (y, height) in itertools.pairwise(first):
        assert y + height == pytest.approx(below, abs=0.02)
    heights = [height for _, height in first]
    assert heights[1] / heights[0] == pytest.approx(0.5, abs=0.01)  # 0.02 of 0.04


def test_further_tables_are_empty_without_further_metrics_and_hold_what_there_is() -> None:
    rows = [
        Measured(-1, -1, "VC8 (corrected)", 0.5),
        Measured(-1, -1, "pooled mIoU, motion px/frame (exact) < 0.5", float("nan")),
        Measured(3, -1, "VC8 (corrected)", 0.1),
    ]
    group = SimpleNamespace(dataset="d", codec="c", method="<i>", further=rows)
    run: Any = SimpleNamespace(groups=[group])
    contours, motion = further_tables(run)
    assert [cell.text for cell in contours.rows[0].cells] == ["d", "c", "<i>", "50.00"]
    assert (motion.title, motion.columns[3].heading) == ("mIoU by motion px/frame (exact)", "< 0.5")
    assert motion.rows[0].cells[3].text == "–"
    assert "<i>" not in html_table(contours)
    nothing: Any = SimpleNamespace(groups=[])
    assert further_tables(nothing) == []
