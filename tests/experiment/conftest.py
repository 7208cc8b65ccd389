"""A dataset and a method that compute nothing, registered for the tests of this folder; small experiments of both kinds."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from vssbench.dataset import DatasetOptions
from vssbench.method import MethodOptions
from vssbench.registry import Entry, datasets, methods


class StubDatasetOptions(DatasetOptions):
    root: Path | None = None
    frames: int = 8


class StubMethodOptions(MethodOptions):
    width: int = 64
    lr_scale: float = 1.0
    table: Path | None = None


STUBS = types.SimpleNamespace(
    data=types.SimpleNamespace(Options=StubDatasetOptions),
    method=types.SimpleNamespace(Options=StubMethodOptions),
)


@pytest.fixture(autouse=True)
def _stub_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("stub_plugins")
    module.__dict__.update(vars(STUBS))
    monkeypatch.setitem(sys.modules, "stub_plugins", module)
    monkeypatch.setitem(datasets.entries, "boxes", Entry("boxes", "stub_plugins:data", "test"))
    monkeypatch.setitem(datasets.entries, "drives", Entry("drives", "stub_plugins:data", "test"))
    monkeypatch.setitem(methods.entries, "tiny", Entry("tiny", "stub_plugins:method", "test"))


def run_document(**changes: Any) -> dict[str, Any]:
    """A small run experiment with top-level keys replaced by `changes`."""
    document: dict[str, Any] = {
        "datasets": [{"name": "boxes"}],
        "codecs": [{"label": "c", "codec": "h264", "qp": 24, "references": 1}],
        "protocol": {"kind": "stream", "keyframe_interval": 4},
        "methods": [{"name": "tiny", "label": "a"}, {"name": "tiny", "label": "b 0.5", "lr_scale": 0.5}],
    }
    return {**document, **changes}


def training_document(**changes: Any) -> dict[str, Any]:
    """A small training experiment with top-level keys replaced by `changes`."""
    document: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "dataset": {"name": "boxes"},
        "codecs": [{"codec": "h264", "qp": 24, "references": 1}],
        "pairs": {"keyframe_interval": 4},
        "augmentation": {"jitter": 0.1},
        "validation": {"every": 4, "clips": 1, "distances": [0, 3]},
        "contestants": [
            {
                "name": "tiny",
                "label": "a",
                "stages": {"image": {"steps": 6, "batch": 2, "learning_rate": 0.02}},
            }
        ],
    }
    return {**document, **changes}


@pytest.fixture
def write_experiment(tmp_path: Path) -> Any:
    """Function that writes a training experiment with changed top-level keys and returns its path."""

    def write(**changes: Any) -> str:
        path = tmp_path / "experiment.yaml"
        path.write_text(json.dumps(training_document(**changes)))  # JSON is YAML
        return str(path)

    return write
