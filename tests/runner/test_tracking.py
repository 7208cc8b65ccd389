"""Experiment trackers follow a run through one callback; the lines in docs/experiments.md work as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import vssbench
from vssbench.runner.session import Listener, tracked
from vssbench.runner.tracking import track_results

DOCS = Path(__file__).parents[2] / "docs/experiments.md"
NUMBERS = {"units": 3.0, "d/hevc/1.0x + (a)/miou": 0.5}


def snippets() -> list[str]:
    part = DOCS.read_text(encoding="utf-8").split("## Experiment trackers")[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


def module(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    made = ModuleType(name)
    vars(made).update(members)
    monkeypatch.setitem(sys.modules, name, made)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_each_tracker_of_the_docs_gets_every_number_with_its_step(monkeypatch, number) -> None:
    got: dict[str, tuple[float, int]] = {}

    def log(numbers: dict[str, float], step: int) -> None:
        got.update({name: (value, step) for name, value in numbers.items()})

    writer = SimpleNamespace(add_scalar=lambda name, value, step: log({name: value}, step))
    module(monkeypatch, "torch.utils.tensorboard", SummaryWriter=lambda folder: writer)
    module(monkeypatch, "mlflow", log_metrics=log)
    module(monkeypatch, "wandb", init=lambda project: None, log=log)
    monkeypatch.setattr(vssbench, "run", lambda experiment, track: track(7, NUMBERS), raising=False)
    code = snippets()[number]
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(code, {"vssbench": vssbench})
    names = ["units", "d/hevc/1.0x _ _a_/miou" if number == 1 else "d/hevc/1.0x + (a)/miou"]
    assert got == {names[0]: (3.0, 7), names[1]: (0.5, 7)}


def test_units_are_counted_and_the_front_end_still_hears_them() -> None:
    heard: list[object] = []
    told: list[tuple[int, dict]] = []
    plain = Listener(on_plan=lambda summary, owed: heard.append(owed), on_unit=lambda: heard.append("unit"))
    listener = tracked(plain, lambda step, numbers: told.append((step, dict(numbers))))
    listener.on_plan(None, 4)
    listener.on_unit()
    listener.on_unit()
    assert heard == [4, "unit", "unit"]
    assert told == [(1, {"units": 1, "share_done": 0.25}), (2, {"units": 2, "share_done": 0.5})]


def test_the_end_has_the_finite_numbers_of_the_summary() -> None:
    import pandas as pd

    summary = pd.DataFrame(
        [{"dataset": "d", "codec": "c", "method": "m", "miou": 0.5, "key_ms": float("nan"), "untrained": ""}]
    )
    told: list[tuple[int, dict]] = []
    run = SimpleNamespace(summary=summary, unit_count=6)
    track_results(run, lambda step, numbers: told.append((step, dict(numbers))))
    assert told == [(6, {"d/c/m/miou": 0.5})]
