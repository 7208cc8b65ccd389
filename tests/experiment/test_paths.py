"""Paths: relative to the file that names them, to the working folder everywhere else, `~` is the home folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vssbench
from vssbench.errors import InputError
from vssbench.experiment.schema import load_experiment
from vssbench.experiment.training import load_training_experiment

from .conftest import run_document, training_document


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a folder `exp` for experiments, and a home."""
    (tmp_path / "exp").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/users/me")
    return tmp_path


def _run(values: Any, *overrides: str) -> dict[str, Any]:
    return load_experiment(values, overrides).canonical()


def _train(values: Any, *overrides: str) -> dict[str, Any]:
    found = load_training_experiment(values, overrides).canonical()
    return {**found, "datasets": [found["dataset"]]}


BOTH = pytest.mark.parametrize(
    ("load", "document"), [(_run, run_document), (_train, training_document)], ids=["run", "train"]
)


@BOTH
@pytest.mark.parametrize(
    ("given", "in_file", "elsewhere"),
    [
        ("data", "exp/data", "data"),
        ("../data", "exp/../data", "../data"),
        ("/abs/data", "/abs/data", "/abs/data"),
        ("~/data", "/users/me/data", "/users/me/data"),
        ("~", "/users/me", "/users/me"),
    ],
)
def test_a_root_begins_where_it_is_written(
    place: Path, load: Any, document: Any, given: str, in_file: str, elsewhere: str
) -> None:
    def root(*words: Any) -> str:
        return str(load(*words)["datasets"][0]["root"])

    values = document(dataset={"name": "boxes", "root": given}, datasets=None)
    del values["datasets"]
    Path("exp/my.yaml").write_text(json.dumps(values))
    assert root("exp/my.yaml") == in_file
    assert root(str(place / "exp/my.yaml")) in (str(place / in_file), in_file)
    assert root(values) == elsewhere
    quoted = f'"{given}"' if given == "~" else given
    assert root("exp/my.yaml", f"dataset.root={quoted}") == elsewhere
    assert root("exp/my.yaml", f"dataset={{name: drives, root: '{given}'}}") == elsewhere
    assert root("exp/my.yaml", "dataset.frames=3", "dataset.name=drives") == in_file


def test_weights_of_runs_begin_where_they_are_written(place: Path) -> None:
    weights = {
        "a": "w/a.safetensors",
        "b": "~/b.safetensors",
        "c": "quickstart/hr",
        "d": "w/{lr_scale}.safetensors",
    }
    method = {"name": "tiny", "label": "m", "weights": weights, "table": "t.csv", "lr_scales": [0.5]}
    Path("exp/my.yaml").write_text(json.dumps(run_document(methods=[method])))
    found = _run("exp/my.yaml")["methods"][0]
    assert found["weights"] == {
        "a": "exp/w/a.safetensors", "b": "/users/me/b.safetensors", "c": "quickstart/hr", "d": "exp/w/0.5.safetensors",
    }  # fmt: skip
    assert found["table"] == "exp/t.csv"
    one = _run("exp/my.yaml", "method.weights.a=x.safetensors", "method.table=u.csv")["methods"][0]
    assert one["weights"]["a"] == "x.safetensors"
    assert one["weights"]["d"] == "exp/w/0.5.safetensors"
    assert one["table"] == "u.csv"


def test_weights_of_trainings_begin_where_they_are_written(place: Path) -> None:
    stages = {
        "image": {"steps": 1, "initialise_from": {"network": "w.safetensors", "other": "quickstart/hr"}}
    }
    contestant = {"name": "tiny", "label": "a", "stages": stages, "options": {"table": "t.csv"}}
    evaluation = {"name": "tiny", "label": "e", "parts": {"x": "~/w.safetensors", "y": "a/image/network"}}
    values = training_document(
        contestants=[contestant], evaluations=[evaluation], backbone_weights="resnet.pth"
    )
    Path("exp/my.yaml").write_text(json.dumps(values))
    found = _train("exp/my.yaml")
    assert found["backbone_weights"] == "exp/resnet.pth"
    begun = found["contestants"][0]["stages"]["image"]["initialise_from"]
    assert begun == {"network": "exp/w.safetensors", "other": "quickstart/hr"}
    assert found["contestants"][0]["options"]["table"] == "exp/t.csv"
    assert found["evaluations"][0]["parts"] == {"x": "/users/me/w.safetensors", "y": "a/image/network"}
    assert _train("exp/my.yaml", "backbone_weights=~/r.pth")["backbone_weights"] == "/users/me/r.pth"
    assert (
        _train(values)["contestants"][0]["stages"]["image"]["initialise_from"]["network"] == "w.safetensors"
    )


def test_packaged_experiments_name_paths_below_the_working_folder() -> None:
    assert load_experiment("camvid-alphas").datasets[0].option_values["root"] == "camvid"


def test_a_missing_root_is_told_as_given_and_in_full(place: Path) -> None:
    document = {
        "dataset": {"name": "folder", "root": "../nowhere"},
        "codec": {"codec": "h264", "qp": 30, "references": 1},
        "method": {"name": "constant", "width": 4},
    }
    Path("exp/my.yaml").write_text(json.dumps(document))
    with pytest.raises(InputError) as caught:
        vssbench.run("exp/my.yaml", "out", workers=1, device="cpu")
    assert f"exp/../nowhere ({place / 'nowhere'}): no such folder" in str(caught.value)


def test_a_start_with_a_mistake_blocks_no_folder(place: Path) -> None:
    small = {"name": "synthetic", "sequences": 1, "frames": 2, "size": [64, 96]}
    document = {
        "dataset": {"name": "folder", "root": "nowhere"},
        "codec": {"codec": "h264", "qp": 30, "references": 1, "preset": "ultrafast"},
        "protocol": {"keyframe_interval": 2},
        "method": {"name": "constant", "width": 4},
    }
    with pytest.raises(InputError):
        vssbench.run(document, "out", workers=1, device="cpu", cache="cache")
    done = vssbench.run({**document, "dataset": small}, "out", workers=1, device="cpu", cache="cache")
    assert done.path == Path("out")
    assert list(Path("out/units").rglob("*.json"))
    assert json.loads(Path("out/experiment.json").read_text())["datasets"][0]["name"] == "synthetic"
    with pytest.raises(vssbench.errors.ConfigError, match="holds a run of another experiment"):
        vssbench.run({**document, "dataset": {**small, "frames": 4}}, "out", workers=1, device="cpu")
