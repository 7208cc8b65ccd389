"""The DeepLabs of DFF and Accel: deep map at stride 16, 1x1, 1x1, x16. Source: baselines specification sections 3 and 4.

The released networks use deformable convolutions in stage 4; here they are plain dilated ones, which every CPU has.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.resnet import PLAIN, BlockPlan, ResNet18, StagePlan
from vssbench.networks.resnet101 import ResNet101
from vssbench.ops.losses import SegmentationLoss
from vssbench.ops.resize import resize

STRIDE = 16

DILATED_LAST_STAGE: tuple[StagePlan, ...] = (*PLAIN[:3], (BlockPlan(2, 1, 2), BlockPlan(1, 1, 2)))
"""ResNet-18 to stride 32 whose second convolutions of stage 4 are dilated by 2."""


class _DeepLab(SegmentationNetwork):
    """What both DeepLabs share: the head, and the cuts before it ('task') and before the final 1x1."""

    feature_stride = STRIDE
    side_multiple = STRIDE
    loss: ClassVar[SegmentationLoss] = "cross-entropy"
    training_only = ()
    cuts: ClassVar[tuple[Cut, ...]] = ("classifier", "task")

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        deep, inner = scale_channels(2048, width), scale_channels(1024, width)
        self.project = nn.Conv2d(deep, inner, 1)
        self.classifier = nn.Conv2d(inner, classes, 1)

    def deep_map(self, image: Tensor) -> Tensor:
        """N_feat: [N, 2048, ceil(H / 16), ceil(W / 16)]."""
        raise NotImplementedError

    def cut_channels(self, cut: Cut) -> int:
        """1024 before the final 1x1, 2048 before N_task."""
        self.check_cut(cut)
        return self.project.in_channels if cut == "task" else self.feature_channels

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Run up to `cut`; there are no side maps."""
        self.check_cut(cut)
        deep = Partial(self.deep_map(image))
        return deep if cut == "task" else self.resume(deep, "task")

    def resume(self, partial: Partial, cut: Cut) -> Partial:
        """From the deep map: 1x1 to 1024 channels and ReLU."""
        self.check_cut(cut)
        if cut == "classifier":
            return partial
        return Partial(F.relu(self.project(partial.feature)))

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits enlarged by 16 and cut to `size`; None leaves them at stride 16."""
        logits: Tensor = self.classifier(feature)
        if size is None:
            return logits
        enlarged = resize(
            logits, (STRIDE * logits.shape[-2], STRIDE * logits.shape[-1]), corners="half-pixel"
        )
        return enlarged[..., : size[0], : size[1]]


class DeepLab18(_DeepLab):
    """ResNet-18 to stride 32, 4x4 stride-2 deconvolution to 2048 channels, head. Accel's update branch."""

    name = "deeplab18"

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet18(DILATED_LAST_STAGE, width=width)
        deep = scale_channels(2048, width)
        self.enlarge = nn.ConvTranspose2d(self.backbone.channels[4], deep, 4, stride=2, padding=1)

    def deep_map(self, image: Tensor) -> Tensor:
        """N_feat: [N, 2048, ceil(H / 16), ceil(W / 16)]."""
        _, middle, deep = self.backbone(image)
        doubled: Tensor = self.enlarge(deep)
        return doubled[..., : middle.shape[-2], : middle.shape[-1]]


class DeepLab101(_DeepLab):
    """ResNet-101 at stride 16 with the head. The network of DFF and Accel's reference branch."""

    name = "deeplab101"

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet101(width=width)

    def deep_map(self, image: Tensor) -> Tensor:
        """N_feat: [N, 2048, ceil(H / 16), ceil(W / 16)]."""
        maps: Tensor = self.backbone(image)
        return maps
