"""Running methods over one decoded clip and counting what they got right."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vssbench.cost.steps import step_under_ledger
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.errors import VssbenchError, in_plugin
from vssbench.method import Frame, Method, Needs, Prediction
from vssbench.metrics.confusion import count_pairs


@dataclass(eq=False)
class ClipResult:
    """What one method did on one clip."""

    predictions: dict[int, Prediction]
    """Scored position -> prediction."""
    steps: Counter[str] = field(default_factory=Counter)
    """Answered frames of the clip by what the method did for them; history and lookahead belong to other clips."""
    executed_shares: list[float] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall time inside `method.step` by place in the GOP, as its MACs: 'key' is the keyframe, 'non_key' the rest."""
    timed: Counter[str] = field(default_factory=Counter)
    """Frames behind `seconds`."""
    owed_seconds: float = 0.0
    """Time of steps whose frames wait for their answer."""
    step_macs: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Distance -> (steps, MACs) of the clip's own frames, counted while they ran; adaptive methods only."""

    def labels(self, position: int) -> NDArray[np.uint8]:
        """What was answered for a scored position: class indices [H, W]."""
        return np.asarray(self.predictions[position].labels[0].cpu().numpy(), dtype=np.uint8)


class _Place:
    """Which method is where in its clips, for a message: the frames are counted in the sequence."""

    def __init__(self, label: str, *firsts: int) -> None:
        self.label, self.firsts = label, firsts
        self.position: int | None = None

    def at(self, position: int) -> _Place:
        """Itself, gone on to a position in the clips."""
        self.position = position
        return self

    def __str__(self) -> str:
        clips = f"clip at frame {', '.join(map(str, self.firsts))}"
        if self.position is None:
            return f"{self.label}, {clips}"
        frames = ", ".join(str(first + self.position) for first in self.firsts)
        return f"{self.label}, frame {frames} (position {self.position}, {clips})"


def run_method(method: Method, clip: DecodedClip, feed: ClipFeed, memory: Any = None) -> ClipResult:
    """Push the frames of one clip through one method; `memory` is what outlives clips, None for one of their own.

    Raises VssbenchError if a scored frame stays unanswered or a prediction has the wrong shape, and PluginError naming
    the frame if the method's code fails.
    """
    needs = method.needs
    result = ClipResult({})
    place = _Place(method.label, clip.plan.first)
    # a method that learns online makes its own gradients; inference tensors could never take part in them
    with torch.inference_mode() if needs.memory == "none" else torch.no_grad():
        with in_plugin(method, place):
            state = method.begin(1, memory)
        for position in feed.positions(needs):
            frame = feed.frame(position, needs)
            with in_plugin(method, place.at(position)):
                started = time.perf_counter()
                answered = (
                    _step(method, state, frame, result) if needs.adaptive else method.step(state, frame)
                )
                _note(result, answered, clip)
            if not needs.adaptive:  # the ledger takes time of its own
                _clock(result, answered, time.perf_counter() - started, clip, frame)
            if needs.lookahead and len(result.predictions) == len(clip.plan.scored):
                break  # the frames that were still to come would answer nothing that is scored
        else:
            with in_plugin(method, place):
                started = time.perf_counter()
                answered = method.flush(state)
                _note(result, answered, clip)
            if not needs.adaptive:
                _clock(result, answered, time.perf_counter() - started, clip)
    _require_all(method, clip, result)
    return result


def run_lockstep(method: Method, clips: list[DecodedClip], feeds: list[ClipFeed]) -> list[ClipResult]:
    """Push clips of one shape through a method side by side; one result per clip, each with its share of the time.

    The clips must have the same scored positions, frame types and history (`lockstep_groups`).
    """
    needs = method.needs
    results = [ClipResult({}) for _ in clips]
    place = _Place(method.label, *(clip.plan.first for clip in clips))
    with torch.inference_mode():
        with in_plugin(method, place):
            state = method.begin(len(clips), None)
        for position in feeds[0].positions(needs):
            frame = _joined([feed.frame(position, needs) for feed in feeds])
            with in_plugin(method, place.at(position)):
                started = time.perf_counter()
                answered = method.step(state, frame)
                _note_each(results, answered, time.perf_counter() - started, clips, frame)
        with in_plugin(method, place):
            started = time.perf_counter()
            answered = method.flush(state)
            _note_each(results, answered, time.perf_counter() - started, clips)
    for clip, result in zip(clips, results, strict=True):
        _require_all(method, clip, result)
    return results


def lockstep_groups(clips: Iterable[DecodedClip], batch: int) -> Iterator[list[DecodedClip]]:
    """Neighbouring clips of one shape, `batch` at most, in order; others stay alone."""
    group: list[DecodedClip] = []
    for clip in clips:
        if group and _shape(clip) != _shape(group[0]):
            yield group
            group = []
        group.append(clip)
        if len(group) == batch:
            yield group
            group = []
    if group:
        yield group


def _shape(clip: DecodedClip) -> tuple[Any, ...]:
    types = [clip.at(position).frame_type for position in clip.positions()]
    return clip.plan.scored, clip.positions(), types


def _joined(frames: list[Frame]) -> Frame:
    tensors: dict[str, Any] = {}
    for field_ in fields(frames[0]):
        values = [getattr(frame, field_.name) for frame in frames]
        if isinstance(values[0], torch.Tensor):
            tensors[field_.name] = torch.cat(values)
    return replace(frames[0], **tensors)


def _note_each(
    results: list[ClipResult],
    answered: list[Prediction],
    seconds: float,
    clips: list[DecodedClip],
    frame: Frame | None = None,
) -> None:
    for i, (result, clip) in enumerate(zip(results, clips, strict=True)):
        own = [replace(one, labels=one.labels[i : i + 1]) for one in answered]
        _note(result, own, clip)
        _clock(result, own, seconds / len(clips), clip, frame)


def _require_all(method: Method, clip: DecodedClip, result: ClipResult) -> None:
    missing = [d for d in clip.plan.scored if d not in result.predictions]
    if missing:
        raise VssbenchError(
            f"{type(method).__name__} gave no prediction for positions {missing} of the clip at frame {clip.plan.first}"
        )


def _step(method: Method, state: Any, frame: Frame, result: ClipResult) -> list[Prediction]:
    """One step with its MACs counted; frames of history and lookahead belong to other GOPs."""
    predictions, cost = step_under_ledger(method, state, frame)
    if frame.index == frame.keyframe_distance:
        steps, macs = result.step_macs.get(frame.keyframe_distance, (0, 0))
        result.step_macs[frame.keyframe_distance] = (steps + 1, macs + cost.ledger.total)
    return predictions


def _note(result: ClipResult, answered: list[Prediction], clip: DecodedClip) -> None:
    for prediction in _own(answered, clip):
        result.steps[prediction.kind] += 1
        result.executed_shares.append(prediction.executed_share)
        if prediction.index in clip.plan.scored:
            result.predictions[prediction.index] = prediction


def _own(answered: list[Prediction], clip: DecodedClip) -> list[Prediction]:
    return [one for one in answered if 0 <= one.index < len(clip.frames)]


def _clock(
    result: ClipResult,
    answered: list[Prediction],
    seconds: float,
    clip: DecodedClip,
    frame: Frame | None = None,
) -> None:
    """Book the time of a step (of the flush: without a frame) on the clip's own frames that it answered, evenly.

    Steps that answer nothing are owed to the next answer. A step at the next GOP's keyframe, for which frames waited,
    is booked without that keyframe, which its own GOP pays for: as much as this clip's keyframe took.
    """
    if frame is not None and frame.index < 0:
        return
    seconds += result.owed_seconds
    own = _own(answered, clip)
    if not own:
        result.owed_seconds = seconds
        return
    if frame is not None and frame.index >= len(clip.frames) and frame.is_key:
        seconds = max(0.0, seconds - result.seconds.get("key", 0.0))
    for prediction in own:
        place = "non_key" if prediction.index else "key"
        result.seconds[place] = result.seconds.get(place, 0.0) + seconds / len(own)
        result.timed[place] += 1
    result.owed_seconds = 0.0


def score(
    result: ClipResult,
    clip: DecodedClip,
    labels: Mapping[int, NDArray[np.uint8]],
    classes: int,
    ignore_index: int,
) -> NDArray[np.int64]:
    """Confusion counts int64 [scored, classes, classes] of one clip; labels by position in the clip."""
    counts = []
    for position in clip.plan.scored:
        truth = labels[position]
        predicted = result.labels(position)
        if predicted.shape != truth.shape:
            raise VssbenchError(
                f"prediction is {predicted.shape}, its label map {truth.shape}; a method must answer at frame size"
            )
        counts.append(count_pairs(truth, predicted, classes, ignore_index=ignore_index))
    return np.stack(counts)


def joint_needs(methods: list[Method]) -> Needs:
    """The smallest needs that cover all methods: what has to be decoded and buffered."""
    needs = [method.needs for method in methods]
    return Needs(
        flow_previous=any(n.flow_previous for n in needs),
        flow_key=any(n.flow_key for n in needs),
        residual=any(n.residual for n in needs),
        block_types=any(n.block_types for n in needs),
        qp=any(n.qp for n in needs),
        history=max((n.history for n in needs), default=0),
        lookahead=max((n.lookahead for n in needs), default=0),
    )
