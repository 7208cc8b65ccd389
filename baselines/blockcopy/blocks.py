"""Block-sparse execution of any network, emulated densely with the same numbers. Source: section 6, step 4.

Only what a layer reads beyond its own position can leave a block: 3x3 convolutions, max pooling, bilinear enlarging,
global pooling. In front of each of those the map is joined: executed blocks as they are now, the others as they were
when last executed. Everything between works position by position, so that what it computes outside executed blocks is
never read. A block-sparse implementation that takes halos from its neighbours (this frame's where executed, else the
stored ones) computes the same; `tests/baselines/test_blockcopy.py` has one.

The released code enlarges each block on its own with clamped edges; here maps are joined first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vssbench.ops import accounting

STRIDES = (1, 2, 4, 8, 16, 32)
"""Strides at which a map still consists of the image's blocks."""


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """The regular grid over a padded image."""

    block: int
    """Side in pixels, a multiple of 32."""
    shape: tuple[int, int]
    """Rows and columns."""

    @staticmethod
    def over(size: tuple[int, int], block: int) -> BlockGrid:
        """The smallest grid that covers an image of `size`; 360x480 in blocks of 96 -> 4x5 over 384x480."""
        return BlockGrid(block, (-(-size[0] // block), -(-size[1] // block)))

    @property
    def padded(self) -> tuple[int, int]:
        """(H, W) of the image that the grid covers."""
        return self.shape[0] * self.block, self.shape[1] * self.block

    @property
    def count(self) -> int:
        """Number of blocks."""
        return self.shape[0] * self.shape[1]

    def holds(self, maps: Tensor) -> bool:
        """Whether a map [N, C, h, w] consists of the blocks at one of the strides; pooled grids do not."""
        size = (maps.shape[-2], maps.shape[-1])
        return any(size == (self.padded[0] // s, self.padded[1] // s) for s in STRIDES)

    def spread(self, grid: Tensor, size: tuple[int, int]) -> Tensor:
        """Grid [rows, columns] repeated to `size` = (h, w) of a map that it holds."""
        rows, columns = size[0] // self.shape[0], size[1] // self.shape[1]
        return grid.repeat_interleave(rows, 0).repeat_interleave(columns, 1)


@dataclass(slots=True, eq=False)
class Stored:
    """Maps of one clip as they were when each block was last executed, in the order of the sites."""

    maps: list[Tensor] = field(default_factory=list)


class BlockExecution(TorchFunctionMode):
    """Inside the block, a network executes `grid` (bool [rows, columns], CPU) of its blocks; the rest is in `stored`.

    The network must run the same operators in the same order on every frame. Convolutions are announced to ledgers at
    their executed share.

    stored = Stored()
    with BlockExecution(layout, grid, stored):
        output = network(image)
    """

    def __init__(self, layout: BlockGrid, grid: Tensor, stored: Stored) -> None:
        super().__init__()
        self.layout, self.grid, self.stored = layout, grid, stored
        self.share = float(grid.float().mean())
        self._site = 0
        self._masks: dict[tuple[int, int], Tensor] = {}

    def join(self, maps: Tensor) -> Tensor:
        """Executed blocks of `maps`, the stored ones elsewhere; what is stored is brought up to date."""
        if not self.layout.holds(maps):
            return maps
        size = (maps.shape[-2], maps.shape[-1])
        if size not in self._masks:
            self._masks[size] = self.layout.spread(self.grid, size).to(maps.device)
        if self._site == len(self.stored.maps):
            joined = maps.clone()
            self.stored.maps.append(joined)
        else:
            joined = torch.where(self._masks[size], maps, self.stored.maps[self._site])
            self.stored.maps[self._site] = joined
        self._site += 1
        return joined

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if func in _CONVOLUTIONS:
            return self._convolve(func, args, options)
        reads_around = func in _READS_AROUND or (func in _MEANS and args[0].ndim == 4)
        if reads_around and isinstance(args[0], Tensor):
            return func(self.join(args[0]), *args[1:], **options)
        return func(*args, **options)

    def _convolve(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
        source, weight = args[0], args[1]
        blockwise = self.layout.holds(source)
        if max(weight.shape[2:]) > 1:
            source = self.join(source)
        if not blockwise:
            return func(source, *args[1:], **options)  # type: ignore[no-any-return]
        return _counted(func, (source, *args[1:]), options, weight, self.share)


def _counted(
    func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any], weight: Tensor, share: float
) -> Tensor:
    """The convolution, announced at the executed share of its multiply-accumulates."""
    rows, columns = _output_size(args, options, weight)
    positions = args[0].shape[0] * weight.shape[0] * rows * columns
    macs = round(share * positions * prod(weight.shape[1:]))
    with accounting.operation("block_sparse_conv2d", macs, kind="sparse"):
        return func(*args, **options)  # type: ignore[no-any-return]


def _output_size(args: tuple[Any, ...], options: dict[str, Any], weight: Tensor) -> tuple[int, int]:
    """Rows and columns of conv2d(input, weight, bias, stride, padding, dilation, groups)."""
    names = ("stride", "padding", "dilation")
    given = [args[3 + i] if len(args) > 3 + i else options.get(name, 1) for i, name in enumerate(names)]
    if len(args) <= 4 and "padding" not in options:
        given[1] = 0
    stride, padding, dilation = ((v, v) if isinstance(v, int) else tuple(v) for v in given)
    rows, columns = (
        (length + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) // stride[i] + 1
        for i, length in enumerate(args[0].shape[-2:])
    )
    return rows, columns


_CONVOLUTIONS = frozenset({torch.conv2d, F.conv2d})
_READS_AROUND = frozenset(
    {
        F.max_pool2d,
        torch.max_pool2d,
        F.interpolate,
        F.adaptive_avg_pool2d,
        F.avg_pool2d,
        torch.nn.functional.adaptive_max_pool2d,
    }
)
_MEANS = frozenset({torch.mean, Tensor.mean, Tensor.amax, torch.amax})
