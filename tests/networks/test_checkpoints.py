"""Key maps against the released state dicts, and what happens with files that do not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vssbench import networks
from vssbench.baselines.ar_seg import CReFF
from vssbench.errors import CheckpointError, ConfigError
from vssbench.networks import load_ar_seg_checkpoint
from vssbench.networks.checkpoints import ar_seg_key_map, fusion_key_map
from vssbench.networks.imagenet import load_imagenet_backbone

MODELS = {
    "camvid-psp18": ("pspnet18-camvid", 12),
    "camvid-bise18": ("bisenet18", 12),
    "cityscapes-psp18": ("pspnet18-cityscapes", 19),
    "cityscapes-bise18": ("bisenet18", 19),
}
ALIASES = {
    "bisenet18": (("feat_conv_out.", "conv_out.conv."), ("final_conv.", "conv_out.conv_out.")),
    "pspnet18-cityscapes": (("final_conv.", "cls.4."),),
    "pspnet18-camvid": (),
}


def released_state(network: networks.SegmentationNetwork, *, prefix: str = "module.") -> dict[str, Tensor]:
    """The network's own values under the released keys."""
    state = network.state_dict()
    return {prefix + theirs: state[ours].clone() for ours, theirs in ar_seg_key_map(network).items()}


@pytest.mark.needs_shared
@pytest.mark.parametrize("branch", ["HR", "AR", "HR_as_saved_by_train"])
@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_released_key_and_shape_has_its_place(shared, model, branch):
    listing = json.loads((shared / "spec" / "ar-seg-state-dicts.json").read_text())["models"]
    if f"{model}_{branch}" not in listing:
        pytest.skip("the release has no such file")
    released = {key.removeprefix("module."): tuple(shape) for key, shape, _ in listing[f"{model}_{branch}"]}
    name, classes = MODELS[model]
    with torch.device("meta"):
        network = networks.create(name, classes)
        fusion = CReFF(network.feature_channels)
    ours = {theirs: tuple(network.state_dict()[own].shape) for own, theirs in ar_seg_key_map(network).items()}
    assert len(ours) == len(network.state_dict())  # no two of ours share a key
    if any(key.startswith("fuse_attention") for key in released):
        ours.update(
            {theirs: tuple(fusion.state_dict()[own].shape) for own, theirs in fusion_key_map(fusion).items()}
        )
    for alias, canonical in ALIASES[name]:
        doubled = {
            alias + key[len(canonical) :]: shape for key, shape in ours.items() if key.startswith(canonical)
        }
        if branch != "HR_as_saved_by_train":
            ours.update(doubled)
    assert ours == released


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_a_state_dict_comes_back_through_the_key_map(name):
    torch.manual_seed(0)
    source = networks.create(name, 5, width=8)
    target = networks.create(name, 5, width=8)
    load_ar_seg_checkpoint(released_state(source), network=target)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_the_later_of_two_aliases_wins_and_leftovers_are_dropped():
    network = networks.create("bisenet18", 5, width=8)
    state = released_state(network)
    state["module.final_conv.bias"] = torch.full((5,), 7.0)
    state["module.total_ops"] = torch.zeros(1, dtype=torch.float64)
    state["module.cp.resnet.conv1.total_params"] = torch.zeros(1)
    load_ar_seg_checkpoint(state, network=network)
    assert network.classifier.bias.tolist() == [7.0] * 5
    earlier = {"module.final_conv.bias": torch.full((5,), 3.0), **released_state(network)}
    load_ar_seg_checkpoint(earlier, network=network)
    assert network.classifier.bias.tolist() == [7.0] * 5


def test_an_alias_alone_is_enough():
    network = networks.create("pspnet18-cityscapes", 5, width=8)
    state = released_state(network, prefix="")
    for kind in ("weight", "bias"):
        state[f"final_conv.{kind}"] = state.pop(f"cls.4.{kind}")
    load_ar_seg_checkpoint(state, network=network)


def test_fusion_weights_load_into_creff_and_are_skipped_without():
    network, fusion = networks.create("bisenet18", 5, width=8), CReFF(32)
    state = released_state(network)
    state |= {
        f"module.{theirs}": torch.randn_like(fusion.state_dict()[own])
        for own, theirs in fusion_key_map(fusion).items()
    }
    load_ar_seg_checkpoint(state, network=network)
    load_ar_seg_checkpoint(state, network=network, fusion=fusion)
    assert torch.equal(fusion.value_conv.weight, state["module.fuse_attention.hr_value_conv.weight"])
    with pytest.raises(CheckpointError, match=r"missing: .*fuse_attention.lr_query_conv.weight"):
        load_ar_seg_checkpoint(released_state(network), network=network, fusion=fusion)
    with pytest.raises(ConfigError, match="final CReFF only"):
        load_ar_seg_checkpoint(state, network=network, fusion=CReFF(32, variant="conv"))


def test_refusal_lists_missing_unexpected_and_misshaped_and_changes_nothing():
    network = networks.create("bisenet18", 5, width=8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {key: value + 1 for key, value in released_state(network).items()}
    del state["module.sp.conv1.conv.weight"]
    state["module.extra.weight"] = torch.zeros(1)
    state["module.ffm.conv.weight"] = torch.zeros(3, 3)
    with pytest.raises(CheckpointError) as caught:
        load_ar_seg_checkpoint(state, network=network)
    text = str(caught.value)
    assert "missing: sp.conv1.conv.weight" in text
    assert "unexpected: extra.weight" in text
    assert "mis-shaped: ffm.conv.weight (3, 3) instead of (32, 32, 1, 1)" in text
    assert all(torch.equal(network.state_dict()[key], value) for key, value in before.items())


def test_wrong_class_count_names_both():
    state = released_state(networks.create("bisenet18", 12, width=8))
    with pytest.raises(
        CheckpointError, match=r"with 11 classes.*\(12, 32, 1, 1\) instead of \(11, 32, 1, 1\)"
    ):
        load_ar_seg_checkpoint(state, network=networks.create("bisenet18", 11, width=8))


def test_checkpoint_of_another_model_is_refused():
    state = released_state(networks.create("pspnet18-camvid", 5, width=8))
    with pytest.raises(CheckpointError, match="does not belong to bisenet18"):
        load_ar_seg_checkpoint(state, network=networks.create("bisenet18", 5, width=8))


class Bomb:
    """Would write a file when unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (Path(self.path), "executed"))


def test_pickled_code_is_refused_and_not_executed(tmp_path):
    network = networks.create("bisenet18", 5, width=8)
    witness, path = tmp_path / "witness", tmp_path / "evil.pth"
    torch.save({"module.x": Bomb(str(witness))}, path)
    with pytest.raises(CheckpointError, match="nothing in it was executed"):
        load_ar_seg_checkpoint(path, network=network)
    path.write_bytes(pickle.dumps(Bomb(str(witness))))
    with pytest.raises(CheckpointError):
        load_ar_seg_checkpoint(path, network=network)
    assert not witness.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"not a checkpoint at all"])
def test_damaged_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "damaged.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.pth"):
        load_ar_seg_checkpoint(path, network=networks.create("bisenet18", 5, width=8))


def test_a_truncated_file_an_absent_file_and_a_wrapped_state_are_refused(tmp_path):
    network = networks.create("bisenet18", 5, width=8)
    path = tmp_path / "good.pth"
    torch.save(released_state(network), path)
    load_ar_seg_checkpoint(path, network=network)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"good\.pth"):
        load_ar_seg_checkpoint(path, network=network)
    with pytest.raises(CheckpointError, match="no such file"):
        load_ar_seg_checkpoint(tmp_path / "absent.pth", network=network)
    torch.save({"state_dict": released_state(network), "epoch": 3}, path)
    with pytest.raises(CheckpointError, match="expected a state dict"):
        load_ar_seg_checkpoint(path, network=network)


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_torchvisions_resnet_fills_the_backbone(name):
    network = networks.create(name, 5, width=64)
    prefix = {"bisenet18": "cp.resnet.", "pspnet18-camvid": "feats.", "pspnet18-cityscapes": ""}[name]
    state = {}
    for key, value in released_state(network, prefix="").items():
        key = key.replace("layer0.0.", "conv1.").replace("layer0.1.", "bn1.")
        if key.startswith((f"{prefix}conv1.", f"{prefix}bn1.", f"{prefix}layer")) and not key.endswith(
            "tracked"
        ):
            state[key[len(prefix) :]] = value + 1
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 64), torch.zeros(1000)
    assert len(state) == 100 + 2  # 20 convolutions, 20 normalisations of four tensors, fc
    load_imagenet_backbone(network, state)
    backbone = network.context.backbone if name == "bisenet18" else network.backbone
    assert torch.equal(backbone.stage3[0].projection.conv.weight, state["layer3.0.downsample.0.weight"])
    assert torch.equal(backbone.stem.conv.weight, state["conv1.weight"])
    del state["layer1.0.bn1.bias"]
    with pytest.raises(CheckpointError, match=r"layer1\.0\.bn1\.bias"):
        load_imagenet_backbone(network, state)
