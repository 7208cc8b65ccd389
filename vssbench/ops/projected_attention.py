"""Local attention of depthwise projections in one pass over the maps, for inference on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vssbench.ops import _kernels, accounting
from vssbench.ops.local_attention import LARGEST_FUSED_WINDOW, Border

_native: Any = _kernels
"""Its stub knows arrays only; tensors come in through DLPack as well."""


def projected_attention(
    query: Tensor,
    reference: Tensor,
    projections: tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d],
    window: int,
    *,
    scale: float = 1.0,
    border: Border = "zero",
) -> Tensor:
    """query + local_attention(q(query), k(reference), v(reference)) for projections (q, k, v); maps [N, C, H, W].

    Equal up to rounding to doing it step by step, without the four maps in between: at 64x720x960 these take more time to
    write and read than to compute. For maps and projections that `suits_projection` accepts.
    """
    result = torch.empty_like(query)
    weights = torch.stack([conv.weight.detach().flatten() for conv in projections])
    biases = torch.stack([conv.bias.detach() for conv in projections if conv.bias is not None])
    maps = [one.detach() for one in (query, reference, result)]
    _native.projected_attention(
        *maps, weights, biases, window, scale, border == "exclude", torch.get_num_threads()
    )
    return result


def suits_projection(
    query: Tensor, reference: Tensor, projections: tuple[nn.Conv2d, ...], window: int
) -> bool:
    """Whether `projected_attention` can stand for the steps: float32 on the CPU, 3x3 filters per channel with bias, no
    gradient wanted, and no ledger that wants to see the single layers."""
    plain = query.dtype == reference.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    at_hand = query.device.type == reference.device.type == "cpu"
    return (
        plain
        and at_hand
        and not torch.is_grad_enabled()
        and not accounting.listened_to()
        and window <= LARGEST_FUSED_WINDOW
        and query.shape == reference.shape
        and all(_is_depthwise(conv, query.shape[1]) for conv in projections)
    )


def _is_depthwise(conv: nn.Conv2d, channels: int) -> bool:
    shape = (conv.groups, conv.kernel_size, conv.padding, conv.stride, conv.dilation)
    return shape == (channels, (3, 3), (1, 1), (1, 1), (1, 1)) and conv.bias is not None
