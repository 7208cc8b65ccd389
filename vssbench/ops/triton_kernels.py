"""Local attention on CUDA as Triton kernels, forward and backward. Imported only where Triton is installed.

One program owns a tile of BY x BX pixels and walks over the BY + window - 1 rows of its surroundings. A row of
NB >= BX + window - 1 neighbours is multiplied with the whole tile as small matrices; what lies outside the windows is
masked, the softmax goes along (online). So key and value come from memory about once (tile and halo), scores never
reach it, and no pass adds atomically: results are deterministic.

Neighbours outside the map load as 0: score 0 and value 0, which is border 'zero'; 'exclude' masks them.
"""
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, misc"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LOWEST = tl.constexpr(-1e30)
"""Where a softmax starts; finite, so that differences stay numbers."""


@triton.jit
def _tile(map_, n, ys, xs, height, width, channels, sn, sc, sy, sx, BC: tl.constexpr, WIDEN: tl.constexpr):
    """Pixels (ys, xs) [P] of one map as [P, BC]; 0 outside the map and beyond its channels."""
    c = tl.arange(0, BC)
    inside = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
    at = map_ + n * sn + ys[:, None].to(tl.int64) * sy + xs[:, None].to(tl.int64) * sx + c[None, :] * sc
    values = tl.load(at, mask=inside[:, None] & (c[None, :] < channels), other=0.0)
    if WIDEN:
        values = values.to(tl.float32)
    return values


@triton.jit
def _put(map_, values, n, ys, xs, height, width, channels, sn, sc, sy, sx, BC: tl.constexpr):
    c = tl.arange(0, BC)
    inside = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
    at = map_ + n * sn + ys[:, None].to(tl.int64) * sy + xs[:, None].to(tl.int64) * sx + c[None, :] * sc
    tl.store(at, values.to(map_.dtype.element_ty), mask=inside[:, None] & (c[None, :] < channels))


@triton.jit
def _near(ys, xs, row, columns, height, width, RADIUS: tl.constexpr, EXCLUDE: tl.constexpr):
    """[P, NB]: whether neighbour (row, column) counts for the window of pixel (ys, xs)."""
    ahead = columns[None, :] - xs[:, None]
    near = (tl.abs(ahead) <= RADIUS) & (tl.abs(row - ys)[:, None] <= RADIUS)
    if EXCLUDE:
        near = near & (row >= 0) & (row < height) & (columns >= 0)[None, :] & (columns < width)[None, :]
    return near


@triton.jit
def attend(
    query, key, value, out, lse, height, width, channels, scale,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, on, oc, oy, ox,
    RADIUS: tl.constexpr, EXCLUDE: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr, NB: tl.constexpr,
    BC: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """out = attention; lse = log of the softmax's denominator [N, H, W], for the backward pass."""
    n = tl.program_id(2)
    top, left = tl.program_id(1) * BY, tl.program_id(0) * BX
    pixel = tl.arange(0, BY * BX)
    ys, xs = top + pixel // BX, left + pixel % BX
    columns = left - RADIUS + tl.arange(0, NB)
    q = _tile(query, n, ys, xs, height, width, channels, qn, qc, qy, qx, BC, WIDEN)
    largest = tl.full([BY * BX], LOWEST, tl.float32)
    total = tl.zeros([BY * BX], tl.float32)
    sums = tl.zeros([BY * BX, BC], tl.float32)
    for step in range(BY + 2 * RADIUS):
        row = top - RADIUS + step
        rows = row + tl.zeros([NB], tl.int32)
        k = _tile(key, n, rows, columns, height, width, channels, kn, kc, ky, kx, BC, WIDEN)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        near = _near(ys, xs, row, columns, height, width, RADIUS, EXCLUDE)
        scores = tl.where(near, scores, LOWEST)
        grown = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp(largest - grown)
        weights = tl.where(near, tl.exp(scores - grown[:, None]), 0.0)
        v = _tile(value, n, rows, columns, height, width, channels, vn, vc, vy, vx, BC, WIDEN)
        total = total * shrink + tl.sum(weights, 1)
        sums = sums * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision="ieee")
        largest = grown
    total = tl.where(total > 0, total, 1.0)  # pixels beyond the map, which see nothing
    _put(out, sums / total[:, None], n, ys, xs, height, width, channels, on, oc, oy, ox, BC)
    inside = (ys < height) & (xs < width)
    tl.store(lse + (n * height + ys) * width + xs, largest + tl.log(total), mask=inside)


@triton.jit
def query_gradient(
    query, key, value, outer, lse, delta, d_query, height, width, channels, scale,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, gn, gc, gy, gx, on, oc, oy, ox,
    RADIUS: tl.constexpr, EXCLUDE: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr, NB: tl.constexpr,
    BC: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """d_query = scale sum_j dS_j key_j with dS = w (outer value_j - delta)."""
    n = tl.program_id(2)
    top, left = tl.program_id(1) * BY, tl.program_id(0) * BX
    pixel = tl.arange(0, BY * BX)
    ys, xs = top + pixel // BX, left + pixel % BX
    columns = left - RADIUS + tl.arange(0, NB)
    inside = (ys < height) & (xs < width)
    at = (n * height + ys) * width + xs
    norm = tl.load(lse + at, mask=inside, other=0.0)
    own = tl.load(delta + at, mask=inside, other=0.0)
    q = _tile(query, n, ys, xs, height, width, channels, qn, qc, qy, qx, BC, WIDEN)
    g = _tile(outer, n, ys, xs, height, width, channels, gn, gc, gy, gx, BC, WIDEN)
    sums = tl.zeros([BY * BX, BC], tl.float32)
    for step in range(BY + 2 * RADIUS):
        row = top - RADIUS + step
        rows = row + tl.zeros([NB], tl.int32)
        k = _tile(key, n, rows, columns, height, width, channels, kn, kc, ky, kx, BC, WIDEN)
        v = _tile(value, n, rows, columns, height, width, channels, vn, vc, vy, vx, BC, WIDEN)
        near = _near(ys, xs, row, columns, height, width, RADIUS, EXCLUDE) & inside[:, None]
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        weights = tl.exp(tl.where(near, scores - norm[:, None], LOWEST))
        products = tl.dot(g, tl.trans(v), input_precision="ieee")
        d_scores = weights * (products - own[:, None]) * scale
        sums += tl.dot(d_scores.to(k.dtype), k, input_precision="ieee")
    _put(d_query, sums, n, ys, xs, height, width, channels, on, oc, oy, ox, BC)


@triton.jit
def key_value_gradient(
    query, key, value, outer, lse, delta, d_key, d_value, height, width, channels, scale,
    qn, qc, qy, qx, kn, kc, ky, kx, vn, vc, vy, vx, gn, gc, gy, gx, on, oc, oy, ox, wn, wc, wy, wx,
    RADIUS: tl.constexpr, EXCLUDE: tl.constexpr, BY: tl.constexpr, BX: tl.constexpr, NB: tl.constexpr,
    BC: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """d_value_j = sum_i w_ij outer_i and d_key_j = scale sum_i dS_ij query_i: the tile holds neighbours, rows pixels."""
    n = tl.program_id(2)
    top, left = tl.program_id(1) * BY, tl.program_id(0) * BX
    pixel = tl.arange(0, BY * BX)
    ys, xs = top + pixel // BX, left + pixel % BX
    columns = left - RADIUS + tl.arange(0, NB)
    k = _tile(key, n, ys, xs, height, width, channels, kn, kc, ky, kx, BC, WIDEN)
    v = _tile(value, n, ys, xs, height, width, channels, vn, vc, vy, vx, BC, WIDEN)
    key_sums = tl.zeros([BY * BX, BC], tl.float32)
    value_sums = tl.zeros([BY * BX, BC], tl.float32)
    for step in range(BY + 2 * RADIUS):
        row = top - RADIUS + step
        rows = row + tl.zeros([NB], tl.int32)
        seen = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        at = (n * height + rows) * width + columns
        norm = tl.load(lse + at, mask=seen, other=0.0)
        own = tl.load(delta + at, mask=seen, other=0.0)
        q = _tile(query, n, rows, columns, height, width, channels, qn, qc, qy, qx, BC, WIDEN)
        g = _tile(outer, n, rows, columns, height, width, channels, gn, gc, gy, gx, BC, WIDEN)
        near = _near(ys, xs, row, columns, height, width, RADIUS, True)
        scores = tl.dot(k, tl.trans(q), input_precision="ieee") * scale
        weights = tl.exp(tl.where(near, scores - norm[None, :], LOWEST))
        value_sums += tl.dot(weights.to(g.dtype), g, input_precision="ieee")
        products = tl.dot(v, tl.trans(g), input_precision="ieee")
        d_scores = weights * (products - own[None, :]) * scale
        key_sums += tl.dot(d_scores.to(q.dtype), q, input_precision="ieee")
    _put(d_key, key_sums, n, ys, xs, height, width, channels, on, oc, oy, ox, BC)
    _put(d_value, value_sums, n, ys, xs, height, width, channels, wn, wc, wy, wx, BC)


def _plan(maps: Tensor, window: int) -> tuple[tuple[int, int, int], dict[str, int]]:
    """Grid and tile sizes: the more channels, the fewer pixels a program holds."""
    batch, channels, height, width = maps.shape
    columns = max(16, triton.next_power_of_2(channels))
    by, bx = (8, 16) if columns <= 64 else (8, 8) if columns <= 128 else (4, 8)
    if maps.dtype == torch.float32 and columns > 128:
        by, bx = 2, 8
    tile = {
        "RADIUS": window // 2,
        "BY": by,
        "BX": bx,
        "NB": max(16, triton.next_power_of_2(bx + window - 1)),
        "BC": columns,
        # the interpreter cannot multiply bfloat16 matrices
        "WIDEN": triton.knobs.runtime.interpret and maps.dtype == torch.bfloat16,
        "num_warps": 4 if columns <= 128 else 8,
        "num_stages": 2,
    }
    return (triton.cdiv(width, bx), triton.cdiv(height, by), batch), tile


def forward(
    query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, exclude: bool
) -> tuple[Tensor, Tensor]:
    """Attention [N, C, H, W] in the maps' type and the softmax's log denominators float32 [N, H, W]."""
    batch, channels, height, width = query.shape
    out = torch.empty_like(query)
    lse = torch.empty(batch, height, width, dtype=torch.float32, device=query.device)
    grid, tile = _plan(query, window)
    strides = [one for maps in (query, key, value, out) for one in maps.stride()]
    attend[grid](
        query, key, value, out, lse, height, width, channels, scale, *strides, EXCLUDE=exclude, **tile
    )
    return out, lse


def backward(
    saved: tuple[Tensor, ...], outer: Tensor, window: int, scale: float, exclude: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value from saved (query, key, value, out, lse)."""
    query, key, value, out, lse = saved
    _, channels, height, width = query.shape
    delta = (outer.float() * out.float()).sum(dim=1).contiguous()
    gradients = [torch.empty_like(maps) for maps in (query, key, value)]
    grid, tile = _plan(query, window)
    inputs = [one for maps in (query, key, value, outer) for one in maps.stride()]
    shared: tuple[Any, ...] = (query, key, value, outer, lse, delta)
    numbers = (height, width, channels, scale)
    query_gradient[grid](
        *shared, gradients[0], *numbers, *inputs, *gradients[0].stride(), EXCLUDE=exclude, **tile
    )
    both = (*gradients[1].stride(), *gradients[2].stride())
    key_value_gradient[grid](
        *shared, gradients[1], gradients[2], *numbers, *inputs, *both, EXCLUDE=exclude, **tile
    )
    return gradients[0], gradients[1], gradients[2]
