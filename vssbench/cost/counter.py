"""Watches torch execute and keeps a ledger of multiply-accumulates, module by module. Changes no module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from vssbench.cost.blank import meta_result
from vssbench.cost.formulas import FORMULAS, TAPS_PER_OUTPUT, classify
from vssbench.cost.ledger import (
    Category,
    LedgerEntry,
    MacsLedger,
    UncountedOperator,
    order_entries,
    order_uncounted,
)
from vssbench.ops import accounting


class ModuleTracker:
    """Knows which module is running, through global forward hooks that are taken away again."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        self._paths: dict[int, str] = {}
        self._kept: list[nn.Module] = []  # ids stay unique only while the modules live
        self._stack: list[str] = []
        self.order: dict[str, int] = {}
        for name, module in modules.items():
            self.add(name, module)

    def add(self, prefix: str, root: nn.Module) -> None:
        """Name `root` and everything below it; a module reachable twice keeps its first path."""
        self._kept.append(root)
        for path, module in root.named_modules():
            full = f"{prefix}.{path}" if prefix and path else prefix or path
            if id(module) not in self._paths:
                self._paths[id(module)] = full
                self.order.setdefault(full, len(self.order))

    @property
    def current(self) -> str:
        """Path of the innermost running module; '' outside."""
        return self._stack[-1] if self._stack else ""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Follow module calls inside the block."""
        with ExitStack() as hooks:
            hooks.callback(register_module_forward_pre_hook(self._enter).remove)
            hooks.callback(register_module_forward_hook(self._leave, always_call=True).remove)
            yield

    def _enter(self, module: nn.Module, inputs: Any) -> None:
        if id(module) not in self._paths:
            self.add(self._unused(type(module).__name__), module)
        self._stack.append(self._paths[id(module)])

    def _leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self._stack.pop()

    def _unused(self, name: str) -> str:
        """A root name of its own for a module that belongs to no named root."""
        candidate, number = name, 2
        while candidate in self.order:
            candidate, number = f"{name}_{number}", number + 1
        return candidate


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands every torch operator to the counter after it ran."""

    supports_higher_order_operators = True

    def __init__(self, counter: MacsCounter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._counter = counter

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: wrapping the method below against the compiler would import the compiler (seconds)."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        options = kwargs or {}
        if not isinstance(func, torch._ops.OpOverload):  # flex attention and the like: no schema to count by
            result = func(*args, **options)
            self._counter.add_unknown(str(func), result)
            return result
        if func._schema.name not in FORMULAS:
            # Under inference mode composite operators arrive whole; their pieces are what can be counted. Torch's
            # Python decompositions (`func.decompose`) would cut finer than the same call outside inference mode.
            key = torch._C.DispatchKey.CompositeImplicitAutograd
            if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key):  # type: ignore[no-untyped-call]
                with self:
                    return func._op_dk(key, *args, **options)
        result = (meta_result(func, args) or func)(*args, **options)
        self._counter.add_torch_call(func, args, options, result)
        return result


EXITS = {
    Tensor.numpy: "Tensor.numpy",
    Tensor.__array__: "Tensor.__array__",
    Tensor.__dlpack__: "Tensor.__dlpack__",
}


class _Exits(TorchFunctionMode):
    """Tells the counter where values leave torch for other libraries, whose work nobody can count here."""

    def __init__(self, counter: MacsCounter) -> None:
        super().__init__()
        self._counter = counter

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        way = EXITS.get(func)
        if way is not None:
            self._counter.add_unknown(way, args[0])
        return func(*args, **(kwargs or {}))


class MacsCounter:
    """Collects the rule 'exact' while its `counting` block runs; may be entered many times.

    `counter = MacsCounter({"network": network})`, then `with counter.counting(): network(image)`, then `counter.ledger()`.
    """

    def __init__(self, modules: Mapping[str, nn.Module] | None = None) -> None:
        self._tracker = ModuleTracker(modules or {})
        self._counted: dict[tuple[str, str], list[int]] = {}
        self._left_out: dict[tuple[str, Category], list[int]] = {}
        self._inside = 0
        self._devices: set[str] = set()
        self._side_devices: set[str] = set()

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what torch and our operators do in this thread inside the block.

        Switched off meanwhile: the fused multi-head attention kernel, which hides its products in one operator, and
        deterministic algorithms, for which torch takes resizing apart wherever tensors are not on the CPU, blank ones included.
        """
        fast_path = torch.backends.mha.get_fastpath_enabled()
        deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        torch.use_deterministic_algorithms(False)
        try:
            with self._tracker.watching(), accounting.listening(self), _Exits(self), _Watch(self):
                yield
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)

    def ledger(self) -> MacsLedger:
        """What was counted so far."""
        entries = (LedgerEntry(*key, *cell) for key, cell in self._counted.items())
        left_out = (
            UncountedOperator(name, category, calls, elements, macs or None)
            for (name, category), (calls, elements, macs) in self._left_out.items()
        )
        return MacsLedger(
            "exact",
            order_entries(entries, self._tracker.order),
            order_uncounted(left_out),
            ", ".join(sorted(self._devices or self._side_devices)) or "nothing",
        )

    def begin(self, operation: accounting.Operation) -> None:
        """An operator of ours starts (called by vssbench.ops.accounting)."""
        self._inside += 1
        if self._inside > 1:
            return
        if operation.kind == "attention" or operation.kind == "sparse":
            self._count(operation.name, operation.macs)
        else:
            self._leave_out(operation.name, operation.kind, operation.macs // TAPS_PER_OUTPUT, operation.macs)

    def end(self, operation: accounting.Operation) -> None:
        """An operator of ours is over."""
        self._inside -= 1

    def add_torch_call(self, func: Any, args: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        """Book one finished torch operator."""
        if self._inside:
            return
        devices = {one.device.type for one in _tensors(result)}
        name = func._schema.name
        formula = FORMULAS.get(name)
        if formula is not None:
            macs = formula(_positional(func, args, options), result)
            if macs is not None:
                self._devices |= devices
                self._count(name, macs)
                return
        category = "unknown" if formula is not None else classify(func)
        if category is not None:
            elements = sum(one.numel() for one in _tensors(result)[:1])  # the rest: statistics, indices
            macs = TAPS_PER_OUTPUT * elements if category in ("resize", "warp") else 0
            self._side_devices |= devices
            self._leave_out(name, category, elements, macs)

    def add_unknown(self, name: str, result: Any) -> None:
        """Book an operator that nothing is known about."""
        if not self._inside:
            self._leave_out(name, "unknown", sum(one.numel() for one in _tensors(result)), 0)

    def _count(self, operator: str, macs: int) -> None:
        cell = self._counted.setdefault((self._tracker.current, operator), [0, 0])
        cell[0] += 1
        cell[1] += macs

    def _leave_out(self, operator: str, category: Category, elements: int, macs: int) -> None:
        cell = self._left_out.setdefault((operator, category), [0, 0, 0])
        for index, amount in enumerate((1, elements, macs)):
            cell[index] += amount


def _positional(func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> list[Any]:
    """Arguments in schema order, keyword arguments and defaults filled in."""
    given = list(args)
    for argument in func._schema.arguments[len(args) :]:
        given.append(options.get(argument.name, argument.default_value))
    return given


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, (tuple, list)):
        return [one for one in result if isinstance(one, Tensor)]
    return []
