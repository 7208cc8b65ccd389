"""ResNet-18 with the dilations of AR-Seg's networks. Source: specification sections 1.2 to 1.4."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import scale_channels


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """Stride and the dilations of the two 3x3 convolutions of one basic block."""

    stride: int = 1
    first: int = 1
    second: int = 1


StagePlan = tuple[BlockPlan, BlockPlan]
"""The two blocks of a stage."""

PLAIN: tuple[StagePlan, ...] = (
    (BlockPlan(), BlockPlan()),
    (BlockPlan(2), BlockPlan()),
    (BlockPlan(2), BlockPlan()),
    (BlockPlan(2), BlockPlan()),
)
"""Output stride 32 (BiSeNet's context path)."""

DILATED_SECOND_BLOCK: tuple[StagePlan, ...] = (
    *PLAIN[:2],
    (BlockPlan(), BlockPlan(1, 2, 2)),
    (BlockPlan(), BlockPlan(1, 4, 4)),
)
"""Output stride 8, first blocks of stages 3 and 4 undilated (CamVid PSPNet)."""

DILATED_SECOND_CONVS: tuple[StagePlan, ...] = (
    *PLAIN[:2],
    (BlockPlan(1, 1, 2), BlockPlan(1, 2, 2)),
    (BlockPlan(1, 1, 4), BlockPlan(1, 4, 4)),
)
"""Output stride 8, every second convolution of stages 3 and 4 dilated (Cityscapes PSPNet)."""


class Projection(nn.Module):
    """1x1 shortcut with batch normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h / stride, w / stride]."""
        normed: Tensor = self.norm(self.conv(maps))
        return normed


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, plan: BlockPlan) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            inputs, outputs, 3, stride=plan.stride, padding=plan.first, dilation=plan.first, bias=False
        )
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=plan.second, dilation=plan.second, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        reshapes = plan.stride != 1 or inputs != outputs
        self.projection = Projection(inputs, outputs, plan.stride) if reshapes else None

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h / stride, w / stride]."""
        shortcut = maps if self.projection is None else self.projection(maps)
        inner = F.relu(self.norm1(self.conv1(maps)), inplace=True)
        return F.relu(self.norm2(self.conv2(inner)) + shortcut, inplace=True)


class Stem(nn.Module):
    """7x7 stride-2 convolution, normalisation, ReLU and 3x3 stride-2 max pooling."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, outputs, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, outputs, ceil(H / 4), ceil(W / 4)]."""
        return F.max_pool2d(F.relu(self.norm(self.conv(image)), inplace=True), 3, stride=2, padding=1)


class ResNet18(nn.Module):
    """Stem and four stages; `plan` sets strides and dilations of the eight basic blocks."""

    def __init__(self, plan: tuple[StagePlan, ...] = PLAIN, *, width: int = 64) -> None:
        super().__init__()
        channels = [scale_channels(c, width) for c in (64, 64, 128, 256, 512)]
        self.channels = tuple(channels)
        """Channels of the stem and of stages 1 to 4."""
        self.stem = Stem(channels[0])
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(BasicBlock(before, after, blocks[0]), BasicBlock(after, after, blocks[1]))
            for before, after, blocks in zip(channels[:-1], channels[1:], plan, strict=True)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))

    def stages(self, stem: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of stages 2, 3 and 4 from the output of the stem."""
        second = self.stage2(self.stage1(stem))
        third = self.stage3(second)
        return second, third, self.stage4(third)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of stages 2, 3 and 4 for images [N, 3, H, W]."""
        return self.stages(self.stem(image))
