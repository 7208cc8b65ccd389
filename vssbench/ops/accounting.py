"""Tells a MACs ledger what an operator of ours does, whichever back end runs it. Depends on nothing.

An operator wraps its body once:

    with accounting.operation("local_attention", macs=2 * k * k * channels * positions, kind="attention"):
        ...

While no ledger listens this costs one context-variable look-up. While one does, the body's own torch calls are
left out of the count, so an operator costs the same as Triton kernel, fused C++ or plain torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, Protocol

OperationKind = Literal["attention", "sparse", "warp", "resize", "search"]
"""'attention' products and 'sparse' layers (their executed share) are counted by the rule 'exact'.

Warps, resizes and block searches are listed but not counted.
"""


@dataclass(frozen=True, slots=True)
class Operation:
    """One execution of an operator of ours."""

    name: str
    macs: int
    """Multiply-accumulates by the operator's formula, for this call's shapes."""
    kind: OperationKind


class OperatorListener(Protocol):
    """What a ledger implements to hear about operations."""

    def begin(self, operation: Operation) -> None:
        """The operation starts; what torch does until `end` belongs to it."""

    def end(self, operation: Operation) -> None:
        """The operation is over."""


_listeners: ContextVar[tuple[OperatorListener, ...]] = ContextVar("vssbench_ledger_listeners", default=())


def listened_to() -> bool:
    """Whether a ledger counts at the moment: then operators show their steps one by one."""
    return bool(_listeners.get())


@contextmanager
def operation(name: str, macs: int, *, kind: OperationKind) -> Iterator[None]:
    """Announce the body as one operation of `macs` multiply-accumulates."""
    listeners = _listeners.get()
    if not listeners:
        yield
        return
    current = Operation(name, int(macs), kind)
    for listener in listeners:
        listener.begin(current)
    try:
        yield
    finally:
        for listener in reversed(listeners):
            listener.end(current)


def record(name: str, macs: int, *, kind: OperationKind = "attention") -> None:
    """Announce an operation whose body torch does not see (a foreign kernel)."""
    with operation(name, macs, kind=kind):
        pass


@contextmanager
def listening(listener: OperatorListener) -> Iterator[None]:
    """Let `listener` hear every operation of this context (thread or task) inside the block."""
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


Spans = Callable[[str], AbstractContextManager[None]]
"""Told the name of a part of a step as it begins; leaves the context as it ends. What a stopwatch hangs in."""

_spans: ContextVar[Spans | None] = ContextVar("vssbench_spans", default=None)


@contextmanager
def span(name: str) -> Iterator[None]:
    """Name a part of a step (for example 'upsample') for whoever times it; nothing happens while nobody does."""
    watch = _spans.get()
    if watch is None:
        yield
        return
    with watch(name):
        yield


@contextmanager
def watching(spans: Spans) -> Iterator[None]:
    """Let `spans` see the parts of this context's steps inside the block."""
    token = _spans.set(spans)
    try:
        yield
    finally:
        _spans.reset(token)
