"""What the charts of a run show, as numbers; and that both back ends draw the same of them."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.run import Run
from vssbench.errors import VssbenchError
from vssbench.rendering.curves import panels
from vssbench.rendering.figures import mpl, svg
from vssbench.rendering.figures.charts import Chart, ClassChart, Line, LineChart, Point, extent
from vssbench.rendering.figures.of_run import (
    budget_charts,
    class_charts,
    cost_charts,
    distance_charts,
    quality_charts,
    rate_charts,
)
from vssbench.rendering.report import write_report

CURVES = {
    "constant 1.0": ("constant", 0.76, 0.0, (40.0, 40.0)),
    "constant 0.5": ("constant", 0.65, 0.0, (10.0, 10.0)),
    "half 1.0": ("ar-seg", 0.76, 0.0, (20.0, 20.0)),
    "half 0.5": ("ar-seg", 0.65, 0.0, (5.0, 5.0)),
}
SMALL = {"sequences": 4, "units": 3, "distances": 2, "pictures": False}


def test_a_distance_chart_holds_the_miou_of_every_group(run: Run) -> None:
    charts = distance_charts(panels(run))
    assert [chart.codec for chart in charts] == ["hevc-700k", "h264-700k"]
    groups = {(g.codec, g.method): g for g in run.groups}
    for chart in charts:
        assert chart.heading == ("streets", chart.codec, f"{groups[chart.codec, 'warp-only'].kbps:.0f} kb/s")
        for line in chart.lines:
            group = groups[chart.codec, line.name]
            assert [p.x for p in line.points] == list(group.distances)
            assert [p.y for p in line.points] == pytest.approx(list(100 * group.miou_d))
            assert all(p.low < p.y < p.high for p in line.points)
            assert line.points[1].tip.startswith(f"{line.name}\nd = 1: mIoU {line.points[1].y:.2f} % [")
    assert len({chart.y_extent for chart in charts}) == 1  # one scale per dataset


def test_a_cost_chart_holds_cost_mean_and_interval_of_every_method(run: Run) -> None:
    for chart in cost_charts(panels(run)):
        for line in chart.lines:
            (point,) = line.points
            (group,) = [g for g in run.groups if (g.codec, g.method) == (chart.codec, line.name)]
            assert point.x == run.gmacs("streets", line.name)
            assert point.y == pytest.approx(100 * group.miou)
            ends = group.intervals.miou
            assert (point.low, point.high) == pytest.approx((100 * ends.low, 100 * ends.high))
            assert (line.around, line.codec) == ("bars", chart.codec)


def test_bitrates_that_hardly_differ_make_no_chart(run: Run, fabricate: Any, tmp_path: Path) -> None:
    assert rate_charts(panels(run)) == []
    codecs = {"hevc-a": (400.0, 0.02), "hevc-b": (800.0, 0.0)}
    swept = fabricate(tmp_path / "run", methods=CURVES, codecs=codecs, **SMALL)
    (chart,) = rate_charts(panels(swept))
    assert chart.heading == ("streets", "hevc")
    assert [point.x for point in chart.lines[0].points] == [400.0, 800.0]
    assert chart.lines[0].points[0].y < chart.lines[0].points[1].y
    write_report(swept, tmp_path / "out", pictures=False)
    assert (tmp_path / "out/figures/bitrate.svg").stat().st_size > 1000
    assert (tmp_path / "out/figures/quality.svg").stat().st_size > 1000


def test_accuracy_over_quality_stands_beside_accuracy_over_bitrate(fabricate: Any, tmp_path: Path) -> None:
    codecs = {"hevc-a": (400.0, 0.02), "hevc-b": (800.0, 0.0)}
    found = panels(fabricate(tmp_path / "run", methods=CURVES, codecs=codecs, **SMALL))
    (chart,), (over_rate,) = quality_charts(found), rate_charts(found)
    assert chart.x_title == "PSNR of the coded luma (dB)"
    decibels = [10 * math.log10(400), 10 * math.log10(800)]  # as the fixture codes them
    assert [point.x for point in chart.lines[0].points] == pytest.approx(decibels)
    assert [p.y for p in chart.lines[0].points] == [p.y for p in over_rate.lines[0].points]
    assert "hevc-a, 400 kb/s, PSNR 26.02 dB" in chart.lines[0].points[0].tip
    for value in (math.nan, math.inf):  # unknown; nothing lost
        unknown = [replace(p, curves=tuple(replace(c, psnr_db=value) for c in p.curves)) for p in found]
        assert quality_charts(unknown) == []
        assert len(rate_charts(unknown)) == 1


def test_budget_curves_are_drawn_on_page_and_in_a_file(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "run", methods=CURVES, **SMALL)
    first, second = budget_charts(panels(run), run.families)
    assert [line.name for line in first.lines] == ["constant", "ar-seg"] == [c.name for c in second.lines]
    assert [point.x for point in first.lines[1].points] == [5.0, 20.0]
    assert [point.tip.split("\n")[0] for point in first.lines[1].points] == ["half 0.5", "half 1.0"]
    write_report(run, tmp_path / "out", pictures=False)
    assert (tmp_path / "out/figures/budget.svg").stat().st_size > 1000
    html = (tmp_path / "out/index.html").read_text(encoding="utf-8")
    section = html[html.index('id="bd"') : html.index('id="distance"')]
    assert section.count("<polyline") == 4  # two curves in each of two panels
    assert "half 0.5\n" in section
    alone = fabricate(tmp_path / "alone", sequences=4, units=1, distances=2, pictures=False)
    assert budget_charts(panels(alone), alone.families) == []


def test_many_curves_are_drawn_without_bands(fabricate: Any, tmp_path: Path) -> None:
    few = panels(fabricate(tmp_path / "few", methods=CURVES, **SMALL))
    many = [replace(panel, curves=panel.curves * 3) for panel in few]
    assert "band" in svg.drawn(distance_charts(few)[0])
    assert "band" not in svg.drawn(distance_charts(many)[0])
    assert len(mpl.drawn(distance_charts(few)).axes[0].collections) == len(CURVES)
    assert not mpl.drawn(distance_charts(many)).axes[0].collections
    low, high = distance_charts(many)[0].y_extent
    assert (low, high) == extent(100 * v for panel in few for curve in panel.curves for v in curve.miou_d)


def chart_of(*lines: Line, **changes: Any) -> LineChart:
    points = [point for line in lines for point in line.points]
    plain = LineChart(
        "something", ("d", "c"), "d", "c", "x", "y", lines,
        extent(p.x for p in points), extent(v for p in points for v in (p.y, p.low, p.high)),
    )  # fmt: skip
    return replace(plain, **changes)


def places(element: str) -> list[tuple[float, float]]:
    """Centres of the markers of an svg element: their hover targets."""
    found = re.findall(r'class="target" cx="([\d.]+)" cy="([\d.]+)"', element)
    return [(float(x), float(y)) for x, y in found]


@pytest.mark.parametrize("logarithmic", [False, True])
def test_both_back_ends_have_the_same_limits_ticks_and_places(logarithmic: bool) -> None:
    line = Line("m", 0, (Point(1, 40), Point(10, 60), Point(100, 50)))
    chart = chart_of(line, log_x=logarithmic)
    ax = mpl.drawn([chart]).axes[0]
    horizontal, vertical = chart.horizontal(svg.LEFT, svg.RIGHT), chart.vertical(svg.BOTTOM, svg.TOP)
    assert ax.get_xlim() == pytest.approx((horizontal.low, horizontal.high))
    assert ax.get_ylim() == pytest.approx((vertical.low, vertical.high))
    assert list(ax.get_xticks()) == pytest.approx(list(horizontal.ticks))
    share = ax.transAxes.inverted().transform(ax.transData.transform(ax.lines[0].get_xydata()))
    for (x, y), (across, up) in zip(places(svg.drawn(chart)), share, strict=True):
        assert x == pytest.approx(svg.LEFT + across * (svg.RIGHT - svg.LEFT), abs=0.02)
        assert y == pytest.approx(svg.BOTTOM + up * (svg.TOP - svg.BOTTOM), abs=0.02)


def test_hollow_points_rods_and_notes_are_drawn() -> None:
    ours = Line("ours", 0, (Point(1, 50, 40, 60, note="0.5"), Point(2, 70, 65, 75, note="1")), "rods")
    theirs = Line("published", 0, (Point(2, 72),), hollow=True)
    figure = mpl.drawn([chart_of(ours, theirs)])
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.5", "1"]
    assert ax.lines[-1].get_markerfacecolor() == "none"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "published"]


def test_nothing_to_draw_is_one_clear_error() -> None:
    with pytest.raises(VssbenchError, match="no scored frame"):
        mpl.drawn([])


def test_every_method_and_class_has_its_cell_and_absent_classes_are_blank() -> None:
    chart: Chart = ClassChart(
        ("d", "c"), "d", "c", ("road", "sky"), (("one", 0), ("two", 1)), ((25.0, 50.0), (100.0, math.nan))
    )
    figure = mpl.drawn([chart, chart])
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["25", "50", "100"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["road", "sky"]
    widths = [float(w) for w in re.findall(r'class="block[^>]* width="([\d.]+)"', svg.drawn(chart))]
    assert [w / widths[2] for w in widths] == pytest.approx([0.25, 0.5, 1.0], abs=1e-3) or widths[1] == max(
        widths
    )
    assert len(widths) == 3


def test_class_values_are_those_of_the_groups(run: Run) -> None:
    names = {"streets": run.datasets["streets"].class_names}
    for chart in class_charts(panels(run), names):
        for (method, _), values in zip(chart.methods, chart.values, strict=True):
            table = run.table[(run.table["codec"] == chart.codec) & (run.table["method"] == method)]
            rows = table[(table["metric"] == "iou") & (table["d"] == -1)]
            assert list(values) == pytest.approx(list(100 * rows["value"]))
