"""Carrying a keyframe's feature over several frames, forwards and backwards. Source: baselines specification, 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from vssbench.ops import scale_flow, warp
from vssbench.ops.flow_chain import compose_flow
from vssbench.ops.warp import Resample

Propagation = Literal["composed", "recursive"]


def move(feature: Tensor, flow: Tensor, resample: Resample) -> Tensor:
    """Feature [N, C, h, w] sampled along a flow [N, 2, H, W] in pixels of the frame."""
    size = (feature.shape[-2], feature.shape[-1])
    return warp(feature, scale_flow(flow, size, resample=resample), sampling="exact")


def carry(
    feature: Tensor, flows: Sequence[Tensor], propagation: Propagation, resample: Resample
) -> list[Tensor]:
    """The feature seen from each frame of a chain; flows[j] leads from the j-th frame to the one before in the chain.

    'recursive' warps the last result again, so that every step blurs a little more; 'composed' adds the motion up in
    pixels and warps the keyframe's feature once.

        chain key, a, b, c with flows a->key, b->a, c->b   ->   feature at a, b, c
    """
    moved: list[Tensor] = []
    total: Tensor | None = None
    for flow in flows:
        if propagation == "recursive":
            moved.append(move(moved[-1] if moved else feature, flow, resample))
            continue
        total = flow if total is None else compose_flow(flow, total)
        moved.append(move(feature, total, resample))
    return moved
