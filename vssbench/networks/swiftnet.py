"""SwiftNet with ResNet-18, the base network of BlockCopy. Source: baselines specification section 6.

Single scale: backbone to stride 32, spatial pyramid, three ladder steps that each add a projected skip map and blend it.
The original takes its skips before the last ReLU of a stage; here they are taken after it. Shapes and costs are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.resnet import PLAIN, ResNet18
from vssbench.ops.losses import SegmentationLoss
from vssbench.ops.resize import resize

PYRAMID_ROWS = (8, 4, 2, 1)
"""Rows of the pooled grids; columns follow the map's shape."""


class NormReLUConv(nn.Module):
    """Normalisation, ReLU, convolution without bias."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        convolved: Tensor = self.conv(F.relu(self.norm(maps)))
        return convolved


class SpatialPyramid(nn.Module):
    """Projection, its means over coarse grids, each projected and enlarged, concatenation, fusion."""

    def __init__(self, inputs: int, inner: int, outputs: int) -> None:
        super().__init__()
        level = max(1, inner // 3)  # 42 of 128, as published
        self.project = NormReLUConv(inputs, inner, 1)
        self.levels = nn.ModuleList(NormReLUConv(inner, level, 1) for _ in PYRAMID_ROWS)
        self.fuse = NormReLUConv(inner + level * len(PYRAMID_ROWS), outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        projected = self.project(maps)
        size = (maps.shape[-2], maps.shape[-1])
        pooled = [
            resize(level(F.adaptive_avg_pool2d(projected, _grid(rows, size))), size, corners="half-pixel")
            for rows, level in zip(PYRAMID_ROWS, self.levels, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat([projected, *pooled], dim=1))
        return fused


def _grid(rows: int, size: tuple[int, int]) -> tuple[int, int]:
    """(8, (32, 64)) -> (8, 16): cells as square as the map allows, at most one a pixel."""
    return min(rows, size[0]), min(max(1, round(rows * size[1] / size[0])), size[1])


class LadderStep(nn.Module):
    """The upper map enlarged to the skip's size, plus the projected skip, blended by 3x3."""

    def __init__(self, skip: int, channels: int) -> None:
        super().__init__()
        self.project = NormReLUConv(skip, channels, 1)
        self.blend = NormReLUConv(channels, channels, 3)

    def forward(self, upper: Tensor, skip: Tensor) -> Tensor:
        """[N, channels, h, w] and [N, skip, H, W] -> [N, channels, H, W]."""
        projected = self.project(skip)
        enlarged = resize(upper, (projected.shape[-2], projected.shape[-1]), corners="half-pixel")
        blended: Tensor = self.blend(enlarged + projected)
        return blended


class SwiftNet18(SegmentationNetwork):
    """SwiftNet-RN18: the feature p has stride 4 and 128 channels; logits are enlarged to the image (aligned pixel areas)."""

    name = "swiftnet18"
    feature_norm = "norm"
    feature_stride = 4
    loss: ClassVar[SegmentationLoss] = "cross-entropy"
    training_only = ()

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet18(PLAIN, width=width)
        _, at4, at8, at16, at32 = self.backbone.channels
        channels = scale_channels(128, width)
        self.pyramid = SpatialPyramid(at32, channels, channels)
        self.up16, self.up8, self.up4 = (LadderStep(skip, channels) for skip in (at16, at8, at4))
        self.norm = nn.BatchNorm2d(channels)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p; there are no side maps."""
        self.check_cut(cut)
        at4 = self.backbone.stage1(self.backbone.stem(image))
        at8 = self.backbone.stage2(at4)
        at16 = self.backbone.stage3(at8)
        maps = self.pyramid(self.backbone.stage4(at16))
        for step, skip in self._ladder((at16, at8, at4)):
            maps = step(maps, skip)
        return Partial(F.relu(self.norm(maps)))

    def _ladder(self, skips: Sequence[Tensor]) -> list[tuple[LadderStep, Tensor]]:
        return list(zip((self.up16, self.up8, self.up4), skips, strict=True))

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size]; None leaves them at stride 4."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size, corners="half-pixel")
