"""Networks that estimate the motion between two images, in cells of a feature map. Source: baselines specification, 3.

FlowNetS sees both images at half size, goes down to stride 64 of that and back up to a quarter of it, which is
stride 8 of the image. Its flow comes out in cells of the map that is to be warped, not in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.errors import ConfigError
from vssbench.networks.network import DescribedNetwork, scale_channels
from vssbench.ops.resize import resize
from vssbench.registry import flow_networks

FLOW_FACTOR = 2.5
"""The last convolution's output times this is the flow in cells, as released."""
SLOPE = 0.1
"""Of the leaky ReLUs."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowEstimate:
    """What a flow network says about an image and a reference."""

    flow: Tensor
    """[N, 2, h, w], x then y, in cells of the h x w map: content at (x, y) was at (x + fx, y + fy) in the reference."""
    scale: Tensor | None = None
    """[N, C or 1, h, w] factor on the warped map; None if the network was built without one."""


class FlowNetwork(DescribedNetwork):
    """Base of the flow networks; `motion` yields the map that the last convolutions read.

    scale_field channels are predicted beside the flow where it is not 0 (1: one factor for all channels). Their
    weights begin at 0 and their bias at 1, so that at first nothing is scaled.
    """

    classes = 0

    def __init__(self, *, width: int, scale_field: int, channels: int) -> None:
        super().__init__()
        if width < 1 or scale_field < 0:
            raise ConfigError(
                f"{self.name}: width = {width} and scale_field = {scale_field}; expected at least 1 and 0"
            )
        self.width = width
        self.flow = nn.Conv2d(channels, 2, 3, padding=1)
        nn.init.normal_(self.flow.weight, 0.0, 0.01)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]
        self.scale = nn.Conv2d(channels, scale_field, 1) if scale_field else None
        if self.scale is not None:
            nn.init.zeros_(self.scale.weight)
            nn.init.ones_(self.scale.bias)  # type: ignore[arg-type]

    def motion(self, pair: Tensor) -> Tensor:
        """Joint map [N, channels, about H / 8, about W / 8] of concatenated images [N, 6, H, W]."""
        raise NotImplementedError

    def forward(self, image: Tensor, reference: Tensor, size: tuple[int, int]) -> FlowEstimate:
        """Flow of normalised images [N, 3, H, W] towards `reference`, in cells of a map of `size` = (h, w)."""
        maps = _fit(self.motion(torch.cat([image, reference], dim=1)), size)
        return FlowEstimate(self.flow(maps) * FLOW_FACTOR, None if self.scale is None else self.scale(maps))


def _fit(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Average down to a coarser grid (2x2 means for stride 16), interpolate to a finer one."""
    if size[0] < maps.shape[-2] and size[1] < maps.shape[-1]:
        return F.adaptive_avg_pool2d(maps, size)
    return resize(maps, size, corners="half-pixel")


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2), nn.LeakyReLU(SLOPE)
    )


def _deconvolution(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


class _Refinement(nn.Module):
    """One step up: the map and its own coarse flow are enlarged and joined with the encoder's map of that size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(inputs, 2, 3, padding=1)
        self.enlarge_flow = _deconvolution(2, 2)
        self.enlarge = _deconvolution(inputs, outputs)

    def forward(self, maps: Tensor, skip: Tensor) -> Tensor:
        """[N, inputs, h, w] and [N, c, H, W] -> [N, c + outputs + 2, H, W]; cut where 2h exceeds H."""
        rows, columns = skip.shape[-2:]
        upper = F.leaky_relu(self.enlarge(maps), SLOPE)[..., :rows, :columns]
        flow = self.enlarge_flow(self.coarse(maps))[..., :rows, :columns]
        return torch.cat([skip, upper, flow], dim=1)


class FlowNetS(FlowNetwork):
    """FlowNetS on half-size images as in DFF and Accel: 14.2 G at 720x960, 42.0 G at 1024x2048 (width 64)."""

    name = "flownet-s"

    def __init__(self, *, width: int = 64, scale_field: int = 0) -> None:
        c64, c128, c256, c512, c1024 = (scale_channels(c, width) for c in (64, 128, 256, 512, 1024))
        super().__init__(width=width, scale_field=scale_field, channels=c128 + c64 + 2)
        self.conv1 = _convolution(6, c64, 7, 2)
        self.conv2 = _convolution(c64, c128, 5, 2)
        self.conv3 = nn.Sequential(_convolution(c128, c256, 5, 2), _convolution(c256, c256, 3, 1))
        self.conv4 = nn.Sequential(_convolution(c256, c512, 3, 2), _convolution(c512, c512, 3, 1))
        self.conv5 = nn.Sequential(_convolution(c512, c512, 3, 2), _convolution(c512, c512, 3, 1))
        self.conv6 = nn.Sequential(_convolution(c512, c1024, 3, 2), _convolution(c1024, c1024, 3, 1))
        self.up5 = _Refinement(c1024, c512)
        self.up4 = _Refinement(c512 + c512 + 2, c256)
        self.up3 = _Refinement(c512 + c256 + 2, c128)
        self.up2 = _Refinement(c256 + c128 + 2, c64)

    def motion(self, pair: Tensor) -> Tensor:
        """[N, 6, H, W] -> [N, 194, ceil(H / 8), ceil(W / 8)] at full width."""
        at4 = self.conv2(self.conv1(F.avg_pool2d(pair, 2, ceil_mode=True)))
        at8 = self.conv3(at4)
        at16 = self.conv4(at8)
        at32 = self.conv5(at16)
        maps = self.up5(self.conv6(at32), at32)
        joined: Tensor = self.up2(self.up3(self.up4(maps, at16), at8), at4)
        return joined


class TinyFlowNet(FlowNetwork):
    """Four stride-2 convolutions on quarter-size images and two steps up, for slim networks; width 8 is its design size.

    Channels are width x (1, 2, 4, 4); the joint map has stride 16.
    """

    name = "flownet-tiny"
    factors: ClassVar[tuple[int, ...]] = (1, 2, 4, 4)

    def __init__(self, *, width: int = 8, scale_field: int = 0) -> None:
        first, second, third, fourth = (width * factor for factor in self.factors)
        super().__init__(width=width, scale_field=scale_field, channels=second + second)
        self.conv1 = _convolution(6, first, 5, 2)
        self.conv2 = _convolution(first, second, 3, 2)
        self.conv3 = _convolution(second, third, 3, 2)
        self.conv4 = _convolution(third, fourth, 3, 2)
        self.up3 = _deconvolution(fourth, third)
        self.up2 = _deconvolution(third + third, second)

    def motion(self, pair: Tensor) -> Tensor:
        """[N, 6, H, W] -> [N, 4 width, ceil(H / 16), ceil(W / 16)]."""
        at16 = self.conv2(self.conv1(F.avg_pool2d(pair, 4, ceil_mode=True)))
        at32 = self.conv3(at16)
        joined = _join(F.leaky_relu(self.up3(self.conv4(at32)), SLOPE), at32)
        return _join(F.leaky_relu(self.up2(joined), SLOPE), at16)


def _join(upper: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([skip, upper[..., : skip.shape[-2], : skip.shape[-1]]], dim=1)


def create_flow_network(name: str, *, width: int, scale_field: int = 0) -> FlowNetwork:
    """Build the registered flow network `name` with fresh weights.

    Raises ConfigError for an unknown name, a width below 1 or a negative scale_field.
    """
    network = flow_networks.load(name)(width=width, scale_field=scale_field)
    assert isinstance(network, FlowNetwork)
    return network
