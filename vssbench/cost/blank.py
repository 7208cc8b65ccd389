"""Networks and runs that have shapes but no values (torch's meta device), without its slow paths.

Torch derives some meta results by tracing Python code and imports its compiler for that: seconds for a few shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vssbench.method import BuildContext, Method, MethodOptions
from vssbench.networks.padding import pad_steps, padded_size


def _itself(target: Tensor, *_: Any, **__: Any) -> Tensor:
    return target


def _normalised(source: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(source), source.new_empty(0), source.new_empty(0)


def _resized(source: Tensor, size: Sequence[int], *_: Any) -> Tensor:
    return source.new_empty((*source.shape[:2], *size))


META_RESULTS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.normal_.default: _itself,
    torch.ops.aten.uniform_.default: _itself,
    torch.ops.aten._native_batch_norm_legit_no_training.default: _normalised,
    torch.ops.aten.upsample_bilinear2d.default: _resized,
}
"""Operator -> its result on the meta device; used only where the first argument is there."""


def meta_result(operator: Any, args: tuple[Any, ...]) -> Callable[..., Any] | None:
    """Function to call instead of `operator`, or None where torch's own way is fine."""
    shortcut = META_RESULTS.get(operator)
    return shortcut if shortcut is not None and args[0].device.type == "meta" else None


class _ShortCuts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: wrapping the method below against the compiler would import the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        return (meta_result(func, args) or func)(*args, **(kwargs or {}))


@contextmanager
def short_cuts() -> Iterator[None]:
    """Meta tensors inside the block take the short cuts above."""
    with _ShortCuts():  # type: ignore[no-untyped-call]
        yield


@contextmanager
def building_on(device: torch.device | str) -> Iterator[None]:
    """Modules made inside the block live on `device`; on the meta device their initial values are skipped."""
    with torch.device(device), short_cuts():
        yield


def construct(method_class: type[Method], options: MethodOptions, context: BuildContext) -> Method:
    """A method without weights, all parts in eval mode on the context's device; on the meta device without values.

    It is built for frames of the padded sides, takes frames of any and answers at theirs.
    """
    on_meta = context.device.type == "meta"
    state = torch.get_rng_state()
    with building_on(context.device) if on_meta else nullcontext():  # elsewhere a seed gives the same values
        method = method_class(options, context)
        size = padded_size(method, context.size)
        if size != context.size:
            torch.set_rng_state(state)
            method = method_class(options, replace(context, size=size))
    for part in method.parts().values():
        part.to(context.device).eval()
    return pad_steps(method)
