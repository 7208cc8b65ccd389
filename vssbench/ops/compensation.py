"""What motion compensation leaves over between two decoded pictures, and how much of it there is."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from vssbench.ops.warp import Interpolation, warp

EnergySpace = Literal["rgb", "luma"]

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B."""


def compensated_difference(
    image: Tensor, previous: Tensor, flow: Tensor, *, interpolation: Interpolation = "nearest"
) -> Tensor:
    """image - previous(x + flow), int16 [N, 3, H, W] of uint8 pictures; flow [N, 2, H, W] in pixels, borders clamped.

    'nearest' samples whole positions, as the compressed-video loaders behind TapLab and CoViAR; 'bilinear' samples
    sub-pel and rounds. Where flow is zero (intra blocks) this is the plain difference.
    Source: baselines specification section 14.
    """
    moved = warp(previous.float(), flow, sampling="exact", border="clamp", interpolation=interpolation)
    return image.to(torch.int16) - moved.round().to(torch.int16)


def residual_energy(residual: Tensor, *, space: EnergySpace = "rgb") -> Tensor:
    """Energy float32 [N, H, W] of a residual [N, 3, H, W]: sum over channels of |r|, or three times |luma of r|."""
    values = residual.float()
    if space == "rgb":
        return values.abs().sum(dim=1)
    weights = torch.tensor(LUMA, device=values.device).view(1, 3, 1, 1)
    return 3.0 * (values * weights).sum(dim=1).abs()
