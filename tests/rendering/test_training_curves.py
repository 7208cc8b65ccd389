"""Training curves: stages follow one another, feature distances get a panel of their own."""

from __future__ import annotations

from pathlib import Path

from vssbench.rendering.figures.training import (
    TrainingCurve,
    read_curves,
    training_figure,
    write_training_figure,
)


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
    accuracy, distance = read_curves(tmp_path, [("ar", "image"), ("ar", "fusion"), ("never", "image")])
    assert [(curve.name, curve.steps, curve.values) for curve in accuracy] == [
        ("ar", (0, 10, 10, 15), (10, 20, 20, 30))
    ]
    assert {curve.name: curve.values for curve in distance} == {
        "ar: lr": (0.5, 0.5),
        "ar: fused": (0.5, 0.25),
    }
    assert len(training_figure(accuracy, distance).axes) == 2
    assert len(training_figure(accuracy, []).axes) == 1


def test_ticks_are_plain_numbers_and_legends_stand_beside_the_curves() -> None:
    curves = [TrainingCurve(f"method {i}: fused", (0, 100), (0.05 * (i + 1), 1.5)) for i in range(12)]
    figure = training_figure(curves, curves)
    figure.canvas.draw()
    for axes in figure.axes:
        assert not any("$" in label.get_text() for label in axes.get_yticklabels(which="both"))
        assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1
    assert "0.1" in [label.get_text() for label in figure.axes[1].get_yticklabels()]


def test_the_figure_is_written_where_there_is_something_to_draw(tmp_path: Path) -> None:
    assert write_training_figure(tmp_path, [("a", "image")]) == []
    write(tmp_path, "a", "image", ["step,miou", "0,0.1", "10,0.2"])
    first = {path.suffix: path.read_bytes() for path in write_training_figure(tmp_path, [("a", "image")])}
    again = {path.suffix: path.read_bytes() for path in write_training_figure(tmp_path, [("a", "image")])}
    assert first == again
    assert first.keys() == {".svg", ".pdf"}
