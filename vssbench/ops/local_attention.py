"""Attention of every pixel over a square window of another map.

Source: AR-Seg specification section 2, steps 3 to 5 and its note on border semantics.

Four back ends of one definition:
eager    copies every window (window^2 times the input) and is the reference
tiled    plain torch on any device and type: 8x8 tiles times their surroundings as small matrices, what lies outside the
         windows masked; the backward pass recomputes the weights, so neither pass holds more than a few copies
fused    C++ on the CPU in float32: strips of pixels with their scores in registers; backward as 'tiled'
triton   CUDA kernels, forward and backward (triton_kernels.py)
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from vssbench.errors import CapabilityError, ConfigError, is_out_of_memory, out_of_memory
from vssbench.ops import _kernels, accounting

Border = Literal["zero", "exclude"]
Backend = Literal["auto", "eager", "tiled", "fused", "triton"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)

_native: Any = _kernels
"""Its stub knows arrays only; tensors come in through DLPack as well."""
LARGEST_FUSED_WINDOW = 11
"""'fused' and 'triton' are built for windows up to this side."""
LARGEST_TRITON_CHANNELS = 512

TILE = 8
"""Side of a tile in pixels: larger tiles waste products outside the windows, smaller ones copy more surroundings."""
_CHUNK_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20}
"""Working set of the tiles handled at once; about the size of the caches on a CPU."""
_OUTSIDE = -1e38
"""Score of what must get no weight; finite, so that rows which see nothing stay free of NaN."""


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

        window = 3, neighbour index and offset (dy, dx):   0 (-1,-1)  1 (-1,0)  2 (-1,1)  3 (0,-1) ... 8 (1,1)

    backend 'auto' takes what `choose_backend` says; a name forces that one, which raises where it cannot work and never
    turns into another. Half-precision maps are computed in float32, on CUDA by 'triton' with float32 sums.
    Raises ConfigError if the window is even or reaches beyond the map from every pixel, or if the forced back end lacks
    the window, type or size; CapabilityError if its device or Triton is absent; OutOfMemoryError; ValueError
    if shapes differ.
    """
    _check(query, key, value, window)
    batch, channels, height, width = query.shape
    macs = 2 * window * window * batch * channels * height * width
    with accounting.operation("local_attention", macs, kind="attention"):
        if query.device.type == "meta":
            return torch.empty_like(query)
        chosen = choose_backend(query, window) if backend == "auto" else backend
        problem = backend_problem(chosen, query, window)
        if problem is not None:
            raise problem
        with torch.autocast(query.device.type, enabled=False):
            return _run(chosen, query, key, value, window, scale, border)


def choose_backend(maps: Tensor, window: int) -> Backend:
    """What 'auto' uses for maps of this device, type and size: 'triton', 'fused', else 'tiled'."""
    candidates: tuple[Backend, ...] = ("triton",) if maps.device.type == "cuda" else ("fused",)
    return next((name for name in candidates if backend_problem(name, maps, window) is None), "tiled")


def backend_problem(backend: str, maps: Tensor, window: int) -> ConfigError | CapabilityError | None:
    """Why a back end cannot compute maps [N, C, H, W] with this window; None if it can."""
    where = f"local_attention, backend {backend!r}"
    if backend in ("eager", "tiled"):
        return None
    if backend not in BACKENDS:
        return ConfigError(f"local_attention: unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    if window > LARGEST_FUSED_WINDOW:
        return ConfigError(
            f"{where}: window {window} is above {LARGEST_FUSED_WINDOW}; use a smaller window or backend='tiled'"
        )
    if backend == "fused":
        if maps.device.type != "cpu":
            return CapabilityError(
                f"{where} runs on the CPU, the maps are on {maps.device}; use backend='auto'"
            )
        if maps.dtype not in (torch.float32, torch.float16, torch.bfloat16):
            return ConfigError(f"{where} computes in float32, the maps are {maps.dtype}; use backend='tiled'")
        return None
    return _triton_problem(where, maps)


def _triton_problem(where: str, maps: Tensor) -> ConfigError | CapabilityError | None:
    if not _has_triton():
        return CapabilityError(
            f"{where}: Triton is not installed; pip install 'vssbench[triton]' or use backend='tiled'"
        )
    if maps.device.type != "cuda" and not _interpreting():
        return CapabilityError(
            f"{where} needs maps on a CUDA device, they are on {maps.device}; move them, use backend='auto', "
            "or set TRITON_INTERPRET=1 to try the kernels slowly on the CPU"
        )
    if maps.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return ConfigError(
            f"{where} knows float32, float16 and bfloat16, the maps are {maps.dtype}; use backend='tiled'"
        )
    if maps.shape[1] > LARGEST_TRITON_CHANNELS:
        return ConfigError(
            f"{where} knows up to {LARGEST_TRITON_CHANNELS} channels, the maps have {maps.shape[1]}; use backend='tiled'"
        )
    return None


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def _interpreting() -> bool:
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on")


def _run(
    backend: str, query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, border: Border
) -> Tensor:
    try:
        if backend == "triton":
            return triton_attention(query, key, value, window, scale=scale, border=border)
        attend = {"eager": attend_eagerly, "tiled": tiled_attention, "fused": fused_attention}[backend]
        q, k, v = (_at_least_float32(maps) for maps in (query, key, value))
        return attend(q, k, v, window, scale=scale, border=border).to(query.dtype)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        wide = max(4, query.element_size()) * query.numel()
        needed = (2 * window * window + 3) * wide if backend == "eager" else 4 * wide
        remedy = (
            "use backend='auto', which copies no windows" if backend == "eager" else "use a smaller batch"
        )
        raise out_of_memory(
            f"local_attention: {backend!r} for maps of {tuple(query.shape)} and window {window}, about "
            f"{needed / 2**30:.1f} GiB",
            str(query.device),
            error,
            f"{remedy}, lr_scale or frame size",
        ) from error


def _at_least_float32(maps: Tensor) -> Tensor:
    return maps.float() if maps.dtype in (torch.float16, torch.bfloat16) else maps


def check_window(window: int) -> None:
    """Raise ConfigError unless `window` is a positive odd number."""
    if window < 1 or window % 2 == 0:
        raise ConfigError(f"local attention window = {window}, expected a positive odd number such as 7")


def _check(query: Tensor, key: Tensor, value: Tensor, window: int) -> None:
    check_window(window)
    if not query.shape == key.shape == value.shape or query.ndim != 4:
        raise ValueError(
            f"local_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} "
            "must be [N, C, H, W] of one shape"
        )
    height, width = query.shape[-2:]
    largest = 2 * min(height, width) - 1
    if window > largest:
        raise ConfigError(
            f"local attention window {window} is larger than the {height}x{width} map: its outer neighbours are outside "
            f"from every pixel; use at most {largest}"
        )


def attend_eagerly(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, scale: float = 1.0, border: Border = "zero"
) -> Tensor:
    """Reference definition of `local_attention`: window^2 copies of key and value, plain autodiff."""
    batch, _, height, width = query.shape
    neighbours = window * window

    def windows(maps: Tensor) -> Tensor:
        return F.unfold(maps, window, padding=window // 2).view(batch, -1, neighbours, height, width)

    scores = (query.unsqueeze(2) * windows(key)).sum(dim=1) * scale
    if border == "exclude":
        inside = windows(torch.ones_like(query[:, :1]))[:, 0] > 0
        scores = scores.masked_fill(~inside, float("-inf"))
    weights = torch.softmax(scores, dim=1)
    return (weights.unsqueeze(1) * windows(value)).sum(dim=2)


def tiled_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, scale: float = 1.0, border: Border = "zero"
) -> Tensor:
    """`local_attention` by tiles; peak memory below three times query, key and value. Once differentiable."""
    attended: Tensor = _TiledAttention.apply(query, key, value, window, scale, border, False)  # type: ignore[no-untyped-call]
    return attended


def fused_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, scale: float = 1.0, border: Border = "zero"
) -> Tensor:
    """`local_attention` of float32 maps on the CPU: no copy but the result, on torch's number of threads.

    Maps may be channels-first or channels-last; the result is laid out as the query. Gradients are those of 'tiled'.
    """
    attended: Tensor = _TiledAttention.apply(query, key, value, window, scale, border, True)  # type: ignore[no-untyped-call]
    return attended


def _attend_in_strips(
    query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, border: Border
) -> Tensor:
    attended = torch.empty_like(query)
    maps = [one.detach() for one in (query, key, value, attended)]
    _native.local_attention(*maps, window, scale, border == "exclude", torch.get_num_threads())
    return attended


def triton_attention(
    query: Tensor, key: Tensor, value: Tensor, window: int, *, scale: float = 1.0, border: Border = "zero"
) -> Tensor:
    """`local_attention` by the Triton kernels; float32, float16 or bfloat16 with float32 sums. Once differentiable."""
    attended: Tensor = _TritonAttention.apply(query, key, value, window, scale, border)  # type: ignore[no-untyped-call]
    return attended


@dataclass(frozen=True, slots=True)
class _Tiling:
    """How a map [N, C, H, W] is cut: rows x columns tiles, each surrounded by `radius` pixels."""

    batch: int
    channels: int
    height: int
    width: int
    radius: int

    @classmethod
    def of(cls, maps: Tensor, window: int) -> _Tiling:
        batch, channels, height, width = maps.shape
        return cls(batch, channels, height, width, window // 2)

    @property
    def rows(self) -> int:
        return -(-self.height // TILE)

    @property
    def columns(self) -> int:
        return -(-self.width // TILE)

    @property
    def side(self) -> int:
        """Pixels per side of a tile with its surroundings."""
        return TILE + 2 * self.radius

    def padded(self, maps: Tensor, radius: int) -> Tensor:
        """Channels-last copy [N, rows, columns, C] with `radius` zeros around and zeros up to whole tiles."""
        shape = (self.batch, self.rows * TILE + 2 * radius, self.columns * TILE + 2 * radius, maps.shape[1])
        copy = maps.new_zeros(shape)
        copy[:, radius : radius + self.height, radius : radius + self.width] = maps.permute(0, 2, 3, 1)
        return copy

    def tiles(self, padded: Tensor, band: slice) -> Tensor:
        """Tiles [T, 64, C] of a copy padded with radius 0."""
        part = padded[:, band.start * TILE : band.stop * TILE]
        count = band.stop - band.start
        grid = part.view(self.batch, count, TILE, self.columns, TILE, -1)
        return grid.permute(0, 1, 3, 2, 4, 5).reshape(-1, TILE * TILE, padded.shape[-1])

    def surroundings(self, padded: Tensor, band: slice) -> Tensor:
        """Tiles with surroundings [T, side^2, C] of a copy padded with the radius."""
        part = padded[:, band.start * TILE : band.stop * TILE + 2 * self.radius]
        views = part.unfold(1, self.side, TILE).unfold(2, self.side, TILE)
        return views.permute(0, 1, 2, 4, 5, 3).reshape(-1, self.side * self.side, padded.shape[-1])

    def put(self, target: Tensor, band: slice, tiles: Tensor) -> None:
        """Write tiles [T, 64, C] into a copy padded with radius 0."""
        count = band.stop - band.start
        grid = tiles.view(self.batch, count, self.columns, TILE, TILE, -1).permute(0, 1, 3, 2, 4, 5)
        part = target[:, band.start * TILE : band.stop * TILE]
        part.view(self.batch, count, TILE, self.columns, TILE, -1).copy_(grid)

    def add_surroundings(self, target: Tensor, band: slice, tiles: Tensor) -> None:
        """Add overlapping tiles [T, side^2, C] into a copy padded with the radius: the adjoint of `surroundings`."""
        index = torch.arange(target[..., 0].numel(), device=target.device).view(*target.shape[:3], 1)
        rows = self.surroundings(index, band).reshape(-1)
        target.view(-1, target.shape[-1]).index_add_(0, rows, tiles.reshape(rows.numel(), -1))

    def crop(self, padded: Tensor, radius: int) -> Tensor:
        """Maps [N, C, H, W] of a padded copy."""
        inner = padded[:, radius : radius + self.height, radius : radius + self.width]
        return inner.permute(0, 3, 1, 2).contiguous()

    def bands(self, element_size: int, device: str) -> Iterator[slice]:
        """Runs of tile rows whose working set fits the cache and stays below the size of the inputs."""
        pixels = TILE * TILE
        per_tile = 2 * (self.side**2 * (self.channels + pixels) + pixels * self.channels) * element_size
        inputs = 3 * self.batch * self.channels * self.height * self.width * element_size
        budget = min(_CHUNK_BYTES.get(device, 4 << 20), inputs)
        step = max(1, budget // (per_tile * self.columns * self.batch))
        for first in range(0, self.rows, step):
            yield slice(first, min(self.rows, first + step))


@lru_cache(maxsize=16)
@torch.inference_mode(False)  # what is kept may be wanted for a backward pass later
def _window_bias(window: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[1, 64, side^2]: 0 where a pixel of the tile sees a pixel of its surroundings, else _OUTSIDE."""
    ahead = torch.arange(TILE + window - 1)[None] - torch.arange(TILE)[:, None]
    near = (ahead >= 0) & (ahead < window)
    seen = (near[:, None, :, None] & near[None, :, None, :]).reshape(TILE * TILE, -1)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, _OUTSIDE)[None].to(device)


def _weights(
    tiling: _Tiling, query: Tensor, key: Tensor, inside: Tensor | None, scale: float, band: slice
) -> Tensor:
    """Attention weights [T, 64, side^2] of query tiles over their surroundings."""
    bias = _window_bias(2 * tiling.radius + 1, query.dtype, query.device)
    if inside is not None:
        bias = torch.where(tiling.surroundings(inside, band).transpose(1, 2), bias, _OUTSIDE)
    scores = torch.bmm(query, key.transpose(1, 2))
    if scale != 1.0:
        scores.mul_(scale)
    return torch.softmax(scores.add_(bias), dim=-1)


def _inside(tiling: _Tiling, maps: Tensor, border: Border) -> Tensor | None:
    """Which pixels of a padded copy belong to the map [N, rows, columns, 1]; None where it does not matter."""
    if border == "zero":
        return None  # padding has score 0 and value 0 by itself
    ones = torch.ones(maps.shape[0], 1, *maps.shape[2:], dtype=torch.bool, device=maps.device)
    return tiling.padded(ones, tiling.radius)


def _attend_by_tiles(
    query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, border: Border
) -> Tensor:
    tiling = _Tiling.of(query, window)
    inside = _inside(tiling, key, border)
    queries, keys = tiling.padded(query, 0), tiling.padded(key, tiling.radius)
    values = tiling.padded(value, tiling.radius)
    attended = torch.empty_like(queries)
    for band in tiling.bands(query.element_size(), query.device.type):
        weights = _weights(
            tiling, tiling.tiles(queries, band), tiling.surroundings(keys, band), inside, scale, band
        )
        tiling.put(attended, band, torch.bmm(weights, tiling.surroundings(values, band)))
    return tiling.crop(attended, 0)


class _TiledAttention(Function):
    """Forward by strips in C++ or by tiles, backward by tiles."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        window: int,
        scale: float,
        border: Border,
        in_strips: bool,
    ) -> Tensor:
        ctx.save_for_backward(query, key, value)
        ctx.settings = (window, scale, border)
        attend = _attend_in_strips if in_strips else _attend_by_tiles
        return attend(query, key, value, window, scale, border)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        with torch.autocast(gradient.device.type, enabled=False):
            return (*_tiled_gradients(ctx.saved_tensors, ctx.settings, gradient), None, None, None, None)


class _TritonAttention(Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, window: int, scale: float, border: Border
    ) -> Tensor:
        from vssbench.ops import triton_kernels

        out, log_sums = triton_kernels.forward(query, key, value, window, scale, border == "exclude")
        ctx.save_for_backward(query, key, value, out, log_sums)
        ctx.settings = (window, scale, border)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from vssbench.ops import triton_kernels

        window, scale, border = ctx.settings
        return (
            *triton_kernels.backward(ctx.saved_tensors, gradients[0], window, scale, border == "exclude"),
            None,
            None,
            None,
        )


def _tiled_gradients(
    maps: tuple[Tensor, Tensor, Tensor], settings: tuple[int, float, Border], gradient: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of query, key and value; the weights are computed again, band by band.

    With weights w, output gradient g and t = g value^T:  dS = w (t - sum(w t)),  dQ = scale dS key,
    dK = scale dS^T query,  dV = w^T g.
    """
    query, key, value = maps
    window, scale, border = settings
    tiling = _Tiling.of(query, window)
    inside = _inside(tiling, key, border)
    queries, outer = tiling.padded(query, 0), tiling.padded(gradient, 0)
    keys, values = (tiling.padded(m, tiling.radius) for m in (key, value))
    d_queries, d_keys, d_values = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
    for band in tiling.bands(2 * query.element_size(), query.device.type):
        q, g, k = tiling.tiles(queries, band), tiling.tiles(outer, band), tiling.surroundings(keys, band)
        w = _weights(tiling, q, k, inside, scale, band)
        tiling.add_surroundings(d_values, band, torch.bmm(w.transpose(1, 2), g))
        t = torch.bmm(g, tiling.surroundings(values, band).transpose(1, 2))
        d_scores = w.mul_(t.sub_((w * t).sum(dim=-1, keepdim=True))).mul_(scale)
        tiling.put(d_queries, band, torch.bmm(d_scores, k))
        tiling.add_surroundings(d_keys, band, torch.bmm(d_scores.transpose(1, 2), q))
    radius = tiling.radius
    return tiling.crop(d_queries, 0), tiling.crop(d_keys, radius), tiling.crop(d_values, radius)
