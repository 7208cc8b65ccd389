from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vssbench.analysis.differences import compare_runs
from vssbench.analysis.run import Run
from vssbench.errors import InputError
from vssbench.rendering.tables.comparison import HEADS, comparison_cells, comparison_markdown

SMALL = {"sequences": 1, "units": 4, "distances": 2, "pictures": False}


def with_quality(quality: float, gmacs: float) -> dict[str, Any]:
    return {"m": ("constant", quality, 0.0, (gmacs, gmacs))}


def test_a_run_against_itself_shows_no_change(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "a", methods=with_quality(0.7, 10.0), **SMALL)
    for cells in comparison_cells(compare_runs(run, run)):
        row = dict(zip(HEADS, cells, strict=True))
        assert row["mIoU change"] == "+0.00"
        assert row["verdict"] == "not told apart"
        assert row["GMACs change"] == "+0.0 %"
        assert row["same pixels"] == "yes"


def test_a_better_run_is_called_better(fabricate: Any, tmp_path: Path) -> None:
    worse: Run = fabricate(tmp_path / "a", methods=with_quality(0.6, 10.0), **SMALL)
    better: Run = fabricate(tmp_path / "b", methods=with_quality(0.7, 5.0), **SMALL)
    found = compare_runs(worse, better)
    expected = better.summary["miou"].iloc[0] - worse.summary["miou"].iloc[0]
    assert found[0].difference.miou.estimate == pytest.approx(expected)
    row = dict(zip(HEADS, comparison_cells(found)[0], strict=True))
    assert row["verdict"] == "better"
    assert row["GMACs change"] == "-50.0 %"
    assert comparison_markdown("a", "b", found).count("\n| ") == 4


def test_unlike_runs_are_refused(fabricate: Any, tmp_path: Path) -> None:
    run = fabricate(tmp_path / "a", methods=with_quality(0.7, 10.0), **SMALL)
    other = fabricate(tmp_path / "b", methods={"other": ("constant", 0.7, 0.0, (1.0, 1.0))}, **SMALL)
    with pytest.raises(InputError, match="share no dataset, codec and method"):
        compare_runs(run, other)
    protocol = run.roster.protocol.model_copy(update={"kind": "stream"})
    changed = replace(run, roster=run.roster.model_copy(update={"protocol": protocol}))
    with pytest.raises(InputError, match="different protocols"):
        compare_runs(run, changed)
