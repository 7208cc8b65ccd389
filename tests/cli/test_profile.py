"""`vssbench profile`: rows as JSON, tables as text, refusals."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from vssbench.cli.profile import parse_size, profile
from vssbench.errors import CheckpointError, ConfigError, InputError, StorageError

APP = typer.Typer()
APP.command()(profile)
SLIM = ["--set", "network=bisenet18", "--set", "width=8", "--size", "64x96", "--classes", "5"]


def _run(*arguments):
    result = CliRunner().invoke(APP, list(arguments), catch_exceptions=True)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_table_1_as_json_has_the_promised_keys_for_all_16_rows():
    rows = json.loads(_run("ar-seg/table1", "--json", "-"))
    assert len(rows) == 16
    for row in rows:
        assert {
            "dataset",
            "backbone",
            "method",
            "lr_scale",
            "published_gflops",
            "thop_gflops",
            "exact_gmacs",
        } <= set(row)
        assert row["thop_gflops"] == pytest.approx(row["published_gflops"], abs=0.01)


def test_a_table_prints_three_columns_and_the_notes():
    text = _run("ar-seg/table2")
    heading, *lines = text.splitlines()
    assert all(name in heading for name in ("published GFLOPs", "thop rule", "exact GMACs"))
    assert any(
        "AR0.6-PSP18" in line and "101.98" in line and "133.0919" in line and "132.9600" in line
        for line in lines
    )
    assert any(
        line.startswith("* published BiSeNet18 figures are inflated by double counting") for line in lines
    )
    assert any("Accel-DL18" in line and "397.70" in line for line in lines)


def test_a_method_shows_key_and_non_key_costs_by_module():
    text = _run("ar-seg", *SLIM, "--depth", "1", "--keyframe-interval", "4")
    lines = text.splitlines()
    assert lines[0] == "ar-seg: 64x96, 5 classes, L = 4, 1e9 MACs"
    assert lines[1].split() == ["module", "key", "GMACs", "non_key", "GMACs"]
    assert [line.split()[0] for line in lines[2:5]] == ["hr", "lr", "total"]
    assert lines[5].startswith("GOP mean ")


def test_parts_add_up_and_the_mean_is_the_weighted_mean():
    row = json.loads(_run("ar-seg", *SLIM, "--json", "-"))[0]
    assert row["keyframe_interval"] == 12
    assert row["gop_mean_gmacs"] == pytest.approx((row["key_gmacs"] + 11 * row["non_key_gmacs"]) / 12)
    assert sum(row["ledgers"]["key"]["per_module"].values()) == pytest.approx(row["key_gmacs"] * 1e9)
    assert sum(row["ledgers"]["non_key"]["per_operator"].values()) == pytest.approx(
        11 * row["non_key_gmacs"] * 1e9
    )
    assert row["steps"] == {"key": 1, "non_key": 11}


@pytest.mark.filterwarnings("ignore")
def test_cross_checks_appear_on_request():
    text = _run("constant", *SLIM, "--cross-check")
    lines = text.splitlines()
    assert [line.split()[0] for line in lines if ": GOP mean " in line] == ["thop", "ptflops", "torch"]
    assert next(line for line in lines if line.startswith("torch ")).endswith("as exact")
    assert "_tool_gmacs" in _run("constant", *SLIM, "--cross-check", "--json", "-")


def test_an_experiment_profiles_each_method_on_each_dataset(tmp_path):
    experiment = tmp_path / "mine.yaml"
    experiment.write_text(
        "datasets: [{name: synthetic}]\n"
        "codecs: [{codec: h264, qp: 30, references: 1}]\n"
        "protocol: {keyframe_interval: 3}\n"
        "methods:\n"
        "  - {name: constant, width: 8}\n"
        "  - {name: ar-seg, width: 8}\n"
    )
    rows = json.loads(_run(str(experiment), "--size", "64x96", "--classes", "4", "--json", "-"))
    assert [(row["method"], row["size"], row["classes"], row["keyframe_interval"]) for row in rows] == [
        ("synthetic: constant", [64, 96], 4, 3),
        ("synthetic: ar-seg", [64, 96], 4, 3),
    ]


def test_an_experiment_without_its_dataset_says_what_to_do():
    with pytest.raises(InputError, match="--size and --classes together profile without the dataset"):
        _run("ar-seg/figure3", "--set", "dataset.root=/nonexistent")


def test_json_goes_to_a_file(tmp_path):
    target = tmp_path / "rows.json"
    _run("constant", *SLIM, "--json", str(target))
    assert json.loads(target.read_text())[0]["method"] == "constant"
    with pytest.raises(StorageError, match="cannot be written"):
        _run("constant", *SLIM, "--json", str(tmp_path / "absent" / "rows.json"))


def test_wrong_requests_are_refused_with_a_remedy():
    with pytest.raises(ConfigError, match="did you mean"):
        _run("ar-sge")
    with pytest.raises(ConfigError, match="did you mean lr_scale"):
        _run("ar-seg", "--set", "lr_scal=0.5")
    with pytest.raises(ConfigError, match="--size would change them"):
        _run("ar-seg/table1", "--size", "64x96")
    for text in ("64", "64x", "0x64", "ax64"):
        with pytest.raises(ConfigError, match="expected height x width"):
            parse_size(text)


def test_weights_of_a_method_are_looked_at_as_in_a_run(tmp_path, recwarn):
    from vssbench.networks import create, save_weights
    from vssbench.networks.weights import WeightsMetadata

    network = create("bisenet18", 5, width=8)
    file = tmp_path / "mine.safetensors"
    save_weights(network, file, WeightsMetadata.describing(network))
    with_weights = _run("constant", *SLIM, "--set", f"weights={{network: {file}}}", "--json", "-")
    assert (
        json.loads(with_weights)[0]["gop_mean_gmacs"]
        == json.loads(_run("constant", *SLIM, "--json", "-"))[0]["gop_mean_gmacs"]
    )
    assert [w for w in recwarn if "meta" in str(w.message)] == []
    with pytest.raises(
        CheckpointError, match=r"method constant, part network.*absent.safetensors.*no such weight file"
    ):
        _run("constant", *SLIM, "--set", "weights={network: absent.safetensors}")
    with pytest.raises(CheckpointError, match=r"width 8, but this method was built with width 16"):
        _run("constant", *SLIM, "--set", "width=16", "--set", f"weights={{network: {file}}}")
    with pytest.raises(CheckpointError, match=r"weights name the parts \['hr'\]"):
        _run("constant", *SLIM, "--set", f"weights={{hr: {file}}}")


def test_weights_of_other_classes_are_refused_in_an_experiment(tmp_path):
    from vssbench.networks import create, save_weights
    from vssbench.networks.weights import WeightsMetadata

    network = create("swiftnet18", 11, width=13)
    file = tmp_path / "other.safetensors"
    save_weights(
        network, file, WeightsMetadata.describing(network, class_names=tuple(f"c{i}" for i in range(11)))
    )
    with pytest.raises(CheckpointError, match="class 0 is 'c0' there and 'sky' in the dataset"):
        _run("quickstart", "--set", f"methods.1.0x.weights={{network: {file}}}", "--json", "-")
