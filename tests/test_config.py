from __future__ import annotations

import pytest

from vssbench.errors import ConfigError, InputError
from vssbench.experiment.schema import (
    Experiment,
    apply_override,
    json_schema,
    load_experiment,
    packaged_experiments,
)


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
    assert experiment.methods[0].option_values == {"network": "bisenet18", "width": 8}


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
        ({"protocol": {"keyframe_interval": 4, "distances": [4]}}, r"distances \[4\].*0..3"),
        ({"protocol": {"distances": "1-3"}}, "'1-3' is neither"),
        ({"codecs": [{"codec": "hevc", "bitrate_kbps": 300, "crf": 20}]}, "exactly one"),
        ({"codecs": [{"codec": "vp9", "crf": 20}]}, "vp9"),
        ({"methods": [{"name": "constent"}]}, "unknown method 'constent'; did you mean constant"),
        ({"methods": [{"name": "constant", "lr_scale": 0}]}, "lr_scale"),
        ({"methods": [{"name": "constant", "lrscale": 0.5}]}, "lrscale: unknown key; did you mean lr_scale"),
        ({"methods": [{"name": "constant"}, {"name": "constant"}]}, "constant appear twice"),
        ({"methods": []}, "methods"),
        ({"datasets": [{"name": "synthetik"}]}, "did you mean synthetic"),
        ({"datasets": [{"name": "synthetic", "sise": [4, 4]}]}, "sise: unknown key"),
        ({"methods": [{"name": "constant", "codecs": ["avc"]}]}, r"\['avc'\] are not among"),
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


def test_yaml_aliases_are_refused(tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text("a: &x [1]\nb: [*x, *x]\n")
    with pytest.raises(ConfigError, match="aliases"):
        load_experiment(path)


def test_a_list_at_the_top_is_refused(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(ConfigError, match="mapping"):
        load_experiment(path)


def test_overrides_reach_entries_lists_and_nested_keys():
    values = plain()
    for override in (
        "dataset.frames=4",
        "protocol.keyframe_interval=6",
        "protocol.distances=0..2",
        "methods.0.width=16",
        "method.lr_scale=0.5",
    ):
        apply_override(values, override)
    experiment = load_experiment(values)
    assert experiment.protocol.keyframe_interval == 6
    assert experiment.protocol.scored_distances == (0, 1, 2)
    assert experiment.methods[0].option_values == {"network": "bisenet18", "width": 16, "lr_scale": 0.5}
    assert experiment.datasets[0].option_values["frames"] == 4


def test_an_override_can_replace_the_dataset():
    values = plain()
    apply_override(values, "dataset=synthetic")
    assert values["datasets"] == [{"name": "synthetic"}]


@pytest.mark.parametrize("override", ["width", "=4", "methods.7.width=4", "seed.deeper=1", "a=[1"])
def test_a_bad_override_is_named(override):
    values = plain(seed=0)
    with pytest.raises(ConfigError, match="--set"):
        apply_override(values, override)


def test_every_packaged_experiment_is_valid():
    names = list(packaged_experiments())
    assert "quickstart" in names
    for name in names:
        assert isinstance(load_experiment(name), Experiment)


def test_the_json_schema_is_published():
    assert '"keyframe_interval"' in json_schema()


def test_a_base_that_no_method_has_is_refused():
    document = {
        "dataset": {"name": "synthetic"},
        "codec": {"codec": "h264", "qp": 30},
        "methods": [{"name": "constant", "label": "full"}, {"name": "warp-only", "base": "ful"}],
    }
    with pytest.raises(
        ConfigError, match=r"method warp-only: base: no method has the title 'ful'; did you mean full"
    ):
        load_experiment(document)
    document["methods"][1]["base"] = "full"
    assert load_experiment(document).methods[1].base == "full"
    assert "base" not in load_experiment(document).canonical()["methods"][0]
