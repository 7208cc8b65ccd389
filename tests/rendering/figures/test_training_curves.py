"""Training curves: stages follow one another, feature distances get a panel of their own."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg

from vssbench.rendering.figures import mpl
from vssbench.rendering.figures.training import training_charts, write_training_figure


def write(folder: Path, label: str, stage: str, rows: list[str]) -> None:
    path = folder / label / stage / "validation.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(rows) + "\n")


def test_stages_of_a_contestant_follow_one_another(tmp_path: Path) -> None:
    write(tmp_path, "ar", "image", ["step,miou", "0,0.1", "10,0.2"])
    write(
        tmp_path,
        "ar",
        "fusion",
        ["step,miou,lr_feature_mse,fused_feature_mse", "0,0.2,0.5,0.5", "5,0.3,0.5,0.25"],
    )
    accuracy, distance = training_charts(tmp_path, [("ar", "image"), ("ar", "fusion"), ("never", "image")])
    (line,) = accuracy.lines
    assert [(point.x, point.y) for point in line.points] == [(0, 10), (10, 20), (10, 20), (15, 30)]
    assert {line.name: [point.y for point in line.points] for line in distance.lines} == {
        "ar: lr": [0.5, 0.5],
        "ar: fused": [0.5, 0.25],
    }
    assert (accuracy.log_y, distance.log_y) == (False, True)
    assert len(mpl.drawn([accuracy, distance]).axes) == 2


def test_ticks_are_plain_numbers_and_the_legend_stands_below_the_curves(tmp_path: Path) -> None:
    rows = ["step,miou,fused_feature_mse", "0,0.1,0.05", "100,0.2,1.5"]
    for number in range(10):
        write(tmp_path, f"method {number}", "image", rows)
    figure = mpl.drawn(training_charts(tmp_path, [(f"method {number}", "image") for number in range(10)]))
    FigureCanvasAgg(figure).draw()
    bottom = figure.legends[0].get_window_extent().y1
    for axes in figure.axes:
        assert not any("$" in label.get_text() for label in axes.get_yticklabels(which="both"))
        assert axes.xaxis.label.get_window_extent().y0 >= bottom
    assert "0.1" in [label.get_text() for label in figure.axes[1].get_yticklabels()]


def test_the_figure_is_written_where_there_is_something_to_draw(tmp_path: Path) -> None:
    assert write_training_figure(tmp_path, [("a", "image")]) == []
    write(tmp_path, "a", "image", ["step,miou", "0,0.1", "10,0.2"])
    first = {path.suffix: path.read_bytes() for path in write_training_figure(tmp_path, [("a", "image")])}
    again = {path.suffix: path.read_bytes() for path in write_training_figure(tmp_path, [("a", "image")])}
    assert first == again
    assert first.keys() == {".svg", ".pdf"}
