"""Light feature pyramid network on ResNet-18: TapLab's base network "BL2". Source: baselines specification section 7."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.pspnet import PyramidLevel
from vssbench.networks.resnet import PLAIN, ResNet18
from vssbench.ops.losses import SegmentationLoss
from vssbench.ops.resize import resize

BINS = (1, 2, 4, 8)
"""Grid sizes of the pyramid pooling."""


class PyramidTop(nn.Module):
    """1x1, four pooled levels of a quarter of the channels each, concatenation, 1x1 to half the channels."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        level = inputs // len(BINS)
        self.reduce = nn.Conv2d(inputs, inputs, 1, bias=False)
        self.levels = nn.ModuleList(PyramidLevel(inputs, level, grid) for grid in BINS)
        self.join = nn.Conv2d(inputs + level * len(BINS), outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        maps = self.reduce(maps)
        joined = self.join(torch.cat([maps, *(level(maps) for level in self.levels)], dim=1))
        return F.relu(self.norm(joined), inplace=True)


class Lateral(nn.Module):
    """The upper map, enlarged, plus a 1x1 of the backbone's map of that size, then 3x3."""

    def __init__(self, upper: int, backbone: int, outputs: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(backbone, upper, 1, bias=False)
        self.lateral_norm = nn.BatchNorm2d(upper)
        self.smooth = nn.Conv2d(upper, outputs, 3, padding=1, bias=False)
        self.smooth_norm = nn.BatchNorm2d(outputs)

    def forward(self, upper: Tensor, maps: Tensor) -> Tensor:
        """[N, upper, h, w] and [N, backbone, H, W] -> [N, outputs, H, W]."""
        lateral = F.relu(self.lateral_norm(self.lateral(maps)), inplace=True)
        summed = resize(upper, (lateral.shape[-2], lateral.shape[-1])) + lateral
        return F.relu(self.smooth_norm(self.smooth(summed)), inplace=True)


class LightFPN18(SegmentationNetwork):
    """ResNet-18, pyramid pooling, three lateral steps down to stride 4, 3x3 classifier, bilinear to image size.

    The feature p has stride 4 and 64 channels; unlike elsewhere the final convolution is 3x3, as released.
    """

    name = "light-fpn18"
    feature_stride = 4
    loss: ClassVar[SegmentationLoss] = "ohem"
    training_only = ()

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet18(PLAIN, width=width)
        _, at4, at8, at16, at32 = self.backbone.channels
        top, middle, low = (scale_channels(c, width) for c in (256, 128, 64))
        self.pyramid = PyramidTop(at32, top)
        self.down16 = Lateral(top, at16, middle)
        self.down8 = Lateral(middle, at8, low)
        self.down4 = Lateral(low, at4, low)
        self.classifier = nn.Conv2d(low, classes, 3, padding=1)

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p; there are no side maps."""
        self.check_cut(cut)
        at4 = self.backbone.stage1(self.backbone.stem(image))
        at8 = self.backbone.stage2(at4)
        at16 = self.backbone.stage3(at8)
        top = self.pyramid(self.backbone.stage4(at16))
        return Partial(self.down4(self.down8(self.down16(top, at16), at8), at4))

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size], corners aligned; None leaves them at stride 4."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size)
