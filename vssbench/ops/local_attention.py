"""Attention of every pixel over a square window of another map.

Source: AR-Seg specification section 2, steps 3 to 5 and its note on border semantics.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.errors import ConfigError

Border = Literal["zero", "exclude"]
Backend = Literal["auto", "eager", "tiled"]


def local_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    window: int = 7,
    *,
    scale: float = 1.0,
    border: Border = "zero",
    backend: Backend = "auto",
) -> Tensor:
    """Weighted mean of `value` over the window around each pixel; all maps [N, C, H, W], differentiable.

    Neighbour j of a window x window neighbourhood has the score scale * <query(y, x), key(y + dy, x + dx)>; the
    weights are the softmax over all neighbours. Neighbours outside the map either take part with score 0 and value 0
    ('zero', as released: equal to zero-padding key and value) or are left out ('exclude').

    backend 'eager' materialises all windows (the readable reference), 'tiled' needs little memory, 'auto' picks.
    Raises ConfigError if the window is even or reaches beyond the map from every pixel; ValueError if shapes differ.
    """
    check_window(window)
    height, width = query.shape[-2:]
    if not query.shape == key.shape == value.shape or query.ndim != 4:
        raise ValueError(
            f"local_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} "
            "must be [N, C, H, W] of one shape"
        )
    if window > 2 * min(height, width) - 1:
        raise ConfigError(
            f"local attention window {window} is larger than the {height}x{width} map: its outer neighbours are outside "
            f"from every pixel; use at most {2 * min(height, width) - 1}"
        )
    return attend_eagerly(query, key, value, window, scale=scale, border=border)


def check_window(window: int) -> None:
    """Raise ConfigError unless `window` is a positive odd number."""
    if window < 1 or window % 2 == 0:
        raise ConfigError(f"local attention window = {window}, expected a positive odd number such as 7")


def attend_eagerly(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, scale: float = 1.0, border: Border = "zero"
) -> Tensor:
    """Reference definition of `local_attention`: window^2 copies of key and value, plain autodiff."""
    batch, channels, height, width = query.shape
    neighbours = window * window

    def windows(maps: Tensor) -> Tensor:
        return F.unfold(maps, window, padding=window // 2).view(batch, -1, neighbours, height, width)

    scores = (query.unsqueeze(2) * windows(key)).sum(dim=1) * scale
    if border == "exclude":
        inside = windows(torch.ones_like(query[:1, :1]).expand(batch, 1, height, width))[:, 0] > 0
        scores = scores.masked_fill(~inside, float("-inf"))
    weights = torch.softmax(scores, dim=1)
    return (weights.unsqueeze(1) * windows(value)).sum(dim=2)
