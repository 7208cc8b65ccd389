"""A page of many methods: names at the lines, families joined, colours that repeat marked; and what methods are."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.run import Run
from vssbench.rendering.curves import looks, panels
from vssbench.rendering.figures import mpl, svg
from vssbench.rendering.figures.of_run import class_charts, cost_charts, distance_charts
from vssbench.rendering.page.glossary import glossary
from vssbench.rendering.report import write_report
from vssbench.rendering.styles import SERIES

MANY = {
    f"{kind} {i}": (name, 0.76 - 0.01 * i - less, 0.001 * i, (50.0 / (i + 1), 40.0 / (i + 1)))
    for kind, name, less in (("constant", "constant", 0.0), ("warped", "warp-only", 0.02))
    for i in range(7)
}


@pytest.fixture(scope="module")
def many(fabricate: Any, tmp_path_factory: pytest.TempPathFactory) -> Run:
    made: Run = fabricate(
        tmp_path_factory.mktemp("many") / "run",
        methods=MANY,
        sequences=2,
        units=1,
        distances=3,
        pictures=False,
    )
    return made


def places(text: str) -> dict[str, float]:
    """Name at a line -> its height."""
    found = re.findall(r'<text class="name" x="[\d.]+" y="([\d.]+)"[^>]*>([^<]+)</text>', text)
    return {name: float(y) for y, name in found}


def test_names_stand_at_the_lines_in_their_order_and_apart(many: Run) -> None:
    for chart in (*cost_charts(panels(many)), *distance_charts(panels(many))):
        text = str(svg.drawn(chart))
        named = places(text)
        assert set(named) == set(MANY)
        heights = sorted(named.values())
        assert all(b - a >= 11 for a, b in itertools.pairwise(heights))
        height = int(re.search(r'viewBox="0 0 460 (\d+)"', text)[1])  # type: ignore[index]
        assert 20 < heights[0] < heights[-1] < height - 40
        by_score = sorted(chart.lines, key=lambda line: -line.points[-1].y)
        assert sorted(named, key=lambda name: named[name]) == [line.name for line in by_score]


def test_a_legend_stands_where_names_do_not(many: Run, run: Run, tmp_path: Path) -> None:
    for made, direct in ((many, True), (run, False)):
        write_report(made, tmp_path / "out", pictures=False, figure_files=False)
        html = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
        for section in ("cost", "distance", "classes"):
            part = html.partition(f'<section id="{section}">')[2].partition("</section>")[0]
            assert ('aria-label="Methods"' in part) == (section == "classes" or not direct)
            assert ('class="name"' in part) == (section != "classes" and direct)
        assert bool(mpl.drawn(cost_charts(panels(made))).legends) != direct


def test_a_colour_that_comes_again_is_marked() -> None:
    looked = [(style.colour, style.marker, style.dashes) for style in SERIES]
    assert len(set(looked)) == len(looked)  # of lines by marker and dashes


def test_bars_of_a_colour_that_comes_again_look_otherwise(many: Run) -> None:
    chart = class_charts(panels(many), {"streets": many.datasets["streets"].class_names})[0]
    kinds = set(re.findall(r'class="block (s\d r\d)"', str(svg.drawn(chart))))
    assert kinds == {f"s{i % 8} r{i // 8}" for i in range(len(MANY))}


def test_methods_of_a_family_are_joined_from_cheap_to_dear(run: Run) -> None:
    for chart in cost_charts(panels(run)):
        (trace,) = chart.traces
        points = {line.name: line.points[0] for line in chart.lines}
        wanted = [points["constant 0.5"], points["constant 1.0"]]
        assert [(p.x, p.y) for p in trace.points] == [(p.x, p.y) for p in wanted]
        assert str(svg.drawn(chart)).count('class="trace') == 1


def test_every_method_is_explained_in_one_sentence(run: Run) -> None:
    told = glossary(run, looks(run, panels(run)))
    assert list(told) == ["constant 1.0", "constant 0.5", "warp-only", "AR-Seg 0.5"]
    assert told["constant 0.5"].startswith("constant, ")
    assert "scale 0.5" in told["constant 0.5"]
    assert "full resolution" in told["constant 1.0"]
    for text in told.values():
        assert text.endswith(".")
        assert "\n" not in text
