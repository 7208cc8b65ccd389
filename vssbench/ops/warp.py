"""Scaling a flow to a feature map and sampling a map along it.

A flow holds pixels, x then y: content at (x, y) now was at (x + flow_x, y + flow_y) in the reference.
Source: AR-Seg specification sections 3.3 and 3.4 ('paper'); baselines specification section 0.2 ('exact').
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.ops import _kernels, accounting
from vssbench.ops.resize import resize, resize_nearest

Sampling = Literal["paper", "exact"]
Resample = Literal["nearest", "bilinear"]
Ratio = Literal["paper", "exact"]
Border = Literal["zero", "clamp"]
Interpolation = Literal["bilinear", "nearest"]

_native: Any = _kernels
"""Its stub knows arrays only; tensors come in through DLPack as well."""
MACS_PER_SAMPLE = 4
"""Multiply-accumulates of one bilinear sample of one channel, as ledgers list them."""


def scale_flow(
    flow: Tensor, size: tuple[int, int], *, resample: Resample = "nearest", ratio: Ratio = "exact"
) -> Tensor:
    """Bring a flow [N, 2, H, W] in pixels of H x W to pixels of a map of `size` = (h, w); float64 [N, 2, h, w].

    ratio 'paper' multiplies both components by h / H, 'exact' multiplies x by w / W and y by h / H. The field is then
    resampled: 'bilinear' with aligned corners (the paper's evaluation) or 'nearest', source index floor(i * in / out)
    (its training). Nearest never invents motion at block borders.
    Source: specification section 3.3.
    """
    height, width = flow.shape[-2:]
    if tuple(size) == (height, width):  # both ratios are 1
        return flow.to(torch.float64)
    vertical = size[0] / height
    horizontal = vertical if ratio == "paper" else size[1] / width
    factors = torch.tensor([horizontal, vertical], dtype=torch.float64, device=flow.device).view(1, 2, 1, 1)
    # resampling first leaves fewer values to convert and scale; the result is the same
    if resample == "nearest":
        return resize_nearest(flow, size).to(torch.float64) * factors
    return resize(flow.to(torch.float64), size) * factors


def warp(
    feature: Tensor,
    flow: Tensor,
    *,
    sampling: Sampling = "paper",
    border: Border | None = None,
    interpolation: Interpolation = "bilinear",
) -> Tensor:
    """Sample `feature` [N, C, H, W] at every pixel displaced by `flow` [N, 2, H, W] (pixels of this map).

    sampling 'exact' samples at (x + fx, y + fy): zero flow returns the input bit for bit and integer flow returns the
    shifted input exactly. sampling 'paper' reproduces the released code, whose normalisation assumes aligned corners
    while its sampler does not, so it samples at ((x + fx) * W / (W - 1) - 0.5, (y + fy) * H / (H - 1) - 0.5):
    a stretch of half a pixel at each side.

    border 'zero' lets samples outside count as 0, 'clamp' takes the nearest pixel inside. By default 'paper' uses
    'zero' (as released) and 'exact' uses 'clamp' (keeps class evidence at the border).
    Differentiable in `feature` and, for bilinear interpolation, in `flow`. Raises ValueError if the shapes do not fit.
    Bilinear samples of float32 features on the CPU are taken by a C++ loop where no gradient is wanted; the result is then
    channels-last in memory.
    Source: specification section 3.4.
    """
    expected = (feature.shape[0], 2, *feature.shape[-2:])
    if tuple(flow.shape) != expected:
        raise ValueError(
            f"warp: flow must be {expected} for a feature of {tuple(feature.shape)}, got {tuple(flow.shape)}"
        )
    border = border or ("zero" if sampling == "paper" else "clamp")
    sample = _sample_as_released if sampling == "paper" else _sample_exactly
    with accounting.operation("warp", MACS_PER_SAMPLE * feature.numel(), kind="warp"):
        if interpolation == "bilinear" and _suits_the_loop(feature, flow):
            return _sample_in_one_pass(feature, flow, sampling == "paper", border == "clamp")
        return sample(feature, flow, border, interpolation)


def _suits_the_loop(feature: Tensor, flow: Tensor) -> bool:
    wants_gradient = torch.is_grad_enabled() and (feature.requires_grad or flow.requires_grad)
    on_cpu = feature.device.type == flow.device.type == "cpu"
    return on_cpu and not wants_gradient and feature.dtype == torch.float32


def _sample_in_one_pass(feature: Tensor, flow: Tensor, released: bool, clamp: bool) -> Tensor:
    """Positions, neighbours and weights per pixel without maps in between; float32, channels-last."""
    source = feature.detach().contiguous(memory_format=torch.channels_last)
    # torch leaves strides of length-1 axes open, the loop wants them as in a full map
    _, channels, height, width = source.shape
    strides = (height * width * channels, 1, width * channels, channels)
    warped = torch.empty_like(source, memory_format=torch.channels_last)
    known = flow.detach() if flow.dtype in (torch.float32, torch.float64) else flow.detach().float()
    _native.warp(
        source.as_strided(source.shape, strides),
        known.contiguous(),
        warped.as_strided(source.shape, strides),
        released,
        clamp,
        torch.get_num_threads(),
    )
    return warped


def _positions(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sampled columns and rows, float64 [N, H, W]; float32 cannot hold the paper's intermediate values."""
    height, width = flow.shape[-2:]
    columns = torch.arange(width, dtype=torch.float64, device=flow.device).view(1, 1, width)
    rows = torch.arange(height, dtype=torch.float64, device=flow.device).view(1, height, 1)
    return columns + flow[:, 0], rows + flow[:, 1]


def _sample_as_released(
    feature: Tensor, flow: Tensor, border: Border, interpolation: Interpolation
) -> Tensor:
    height, width = feature.shape[-2:]
    columns, rows = _positions(flow)
    grid = torch.stack(
        (2.0 * columns / max(width - 1, 1) - 1.0, 2.0 * rows / max(height - 1, 1) - 1.0), dim=-1
    )
    # half-precision grids could not address a pixel, so low-precision features are sampled in float32
    precise = feature if feature.dtype in (torch.float32, torch.float64) else feature.float()
    sampled = F.grid_sample(
        precise,
        grid.to(precise.dtype),
        mode=interpolation,
        padding_mode="zeros" if border == "zero" else "border",
        align_corners=False,
    )
    return sampled.to(feature.dtype)


def _sample_exactly(feature: Tensor, flow: Tensor, border: Border, interpolation: Interpolation) -> Tensor:
    """Own gather: grid_sample's normalised coordinates cannot represent pixel positions exactly."""
    if feature.dtype in (torch.float16, torch.bfloat16):  # too coarse for the weights of the interpolation
        return _sample_exactly(feature.float(), flow, border, interpolation).to(feature.dtype)
    batch, channels, height, width = feature.shape
    columns, rows = _positions(flow)
    if border == "clamp":
        columns, rows = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
    pixels = feature.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    first = torch.arange(batch, device=flow.device).view(batch, 1, 1) * (height * width)

    def gather(row: Tensor, column: Tensor) -> Tensor:
        """Pixels [N, H, W, C] at integral positions; outside the map 0."""
        inside = (row >= 0) & (row <= height - 1) & (column >= 0) & (column <= width - 1)
        index = first + row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
        taken = pixels.index_select(0, index.reshape(-1)).view(batch, height, width, channels)
        return taken if border == "clamp" else torch.where(inside.unsqueeze(-1), taken, taken.new_zeros(()))

    if interpolation == "nearest":
        return gather(torch.floor(rows + 0.5), torch.floor(columns + 0.5)).permute(0, 3, 1, 2).contiguous()
    top, left = torch.floor(rows), torch.floor(columns)
    down = (rows - top).unsqueeze(-1).to(feature.dtype)
    right = (columns - left).unsqueeze(-1).to(feature.dtype)
    upper = torch.lerp(gather(top, left), gather(top, left + 1), right)
    lower = torch.lerp(gather(top + 1, left), gather(top + 1, left + 1), right)
    return torch.lerp(upper, lower, down).permute(0, 3, 1, 2).contiguous()
