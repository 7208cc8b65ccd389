"""Frames padded to the sides that a method's networks need, and its answers cut back: one rule for every method.

Networks halve a picture up to five times. Sides that do not divide leave maps that do not lie on one another, which
costs points that no method is to blame for. So every method sees frames whose sides, resized by its lr_scale, its
networks divide; what was added never reaches a score and is counted in MACs and time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.method import Frame, Method, Prediction
from vssbench.networks.network import SegmentationNetwork


class Demand(NamedTuple):
    """A network that wants sides, resized by `lr_scale`, to be multiples of `multiple`."""

    multiple: int
    lr_scale: float


def padded_size(method: Method, size: tuple[int, int]) -> tuple[int, int]:
    """Sides (H, W) of the frames that `method` sees where frames of `size` come.

    They stay as they are with the option `padding: none` and in the mode 'paper'.
    """
    options = method.options
    if options.padding == "none" or getattr(options, "mode", None) == "paper":
        return size
    return _needed_size(method, size)


def unequal_sides(methods: Mapping[str, Method], size: tuple[int, int]) -> list[str]:
    """Remarks where some of the methods (by title) that run side by side are padded and the mode 'paper' of others keeps
    sides that their networks do not divide; what `padding: none` keeps was asked for.
    """
    padded = [title for title, method in methods.items() if padded_size(method, size) != size]
    bare = [
        title
        for title, method in methods.items()
        if method.options.padding != "none"
        and padded_size(method, size) == size != _needed_size(method, size)
    ]
    if not padded or not bare:
        return []
    return [
        (
            f"frames of {size[0]}x{size[1]} are padded for {', '.join(padded)}, and not for {', '.join(bare)}, whose mode is 'paper': "
            "these are no equal terms; give these `mode: corrected`, or the others `padding: none`"
        )
    ]


def _needed_size(method: Method, size: tuple[int, int]) -> tuple[int, int]:
    demands = [
        Demand(network.side_multiple, method.lr_scale_of(part))
        for part, module in method.parts().items()
        for network in module.modules()
        if isinstance(network, SegmentationNetwork)
    ]
    demands.append(Demand(method.needs.size_multiple, 1.0))
    return padded_side(size[0], demands), padded_side(size[1], demands)


def padded_side(side: int, demands: Sequence[Demand]) -> int:
    """The smallest side from `side` on that meets every demand, of those that are no more than two multiples away.

    Where there is none (a side and 0.7 of it are both multiples of 32 every 320 pixels), the demands are halved until
    there is.

        one network: 360, multiple 32:  lr_scale 1 -> 384    0.5 -> 384 (192)    0.7 -> 366 (256)
        two, scales 1 and 0.7:          -> 400 (280): multiples of 8
    """
    largest = max(demand.multiple for demand in demands)
    reach = max(2 * largest, int(max(demand.multiple / demand.lr_scale for demand in demands)) + 1)
    quotient = 1
    while quotient < largest:
        wanted = [(max(1, demand.multiple // quotient), demand.lr_scale) for demand in demands]
        for candidate in range(side, side + reach):
            if all(_meets(candidate * scale, multiple) for multiple, scale in wanted):
                return candidate
        quotient *= 2
    return side


def _meets(length: float, multiple: int) -> bool:
    """Whether a resized side is a multiple, up to a quarter of a pixel: lr_scale 0.7 has few whole sides."""
    return abs(length - multiple * round(length / multiple)) <= 0.25


def pad_steps(method: Method) -> Method:
    """Make `method`, built for frames of padded sides, take frames of any sides and answer at theirs; returns it."""
    step, flush = method.step, method.flush
    last = [method.context.size]  # of the frames that came: what a flush owes has their sides
    sides = lru_cache(maxsize=8)(lambda size: padded_size(method, size))

    def padded_step(state: Any, frame: Frame) -> list[Prediction]:
        last[0], size = frame.size, sides(frame.size)
        seen = frame if size == frame.size else pad_frame(frame, size)
        return _cut(step(state, seen), frame.size)

    def cut_flush(state: Any) -> list[Prediction]:
        return _cut(flush(state), last[0])

    setattr(method, "step", padded_step)  # noqa: B010 - an instance's own step
    setattr(method, "flush", cut_flush)  # noqa: B010
    return method


def pad_frame(frame: Frame, size: tuple[int, int]) -> Frame:
    """`frame` grown below and to the right: pixels and motion of the edge go on, there is no residual."""
    blocks = (-(-size[0] // 4), -(-size[1] // 4))
    residual = frame.residual
    if residual is not None:
        residual = F.pad(residual, (0, size[1] - frame.size[1], 0, size[0] - frame.size[0]))
    return dataclasses.replace(
        frame,
        size=size,
        image=_grown(frame.image, size),
        flow_previous=_grown(frame.flow_previous, size),
        flow_key=_grown(frame.flow_key, size),
        flow_valid_key=_grown(frame.flow_valid_key, size),
        flow_valid_previous=_grown(frame.flow_valid_previous, size),
        residual=residual,
        block_types=_grown(frame.block_types, blocks),
        qp=_grown(frame.qp, blocks),
    )


def _grown(maps: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """Maps [..., h, w] of any type with their last row and column repeated up to `size`."""
    if maps is None:
        return None
    for axis, length in ((-2, size[0]), (-1, size[1])):
        index = torch.arange(length, device=maps.device).clamp_(max=maps.shape[axis] - 1)
        maps = maps.index_select(axis, index)
    return maps


def _cut(predictions: list[Prediction], size: tuple[int, int]) -> list[Prediction]:
    if not isinstance(predictions, list):
        return predictions  # who takes it says that it is wrong, and whose it is
    return [
        one
        if one.labels.shape[-2:] == size
        else dataclasses.replace(one, labels=one.labels[:, : size[0], : size[1]])
        for one in predictions
    ]
