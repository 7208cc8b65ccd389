"""EfficientNet-Lite0 with a ladder decoder: an ImageNet start that trains in half an hour on two CPU cores.

The backbone is MobileNet-like: inverted residual blocks without squeeze-and-excitation, ReLU6, TensorFlow's padding
(the odd pixel of a strided convolution lies below and to the right). Source: Tan and Le, EfficientNet (ICML 2019), and
the published EfficientNet-Lite table of blocks.
"""

from __future__ import annotations

import math
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.blocks import ConvNormReLU
from vssbench.networks.network import Cut, Partial, SegmentationNetwork
from vssbench.networks.resnet import Projection
from vssbench.ops.losses import Scores, SegmentationLoss
from vssbench.ops.resize import enlarge_later, resize

STEM = 32
"""Channels behind the first convolution."""
_EPSILON, _MOMENTUM = 1e-3, 0.01


class Repeat(NamedTuple):
    """`blocks` inverted residual blocks, of which the first strides and changes the channels."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    channels: int


BLOCKS = (
    Repeat(1, 3, 1, 1, 16),
    Repeat(2, 3, 2, 6, 24),
    Repeat(2, 5, 2, 6, 40),
    Repeat(3, 3, 2, 6, 80),
    Repeat(3, 5, 1, 6, 112),
    Repeat(4, 5, 2, 6, 192),
    Repeat(1, 3, 1, 6, 320),
)
"""EfficientNet-Lite0's table: 16 blocks."""
TAPS = (2, 4, 10, 15)
"""Blocks (from 0) whose outputs are the maps of strides 4, 8, 16 and 32."""


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


class SameConv(nn.Conv2d):
    """Convolution without bias whose output has ceil(side / stride) pixels, padded as TensorFlow does."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)]."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            rows, columns = (
                max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in maps.shape[-2:]
            )
            maps = F.pad(maps, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(maps)


class InvertedResidual(nn.Module):
    """1x1 up to `expansion` times the channels, depth-wise convolution, 1x1 down; a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        if expansion > 1:
            self.conv1, self.norm1 = SameConv(inputs, inner, 1), _norm(inner)
        self.conv2, self.norm2 = SameConv(inner, inner, kernel, stride, groups=inner), _norm(inner)
        self.conv3, self.norm3 = SameConv(inner, outputs, 1), _norm(outputs)
        self.expands, self.has_shortcut = expansion > 1, stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)]."""
        inner = F.relu6(self.norm1(self.conv1(maps)), inplace=True) if self.expands else maps
        inner = F.relu6(self.norm2(self.conv2(inner)), inplace=True)
        result: Tensor = self.norm3(self.conv3(inner))
        return result + maps if self.has_shortcut else result


class EfficientNetLite0(nn.Module):
    """Stem and 16 inverted residual blocks; 2.96 M parameters."""

    channels = (24, 40, 112, 320)
    """Of the maps at strides 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = SameConv(3, STEM, 3, 2), _norm(STEM)
        self.blocks = nn.ModuleList()
        before = STEM
        for repeat in BLOCKS:
            for index in range(repeat.blocks):
                stride = repeat.stride if index == 0 else 1
                self.blocks.append(
                    InvertedResidual(before, repeat.channels, repeat.kernel, stride, repeat.expansion)
                )
                before = repeat.channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Maps of strides 4, 8, 16 and 32 of images [N, 3, H, W]."""
        maps = F.relu6(self.norm(self.conv(image)), inplace=True)
        taps = []
        for index, block in enumerate(self.blocks):
            maps = block(maps)
            if index in TAPS:
                taps.append(maps)
        return tuple(taps)


class Lite0(SegmentationNetwork):
    """EfficientNet-Lite0, global context, and a ladder of lateral sums blended by 3x3 down to stride 4.

    `width` is the number of channels of the decoder and of the feature p; the backbone always has its published
    channels, so ImageNet weights fit every width. Logits are enlarged to the image (aligned pixel areas).
    """

    name = "lite0"
    feature_norm = "blends.0.norm"
    feature_stride = 4
    loss: ClassVar[SegmentationLoss] = "cross-entropy"
    training_only = ()

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = EfficientNetLite0()
        self.laterals = nn.ModuleList(Projection(inputs, width, 1) for inputs in self.backbone.channels)
        self.context = nn.Conv2d(self.backbone.channels[-1], width, 1)
        self.blends = nn.ModuleList(ConvNormReLU(width, width) for _ in self.backbone.channels)
        self.classifier = nn.Conv2d(width, classes, 1)

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p; there are no side maps."""
        self.check_cut(cut)
        taps = self.backbone(image)
        upper: Tensor = self.context(torch.mean(taps[-1], dim=(2, 3), keepdim=True))
        for tap, lateral, blend in zip(
            reversed(taps), reversed(self.laterals), reversed(self.blends), strict=True
        ):
            own = lateral(tap)
            upper = blend(own + resize(upper, (own.shape[-2], own.shape[-1]), corners="half-pixel"))
        return Partial(upper)

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size]; None leaves them at stride 4."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size, corners="half-pixel")

    def training_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """The same logits; while gradients are taken on a CPU the loss enlarges them."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else enlarge_later(logits, size, corners="half-pixel")
