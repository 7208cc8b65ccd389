from __future__ import annotations

from vssbench.rendering.tables.trainings import contestant_table


def test_one_seed_has_its_score_several_their_mean_and_half_the_interval() -> None:
    table = contestant_table(
        "t",
        {
            "one": {"final": {"miou": 0.5, "miou_0": 0.625}},
            "three": {"final": {"miou": {"mean": 0.5, "low": 0.45, "high": 0.55}}},
            "two": {"final": {"miou": {"mean": 0.25}}},
        },
    )
    assert [column.heading for column in table.columns] == ["contestant", "mean", "0"]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["one", "50.00", "62.50"],
        ["three", "50.00 ± 5.00", ""],
        ["two", "25.00", ""],
    ]
