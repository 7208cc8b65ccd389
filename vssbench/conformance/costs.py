"""Checks of what a method costs: work that depends on the pictures, kinds of steps, memory that grows."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from vssbench.conformance.clips import Subject, make_clip
from vssbench.conformance.outcome import Check, require
from vssbench.cost.steps import count_method_macs, step_under_ledger
from vssbench.method import Prediction

ALIKE = 0.005
"""Relative difference of MACs that is none: counts of one step are exact, but for sizes that are rounded."""
SHARE_MARGIN = 0.25
"""How far the executed share of a step may be from its counted share: part of the work is no network's."""
WORD = 8
"""Bytes of one entry of a container."""
GOPS = 4
"""Groups of pictures that memory is watched over."""


@dataclass(frozen=True, slots=True)
class CountedStep:
    """One step on real frames."""

    index: int
    keyframe_distance: int
    macs: int
    predictions: tuple[Prediction, ...]


def _counted(subject: Subject, seed: int, gops: int = 1) -> list[CountedStep]:
    """The steps of a random clip, history left out, counted while they run."""
    method = subject.build()
    state, found = method.begin(1), []
    for frame in make_clip(subject, method.needs, seed=seed, gops=gops):
        predictions, cost = step_under_ledger(method, state, frame)
        if 0 <= frame.index < gops * subject.keyframe_interval:
            found.append(
                CountedStep(frame.index, frame.keyframe_distance, cost.ledger.total, tuple(predictions))
            )
    return found


def declared_adaptive(subject: Subject) -> None:
    """Work that differs between pictures is declared, so that it is counted on the frames of a run."""
    method = subject.build()
    if method.needs.adaptive:
        return
    runs = {f"random clip {seed}": _counted(subject, 20 + seed) for seed in (0, 1)}
    if not method.needs.lookahead:  # its blank GOP is the second one, in which frames wait for the first
        blank = count_method_macs(method)
        runs["blank frames"] = [
            CountedStep(i, i, step.ledger.total, ()) for i, step in enumerate(blank.steps)
        ]
    (name, steps), *others = runs.items()
    for other, found in others:
        for one, two in zip(steps, found, strict=True):
            require(
                abs(one.macs - two.macs) <= ALIKE * max(one.macs, two.macs),
                f"frame {one.index}: {one.macs:,} MACs on {name}, {two.macs:,} on {other}, but needs.adaptive is False",
            )
    for steps in runs.values():
        for step in steps:
            for prediction in step.predictions:
                require(
                    prediction.kind != "partial",
                    f"frame {prediction.index}: a partial step, but needs.adaptive is False, so its work is not counted",
                )


def kinds_of_steps(subject: Subject) -> None:
    """A key step costs what a keyframe costs; keyframes are no non-key steps."""
    steps = _counted(subject, 22, gops=2)
    answered = [(step, p) for step in steps for p in step.predictions if p.index == step.index]
    full = max((step.macs for step, p in answered if step.keyframe_distance == 0), default=0)
    for step, prediction in answered:
        if step.keyframe_distance == 0:
            require(
                prediction.kind != "non_key",
                f"frame {step.index} is a keyframe and its step is called non_key",
            )
        else:
            require(
                prediction.kind != "key" or step.macs >= (1 - ALIKE) * full,
                f"frame {step.index}: a step of {step.macs:,} MACs is called key, a keyframe takes {full:,}",
            )
            require(
                prediction.kind != "non_key" or not full or step.macs <= (1 + ALIKE) * full,
                f"frame {step.index}: a step of {step.macs:,} MACs is called non_key, a keyframe takes {full:,}",
            )


def executed_share(subject: Subject) -> None:
    """The share that a partial step says it executed is near what was counted."""
    steps = _counted(subject, 23, gops=2)
    full = max((step.macs for step in steps), default=0)
    for step in steps:
        for prediction in step.predictions:
            if prediction.kind == "partial" and full:
                counted = step.macs / full
                require(
                    abs(prediction.executed_share - counted) <= SHARE_MARGIN,
                    f"frame {prediction.index}: executed_share {prediction.executed_share:.2f}, but {counted:.2f} of the "
                    "MACs of the dearest step were counted",
                )


def flat_memory(subject: Subject) -> None:
    """What state, memory and method hold does not grow from GOP to GOP, and keeps no graph of a backward pass."""
    method = subject.build()
    kept = method.create_memory()
    state = method.begin(1, kept)
    sizes = []
    for frame in make_clip(subject, method.needs, seed=24, gops=GOPS):
        with torch.no_grad():
            predictions = method.step(state, frame)
        for tensor in (*tensors_within(state), *(p.labels for p in predictions)):
            require(
                tensor.grad_fn is None,
                f"frame {frame.index}: a tensor {tuple(tensor.shape)} of the state or the answer keeps the graph of a "
                "backward pass alive",
            )
        if frame.index >= 0 and (frame.index + 1) % subject.keyframe_interval == 0:
            sizes.append(_bytes_held(method, state, kept))
    later = sizes[GOPS // 2 - 1 :]
    require(
        later[-1] <= later[0],
        f"frame {GOPS * subject.keyframe_interval - 1}: {later[-1]:,} bytes are held, {later[0]:,} after "
        f"{GOPS // 2} GOPs; memory grows with the frames",
    )


def _bytes_held(*roots: Any) -> int:
    """Bytes of every tensor, array, byte string and container that can be reached, each storage once."""
    storages = {}
    for tensor in tensors_within(*roots):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values()) + sum(_plain_bytes(one) for one in reachable(*roots))


def _plain_bytes(value: Any) -> int:
    if isinstance(value, (bytes, bytearray)):
        return len(value)
    if isinstance(value, (list, tuple, set, frozenset, dict, deque)):
        return WORD * len(value)
    return int(value.nbytes) if type(value).__module__ == "numpy" and hasattr(value, "nbytes") else 0


def tensors_within(*roots: Any) -> list[Tensor]:
    """Every tensor that can be reached from objects."""
    return [one for one in reachable(*roots) if isinstance(one, Tensor)]


def reachable(*roots: Any) -> Iterator[Any]:
    """Every object that can be reached from `roots`, each once; types, functions and modules of code are not entered."""
    seen: set[int] = set()
    waiting = list(roots)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(one))
        yield one
        waiting += gc.get_referents(one)


CHECKS = (
    Check("declared adaptive", "Where work depends on the pictures a method says adaptive=True; every step is then counted "
          "on the frames of the run.", declared_adaptive, "needs"),
    Check("kinds of steps", "A prediction's kind is the cost its step had: key for full keyframe work, non_key for the lighter "
          "step between, partial for what depends on the pictures.", kinds_of_steps, "step"),
    Check("executed share", "executed_share is the share of the network's work that was executed.", executed_share, "step"),
    Check("flat memory", "Memory stays flat in the number of frames, and no backward graph is kept.", flat_memory, "step"),
)  # fmt: skip
