"""Joining the features that came from the keyframe before and from the one after. Source: baselines specification, 8."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vssbench.networks import DescribedNetwork

FusionRule = Literal["distance", "average", "max", "conv", "forward"]
"""'forward' uses the keyframe before alone: the causal control."""


class LearnedFusion(DescribedNetwork):
    """Learned 1x1 convolution on both features, 2C -> C, that begins as their mean."""

    name = "inter-bmv-fusion"
    classes = 0

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.width = channels
        self.join = nn.Conv2d(2 * channels, channels, 1)
        with torch.no_grad():
            self.join.weight.copy_(0.5 * torch.eye(channels).repeat(1, 2).view(channels, 2 * channels, 1, 1))
            self.join.bias.zero_()  # type: ignore[union-attr]

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Two features [N, C, h, w] -> one."""
        joined: Tensor = self.join(torch.cat([before, after], dim=1))
        return joined


def fuse(
    rule: FusionRule, before: Tensor, after: Tensor, share: float, learned: LearnedFusion | None
) -> Tensor:
    """One feature from two; `share` = i / n is the position between the keyframes, 0 at the one before.

    distance: (1 - share) * before + share * after.
    """
    if rule == "distance":
        return torch.lerp(before, after, share)
    if rule == "average":
        return 0.5 * (before + after)
    if rule == "max":
        return torch.maximum(before, after)
    if rule == "conv" and learned is not None:
        joined: Tensor = learned(before, after)
        return joined
    return before
