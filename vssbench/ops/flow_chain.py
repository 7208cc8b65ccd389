"""Composing, reversing and searching dense flow. Source: baselines specification sections 0.2 and 8.

A flow holds pixels, x then y: content at (x, y) now was at (x + flow_x, y + flow_y) in the reference.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.errors import ConfigError
from vssbench.ops import accounting
from vssbench.ops.compensation import LUMA
from vssbench.ops.warp import warp

Reversal = Literal["negate", "splat"]


def compose_flow(first: Tensor, second: Tensor) -> Tensor:
    """Flow [N, 2, H, W] from frame t over frame r to frame k: first[t->r](p) + second[r->k](p + first(p)).

    The second flow is looked up at the nearest pixel, clamped to the frame.
    """
    return first + warp(second, first, sampling="exact", border="clamp", interpolation="nearest")


def reverse_flow(flow: Tensor, rule: Reversal = "splat") -> Tensor:
    """Approximate flow of the reference towards the current frame, [N, 2, H, W], from the current frame's flow.

    'negate' takes the opposite vector at the same place. 'splat' carries each opposite vector to where it points, the
    nearest pixel; where several arrive the one from the largest row, then column, stays, where none arrives 'negate'
    fills in.

        flow -2 -2 0 0 (one row)   'negate'  2 2 0 0      'splat'  2 2 0 0
        flow 0 0 -2 -2             'negate'  0 0 2 2      'splat'  2 2 2 2
    """
    opposite = -flow
    if rule == "negate":
        return opposite
    batch, _, height, width = flow.shape
    columns = torch.arange(width, device=flow.device).view(1, 1, width)
    rows = torch.arange(height, device=flow.device).view(1, height, 1)
    x, y = torch.floor(columns + flow[:, 0] + 0.5).long(), torch.floor(rows + flow[:, 1] + 0.5).long()
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    pixels = height * width
    target = torch.where(inside, y * width + x, pixels).view(batch, pixels)
    place = torch.arange(pixels, device=flow.device).expand(batch, pixels)
    # the largest source wins, so that the result does not depend on the order of execution
    winner = torch.full((batch, pixels + 1), -1, dtype=torch.long, device=flow.device)
    winner = winner.scatter_reduce(1, target, place, reduce="amax")[:, :pixels]
    source = torch.where(winner >= 0, winner, place)
    return opposite.flatten(2).gather(2, source.unsqueeze(1).expand(batch, 2, pixels)).view_as(flow)


def match_blocks(image: Tensor, reference: Tensor, *, block: int = 16, radius: int = 16) -> Tensor:
    """Flow float32 [N, 2, H, W] of `image` towards `reference` (both [N, 3, H, W], any scale) by full search.

    Every block x block square takes the whole-pixel shift within `radius` with the least mean absolute difference of
    luma; of equal ones the shortest. Pixels of the reference outside the frame repeat its border.
    Raises ConfigError unless block and radius are positive.
    """
    if block < 1 or radius < 1:
        raise ConfigError(f"block matching: block {block} and radius {radius} must be positive")
    weights = torch.tensor(LUMA, device=image.device).view(1, 3, 1, 1)
    current, earlier = ((maps.float() * weights).sum(dim=1, keepdim=True) for maps in (image, reference))
    height, width = current.shape[-2:]
    padded = F.pad(earlier, (radius, radius, radius, radius), mode="replicate")
    reach = range(-radius, radius + 1)
    shifts = sorted(((dx, dy) for dy in reach for dx in reach), key=lambda v: (v[0] ** 2 + v[1] ** 2, v))
    with accounting.operation("block_matching", len(shifts) * current.numel(), kind="search"):
        if image.device.type == "meta":  # no values to search; a thousand shapes would take seconds
            return current.new_empty((current.shape[0], 2, height, width))
        best: Tensor | None = None
        vectors = torch.zeros((), device=image.device)
        for dx, dy in shifts:
            window = padded[..., radius + dy : radius + dy + height, radius + dx : radius + dx + width]
            cost = F.avg_pool2d((current - window).abs(), block, ceil_mode=True, count_include_pad=False)
            shift = torch.tensor([dx, dy], dtype=torch.float32, device=image.device).view(1, 2, 1, 1)
            if best is None:
                best, vectors = cost, shift.expand(cost.shape[0], 2, *cost.shape[-2:])
                continue
            better = cost < best
            best, vectors = torch.where(better, cost, best), torch.where(better, shift, vectors)
        dense = vectors.repeat_interleave(block, 2).repeat_interleave(block, 3)
        return dense[..., :height, :width].contiguous()
