"""Bilinear resizing as two matrix products: for training on a CPU, where the native kernel dominates a step.

The native bilinear kernels walk over pixels one by one, forwards and backwards; for slim networks with logits of
stride 8 they take more than half of a training step. The same linear map is W_rows @ maps @ W_columns^T.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


def resize_by_products(maps: Tensor, size: tuple[int, int], *, align_corners: bool) -> Tensor:
    """`F.interpolate(maps, size, mode="bilinear", align_corners=...)` of float maps [N, C, H, W] up to rounding."""
    rows = _weights(maps.shape[-2], size[0], align_corners).to(maps.dtype)
    columns = _weights(maps.shape[-1], size[1], align_corners).to(maps.dtype)
    return torch.matmul(rows, torch.matmul(maps, columns.t()))


@dataclass(frozen=True, slots=True, eq=False)
class Enlarged:
    """A map that stands for its bilinear enlargement, so that losses can go from the small map to the label's size.

    Two resizes in a row are one linear map: the product of their weights. The enlarged map never exists.
    """

    maps: Tensor
    """[N, C, h, w]."""
    size: tuple[int, int]
    """(rows, columns) that it stands for."""
    align_corners: bool

    def tensor(self) -> Tensor:
        """The enlargement itself, [N, C, *size]."""
        return resize_by_products(self.maps, self.size, align_corners=self.align_corners)

    def resized(self, size: tuple[int, int]) -> Tensor:
        """The enlargement resized to `size` with aligned corners, up to rounding; its own size leaves it as it is."""
        rows, columns = (
            _chained(length, through, wanted, self.align_corners).to(self.maps.dtype)
            for length, through, wanted in zip(self.maps.shape[-2:], self.size, size, strict=True)
        )
        return torch.matmul(rows, torch.matmul(self.maps, columns.t()))


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be wanted for a backward pass later
def _chained(length: int, through: int, wanted: int, align_corners: bool) -> Tensor:
    """[wanted, length]: enlargement to `through`, then a resize with aligned corners."""
    first = _weights(length, through, align_corners)
    return first if wanted == through else _weights(through, wanted, True) @ first


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # what is kept may be wanted for a backward pass later
def _weights(length: int, wanted: int, align_corners: bool) -> Tensor:
    """[wanted, length] contributions of source to target positions.

    length = 2, wanted = 3, align_corners:  1 0 | 0.5 0.5 | 0 1
    """
    target = torch.arange(wanted, dtype=torch.float64)
    if align_corners:
        position = target * ((length - 1) / (wanted - 1) if wanted > 1 else 0.0)
    else:
        position = ((target + 0.5) * (length / wanted) - 0.5).clamp(min=0)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = position - low
    weights = torch.zeros(wanted, length, dtype=torch.float64)
    index = torch.arange(wanted)
    weights[index, low] += 1 - share
    weights[index, high] += share
    return weights.float()
