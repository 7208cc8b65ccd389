"""Random clips for a method, what it answers, and the scores behind its answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vssbench.conformance.outcome import require
from vssbench.engine.build import trained_method
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction
from vssbench.registry import methods


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a method with options, and the clips it is checked on."""

    name: str
    """Registered method name."""
    options: dict[str, Any]
    size: tuple[int, int] = (64, 96)
    classes: int = 4
    keyframe_interval: int = 4
    seed: int = 0

    def build(self) -> Method:
        """A fresh instance on the CPU in eval mode; parts for which the options name no weights depend on the seed."""
        context = BuildContext(
            self.classes, self.size, self.keyframe_interval, torch.device("cpu"), seed=self.seed
        )
        options = validate(methods.load(self.name).Options, self.options, where=f"method {self.name}")
        return trained_method(self.name, options, context, title=self.name)

    def varied(self) -> Iterator[Subject]:
        """The subject itself, and with another seed on frames of another size."""
        yield self
        multiple = self.build().needs.size_multiple
        more = -(-8 // multiple) * multiple
        yield replace(self, size=(self.size[0] + more, self.size[1] + more), seed=self.seed + 1)


def make_clip(subject: Subject, needs: Needs, *, seed: int, gops: int = 1, batch: int = 1) -> list[Frame]:
    """Random frames of `gops` GOPs with everything that `needs` asks for, preceded by its history.

    A method that cannot bridge the end of a sequence gets the frames it waits for behind them.
    """
    generator = torch.Generator().manual_seed(seed)
    last = gops * subject.keyframe_interval + (0 if needs.bridges_end else needs.lookahead)
    return [_make_frame(subject, needs, index, generator, batch) for index in range(-needs.history, last)]


def _make_frame(subject: Subject, needs: Needs, index: int, generator: torch.Generator, batch: int) -> Frame:
    height, width = subject.size
    distance = index % subject.keyframe_interval
    key = distance == 0
    # flow points at an earlier picture, so the first one has none
    has_previous = index > -needs.history

    def flow(reach: float) -> Tensor:
        return (torch.rand(batch, 2, height, width, generator=generator) - 0.5) * 2 * reach

    image = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    inside = 0 <= index < subject.keyframe_interval or not needs.lookahead
    flow_key = flow(3.0 * distance) if needs.flow_key and index >= 0 and inside else None
    flow_previous = flow(3.0) if needs.flow_previous and has_previous else None
    residual = torch.randint(-40, 41, (batch, 3, height, width), generator=generator, dtype=torch.int16)
    blocks = torch.randint(
        0, 3, (batch, -(-height // 4), -(-width // 4)), generator=generator, dtype=torch.uint8
    )
    valid = torch.rand(batch, height, width, generator=generator) > 0.1
    return Frame(
        index=index,
        keyframe_distance=distance,
        image=image if needs.pixels or key else None,
        frame_type="I" if key else "P",
        size=subject.size,
        flow_previous=flow_previous,
        flow_key=flow_key,
        flow_valid_key=None if flow_key is None else valid,
        flow_valid_previous=None if flow_previous is None else ~valid if flow_key is not None else valid,
        residual=residual if needs.residual and index > 0 else None,
        block_types=blocks if needs.block_types else None,
        qp=20 + blocks.to(torch.int8) if needs.qp else None,
        coded_bits=torch.full((batch,), 4000 if key else 800),
        display_order=index + needs.history,
        decode_order=index + needs.history,
        time=index,
    )


def tensors_of(frame: Frame) -> dict[str, Tensor]:
    """Every tensor that a frame carries, by field."""
    values = {one.name: getattr(frame, one.name) for one in fields(frame)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def run_clip(method: Method, frames: Sequence[Frame], memory: Any = None) -> list[Prediction]:
    """Push a clip through a fresh state and return every prediction in the order it came.

    memory: what outlives clips; None gives the clip one of its own.
    """
    batch = next(frame.image.shape[0] for frame in frames if frame.image is not None)
    state = method.begin(batch, memory)
    predictions = [prediction for frame in frames for prediction in method.step(state, frame)]
    return predictions + method.flush(state)


class ScoreWatch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps the floating-point maps that labels are taken from: what goes into an arg-max or a maximum over classes."""

    CHOOSING = frozenset(
        ("aten::argmax", "aten::amax", "aten::max", "aten::topk", "aten::sort", "aten::argsort")
    )

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.last: Tensor | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: wrapping the method below against the compiler would import the compiler."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        chosen_from = args[0] if func._schema.name in self.CHOOSING else None
        if isinstance(chosen_from, Tensor) and chosen_from.is_floating_point() and chosen_from.ndim >= 3:
            self.last = chosen_from.detach().clone()
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a method said of one frame."""

    labels: Tensor
    scores: Tensor | None
    """The last scores that were compared before the answer came; None where the method compares none with torch."""


class Stepper:
    """One clip on its way through a method, frame by frame, with the scores behind each answer."""

    def __init__(self, method: Method, memory: Any = None, batch: int = 1) -> None:
        self.method, self.state = method, method.begin(batch, memory)
        self.answers: dict[int, Answer] = {}
        self.predictions: list[Prediction] = []

    def push(self, frame: Frame) -> list[Prediction]:
        """Predictions of one step."""
        with ScoreWatch() as watch, torch.no_grad():
            return self._note(self.method.step(self.state, frame), watch)

    def end(self) -> dict[int, Answer]:
        """Flush, and every answer of a frame that is no history."""
        with ScoreWatch() as watch, torch.no_grad():
            self._note(self.method.flush(self.state), watch)
        return self.answers

    def _note(self, predictions: list[Prediction], watch: ScoreWatch) -> list[Prediction]:
        require(isinstance(predictions, list), f"step returns {type(predictions).__name__}, expected a list")
        for prediction in predictions:
            require(
                isinstance(prediction.labels, Tensor),
                f"frame {prediction.index}: labels are {type(prediction.labels).__name__}, expected torch.Tensor",
            )
            scores = watch.last if len(predictions) == 1 else None
            if prediction.index >= 0:
                self.answers[prediction.index] = Answer(prediction.labels.clone(), scores)
        self.predictions += predictions
        return predictions


def answers(method: Method, frames: Sequence[Frame], memory: Any = None) -> dict[int, Answer]:
    """Frame -> what the method says of it, for one clip in a fresh state."""
    stepper = Stepper(method, memory)
    for frame in frames:
        stepper.push(frame)
    return stepper.end()


def require_same(first: dict[int, Answer], second: dict[int, Answer], message: str) -> None:
    """Raise ConformanceError, naming the frame, where labels or the scores behind them differ in one value."""
    for index in sorted(set(first) & set(second)):
        one, other = first[index], second[index]
        differing = int((one.labels != other.labels).sum())
        require(
            differing == 0,
            f"{message}: frame {index} differs in {differing} of {one.labels.numel()} pixels",
        )
        if one.scores is None or other.scores is None or one.scores.shape != other.scores.shape:
            continue
        unlike = ~torch.isclose(one.scores, other.scores, rtol=0, atol=0, equal_nan=True)
        require(
            not bool(unlike.any()),
            f"{message}: the labels of frame {index} are the same, but {int(unlike.sum())} of {unlike.numel()} scores "
            f"behind them differ (by {float((one.scores - other.scores).abs().max()):.2g} at most)",
        )


@contextmanager
def another_random_state(seed: int) -> Iterator[None]:
    """Torch's global generator in another state inside the block, as runs leave it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
