"""ImageNet weights of the user's own file reach every ResNet-18 that nothing else initialises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vssbench.errors import CheckpointError, ConfigError, InputError
from vssbench.experiment.training import load_training_experiment
from vssbench.networks.imagenet import imagenet_networks
from vssbench.training.trainer import Trainer

BLOCKS = [(f"layer{stage}.{block}", stage, block) for stage in (1, 2, 3, 4) for block in (0, 1)]
CHANNELS = (64, 64, 128, 256, 512)


def torchvision_resnet18() -> dict[str, torch.Tensor]:
    """A state dict with torchvision's names and shapes, written down by hand, and random values."""
    generator = torch.Generator().manual_seed(5)
    state: dict[str, torch.Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        state[f"{name}.weight"] = torch.randn(*shape, generator=generator)

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{leaf}"] = torch.rand(channels, generator=generator)

    conv("conv1", 64, 3, 7, 7)
    norm("bn1", 64)
    for name, stage, block in BLOCKS:
        out = CHANNELS[stage]
        inputs = CHANNELS[stage - 1] if block == 0 else out
        conv(f"{name}.conv1", out, inputs, 3, 3)
        norm(f"{name}.bn1", out)
        conv(f"{name}.conv2", out, out, 3, 3)
        norm(f"{name}.bn2", out)
        if block == 0 and stage > 1:
            conv(f"{name}.downsample.0", out, inputs, 1, 1)
            norm(f"{name}.downsample.1", out)
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    return state


def experiment(write_experiment: Any, path: Path, width: int = 64, method: str = "ar-seg") -> Any:
    stage = "fusion" if method == "ar-seg" else "image"
    more = {"window": 3} if method == "ar-seg" else {}
    contestant = {
        "name": method,
        "label": "a",
        "options": {"network": "bisenet18", "width": width, **more},
        "stages": {stage: {"steps": 1}},
    }
    return load_training_experiment(write_experiment(contestants=[contestant], backbone_weights=str(path)))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_every_backbone_of_the_method_has_the_files_weights(
    write_experiment: Any, tmp_path: Path, suffix: str
) -> None:
    state = torchvision_resnet18()
    path = tmp_path / f"resnet18{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    trainer = Trainer(experiment(write_experiment, path), tmp_path / "out")
    method = trainer.build(trainer.experiment.contestants[0])
    networks = [n for part in method.parts().values() for n in imagenet_networks(part)]
    assert len(networks) == 2  # the HR and the LR network
    for network in networks:
        own = network.state_dict()
        assert torch.equal(own["context.backbone.stem.conv.weight"], state["conv1.weight"])
        assert torch.equal(
            own["context.backbone.stage3.0.projection.norm.running_mean"],
            state["layer3.0.downsample.1.running_mean"],
        )
        assert torch.equal(own["context.backbone.stage4.1.norm2.bias"], state["layer4.1.bn2.bias"])


def test_other_widths_are_refused_with_the_contestant(write_experiment: Any, tmp_path: Path) -> None:
    path = tmp_path / "resnet18.safetensors"
    save_file(torchvision_resnet18(), path)
    trainer = Trainer(experiment(write_experiment, path, width=12), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"contestant a, part hr: bisenet18 of width 12 .* width 64 only"):
        trainer.build(trainer.experiment.contestants[0])


def test_a_file_that_is_no_resnet18_is_refused(write_experiment: Any, tmp_path: Path) -> None:
    state = torchvision_resnet18()
    del state["layer3.1.bn2.weight"]
    path = tmp_path / "resnet18.pth"
    torch.save(state, path)
    trainer = Trainer(experiment(write_experiment, path, method="constant"), tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"layer3\.1\.bn2\.weight"):
        trainer.build(trainer.experiment.contestants[0])


def test_the_files_content_is_part_of_the_experiments_identity(write_experiment: Any, tmp_path: Path) -> None:
    digests = []
    for name, content in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / name).write_bytes(content)
        digests.append(experiment(write_experiment, tmp_path / name).digest())
    assert digests[0] == digests[1] != digests[2]
    with pytest.raises(InputError, match="weights cannot be read"):
        experiment(write_experiment, tmp_path / "none.pth").digest()
