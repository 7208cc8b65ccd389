"""reports/results/keep_training.py: what the repository keeps of a training."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from vssbench.errors import InputError

SCRIPT = Path(__file__).parents[2] / "reports" / "results" / "keep_training.py"


@pytest.fixture
def script() -> dict[str, Any]:
    if not SCRIPT.exists():
        pytest.skip("the results are not in this tree")
    return runpy.run_path(str(SCRIPT))


def training(folder: Path, rows: list[str]) -> None:
    stage = folder / "ar" / "fusion"
    stage.mkdir(parents=True)
    (stage / "validation.csv").write_text("\n".join(["step,miou,miou_d4", *rows, ""]))
    (folder / "curves.svg").write_text(f"<svg>{folder.name}</svg>")
    (folder / "summary.json").write_text("{}")


def test_all_seeds_are_in_one_table_in_order(script: dict[str, Any], tmp_path: Path) -> None:
    for seed in (10, 2):
        training(tmp_path / "run" / f"seed-{seed}", ["0,0.1,0.25", f"50,0.{seed},0.5"])
    (tmp_path / "run" / "summary.json").write_text('{"seeds": [2, 10]}')
    script["main"](tmp_path / "run", tmp_path / "kept")
    assert (tmp_path / "kept/curves.csv").read_text().splitlines() == [
        "seed,label,stage,step,miou,miou_d4",
        "2,ar,fusion,0,0.10000,0.25000",
        "2,ar,fusion,50,0.20000,0.50000",
        "10,ar,fusion,0,0.10000,0.25000",
        "10,ar,fusion,50,0.10000,0.50000",
    ]
    assert (tmp_path / "kept/curves.svg").read_text() == "<svg>seed-2</svg>"
    assert (tmp_path / "kept/summary.json").read_text() == '{"seeds": [2, 10]}'


def test_one_training_has_no_seed_column(script: dict[str, Any], tmp_path: Path) -> None:
    training(tmp_path / "run", ["0,0.1,0.25"])
    script["main"](tmp_path / "run", tmp_path / "kept")
    assert (tmp_path / "kept/curves.csv").read_text().startswith("label,stage,step,miou")


def test_an_unfinished_training_is_refused(script: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"summary\.json: absent"):
        script["main"](tmp_path, tmp_path / "kept")
