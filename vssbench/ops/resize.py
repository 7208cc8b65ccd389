"""Bilinear resizing in the two coordinate conventions that AR-Seg mixes, and the size of a resized input.

Source: AR-Seg specification, notation (AC = corners aligned, NAC = pixel areas aligned) and section 1.1.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.errors import ConfigError
from vssbench.ops.separable_resize import Enlarged, resize_by_products
from vssbench.records import Normalisation

Corners = Literal["align-corners", "half-pixel"]
SizeRule = Literal["truncate", "round"]


def resize(maps: Tensor, size: tuple[int, int], *, corners: Corners = "align-corners") -> Tensor:
    """Resize float maps [N, C, H, W] bilinearly to `size` = (rows, columns); equal sizes return the input itself.

    'align-corners' (AC): output i samples i * (in - 1) / (out - 1); 'half-pixel' (NAC): (i + 0.5) * in / out - 0.5,
    clamped to the map.

        in = 3, out = 5:  AC 0 0.5 1 1.5 2     NAC 0 0.4 1 1.6 2
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    if (
        maps.requires_grad
        and maps.device.type == "cpu"
        and size[0] * size[1] > maps.shape[-2] * maps.shape[-1]
    ):
        return resize_by_products(maps, size, align_corners=corners == "align-corners")
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=corners == "align-corners")


def enlarge_later(
    maps: Tensor, size: tuple[int, int], *, corners: Corners = "align-corners"
) -> Tensor | Enlarged:
    """As `resize`, but while gradients are taken on a CPU the result stands for the enlargement until it is used."""
    if maps.requires_grad and maps.device.type == "cpu":
        return Enlarged(maps, size, corners == "align-corners")
    return resize(maps, size, corners=corners)


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps [N, C, H, W] of any type by taking source index floor(i * in / out), in exact integer arithmetic.

    in = 4, out = 2:  0 2      in = 2, out = 5:  0 0 0 1 1
    """
    height, width = maps.shape[-2:]
    if (height, width) == tuple(size):
        return maps
    rows = torch.arange(size[0], device=maps.device) * height // size[0]
    columns = torch.arange(size[1], device=maps.device) * width // size[1]
    return maps.index_select(-2, rows).index_select(-1, columns)


def scaled_size(
    size: tuple[int, int], lr_scale: float, *, size_rule: SizeRule = "truncate"
) -> tuple[int, int]:
    """(H, W) of a frame of `size` resized by `lr_scale`.

    'truncate' cuts the double-precision product as the released code does (720 * 0.7 -> 503); 'round' takes the nearest
    integer (504). Raises ConfigError if lr_scale is not positive and finite or leaves no pixel.
    Source: specification section 1.1.
    """
    if not (math.isfinite(lr_scale) and lr_scale > 0):
        raise ConfigError(f"lr_scale = {lr_scale} must be a positive number, for example 0.5")
    cut = int if size_rule == "truncate" else round
    scaled = (int(cut(size[0] * lr_scale)), int(cut(size[1] * lr_scale)))
    if min(scaled) < 1:
        raise ConfigError(
            f"lr_scale = {lr_scale} turns frames of {size[0]}x{size[1]} into {scaled[0]}x{scaled[1]}, which is empty; "
            f"choose at least {1 / min(size):.4g}"
        )
    return scaled


def resize_input(
    image: Tensor, lr_scale: float, *, size_rule: SizeRule = "truncate", corners: Corners = "align-corners"
) -> Tensor:
    """Network input at `lr_scale`: the normalised float image [N, 3, H, W] resized without antialiasing.

    Source: specification section 1.1. Raises ConfigError as `scaled_size`.
    """
    height, width = image.shape[-2:]
    return resize(image, scaled_size((height, width), lr_scale, size_rule=size_rule), corners=corners)


def normalise_image(image: Tensor, normalisation: Normalisation) -> Tensor:
    """uint8 RGB [N, 3, H, W] -> float32 [N, 3, H, W] (pixel - mean) / deviation, in the network's range and channel order."""
    wanted = Normalisation(*normalisation)
    mean, deviation = (
        torch.tensor(values, dtype=torch.float32, device=image.device).view(1, 3, 1, 1)
        for values in wanted[:2]
    )
    pixels = (image.flip(1) if wanted.channel_order == "BGR" else image).to(torch.float32)
    if wanted.value_range == 1:
        pixels = pixels.div_(255.0)
    return pixels.sub_(mean).div_(deviation)
