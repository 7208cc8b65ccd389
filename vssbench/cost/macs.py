"""`count_macs`: multiply-accumulates of anything callable, by our exact rule or by the paper's counter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from vssbench.cost.blank import short_cuts
from vssbench.cost.counter import MacsCounter
from vssbench.cost.ledger import MacsLedger, Rule
from vssbench.cost.thop_rule import ThopCounter
from vssbench.errors import ConfigError, VssbenchError

M = TypeVar("M", bound=nn.Module)

RULES: tuple[Rule, ...] = ("exact", "thop-0.0.31")


def count_macs(
    callable: Callable[..., Any],  # noqa: A002 - the documented name
    *inputs: Any,
    rule: Rule = "exact",
    aliases: Mapping[str, int] | None = None,
    **kwargs: Any,
) -> MacsLedger:
    """Run `callable(*inputs, **kwargs)` once, without gradients, and count its multiply-accumulates.

    rule 'exact': convolutions, matrix products and attention products, from torch's own operator stream, so modules,
    functional calls and our fused operators count alike; 1 MAC = 1; every execution of a shared module counts.
    Source: spec/ar-seg.md section 7.3. rule 'thop-0.0.31': the counter behind the paper's GFLOPs, section 7.1; it needs
    a module and accepts `aliases` (see `thop_rule.ThopCounter`). Our networks bring their own
    `reference_aliases`, and `reference_forward` names the call that runs what the paper's figure includes.

    A module, or a bound method of one, is never touched: a copy in eval mode on the meta device runs, which computes
    nothing. If that copy needs values (data-dependent code, or an operator without a meta kernel), a copy on the inputs'
    own device runs instead; `ledger.measured_on` tells. Any other callable runs as it is.
    Raises ConfigError for an unknown rule, or rule 'thop-0.0.31' without a module.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown MACs rule {rule!r}; known: {', '.join(RULES)}")
    root = _module_of(callable)
    if rule == "thop-0.0.31" and root is None:
        raise ConfigError(
            f"rule 'thop-0.0.31' hangs its formulas on modules, but {callable!r} is neither a module nor a method of one; "
            "pass the module or use rule 'exact'"
        )
    count = _count_exactly if rule == "exact" else _count_like_thop(aliases)
    if root is None:
        return count(callable, inputs, kwargs, None)
    try:
        return count(*_copied(callable, root, inputs, kwargs, meta=True))
    except VssbenchError:
        raise
    except Exception:  # whatever it trips over where there are no values: `.numpy()` raises TypeError
        if _any_meta(root, inputs, kwargs):
            raise
        return count(*_copied(callable, root, inputs, kwargs, meta=False))


def meta_copy(module: M) -> M:
    """A copy of `module` whose parameters and buffers have shapes but no values; `module` is not changed."""
    memo: dict[int, Any] = {}
    plain = (one for part in module.modules() for one in vars(part).values() if isinstance(one, Tensor))
    for tensor in (*module.parameters(), *module.buffers(), *plain):
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(module, memo)


Run = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], "nn.Module | None"]


def _module_of(callable_: Callable[..., Any]) -> nn.Module | None:
    owner = callable_ if isinstance(callable_, nn.Module) else getattr(callable_, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _copied(
    callable_: Callable[..., Any],
    root: nn.Module,
    inputs: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    meta: bool,
) -> Run:
    """The same call on a copy of the module and, for meta, of the input tensors."""
    twin = (meta_copy(root) if meta else copy.deepcopy(root)).eval()
    run = twin if callable_ is root else getattr(twin, callable_.__name__)
    if not meta:
        return run, inputs, kwargs, twin
    return run, _to_meta(inputs), _to_meta(kwargs), twin


def _to_meta(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.to("meta")
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_to_meta(one) for one in value)
    if isinstance(value, dict):
        return {name: _to_meta(one) for name, one in value.items()}
    return value


def _any_meta(root: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    tensors = [one for one in (*inputs, *kwargs.values(), *root.parameters()) if isinstance(one, Tensor)]
    return any(one.device.type == "meta" for one in tensors)


def _count_exactly(
    run: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any], root: nn.Module | None
) -> MacsLedger:
    counter = MacsCounter({"": root} if root is not None else None)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), counter.counting():
        run(*inputs, **kwargs)
    return counter.ledger()


def _count_like_thop(aliases: Mapping[str, int] | None) -> Callable[..., MacsLedger]:
    def count(
        run: Callable[..., Any], inputs: tuple[Any, ...], kwargs: dict[str, Any], root: nn.Module
    ) -> MacsLedger:
        known = getattr(root, "reference_aliases", None) if aliases is None else aliases
        if run is root:
            run = getattr(root, getattr(root, "reference_forward", "forward"))
        counter = ThopCounter(root, known)
        with torch.no_grad(), counter.counting(), short_cuts():
            run(*inputs, **kwargs)
        return counter.ledger()

    return count
