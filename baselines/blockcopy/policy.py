"""The policy network: how worthwhile each block is. Source: baselines specification section 6, step 2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import DescribedNetwork

BLOCK_INPUT = 32
"""Pixels of the policy's input per block: 0.25 of the published 128."""


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int, momentum: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs, momentum=momentum)
        reshapes = stride != 1 or inputs != outputs
        self.project = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if reshapes else None

    def forward(self, maps: Tensor) -> Tensor:
        shortcut = maps if self.project is None else self.project(maps)
        inner = F.relu(self.norm1(self.conv1(maps)))
        return F.relu(self.norm2(self.conv2(inner)) + shortcut)


class BlockPolicy(DescribedNetwork):
    """ResNet-8 and three strided convolutions: [N, 7 + K, 32 rows, 32 columns] -> logits [N, rows, columns].

    `running_cost` is the moving mean of the executed share that the learning keeps, so that it is stored with weights.
    """

    name = "blockcopy-policy"
    running_cost: Tensor

    def __init__(self, classes: int, *, width: int = 32, target: float = 0.5, momentum: float = 0.02) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        wide, deep = 2 * width, 4 * width
        self.stem = nn.Conv2d(7 + classes, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width, momentum=momentum)
        self.stages = nn.Sequential(
            _Residual(width, width, 1, momentum),
            _Residual(width, wide, 2, momentum),
            _Residual(wide, deep, 2, momentum),
        )
        self.down1 = nn.Conv2d(deep, deep, 3, stride=2, padding=1)
        self.down2 = nn.Conv2d(deep, deep, 3, stride=2, padding=1)
        self.score = nn.Conv2d(deep, 1, 3, stride=2, padding=1)
        self.register_buffer("running_cost", torch.tensor(float(target)))

    def forward(self, observation: Tensor) -> Tensor:
        """Logit of executing each block."""
        maps = self.stages(F.relu(self.norm(self.stem(observation))))
        logits: Tensor = self.score(F.relu(self.down2(F.relu(self.down1(maps)))))
        return logits[:, 0]


def observe(
    image: Tensor, frame_state: Tensor, logits: Tensor, grid: Tensor, shape: tuple[int, int]
) -> Tensor:
    """What the policy sees, [1, 7 + K, 32 rows, 32 columns], sampled by nearest neighbour.

    image and frame_state: normalised [1, 3, H, W] (the latter: pixels of each block when it was last executed);
    logits: previous output [1, K, h, w], as probabilities minus 0.5; grid: previous decision [rows, columns] minus 0.5.
    """
    size = (BLOCK_INPUT * shape[0], BLOCK_INPUT * shape[1])
    probabilities = torch.softmax(F.interpolate(logits, size, mode="nearest"), dim=1) - 0.5
    decided = F.interpolate(grid[None, None].float(), size, mode="nearest").to(image.device) - 0.5
    pixels = [F.interpolate(maps, size, mode="nearest") for maps in (image, frame_state)]
    return torch.cat([*pixels, probabilities, decided], dim=1)
