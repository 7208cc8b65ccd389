from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.errors import ConfigError, InputError
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.experiment.training import load_training_experiment
from vssbench.experiment.yaml import packaged_experiments


def plain(**changes):
    values = {
        "datasets": [{"name": "synthetic", "sequences": 1, "frames": 8}],
        "codecs": [{"label": "hevc", "codec": "hevc", "bitrate_kbps": 300}],
        "methods": [{"name": "constant", "label": "1.0x", "network": "bisenet18", "width": 8}],
    }
    return {**values, **changes}


def test_plain_data_becomes_a_frozen_experiment_that_survives_a_round_trip():
    experiment = load_experiment(plain())
    assert load_experiment(experiment.canonical()) == experiment
    options = experiment.methods[0].option_values
    assert (options["network"], options["width"], options["lr_scale"]) == ("bisenet18", 8, 1.0)


def test_the_singular_keys_hold_one_entry():
    values = plain()
    values["dataset"] = values.pop("datasets")[0]
    assert load_experiment(values) == load_experiment(plain())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"protokol": {}}, "protokol: unknown key; did you mean protocol"),
        ({"protocol": {"keyframe_intervall": 6}}, "did you mean keyframe_interval"),
        ({"protocol": {"keyframe_interval": 0}}, "keyframe_interval.*greater than or equal to 1.*got 0"),
        ({"protocol": {"keyframe_interval": 4, "distances": [4]}}, r"distances: \[4\] must.*0..3"),
        ({"protocol": {"distances": "1-3"}}, "'1-3' is neither"),
        ({"codecs": [{"codec": "hevc", "bitrate_kbps": 300, "crf": 20}]}, "exactly one"),
        ({"codecs": [{"codec": "vp9", "crf": 20}]}, "vp9"),
        ({"methods": [{"name": "constent"}]}, "unknown method 'constent'; did you mean constant"),
        ({"methods": [{"name": "constant", "lr_scale": 0}]}, "lr_scale"),
        ({"methods": [{"name": "constant", "lrscale": 0.5}]}, "lrscale: unknown key; did you mean lr_scale"),
        ({"methods": [{"name": "constant"}, {"name": "constant"}]}, "'constant' appears twice"),
        ({"methods": []}, "methods"),
        ({"datasets": [{"name": "synthetik"}]}, "did you mean synthetic"),
        ({"datasets": [{"name": "synthetic", "sise": [4, 4]}]}, "sise: unknown key"),
        (
            {"methods": [{"name": "constant", "codecs": ["avc"]}]},
            r"methods\.constant\.codecs: no codec has the title 'avc'; did you mean hevc",
        ),
    ],
)
def test_a_mistake_is_named_with_key_value_and_remedy(values, message):
    with pytest.raises(ConfigError, match=message):
        load_experiment(plain(**values))


def test_an_unknown_packaged_name_gets_near_matches():
    with pytest.raises(ConfigError, match=r"did you mean quickstart"):
        load_experiment("quickstrat")


def test_a_missing_file_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"absent\.yaml"):
        load_experiment(tmp_path / "absent.yaml")


def test_every_packaged_experiment_is_valid():
    names = list(packaged_experiments())
    assert "quickstart" in names
    for name in names:
        assert isinstance(load_experiment(name), Experiment)


@pytest.mark.parametrize(("kind", "key"), [("run", "labelled_stride"), ("train", "warmup_steps")])
def test_the_json_schema_is_published(kind, key):
    result = CliRunner().invoke(app, ["schema", kind])
    sections = json.loads(result.output)["$defs"].values()
    assert any(key in section.get("properties", {}) for section in sections)


def test_a_base_that_no_method_has_is_refused():
    document = {
        "dataset": {"name": "synthetic"},
        "codec": {"codec": "h264", "qp": 30},
        "methods": [{"name": "constant", "label": "full"}, {"name": "warp-only", "base": "ful"}],
    }
    with pytest.raises(
        ConfigError, match=r"methods\.warp-only\.base: no method has the title 'ful'; did you mean full"
    ):
        load_experiment(document)
    document["methods"][1]["base"] = "full"
    assert load_experiment(document).methods[1].base == "full"


def test_an_experiment_of_the_other_kind_is_told():
    with pytest.raises(ConfigError, match="for `vssbench train`"):
        load_experiment(plain(contestants=[]))
    with pytest.raises(ConfigError, match="for `vssbench run`"):
        load_training_experiment(plain())
    with pytest.raises(ConfigError, match="'camvid-alphas/start' is an experiment for `vssbench train`"):
        load_experiment("camvid-alphas/start")
    with pytest.raises(ConfigError, match="'ar-seg/table1' is an experiment for `vssbench run`"):
        load_training_experiment("ar-seg/table1")
