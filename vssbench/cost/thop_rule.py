"""The counting rule of thop 0.0.31 (post2005241907), which produced the GFLOPs printed in the AR-Seg paper.

Re-implemented from its behaviour (spec/ar-seg.md section 7.1): formulas hang on leaf modules, functional calls count
zero, and a module that k parents hold is counted k*k times: it gets k hooks, and its sum is added up k times.
One deliberate difference: a bare leaf module is counted here, where that version returned 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from vssbench.cost.ledger import LedgerEntry, MacsLedger, UncountedOperator, order_uncounted

ModuleFormula = Callable[[Any, Tensor, Tensor], int]


def _zero(module: Any, source: Tensor, output: Tensor) -> int:
    return 0


def _convolution(module: Any, source: Tensor, output: Tensor) -> int:
    products = module.in_channels // module.groups * prod(module.weight.shape[2:])
    return int(output.numel() * (products + (module.bias is not None)))


def _normalisation(module: Any, source: Tensor, output: Tensor) -> int:
    return 2 * source.numel()


def _linear(module: Any, source: Tensor, output: Tensor) -> int:
    return int(module.in_features * output.numel())


def _per_input(module: Any, source: Tensor, output: Tensor) -> int:
    return source.numel()


def _per_output(module: Any, source: Tensor, output: Tensor) -> int:
    return output.numel()


def _adaptive_average(module: Any, source: Tensor, output: Tensor) -> int:
    kernel = prod(size // kept for size, kept in zip(source.shape[2:], output.shape[2:], strict=True))
    return int(output.numel() * (kernel + 1))


_UPSAMPLE_COUNT = {"nearest": 0, "linear": 5, "bilinear": 11, "bicubic": 259}


def _upsample(module: Any, source: Tensor, output: Tensor) -> int:
    return _UPSAMPLE_COUNT.get(module.mode, 0) * output.numel()


RULES: dict[type[nn.Module], ModuleFormula] = {
    **dict.fromkeys(
        (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
        _convolution,
    ),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm), _normalisation),
    **dict.fromkeys((nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d), _per_output),
    **dict.fromkeys((nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d), _adaptive_average),
    **dict.fromkeys((nn.Upsample, nn.UpsamplingBilinear2d, nn.UpsamplingNearest2d), _upsample),
    nn.Linear: _linear,
    nn.LeakyReLU: _per_input,
    **dict.fromkeys(
        (
            nn.ZeroPad2d,
            nn.ReLU,
            nn.ReLU6,
            nn.Dropout,
            nn.MaxPool1d,
            nn.MaxPool2d,
            nn.MaxPool3d,
            nn.AdaptiveMaxPool1d,
            nn.AdaptiveMaxPool2d,
            nn.AdaptiveMaxPool3d,
        ),
        _zero,
    ),
}
"""Exact module types that this version knew (its recurrent layers are left out here and listed as uncounted)."""


def parents_of(root: nn.Module) -> dict[int, int]:
    """id(module) -> number of paths from `root` to it, as a recursion over `children()` sees them."""
    paths: dict[int, int] = {}

    def visit(module: nn.Module) -> None:
        paths[id(module)] = paths.get(id(module), 0) + 1
        for child in module.children():
            visit(child)

    visit(root)
    return paths


class ThopCounter:
    """Counts the modules below `root` by that rule while it runs; `root` must be in eval mode.

    aliases: module path -> number of parents in the reference implementation, for a `root` of ours that holds a module
    once which the reference registers under several names. Applies to everything below the path.
    """

    def __init__(self, root: nn.Module, aliases: Mapping[str, int] | None = None) -> None:
        self._paths = {id(module): path for path, module in root.named_modules()}
        self._parents = parents_of(root)
        for prefix, parents in (aliases or {}).items():
            for module in root.get_submodule(prefix).modules():
                self._parents[id(module)] = parents
        self._counted: dict[tuple[str, str], list[int]] = {}
        self._left_out: dict[str, list[int]] = {}
        self._device = "nothing"

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count every execution inside the block."""
        handle = register_module_forward_hook(self._after)
        try:
            yield
        finally:
            handle.remove()

    def ledger(self) -> MacsLedger:
        """What was counted so far."""
        order = {path: rank for rank, path in enumerate(self._paths.values())}
        entries = [LedgerEntry(*key, *cell) for key, cell in self._counted.items()]
        entries.sort(key=lambda entry: order[entry.module])
        left_out = (UncountedOperator(name, "unknown", *cell) for name, cell in self._left_out.items())
        return MacsLedger("thop-0.0.31", tuple(entries), order_uncounted(left_out), self._device)

    def _after(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        parents = self._parents.get(id(module))
        if parents is None or next(module.children(), None) is not None:
            return
        rule = RULES.get(type(module))
        name = type(module).__name__
        if rule is None:
            cell = self._left_out.setdefault(name, [0, 0])
            cell[0] += 1
            cell[1] += output.numel() if isinstance(output, Tensor) else 0
            return
        self._device = output.device.type
        entry = self._counted.setdefault((self._paths[id(module)], name), [0, 0])
        entry[0] += 1
        entry[1] += parents * parents * rule(module, inputs[0], output)
