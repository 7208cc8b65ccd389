"""What other counters say about the same steps of a method: installed thop, ptflops and torch's own.

They run the same twin on the meta device as `count_method_macs`. None of them is trusted; the point is to see where and
why they disagree.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vssbench.cost.blank import construct
from vssbench.cost.steps import MethodCost, blank_frame
from vssbench.method import Frame, Method
from vssbench.metrics.gop import gop_mean

AGREEMENT = 1e-9
"""Relative difference up to which two counts are called equal."""


@dataclass(frozen=True, slots=True)
class ToolCount:
    """Figures of one tool for a method, in 1e9 of what that tool calls a MAC (torch: FLOPs / 2)."""

    tool: str
    """Name and version."""
    key: float
    non_key: float
    gop_mean: float


class _Step(nn.Module):
    """One step of a method as a module, because that is all these tools can count."""

    def __init__(self, method: Method, state: Any, frame: Frame) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(method.parts())
        self._run: Callable[[], object] = lambda: method.step(state, frame)
        self.eval()

    def forward(self, unused: object = None) -> None:
        """Run the step once."""
        self._run()


def _by_thop(step: _Step) -> float:
    import thop

    return float(thop.profile(step, (None,), verbose=False)[0])


def _by_ptflops(step: _Step) -> float:
    from ptflops import get_model_complexity_info

    # backend 'aten': the backend 'pytorch' patches Tensor.mul, which meta kernels written in Python call internally
    counted = get_model_complexity_info(
        step, (1,), input_constructor=lambda _: {"unused": None}, as_strings=False, print_per_layer_stat=False,
        verbose=False, backend="aten",
    )  # fmt: skip
    return float(counted[0])


def _by_torch(step: _Step) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        step()
    return int(counter.get_total_flops()) / 2


_THOP_NOTE = (
    "adds 4 per element for batch normalisation, 1 for PReLU and pooling; aliases count more than once; functional calls "
    "and fused operators (local attention) count 0"
)
_PTFLOPS_NOTE = "backend aten: adds biases; operators that torch does not know (local attention) count 0"
_TORCH_NOTE = "FlopCounterMode / 2: products only, as ours, but operators without a formula (local attention) count 0 silently"
TOOLS: dict[str, tuple[str, Callable[[_Step], float], str]] = {
    "thop": ("thop", _by_thop, _THOP_NOTE),
    "ptflops": ("ptflops", _by_ptflops, _PTFLOPS_NOTE),
    "torch": ("torch", _by_torch, _TORCH_NOTE),
}
"""Column -> (package, counting function, why it differs)."""


def cross_check(method: Method, cost: MethodCost) -> dict[str, ToolCount]:
    """Count the keyframe and the frame after it with every tool; the GOP mean assumes that non-key frames cost alike."""
    return {
        column: _count(method, cost, f"{package} {version(package)}", count)
        for column, (package, count, _) in TOOLS.items()
    }


def explain(column: str, count: ToolCount, cost: MethodCost) -> str | None:
    """One line on why a tool disagrees with the exact GOP mean; None where it agrees."""
    exact = cost.gop_mean / 1e9
    difference = count.gop_mean - exact
    if abs(difference) <= AGREEMENT * exact:
        return None
    unseen = sum(ledger.per_operator.get("local_attention", 0) for ledger in cost.ledgers.values())
    per_frame = unseen / cost.keyframe_interval / 1e9
    attention = f"; local attention is {per_frame:.3f} G per frame here" if unseen else ""
    return f"{difference:+.3f} G ({difference / exact:+.2%}) against exact: {TOOLS[column][2]}{attention}"


def _count(method: Method, cost: MethodCost, tool: str, count: Callable[[_Step], float]) -> ToolCount:
    context = replace(
        method.context, size=cost.size, keyframe_interval=cost.keyframe_interval, device=torch.device("meta")
    )
    figures = []
    for distance in (0, 1):
        twin = construct(type(method), method.options, context)
        quiet = contextlib.redirect_stdout(io.StringIO())
        with torch.no_grad(), quiet, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = twin.begin(1)
            for index in (*range(-twin.needs.history, 0), *range(distance)):
                twin.step(state, blank_frame(twin, index, index % cost.keyframe_interval))
            figures.append(count(_Step(twin, state, blank_frame(twin, distance, distance))) / 1e9)
    key, non_key = figures if cost.keyframe_interval > 1 else (figures[0], figures[0])
    return ToolCount(tool, key, non_key, gop_mean(key, non_key, cost.keyframe_interval))
