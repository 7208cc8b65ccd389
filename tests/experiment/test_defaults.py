"""A default that is written out changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from vssbench.experiment.schema import Experiment, MethodSpec, load_experiment
from vssbench.experiment.training import TrainingExperiment, load_training_experiment
from vssbench.experiment.yaml import packaged_experiments
from vssbench.registry import datasets, methods

RUNS, TRAININGS = packaged_experiments("run"), packaged_experiments("train")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models(inner)]


def _written_out(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with every default of the model, and of the models below it, put in by hand."""
    found = dict(values)
    for key, field in model.model_fields.items():
        inner = _models(field.annotation)
        if key not in found and not field.is_required():
            default = field.get_default(call_default_factory=True)
            found[key] = json.loads(default.model_dump_json()) if isinstance(default, BaseModel) else default
        value = found.get(key)
        if inner and isinstance(value, Mapping):
            if key == "stages":
                found[key] = {name: _written_out(inner[0], one) for name, one in value.items()}
            else:
                found[key] = _written_out(inner[0], value)
        elif inner and isinstance(value, (list, tuple)):
            found[key] = [_written_out(inner[0], one) for one in value]
    return json.loads(json.dumps(found, default=str))


def _with_options(entry: dict[str, Any], registry: Any, inner: str | None) -> dict[str, Any]:
    fields = registry.load(entry["name"]).Options.model_fields
    given = entry if inner is None else entry.setdefault(inner, {})
    for key, field in fields.items():
        if key not in given and not field.is_required() and (inner is None or key != "weights"):
            given[key] = json.loads(json.dumps(field.get_default(call_default_factory=True), default=str))
    return entry


def _file(tmp_path: Path, values: Any) -> str:
    path = tmp_path / "written.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", RUNS)
def test_runs_with_all_defaults_written_out_are_equal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_experiment(name)
    values = yaml.safe_load(RUNS[name].read_text(encoding="utf-8"))
    for singular, plural in (("dataset", "datasets"), ("codec", "codecs"), ("method", "methods")):
        if singular in values:
            values[plural] = [values.pop(singular)]
    values = _written_out(Experiment, values)
    for entry in values["datasets"]:
        _with_options(entry, datasets, None)
    for entry in values["methods"]:
        _with_options(entry, methods, None)
        for key in ("training_seed", "seeds_of") if "seeds" in entry else ():
            del entry[key]  # filled in for each seed
        if "lr_scales" in entry:
            del entry["lr_scale"]
    written = load_experiment(_file(Path(), values))
    assert written == loaded
    assert written.canonical() == loaded.canonical()
    again = load_experiment(_file(Path(), loaded.canonical()))
    assert again == loaded
    assert all(set(MethodSpec.model_fields) <= set(entry) for entry in loaded.canonical()["methods"])


@pytest.mark.parametrize("name", TRAININGS)
def test_trainings_with_all_defaults_written_out_are_equal(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_training_experiment(name)
    values = yaml.safe_load(TRAININGS[name].read_text(encoding="utf-8"))
    distances = values.get("validation", {}).get("distances")
    values = _written_out(TrainingExperiment, values)
    if distances is None:  # that default depends on the keyframe interval
        del values["validation"]["distances"]
    _with_options(values["dataset"], datasets, None)
    for section in ("contestants", "evaluations"):
        for entry in values[section]:
            _with_options(entry, methods, "options")
            if "lr_scales" in entry:
                del entry["options"]["lr_scale"]
    written = load_training_experiment(_file(Path(), values))
    assert written == loaded
    assert written.digest() == loaded.digest()
    again = load_training_experiment(_file(Path(), loaded.canonical()))
    assert again == loaded
    assert again.digest() == loaded.digest()
