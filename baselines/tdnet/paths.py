"""How a segmentation network serves as one path: what it encodes of a frame, and what follows the attention.

Exchanged at the 'pyramid' (TDNet's own): the PSPNets keep a slice of the channels behind their pyramid (path 0, 2, ...
the first half of every source, the others the second), BiSeNet gives its whole fused map. Exchanged at the 'feature': any network gives its feature p; the costs of
AR-Seg's Table 2 imply this for PSPNet18 on Cityscapes, whose own head is paid in full there.
Source: baselines specification section 5, steps 2 and 5, and section 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from vssbench.errors import ConfigError
from vssbench.networks import SegmentationNetwork
from vssbench.networks.bisenet import BiSeNet18
from vssbench.networks.pspnet import PSPNet18CamVid, PSPNet18Cityscapes
from vssbench.ops.resize import resize

Place = Literal["pyramid", "feature"]
HALVES = 2
"""Channel slices of the PSPNet paths."""


@dataclass(frozen=True, slots=True)
class PathShape:
    """Channels of a path's encoded map."""

    encoded: int
    """Of the map z that is exchanged."""
    own_head: bool
    """Whether the network's own layers follow; False where the slice needs a head of its own."""


def path_shape(network: SegmentationNetwork, paths: int, place: Place = "pyramid") -> PathShape:
    """Channels of z for a network that is one of `paths` paths. Raises ConfigError for networks without a recipe."""
    if place == "feature":
        return PathShape(network.feature_channels, own_head=True)
    if isinstance(network, BiSeNet18):
        return PathShape(network.feature_channels, own_head=True)
    if isinstance(network, PSPNet18CamVid):
        return PathShape(network.up1.conv.in_channels, own_head=True)
    if isinstance(network, PSPNet18Cityscapes):
        halves = _slices(paths)
        deep = network.cut_channels("task")
        level = network.head.conv.in_channels - deep
        return PathShape((deep + level) // halves, own_head=paths == 1)
    raise ConfigError(
        f"tdnet: no paths of {network.name!r} at the pyramid; choose bisenet18, pspnet18-cityscapes, pspnet18-camvid, "
        "or exchange_at=feature"
    )


def encode_path(
    network: SegmentationNetwork, image: Tensor, path: int, paths: int, place: Place = "pyramid"
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Encoded map z [N, encoded, h, w] of a normalised image, and the side maps of the auxiliary heads."""
    if place == "feature":
        whole = network.partial(image)
        return whole.feature, whole.side
    if isinstance(network, BiSeNet18):
        context8, context16 = network.context(image)
        spatial = resize(network.spatial(image), (context8.shape[-2], context8.shape[-1]))
        return network.fusion(spatial, context8), (context8, context16)
    partial = network.partial(image, "task")
    if isinstance(network, PSPNet18CamVid):
        return network.pyramid(partial.feature), partial.side
    assert isinstance(network, PSPNet18Cityscapes)
    sources = [partial.feature, *(level(partial.feature) for level in network.pyramid)]
    halves = _slices(paths)
    return torch.cat([_slice(one, path % halves, halves) for one in sources], dim=1), partial.side


def decode_path(
    network: SegmentationNetwork, maps: Tensor, size: tuple[int, int], place: Place = "pyramid"
) -> Tensor:
    """Output of the network's own layers behind z, as for an image of `size`."""
    if place == "feature":
        return network.classify(maps, size)
    if isinstance(network, BiSeNet18):
        return network.classify(network.head(maps), size)
    if isinstance(network, PSPNet18CamVid):
        for up in (network.up1, network.up2, network.up3):
            maps = up(maps)
        return network.classify(maps, size)
    assert isinstance(network, PSPNet18Cityscapes)
    return network.classify(network.head(maps), size)


def _slices(paths: int) -> int:
    return 1 if paths == 1 else HALVES


def _slice(maps: Tensor, which: int, count: int) -> Tensor:
    """Part `which` of `count` equal runs of channels."""
    length = maps.shape[1] // count
    return maps[:, which * length : (which + 1) * length]
