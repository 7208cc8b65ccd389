from __future__ import annotations

from pathlib import Path

import pytest

from vssbench.analysis.run import load_run
from vssbench.errors import InputError
from vssbench.rendering.figures.waterfall import waterfall_charts, waterfalls
from vssbench.results.store import RunFolder, slug


def test_stages_are_read_in_the_order_in_which_a_frame_meets_them(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    folder = RunFolder(made.path)
    path = f"costs/streets/{slug('warp-only')}.json"
    stages = {"network": 4.0, "decode": {"median_ms": 2.5}, "argmax": 0.5, "motion": 1.0}
    folder.write_json(path, {**folder.read_json(path), "waterfall": {"key": stages, "non_key": stages}})
    path = "latency/streets/constant.json"
    listed = [{"stage": "network", "ms": 9.0}, {"stage": "decode", "ms": 2.0}]
    folder.write_json(
        path, {"dataset": "streets", "method": "constant 1.0", "device": "a GPU", "waterfall": listed}
    )
    found = waterfalls(load_run(made.path))
    assert [(w.method, w.kind) for w in found] == [
        ("constant 1.0", ""),
        ("warp-only", "key"),
        ("warp-only", "non_key"),
    ]
    assert found[0].stages == (("decode", 2.0), ("network", 9.0))
    assert [name for name, _ in found[1].stages] == ["decode", "motion", "network", "argmax"]
    assert found[1].total_ms == 8.0
    (chart,) = waterfall_charts(found)
    assert chart.count('class="part') == 2 + 4 + 4
    assert "decode: 2.5 ms" in chart


def test_a_run_without_a_stopwatch_has_none(run) -> None:
    assert waterfalls(run) == []


def test_a_damaged_record_is_named(fabricate, tmp_path: Path) -> None:
    made = fabricate(tmp_path / "run", sequences=1, units=1, distances=2, pictures=False)
    (made.path / "latency" / "streets").mkdir(parents=True)
    (made.path / "latency" / "streets" / "x.json").write_text("{")
    with pytest.raises(InputError, match=r"x\.json"):
        waterfalls(made)
