"""AR-Seg's two PSPNets with ResNet-18. Source: specification sections 1.2 and 1.3."""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.blocks import ConvNormReLU
from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.resnet import DILATED_SECOND_BLOCK, DILATED_SECOND_CONVS, ResNet18, StagePlan
from vssbench.ops.losses import SegmentationLoss
from vssbench.ops.resize import resize

BINS = (1, 2, 3, 6)
"""Grid sizes of the pyramid pooling."""


class _PSPNet(SegmentationNetwork):
    """What both PSPNets share: the dilated backbone and the three cuts."""

    cuts: ClassVar[tuple[Cut, ...]] = ("classifier", "task", "feat")
    dilations: ClassVar[tuple[StagePlan, ...]]

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet18(self.dilations, width=width)

    def _task(self, deep: Tensor) -> Tensor:
        """N_task: backbone output [N, 512, h, w] -> feature p."""
        raise NotImplementedError

    def cut_channels(self, cut: Cut) -> int:
        """Channels of the map at `cut`."""
        self.check_cut(cut)
        at = {"feat": self.backbone.channels[0], "task": self.backbone.channels[4]}
        return at.get(cut, self.feature_channels)

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Run the network up to `cut`; the side map is the output of stage 3."""
        self.check_cut(cut)
        start = Partial(self.backbone.stem(image))
        if cut == "feat":
            return start
        _, middle, deep = self.backbone.stages(start.feature)
        at_task = Partial(deep, (middle,))
        return at_task if cut == "task" else self.resume(at_task, "task")

    def resume(self, partial: Partial, cut: Cut) -> Partial:
        """Run from `cut` to the feature p."""
        self.check_cut(cut)
        if cut == "feat":
            _, middle, deep = self.backbone.stages(partial.feature)
            partial = Partial(deep, (middle,))
        return partial if cut == "classifier" else Partial(self._task(partial.feature), partial.side)


class PyramidPooling(nn.Module):
    """CamVid pyramid: pooled maps through plain 1x1 convolutions, resized, concatenated, bottleneck, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.pools = nn.ModuleList(
            nn.AdaptiveAvgPool2d(grid) for grid in BINS
        )  # modules: rule thop-0.0.31 sees them
        self.convs = nn.ModuleList(nn.Conv2d(inputs, inputs, 1, bias=False) for _ in BINS)
        self.bottleneck = nn.Conv2d(inputs * (len(BINS) + 1), outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        size = (maps.shape[-2], maps.shape[-1])
        levels = [
            resize(conv(pool(maps)), size, corners="half-pixel")
            for pool, conv in zip(self.pools, self.convs, strict=True)
        ]
        return F.relu(self.bottleneck(torch.cat([*levels, maps], dim=1)), inplace=True)


class UpBlock(nn.Module):
    """Bilinear x2, 3x3 convolution, normalisation, PReLU with one slope."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.PReLU()

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, 2h, 2w]."""
        doubled = resize(maps, (2 * maps.shape[-2], 2 * maps.shape[-1]), corners="half-pixel")
        activated: Tensor = self.activation(self.norm(self.conv(doubled)))
        return activated


class PSPNet18CamVid(_PSPNet):
    """PSPNet18 with three up blocks: the feature p has 64 channels and image size (rounded up to a multiple of 8).

    `forward` returns log-probabilities at image size.
    """

    name = "pspnet18-camvid"
    feature_stride = 1
    side_multiple = 8
    loss: ClassVar[SegmentationLoss] = "nll+presence"
    feature_norm = "up3.norm"
    training_only = ("presence",)
    fused_output = "reference-size"
    reference_forward = "forward_training"
    dilations = DILATED_SECOND_BLOCK

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        shallow, middle, deep, wide = (scale_channels(c, width) for c in (64, 256, 512, 1024))
        self.pyramid = PyramidPooling(deep, wide)
        self.up1 = UpBlock(wide, middle)
        self.up2 = UpBlock(middle, shallow)
        self.up3 = UpBlock(shallow, shallow)
        self.classifier = nn.Conv2d(shallow, classes, 1)
        self.presence = nn.Sequential(nn.Linear(middle, middle), nn.ReLU(), nn.Linear(middle, classes))

    def feature_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(H, W) rounded up to multiples of 8."""
        return -(-size[0] // 8) * 8, -(-size[1] // 8) * 8

    def _task(self, deep: Tensor) -> Tensor:
        maps = F.dropout2d(self.pyramid(deep), 0.3, self.training)
        for up in (self.up1, self.up2, self.up3):
            maps = F.dropout2d(up(maps), 0.15, self.training)
        return maps

    def heads(
        self, side: tuple[Tensor, ...], size: tuple[int, int]
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """No auxiliary maps; image-level logits from the global maximum of stage 3."""
        return (), self.presence(side[0].amax(dim=(2, 3)))

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Log-probabilities [N, classes, *size] (the feature's own size for None), corners aligned."""
        logits = self.classifier(feature)
        return F.log_softmax(logits if size is None else resize(logits, size), dim=1)


class PyramidLevel(nn.Module):
    """One pooled level of the Cityscapes pyramid: 1x1 convolution, normalisation, ReLU, resize."""

    def __init__(self, inputs: int, outputs: int, grid: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(grid)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        pooled = F.relu(self.norm(self.conv(self.pool(maps))), inplace=True)
        return resize(pooled, (maps.shape[-2], maps.shape[-1]))


class PSPNet18Cityscapes(_PSPNet):
    """PSPNet18 in the "semseg" style: the feature p has stride 8 and 512 channels.

    `forward` returns logits at image size.
    """

    name = "pspnet18-cityscapes"
    feature_stride = 8
    side_multiple = 8
    loss: ClassVar[SegmentationLoss] = "ce+aux"
    feature_norm = "head.norm"
    training_only = ("auxiliary", "auxiliary_classifier")
    reference_forward = "forward_training"
    reference_aliases = MappingProxyType({"classifier": 2})
    dilations = DILATED_SECOND_CONVS

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        level, middle, deep, wide = (scale_channels(c, width) for c in (128, 256, 512, 1024))
        self.pyramid = nn.ModuleList(PyramidLevel(deep, level, grid) for grid in BINS)
        self.head = ConvNormReLU(wide, deep)
        self.classifier = nn.Conv2d(deep, classes, 1)
        self.auxiliary = ConvNormReLU(middle, middle)
        self.auxiliary_classifier = nn.Conv2d(middle, classes, 1)

    def _task(self, deep: Tensor) -> Tensor:
        pooled = torch.cat([deep, *(level(deep) for level in self.pyramid)], dim=1)
        return F.dropout2d(self.head(pooled), 0.1, self.training)

    def heads(
        self, side: tuple[Tensor, ...], size: tuple[int, int]
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Auxiliary logits [N, classes, *size] from stage 3."""
        inner = F.dropout2d(self.auxiliary(side[0]), 0.1, self.training)
        return (resize(self.auxiliary_classifier(inner), size),), None

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size], corners aligned; None leaves them at stride 8, as the fused forward does."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size)
