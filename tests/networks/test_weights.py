"""Weight files: round trip, metadata, refusals, packaged names."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from vssbench import networks
from vssbench.baselines.ar_seg import CReFF, FusionNetwork
from vssbench.cli import app
from vssbench.errors import CheckpointError, ConfigError, StorageError
from vssbench.experiment.schema import load_experiment
from vssbench.networks import load_weights, save_weights, weights
from vssbench.networks.weights import WeightsMetadata, locate_weights, packaged_weights, weight_aliases
from vssbench.registry import datasets


def bisenet(classes: int = 5, width: int = 8) -> networks.SegmentationNetwork:
    return networks.create("bisenet18", classes, width=width)


def metadata(module, **more):
    return WeightsMetadata.describing(module, **more)


def test_a_file_comes_back_with_what_it_says_about_itself(tmp_path):
    source, target = bisenet(), bisenet()
    described = metadata(
        source,
        class_names=("sky", "road", "car", "tree", "void"),
        experiment="quickstart",
        seed=3,
        metrics={"miou": 0.5},
    )
    path = save_weights(source, tmp_path / "deep" / "a.safetensors", described)
    assert load_weights(target, path) == described
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key
    assert os.listdir(path.parent) == ["a.safetensors"]


def test_half_precision_files_load_to_float32_and_keep_statistics_exact(tmp_path):
    source, target = bisenet(), bisenet()
    source.head.norm.running_var.fill_(3e5)  # beyond what float16 can hold
    big = save_weights(source, tmp_path / "a.safetensors", metadata(source))
    small = save_weights(
        source, tmp_path / "b.safetensors", metadata(source), dtype="float16", training_heads=False
    )
    load_weights(target, small)
    assert target.head.conv.weight.dtype == torch.float32
    torch.testing.assert_close(target.head.conv.weight, source.head.conv.weight, rtol=1e-3, atol=1e-5)
    assert torch.equal(target.head.norm.running_var, source.head.norm.running_var)
    assert small.stat().st_size < 0.6 * big.stat().st_size


def test_training_heads_may_be_absent_and_keep_their_values(tmp_path):
    source, target = bisenet(), bisenet()
    own = target.auxiliary16.classifier.weight.clone()
    load_weights(
        target, save_weights(source, tmp_path / "a.safetensors", metadata(source), training_heads=False)
    )
    assert torch.equal(target.auxiliary16.classifier.weight, own)
    assert torch.equal(target.classifier.weight, source.classifier.weight)


def test_the_lr_part_is_stored_with_its_fusion(tmp_path):
    source, target = (FusionNetwork(bisenet(), CReFF(32)) for _ in range(2))
    load_weights(
        target, save_weights(source, tmp_path / "lr.safetensors", metadata(source), training_heads=False)
    )
    assert torch.equal(target.fusion.query_conv.weight, source.fusion.query_conv.weight)
    plain = save_weights(source.network, tmp_path / "plain.safetensors", metadata(source))
    with pytest.raises(CheckpointError, match="missing: network"):
        load_weights(target, plain)  # evaluating with an untrained CReFF must not happen silently
    target.load_state_dict(bisenet().state_dict(), strict=False)  # training may start from a plain network


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (bisenet(classes=4), "classes 5, but this method was built with classes 4"),
        (bisenet(width=16), "width 8, but this method was built with width 16"),
        (networks.create("pspnet18-camvid", 5, width=8), "network bisenet18, but .* pspnet18-camvid"),
    ],
)
def test_a_mismatch_names_both_sides(tmp_path, target, words):
    source = bisenet()
    path = save_weights(source, tmp_path / "a.safetensors", metadata(source))
    with pytest.raises(CheckpointError, match=words):
        load_weights(target, path)


def test_damaged_and_absent_files_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match="no such weight file"):
        load_weights(bisenet(), path)
    for content in (b"", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a readable safetensors file"):
            load_weights(bisenet(), path)
    source = bisenet()
    whole = save_weights(source, path, metadata(source)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match=r"a\.safetensors"):
        load_weights(bisenet(), path)


def test_nothing_is_left_behind_when_writing_fails(tmp_path):
    source = bisenet()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        save_weights(source, tmp_path / "file" / "a.safetensors", metadata(source))


def test_an_unknown_packaged_name_is_refused():
    with pytest.raises(CheckpointError, match="no packaged weights named 'quickstart/nothing'"):
        load_weights(bisenet(), "quickstart/nothing")


def test_packaged_files_are_found_by_name_and_checked(tmp_path, monkeypatch):
    source = bisenet()
    path = save_weights(source, tmp_path / "one.safetensors", metadata(source))
    entry = {"file": "one.safetensors", "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"schema": 1, "weights": {"mine/one": entry}}))
    monkeypatch.setattr(weights, "files", lambda package: tmp_path)
    assert load_weights(bisenet(), "mine/one").network == "bisenet18"
    manifest.write_text(json.dumps({"schema": 1, "weights": {"mine/one": {**entry, "sha256": "0" * 64}}}))
    with pytest.raises(CheckpointError, match="checksum"):
        load_weights(bisenet(), "mine/one")


def test_every_packaged_file_exists_and_matches_its_checksum():
    for name in packaged_weights():
        tensors, described = weights.read_weights(name)
        assert tensors
        assert described is not None


LIMIT_OF_ONE_BYTES, LIMIT_OF_ALL_BYTES = 7_000_000, 20_000_000


def test_packaged_weights_are_small_and_say_where_they_come_from():
    sizes = {}
    for name, entry in packaged_weights().items():
        sizes[name] = locate_weights(name).stat().st_size
        assert sizes[name] == entry["bytes"], name
        for key in (
            "experiment",
            "experiment_digest",
            "data_digest",
            "source",
            "network",
            "width",
            "classes",
        ):
            # flow networks and other parts without classes say 0
            assert entry[key] or (key == "classes" and entry[key] == 0), (name, key)
        assert isinstance(entry["seed"], int)
        assert 0 < entry["validation"]["miou"] < 1
    assert max(sizes.values()) <= LIMIT_OF_ONE_BYTES, sizes
    assert sum(sizes.values()) <= LIMIT_OF_ALL_BYTES, sizes
    shipped = set(Path(str(files(weights.PACKAGE))).rglob("*.safetensors"))
    assert shipped == {locate_weights(name) for name in packaged_weights()}  # nothing lies about unlisted


def test_aliases_stand_for_packaged_weights_of_the_width_they_name():
    known = packaged_weights()
    assert weight_aliases()
    for alias, parts in weight_aliases().items():
        assert set(parts.values()) <= set(known), alias
        widths = {known[name]["width"] for name in parts.values()}
        named = {"half": 32, "full": 64}.get(alias.split("-")[2])
        assert widths == {named or int(alias.split("-")[2].removeprefix("w"))}, alias
        assert {known[name]["network"] for name in parts.values()} == {alias.split("-")[1]}


def test_an_alias_is_given_to_a_method_as_a_whole_or_read_as_a_file():
    alias, parts = next((a, p) for a, p in weight_aliases().items() if len(p) == 1)
    both, several = next((a, p) for a, p in weight_aliases().items() if len(p) == 2)
    assert locate_weights(alias) == locate_weights(next(iter(parts.values())))
    with pytest.raises(CheckpointError, match="several parts"):
        locate_weights(both)
    base = {"dataset": {"name": "synthetic"}, "codec": {"codec": "h264", "qp": 30}}
    method = {"name": "ar-seg", "weights": both}
    assert load_experiment({**base, "method": method}).methods[0].options().weights == several
    with pytest.raises(ConfigError, match=r"did you mean|known"):
        load_experiment({**base, "method": {"name": "constant", "weights": alias + "x"}})


def test_every_packaged_file_says_all_that_a_method_and_a_reader_need():
    for name in packaged_weights():
        said = weights.read_metadata(name)
        assert said is not None
        assert said.normalisation is not None, name
        assert said.size == (360, 480)
        assert said.lr_scale == (0.5 if name.endswith("-0.5") else 1.0)
        assert said.licence.startswith("MIT")
        assert said.data == packaged_weights()[name]["data"]
        assert len(said.class_names) == said.classes == 11
    camvid = weights.read_metadata("camvid480/hr")
    assert camvid.normalisation == datasets.load("camvid").normalisation
    assert weights.read_metadata("quickstart/hr").normalisation == datasets.load("synthetic").normalisation


def test_the_script_that_describes_packaged_files_changes_nothing_now(tmp_path):
    from vssbench.baselines.weights.describe import describe

    for name in packaged_weights():
        path = shutil.copy(locate_weights(name), tmp_path / "copy.safetensors")
        entry = packaged_weights()[name]
        found = describe(name, Path(path))
        assert found == {key: entry[key] for key in found}, name


def test_the_readme_of_weights_gives_the_scores_of_the_committed_reports():
    root = Path(__file__).parent.parent.parent
    text = (root / "baselines" / "weights" / "README.md").read_text()
    labels = {"hr": "1.0x", "constant-0.5": "0.5x", "ar-0.5": "AR 0.5"}
    for name in packaged_weights():
        experiment, _, part = name.partition("/")
        with (root / "reports" / "examples" / experiment / "summary.csv").open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["method"] == labels[part]]
        scores = {row["codec"]: f"{100 * float(row['miou']):.2f}" for row in rows}
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}` "))
        assert f"| {scores['hevc']} | {scores['h264']} |" in line, name


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"width": "wide"}, "width"),
        ({"colour": "blue"}, "colour"),
        ({"normalisation": [[0, 0, 0], [1, 1, 0]]}, "must be positive"),
        ({"normalisation": [[0, 0, 0], [1, 1, 1], 1, "YUV"]}, "RGB"),
    ],
)
def test_a_header_that_says_something_else_is_refused_with_its_key(tmp_path, header, words):
    source = bisenet()
    says = {"network": "bisenet18", "width": 8, "classes": 5, **header}
    path = tmp_path / "w.safetensors"
    save_file(source.state_dict(), path, metadata={"vssbench": json.dumps(says)})
    with pytest.raises(CheckpointError, match=rf"w\.safetensors: .*{words}"):
        load_weights(bisenet(), path)


def test_show_prints_what_the_file_says_and_the_two_listings_are_one():
    def printed(*words: str) -> str:
        result = CliRunner().invoke(app, list(words), env={"COLUMNS": "160"})
        assert result.exit_code == 0
        return result.output

    shown = printed("weights", "show", "camvid480/ar-0.5")
    for line in (
        "network        bisenet18, width 24, 11 classes",
        "classes        sky, building, pole",
        "origin         camvid480 23d146419a42a453, ar-0.5/fusion/lr",
        "licence        MIT",
        "trained on     camvid, train",
        "normalisation  mean 0.390688 0.405214 0.414344, deviation 0.296521 0.30515 0.300804 of RGB in 0..1",
        "frame size     360x480",
        "lr_scale       0.5",
        f"digest         sha256 {packaged_weights()['camvid480/ar-0.5']['sha256']}",
        "parameters     1882845 numbers in 212 tensors",
        "scores         miou 0.492683, miou_d0 0.503506, miou_d1 ",
    ):
        assert line in shown, shown
    listing = printed("list", "weights")
    assert printed("weights", "list") == listing
    assert {line.split()[0] for line in listing.splitlines()[1:]} == {*packaged_weights(), *weight_aliases()}
    assert all(len(line.split()) > 2 for line in listing.splitlines()[1:])


def test_weights_that_say_nothing_are_shown_as_such(tmp_path):
    source = bisenet()
    path = save_weights(source, tmp_path / "w.safetensors", metadata(source))
    shown = CliRunner().invoke(app, ["weights", "show", str(path)]).output
    assert "normalisation  not stated" in shown
    assert "licence        not stated" in shown
