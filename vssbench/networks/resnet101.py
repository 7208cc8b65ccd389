"""ResNet-101 with output stride 16, the deep backbone of DFF and Accel. Source: baselines specification sections 3, 4."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import scale_channels
from vssbench.networks.resnet import Projection, Stem

BLOCKS = (3, 4, 23, 3)
"""Bottlenecks per stage."""
EXPANSION = 4
"""Output channels of a bottleneck per inner channel."""


class Bottleneck(nn.Module):
    """1x1, 3x3 (with stride or dilation), 1x1, and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(
            inner, inner, 3, stride=stride, padding=dilation, dilation=dilation, bias=False
        )
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        reshapes = stride != 1 or inputs != outputs
        self.projection = Projection(inputs, outputs, stride) if reshapes else None

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h / stride, w / stride]."""
        shortcut = maps if self.projection is None else self.projection(maps)
        inner = F.relu(self.norm1(self.conv1(maps)), inplace=True)
        inner = F.relu(self.norm2(self.conv2(inner)), inplace=True)
        return F.relu(self.norm3(self.conv3(inner)) + shortcut, inplace=True)


class ResNet101(nn.Module):
    """Stem and four stages of bottlenecks; stage 4 keeps stride 16 with dilation 2 (undeformed convolutions)."""

    def __init__(self, *, width: int = 64) -> None:
        super().__init__()
        stem, *inner = (scale_channels(c, width) for c in (64, 64, 128, 256, 512))
        outputs = [scale_channels(c * EXPANSION, width) for c in (64, 128, 256, 512)]
        self.channels = (stem, *outputs)
        """Channels of the stem and of stages 1 to 4."""
        self.stem = Stem(stem)
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            _stage(before, middle, after, blocks, stride, dilation)
            for before, middle, after, blocks, stride, dilation in zip(
                self.channels[:-1], inner, outputs, BLOCKS, (1, 2, 2, 1), (1, 1, 1, 2), strict=True
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward(self, image: Tensor) -> Tensor:
        """Output of stage 4, [N, 2048, ceil(H / 16), ceil(W / 16)], for images [N, 3, H, W]."""
        maps: Tensor = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(image)))))
        return maps


def _stage(before: int, middle: int, after: int, blocks: int, stride: int, dilation: int) -> nn.Sequential:
    first = Bottleneck(before, middle, after, stride, dilation)
    return nn.Sequential(first, *(Bottleneck(after, middle, after, 1, dilation) for _ in range(blocks - 1)))
