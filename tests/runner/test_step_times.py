"""Whose time a step is: frames of the GOP by their place, not by the step that happens to answer them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vssbench.engine import evaluate
from vssbench.method import Needs, Prediction

KEY, OTHER, ARRIVAL = 0.2, 0.01, 0.6
"""Seconds of a keyframe, of a frame that waits, of the step at the next keyframe (that keyframe included)."""


class Clocked:
    """Answers frames between two keyframes when the second arrives, or each at once; moves a clock of its own."""

    label = "method"

    def __init__(self, lookahead: int, history: int = 0, interval: int = 12) -> None:
        self.needs = Needs(lookahead=lookahead, history=history)
        self.interval = interval
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def begin(self, batch: int, memory: Any) -> list[int]:
        return []

    def step(self, waiting: list[int], frame: Any) -> list[Prediction]:
        answers = [frame.index]
        if frame.is_key:
            self.now += ARRIVAL if waiting else KEY
            answers = [*waiting, frame.index]
            waiting.clear()
        else:
            self.now += OTHER
            if self.needs.lookahead:
                waiting.append(frame.index)
                answers = []
        return [self.answer(index) for index in answers]

    def flush(self, waiting: list[int]) -> list[Prediction]:
        if waiting:
            self.now += ARRIVAL - KEY
        return [self.answer(index) for index in waiting]

    def answer(self, index: int) -> Prediction:
        kind = "non_key" if index % self.interval else "key"
        return Prediction(index, torch.zeros(1, 2, 2, dtype=torch.uint8), kind)


def timed(monkeypatch: pytest.MonkeyPatch, method: Clocked, positions: range) -> evaluate.ClipResult:
    monkeypatch.setattr(evaluate.time, "perf_counter", method.perf_counter)
    clip = SimpleNamespace(frames=[None] * 12, plan=SimpleNamespace(scored=tuple(range(12)), first=0))

    def frame(position: int, needs: Needs) -> Any:
        distance = position % 12
        return SimpleNamespace(index=position, keyframe_distance=distance, is_key=distance == 0)

    feed = SimpleNamespace(positions=lambda needs: positions, frame=frame)
    return evaluate.run_method(method, clip, feed)  # type: ignore[arg-type]


def test_a_gop_with_lookahead_pays_for_one_keyframe(monkeypatch: pytest.MonkeyPatch) -> None:
    result = timed(monkeypatch, Clocked(lookahead=11), range(13))
    assert result.timed == {"key": 1, "non_key": 11}
    assert result.steps == {"key": 1, "non_key": 11}  # the next keyframe is the next GOP's
    assert result.seconds["key"] == pytest.approx(KEY)
    assert result.seconds["non_key"] == pytest.approx(11 * OTHER + ARRIVAL - KEY)


def test_the_time_of_the_flush_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = timed(monkeypatch, Clocked(lookahead=11), range(12))
    assert result.seconds["non_key"] == pytest.approx(11 * OTHER + ARRIVAL - KEY)


def test_frames_answered_at_once_cost_their_own_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    result = timed(monkeypatch, Clocked(lookahead=0, history=3), range(-3, 12))
    assert result.timed == {"key": 1, "non_key": 11}
    assert result.seconds["key"] == pytest.approx(KEY)  # the history's time is not in it
    assert result.seconds["non_key"] == pytest.approx(11 * OTHER)
