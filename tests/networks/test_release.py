"""Converting a folder in the release's layout, with synthetic checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from vssbench.baselines.ar_seg import CReFF, FusionNetwork
from vssbench.errors import CheckpointError, InputError
from vssbench.networks import create, load_weights, release
from vssbench.networks.checkpoints import ar_seg_key_map, fusion_key_map
from vssbench.networks.release import convert_release, find_released_files
from vssbench.networks.weights import read_metadata
from vssbench.registry import datasets


@pytest.fixture(autouse=True)
def _slim_networks(monkeypatch):
    """The release is full width (60 MB a file); the layout is what matters here."""

    class Slim:
        @staticmethod
        def load(name):
            return lambda classes: create(name, classes, width=8)

    monkeypatch.setattr(release, "networks", Slim)


def released(name: str, classes: int, *, fusion: bool) -> dict[str, Tensor]:
    network = create(name, classes, width=8)
    state = network.state_dict()
    out = {f"module.{theirs}": state[ours] for ours, theirs in ar_seg_key_map(network).items()}
    if fusion:
        creff = CReFF(network.feature_channels)
        out |= {
            f"module.{theirs}": creff.state_dict()[ours] for ours, theirs in fusion_key_map(creff).items()
        }
    return out


@pytest.fixture
def folder(tmp_path):
    for path, name, classes, fusion in (
        ("camvid-psp18/HR/PSPNet_resnet18_1.0_92_.pth", "pspnet18-camvid", 12, False),
        ("camvid-psp18/LR/PSPNet_resnet18_0.5_40_.pth", "pspnet18-camvid", 12, True),
        ("camvid-psp18/AR/PSPNet_resnet18_0.5_71_.pth", "pspnet18-camvid", 12, True),
        ("camvid-psp18/AR/PSPNet_resnet18_0.5_8_.pth", "pspnet18-camvid", 12, True),
        ("camvid-psp18/AR/PSPNet_resnet18_0.3_90_.pth", "pspnet18-camvid", 12, True),
        ("cityscapes-bise18/HR/converted_bisenet.pth", "bisenet18", 19, False),
    ):
        target = tmp_path / "release" / "checkpoints" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        torch.save(released(name, classes, fusion=fusion), target)
    return tmp_path / "release"


def test_of_each_scale_the_last_epoch_is_converted(folder, tmp_path):
    out = tmp_path / "out"
    converted = convert_release(folder, out)
    assert [one.name for one in converted] == [
        "camvid-psp18/HR",
        "camvid-psp18/LR-0.5",
        "camvid-psp18/AR-0.3",
        "camvid-psp18/AR-0.5",
        "cityscapes-bise18/HR",
    ]
    manifest = json.loads((out / "manifest.json").read_text())["weights"]
    entry = manifest["camvid-psp18/AR-0.5"]
    assert entry["source_file"] == "camvid-psp18/AR/PSPNet_resnet18_0.5_71_.pth"
    assert entry["superseded"] == ["PSPNet_resnet18_0.5_8_.pth"]
    assert (entry["epoch"], entry["lr_scale"], entry["classes"]) == (71, 0.5, 12)
    assert sorted(p.name for p in out.iterdir()) == ["camvid-psp18", "cityscapes-bise18", "manifest.json"]


def test_converted_files_hold_the_released_numbers(folder, tmp_path):
    out = tmp_path / "out"
    convert_release(folder, out)
    lr = FusionNetwork(create("pspnet18-camvid", 12, width=8), CReFF(8))
    described = load_weights(lr, out / "camvid-psp18" / "AR-0.5.safetensors")
    released = folder / "checkpoints/camvid-psp18/AR/PSPNet_resnet18_0.5_71_.pth"
    original = torch.load(released, weights_only=True)
    assert torch.equal(lr.fusion.key_conv.weight, original["module.fuse_attention.hr_key_conv.weight"])
    assert torch.equal(lr.network.classifier.weight, original["module.final_conv.weight"])
    assert "camvid-psp18/AR/PSPNet_resnet18_0.5_71_.pth" in described.experiment
    load_weights(create("pspnet18-camvid", 12, width=8), out / "camvid-psp18" / "LR-0.5.safetensors")


def test_converted_files_say_what_the_networks_saw(folder, tmp_path):
    """Constants and class tables as the datasets have them; Cityscapes BiSeNet has its own (specification, 4.2)."""
    convert_release(folder, tmp_path / "out")
    camvid, cityscapes = (datasets.load(name) for name in ("camvid", "cityscapes"))
    for name, size, scale, pixels in (
        ("camvid-psp18/HR", (720, 960), 1.0, camvid.normalisation),
        ("camvid-psp18/LR-0.5", (720, 960), 0.5, camvid.normalisation),
        ("camvid-psp18/AR-0.3", (720, 960), 0.3, camvid.normalisation),
        (
            "cityscapes-bise18/HR",
            (1024, 2048),
            1.0,
            ((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115), 1, "RGB"),
        ),
    ):
        said = read_metadata(tmp_path / "out" / f"{name}.safetensors")
        assert (said.size, said.lr_scale, said.normalisation) == (size, scale, pixels)
        table = camvid(camvid.Options(root=tmp_path, protocol="paper")) if "camvid" in name else None
        names = table.classes.names if table else cityscapes(cityscapes.Options(root=tmp_path)).classes.names
        assert said.class_names == names


def test_one_bad_file_leaves_nothing_behind(folder, tmp_path):
    (folder / "checkpoints/cityscapes-bise18/HR/converted_bisenet.pth").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"converted_bisenet\.pth"):
        convert_release(folder, tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["release"]


def test_a_models_own_folder_will_do(folder):
    found = find_released_files(folder / "checkpoints" / "cityscapes-bise18")
    assert [one.name for one in found] == ["cityscapes-bise18/HR"]


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(InputError, match="no checkpoint found"):
        find_released_files(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_released_files(tmp_path / "absent")


def test_the_command_reports_what_it_did_and_shows_a_file(folder, tmp_path):
    from vssbench.cli.weights import app

    out = tmp_path / "out"
    result = CliRunner().invoke(
        app, ["convert", str(folder), "-o", str(out), "--dtype", "float16"], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "left out: PSPNet_resnet18_0.5_8_.pth" in result.stdout
    assert "5 files and manifest.json" in result.stdout
    shown = (
        CliRunner()
        .invoke(app, ["show", str(out / "camvid-psp18" / "HR.safetensors")], catch_exceptions=False)
        .stdout
    )
    assert "pspnet18-camvid, width 8, 12 classes" in shown
    assert "AR-Seg release, camvid-psp18/HR" in shown
