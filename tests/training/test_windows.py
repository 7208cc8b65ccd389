"""Coded windows: which frames a recipe gets, their motion, and validation of methods with history."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vssbench.codec import CodecSettings
from vssbench.errors import ConfigError
from vssbench.experiment.training import Augmentation, PairSection, TrainingExperiment
from vssbench.method import Needs, Prediction
from vssbench.registry import datasets
from vssbench.training.data import BatchSource
from vssbench.training.validation import ValidationSet
from vssbench.training.windows import WindowStore, build_windows

CODEC = (CodecSettings(codec="h264", qp=20, references=1),)


def boxes(**options: Any) -> Any:
    dataset = datasets.load("boxes")
    return dataset(dataset.Options(**options))


def store(tmp_path: Path, **options: Any) -> WindowStore:
    section = PairSection(keyframe_interval=4)
    return build_windows(boxes(**{"sequences": 2, "frames": 9, **options}), section, CODEC, 1, tmp_path)


def source(windows: WindowStore, recipe: Any, window: int, **changes: Any) -> BatchSource:
    return BatchSource(
        windows,
        recipe,
        windows.select(recipe, window, None),
        Augmentation(flip=0.0, **changes),
        batch=2,
        accumulate=1,
        seed=0,
        stage_key=1,
        original_share=0.0,
        normalisation=((0, 0, 0), (1 / 255, 1 / 255, 1 / 255)),
        device=torch.device("cpu"),
    )


def test_each_recipe_takes_the_frames_of_its_drawing(tmp_path: Path) -> None:
    windows = store(tmp_path, sequences=1)
    assert [(c.first, c.length, c.labelled) for c in windows.clips] == [
        (0, 5, (0, 1, 2, 3, 4)),
        (4, 5, (0, 1, 2, 3, 4)),
    ]

    def first_clip(recipe: Any, window: int) -> list[tuple[int, int, int]]:
        entries = windows.select(recipe, window, None)
        return [(e.position, e.before, e.after) for e in entries if e.clip.first == 0]

    assert first_clip("window", 3) == [(3, 3, 0), (4, 3, 0)]
    assert first_clip("triplet", 0) == [(1, 1, 3), (2, 2, 2), (3, 3, 1)]
    assert first_clip("online", 1) == [(1, 1, 0), (3, 1, 0)]
    assert [e.position for e in windows.select("window", 1, (3,))] == [3, 3]
    with pytest.raises(ConfigError, match="no sample for recipe 'window' with 7 frames"):
        windows.select("window", 7, None)


def test_a_window_batch_holds_neighbours_and_their_one_step_motion(tmp_path: Path) -> None:
    """The box moves 2 pixels to the right a frame: a window's flow points 2 to the left inside it."""
    windows = store(tmp_path)
    batch = source(windows, "window", 2).micro_batch(5).batch
    assert batch.step == 5
    assert [tuple(frame.shape) for frame in batch.window] == [(2, 3, 32, 48)] * 2
    assert [tuple(flow.shape) for flow in batch.window_flow] == [(2, 2, 32, 48)] * 2
    inside = batch.label == 1
    for shift, earlier in ((2, batch.window[1]), (4, batch.window[0])):
        moved = torch.roll(earlier, shift, dims=3)
        assert (batch.image - moved).abs().mean(1)[inside].mean() < 10  # of the decoded texture, contrast 100
    seen = batch.window_flow[-1]
    moving = (seen[:, 0] != 0).flatten(1).any(1)  # a keyframe's own flow is zero
    for n in torch.nonzero(moving).flatten().tolist():
        assert seen[n, 0][inside[n]].median() == pytest.approx(-2, abs=0.25)
    assert batch.after == []


def test_triplets_of_a_batch_lie_equally_far_from_both_keyframes(tmp_path: Path) -> None:
    windows = store(tmp_path)
    seen = set()
    for step in range(6):
        batch = source(windows, "triplet", 0).micro_batch(step).batch
        assert len(batch.window) + len(batch.after) == 4
        assert len(batch.window_flow) == len(batch.window)
        assert len(batch.after_flow) == len(batch.after)
        assert torch.equal(batch.reference, batch.window[0])
        assert batch.after_flow[-1].abs().max() == 0  # the next keyframe is coded without motion
        seen.add(len(batch.window))
    assert seen == {1, 2, 3}


def test_windows_are_augmented_alike(tmp_path: Path) -> None:
    windows = store(tmp_path)
    plain = source(windows, "window", 2)
    flipped = BatchSource(
        windows, "window", plain.entries, Augmentation(flip=1.0, crop=(16, 24)),
        batch=2, accumulate=1, seed=0, stage_key=1, original_share=0.0,
        normalisation=((0, 0, 0), (1 / 255, 1 / 255, 1 / 255)), device=torch.device("cpu"),
    ).micro_batch(0).batch  # fmt: skip
    assert all(f.shape[-2:] == (16, 24) for f in (flipped.image, *flipped.window, *flipped.window_flow))
    moved = [flow[:, 0].max() for flow in flipped.window_flow if (flow != 0).any()]
    assert all(value > 1 for value in moved)  # leftwards before, rightwards in the mirror


def test_parts_and_processes_share_the_triplets_of_one_process(tmp_path: Path) -> None:
    windows = store(tmp_path)

    def origins(step: int, part: int = 0, **shares: int) -> tuple[str, ...]:
        sharing = source(windows, "triplet", 0)
        for name, value in {"batch": 4, **shares}.items():
            setattr(sharing, name, value)
        return sharing.micro_batch(step, part).origins

    for step in range(4):
        whole = origins(step)
        assert origins(step, 0, accumulate=2) + origins(step, 1, accumulate=2) == whole
        ranks = [origins(step, rank=rank, world_size=2) for rank in range(2)]
        assert tuple(name for pair in zip(*ranks, strict=True) for name in pair) == whole


def test_stills_have_windows_but_no_triplets(tmp_path: Path) -> None:
    section = PairSection(source="stills", keyframe_interval=4, distances=(3,))
    windows = build_windows(boxes(sequences=1, frames=2), section, CODEC, 1, tmp_path)
    assert [e.position for e in windows.select("window", 3, None)] == [3, 3]
    with pytest.raises(ConfigError, match="stills have no frames behind them"):
        windows.select("triplet", 0, None)


class Echo:
    """Answers with the label 1 where the picture is bright; keeps what it was pushed."""

    label = "method"

    def __init__(self, needs: Needs) -> None:
        self.needs, self.pushed = needs, []

    def parts(self) -> dict[str, Any]:
        return {}

    def begin(self, batch: int, memory: Any = None) -> None:
        self.pushed.append([])

    def step(self, state: None, frame: Any) -> list[Prediction]:
        self.pushed[-1].append(frame)
        bright = (frame.image.float().mean(1) > 120).byte()
        return [Prediction(frame.index, bright, "key" if frame.is_key else "non_key")]

    def flush(self, state: None) -> list[Prediction]:
        return []


def test_validation_serves_history_motion_and_residual() -> None:
    experiment = TrainingExperiment.model_validate(
        {
            "name": "small",
            "dataset": {"name": "boxes"},
            "codecs": [{"codec": "h264", "qp": 20, "references": 1}],
            "pairs": {"keyframe_interval": 4},
            "contestants": [{"name": "tiny", "label": "a", "stages": {"image": {"steps": 1}}}],
        }
    )
    needs = Needs(flow_previous=True, residual=True, history=2)
    chosen = ValidationSet(boxes(frames=8), experiment, needs, distances=(0, 3), clips=2)
    method = Echo(needs)
    result = chosen.score(method, torch.device("cpu"))  # type: ignore[arg-type]
    assert result.miou > 0.8  # the square is what is bright
    first, last = method.pushed
    assert [frame.index for frame in first] == [0, 1, 2, 3]  # a sequence begins: no history
    assert [frame.index for frame in last] == [-2, -1, 0, 1, 2, 3]
    assert [frame.residual is not None for frame in last] == [False, False, False, True, True, True]
    motion = [float(np.abs(frame.flow_previous[0, 0].numpy()).max()) for frame in last[1:]]
    assert motion[1] == 0  # the keyframe
    assert min(motion[2:]) >= 1
