"""Every key of every experiment file and plug-in explains itself, and its row says what the model does."""

from __future__ import annotations

import json

import pytest
from pydantic import TypeAdapter

from vssbench.experiment.keys import rows_of_keys
from vssbench.experiment.schema import Experiment
from vssbench.experiment.training import TrainingExperiment
from vssbench.registry import datasets, methods

MODELS = {
    "run": Experiment,
    "train": TrainingExperiment,
    **{f"method {name}": methods.load(name).Options for name in methods.names()},
    **{f"dataset {name}": datasets.load(name).Options for name in datasets.names()},
}


@pytest.mark.parametrize("name", MODELS)
def test_every_key_says_what_it_is(name):
    assert [row.name for row in rows_of_keys(MODELS[name]) if not row.description] == []


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_the_fields_of_the_model(name):
    model = MODELS[name]
    rows = {row.name: row for row in rows_of_keys(model)}
    assert [key for key in rows if "." not in key] == list(model.model_fields)
    for key, field in model.model_fields.items():
        assert rows[key].required == field.is_required()
        if rows[key].default:
            told = json.loads(rows[key].default)
            default = field.get_default(call_default_factory=True, validated_data={})
            assert told == json.loads(TypeAdapter(type(default)).dump_json(default))


def test_kinds_bounds_and_sections_are_told():
    rows = {row.name: row for row in rows_of_keys(Experiment)}
    assert rows["codecs[].qp"].kind == "integer >= 0 <= 51 | null"
    assert rows["codecs[].codec"].kind.startswith('"hevc" | "h264"')
    assert (rows["methods"].kind, rows["methods"].required) == ("list of section", True)
    assert rows["methods[].inference.batch"].default == "1"
