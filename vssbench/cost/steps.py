"""Measures what each kind of step of a method costs, by running the method itself under the MACs ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch

from vssbench.cost.blank import construct
from vssbench.cost.counter import MacsCounter
from vssbench.cost.ledger import MacsLedger, combine
from vssbench.errors import ConfigError, VssbenchError, in_plugin
from vssbench.method import Frame, Method, Prediction, StepKind


@dataclass(frozen=True, slots=True)
class StepCost:
    """One step of a method: where in the GOP it was, what it turned out to be, what it cost."""

    keyframe_distance: int
    kind: StepKind
    ledger: MacsLedger
    executed_share: float = 1.0
    """As the method reported it, for data-dependent steps."""


@dataclass(frozen=True, slots=True)
class MethodCost:
    """Multiply-accumulates of one GOP of a method, step by step."""

    size: tuple[int, int]
    """(H, W) of the frames."""
    keyframe_interval: int
    steps: tuple[StepCost, ...]
    """One per frame of the GOP, in order."""
    flush: MacsLedger | None = None
    """Work done when the clip ended, for methods with an output delay."""

    @property
    def ledgers(self) -> dict[StepKind, MacsLedger]:
        """Ledger of each kind of step that occurred, summed over its steps."""
        kinds = dict.fromkeys(step.kind for step in self.steps)
        return {kind: combine(step.ledger for step in self.steps if step.kind == kind) for kind in kinds}

    @property
    def step_counts(self) -> dict[StepKind, int]:
        """Steps of each kind in the GOP."""
        return dict(Counter(step.kind for step in self.steps))

    def mean_macs(self, kind: StepKind) -> float | None:
        """Mean MACs of the steps of one kind; None if there were none."""
        costs = [step.ledger.total for step in self.steps if step.kind == kind]
        return sum(costs) / len(costs) if costs else None

    @property
    def key(self) -> float:
        """MACs of the keyframe."""
        return float(self.steps[0].ledger.total)

    @property
    def non_key(self) -> float:
        """Mean MACs of the frames between keyframes. L = 1 has none; the keyframe's are returned then."""
        others = self.steps[1:] or self.steps
        return sum(step.ledger.total for step in others) / len(others)

    @property
    def gop_mean(self) -> float:
        """MACs per frame, averaged over the GOP, the flush included."""
        owed = self.flush.total if self.flush is not None else 0
        return (sum(step.ledger.total for step in self.steps) + owed) / self.keyframe_interval

    @property
    def is_data_dependent(self) -> bool:
        """Whether the cost depends on the pictures, so that blank frames do not show it."""
        return any(step.kind == "partial" or step.executed_share != 1.0 for step in self.steps)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """Names of work that no rule knows to be free: while there is any, the figures are lower bounds."""
        ledgers = [*(step.ledger for step in self.steps), *([self.flush] if self.flush is not None else [])]
        return tuple(sorted({operator.name for ledger in ledgers for operator in ledger.unknown}))

    @property
    def measured_on(self) -> str:
        """Device of the watched run; 'meta' computed nothing."""
        return ", ".join(sorted({step.ledger.measured_on for step in self.steps}))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: figures in 1e9 MACs, ledgers in MACs summed over the steps of their kind."""
        return {
            "size": list(self.size),
            "keyframe_interval": self.keyframe_interval,
            "key_gmacs": self.key / 1e9,
            "non_key_gmacs": self.non_key / 1e9,
            "gop_mean_gmacs": self.gop_mean / 1e9,
            "is_data_dependent": self.is_data_dependent,
            "measured_on": self.measured_on,
            "uncounted": list(self.uncounted),
            "steps": self.step_counts,
            "ledgers": {kind: ledger.as_dict() for kind, ledger in self.ledgers.items()},
        }


def count_method_macs(
    method: Method, size: tuple[int, int] | None = None, keyframe_interval: int | None = None
) -> MethodCost:
    """Cost of one GOP of `method` on blank frames of `size` = (H, W).

    A twin with the same options is built on the meta device and stepped through the GOP, so nothing is computed and
    `method` is not touched. A method that looks at values cannot run there; its twin then runs on the CPU, and the
    result says so (`measured_on`, `is_data_dependent`). History frames are pushed first and not counted: in a stream
    they belong to the GOP before. Of a method with lookahead the second GOP is counted, with what the first still
    owed: the mean is that of a long stream, where every GOP pays for one keyframe.
    Defaults: the method's own frame size and keyframe interval.
    Raises ConfigError if keyframe_interval is below 1 or the size does not suit the method, PluginError if its code fails.
    """
    context = replace(
        method.context,
        size=size or method.context.size,
        keyframe_interval=method.context.keyframe_interval
        if keyframe_interval is None
        else keyframe_interval,
    )
    if context.keyframe_interval < 1 or min(context.size) < 1:
        raise ConfigError(
            f"cost of a method needs keyframe_interval >= 1 and a frame size, got {context.keyframe_interval} and {context.size}"
        )
    on_meta = replace(context, device=torch.device("meta"))
    try:  # a method without values holds nothing worth protecting and is stepped itself
        return _count_gop(
            method if method.context == on_meta else construct(type(method), method.options, on_meta)
        )
    except VssbenchError:
        raise
    except Exception:  # whatever a method trips over where there are no values: `.numpy()` raises TypeError
        on_cpu = replace(context, device=torch.device("cpu"))
        with in_plugin(method, f"{method.label}, counting MACs on blank frames of {_sides(context.size)}"):
            return _count_gop(construct(type(method), method.options, on_cpu))


def _sides(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def step_under_ledger(method: Method, state: Any, frame: Frame) -> tuple[list[Prediction], StepCost]:
    """Run `method.step` and count it: how the cost of data-dependent steps is measured on real frames."""
    counter = MacsCounter(method.parts())
    with torch.no_grad(), counter.counting():
        predictions = method.step(state, frame)
    kind, share = _kind_of(frame, predictions)
    return predictions, StepCost(frame.keyframe_distance, kind, counter.ledger(), share)


def blank_frame(method: Method, index: int, keyframe_distance: int) -> Frame:
    """A frame of zeros with everything that `method.needs` asks for, on the method's device, one clip."""
    context, needs = method.context, method.needs
    height, width = context.size

    def zeros(channels: int | None, dtype: torch.dtype) -> torch.Tensor:
        shape = (1, height, width) if channels is None else (1, channels, height, width)
        return torch.zeros(shape, dtype=dtype, device=context.device)

    is_key = keyframe_distance == 0
    flow_key = needs.flow_key and 0 <= index < context.keyframe_interval  # of the clip's own GOP only
    flow_previous = needs.flow_previous and index > -needs.history
    flow_valid = torch.ones((1, height, width), dtype=torch.bool, device=context.device)
    blocks = torch.zeros((1, -(-height // 4), -(-width // 4)), dtype=torch.uint8, device=context.device)
    return Frame(
        index=index,
        keyframe_distance=keyframe_distance,
        image=zeros(3, torch.uint8) if needs.pixels or is_key else None,
        frame_type="I" if is_key else "P",
        size=context.size,
        flow_previous=zeros(2, torch.float32) if flow_previous else None,
        flow_key=zeros(2, torch.float32) if flow_key else None,
        flow_valid_key=flow_valid if flow_key else None,
        flow_valid_previous=flow_valid if flow_previous else None,
        residual=zeros(3, torch.int16) if needs.residual and index > 0 else None,
        block_types=blocks if needs.block_types else None,
        qp=blocks.to(torch.int8) if needs.qp else None,
        coded_bits=torch.zeros(1, dtype=torch.int64, device=context.device),
        display_order=index + needs.history,
        decode_order=index + needs.history,
        time=index,
    )


def _count_gop(method: Method) -> MethodCost:
    interval, needs = method.context.keyframe_interval, method.needs
    first = interval if needs.lookahead else 0
    with torch.no_grad():
        state = method.begin(1)
        for index in range(-needs.history, first):
            method.step(state, blank_frame(method, index, index % interval))
        alike = needs.stateless or not needs.every_frame  # then all frames after the keyframe cost the same
        steps = [
            _blank_step(method, state, first + distance, distance)
            for distance in range(min(interval, 2) if alike else interval)
        ]
        counter = MacsCounter(method.parts())
        if not needs.lookahead:
            with counter.counting():
                method.flush(state)
    owed = counter.ledger()
    steps += [replace(steps[-1], keyframe_distance=distance) for distance in range(len(steps), interval)]
    return MethodCost(
        method.context.size, interval, tuple(steps), owed if owed.total or owed.unknown else None
    )


def _blank_step(method: Method, state: Any, index: int, distance: int) -> StepCost:
    return step_under_ledger(method, state, blank_frame(method, index, distance))[1]


def _kind_of(frame: Frame, predictions: Iterable[Prediction]) -> tuple[StepKind, float]:
    for prediction in predictions:
        if prediction.index == frame.index:
            return prediction.kind, prediction.executed_share
    return ("key" if frame.is_key else "non_key"), 1.0
