from __future__ import annotations

from pathlib import Path

import pytest

from vssbench.errors import InputError
from vssbench.rendering.figures import mpl, svg
from vssbench.rendering.figures.of_run import waterfall_charts
from vssbench.rendering.figures.waterfall import waterfalls


def test_stages_are_read_in_the_order_in_which_a_frame_meets_them(
    fabricate, write_latency, tmp_path: Path
) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    stages = {"network": 4.0, "decode": 2.5, "argmax": 0.5, "motion": 1.0}
    write_latency(made, "warp-only", waterfall={"non_key": stages, "key": stages})
    write_latency(made, "constant 1.0", waterfall={"key": {"network": 9.0, "decode": 2.0}})
    found = waterfalls(made)
    assert [(w.method, w.kind) for w in found] == [
        ("constant 1.0", "key"),
        ("warp-only", "key"),
        ("warp-only", "non_key"),
    ]
    assert found[0].stages == (("decode", 2.0), ("network", 9.0))
    assert [name for name, _ in found[1].stages] == ["decode", "motion", "network", "argmax"]
    assert found[1].total_ms == 8.0
    (chart,) = waterfall_charts(found)
    assert chart.stage_names == ("decode", "network", "motion", "argmax")
    element = svg.drawn(chart)
    assert element.count('class="part') == 2 + 4 + 4
    assert "decode: 2.5 ms" in element
    bars = mpl.drawn([chart]).axes[0].patches
    assert [bar.get_width() for bar in bars] == [2, 9, 2.5, 1, 4, 0.5, 2.5, 1, 4, 0.5]
    assert bars[3].get_x() == 2.5


def test_a_run_without_a_stopwatch_has_none(run) -> None:
    assert waterfalls(run) == []


def test_a_damaged_record_is_named(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    (made.path / "latency" / "streets").mkdir(parents=True)
    (made.path / "latency" / "streets" / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json"):
        waterfalls(made)
