"""Small parts of the trainer: validation clips, logs, moving average, class weights, plateau."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vssbench.errors import ConfigError, InputError
from vssbench.registry import datasets
from vssbench.training.data import class_weights
from vssbench.training.ema import MovingAverage
from vssbench.training.log import StageLog, read_log
from vssbench.training.plateau import still_improving
from vssbench.training.validation import choose_clips


def sequences(**options: Any) -> Any:
    boxes = datasets.load("boxes")
    return boxes(boxes.Options(**options)).sequences("val")


def test_dense_validation_clips_serve_all_distances() -> None:
    clips = choose_clips(sequences(sequences=1, frames=8), (0, 3), interval=4, clips=3)
    assert [(c.first, c.length, c.scored) for c in clips] == [(0, 4, (0, 3)), (2, 4, (0, 3)), (4, 4, (0, 3))]


def test_sparse_validation_clips_end_on_the_labelled_frame() -> None:
    clips = choose_clips(sequences(sequences=1, frames=9, labelled_every=5), (0, 3), interval=4, clips=3)
    assert [(c.first, c.length, c.scored) for c in clips] == [(5, 1, (0,)), (2, 4, (3,))]


def test_validation_without_room_for_the_distances_is_refused() -> None:
    with pytest.raises(InputError, match="7 frames before it"):
        choose_clips(sequences(sequences=1, frames=4), (0, 7), interval=8, clips=1)


def test_a_log_is_cut_back_to_the_resumed_step(tmp_path: Path) -> None:
    log = StageLog(tmp_path, resumed_step=0)
    for step in range(6):
        log.step(step, {"loss": step / 10})
    log.validation(4, {"miou": 0.5})
    log.validation(6, {"miou": 0.6})
    with (tmp_path / "train.csv").open("a") as stream:
        stream.write("6,0.")  # a killed process leaves half a row
    resumed = StageLog(tmp_path, resumed_step=4)
    resumed.step(4, {"loss": 7.0})
    assert [(row["step"], row["loss"]) for row in read_log(tmp_path / "train.csv")] == [
        (0, 0.0), (1, 0.1), (2, 0.2), (3, 0.3), (4, 7.0),
    ]  # fmt: skip
    assert [row["step"] for row in read_log(tmp_path / "validation.csv")] == [4]


def test_a_fresh_start_forgets_old_logs(tmp_path: Path) -> None:
    StageLog(tmp_path, resumed_step=0).step(0, {"loss": 1.0})
    StageLog(tmp_path, resumed_step=0).step(0, {"loss": 2.0})
    assert [row["loss"] for row in read_log(tmp_path / "train.csv")] == [2.0]


def test_moving_average_follows_its_definition() -> None:
    part = nn.Linear(1, 1, bias=False)
    nn.init.constant_(part.weight, 1.0)
    average = MovingAverage({"p": part}, 0.75)
    nn.init.constant_(part.weight, 5.0)
    average.update({"p": part})
    with average.applied({"p": part}):
        assert part.weight.item() == 0.75 * 1 + 0.25 * 5
    assert part.weight.item() == 5.0
    other = MovingAverage({"p": part}, 0.75)
    other.load(average.state())
    assert torch.equal(other.state()["p"]["weight"], average.state()["p"]["weight"])


def test_class_weights_are_inverse_roots_with_mean_one_over_pixels() -> None:
    weights = class_weights(np.array([90, 10, 0]))
    assert weights.tolist() == pytest.approx([1 / 1.2, 3 / 1.2, 0], rel=1e-6)
    assert (0.9 * weights[0] + 0.1 * weights[1]).item() == pytest.approx(1)


def test_a_rising_tail_is_still_improving() -> None:
    rising = [(100.0 * i, 0.4 + 0.01 * i) for i in range(10)]
    assert still_improving(rising) == pytest.approx(0.03)
    flat = [(step, min(miou, 0.46)) for step, miou in rising]
    assert still_improving(flat) is None
    assert still_improving(rising[:2]) is None


def test_tensorboard_has_every_step_once_even_after_a_resume(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = StageLog(tmp_path, resumed_step=0, tensorboard=True)
    for step in range(5):
        log.step(step, {"loss": 10.0 - step})
    log.validation(4, {"miou": 0.25})
    log.close()
    resumed = StageLog(tmp_path, resumed_step=3, tensorboard=True)
    for step in (3, 4, 5):
        resumed.step(step, {"loss": -float(step)})
    resumed.close()
    board = accumulators.EventAccumulator(str(tmp_path))
    board.Reload()
    losses = [(event.step, event.value) for event in board.Scalars("train/loss")]
    assert losses == [(0, 10.0), (1, 9.0), (2, 8.0), (3, -3.0), (4, -4.0), (5, -5.0)]
    assert [row["loss"] for row in read_log(tmp_path / "train.csv")] == [value for _, value in losses]


def test_tensorboard_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"vssbench\[tensorboard\]"):
        StageLog(tmp_path, resumed_step=0, tensorboard=True)
