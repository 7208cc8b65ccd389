"""What the trainer promises besides the weights: advice, warnings, layouts, accumulation, fused optimisers."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench import files
from vssbench.engine.ownership import owned
from vssbench.errors import PluginError, StorageError, VssbenchError
from vssbench.experiment.training import StageSection, load_training_experiment
from vssbench.rendering.figures.training import training_charts
from vssbench.training.log import StageLog, read_log
from vssbench.training.schedule import build_optimiser, parameter_groups
from vssbench.training.stage_trainer import StageTrainer
from vssbench.training.trainer import Trainer


def contestants(options: dict[str, Any] | None = None, **stage: Any) -> list[dict[str, Any]]:
    settings = {"steps": 6, "batch": 2, "learning_rate": 0.02, **stage}
    return [{"name": "tiny", "label": "a", "options": options or {}, "stages": {"image": settings}}]


def state(folder: Path, name: str = "last") -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(folder / f"a/image/{name}.pt", weights_only=True)["parts"][
        "network"
    ]
    return found


class Listener:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def advance(self, task: str, done: int, total: int, note: str = "") -> None:
        pass


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 4503599627370496 bytes"
        ),
    ],
)
def test_lack_of_memory_comes_with_advice(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(torch, "stack", fails)  # the first thing the trainer does with the loss terms
    with pytest.raises(
        VssbenchError,
        match=r"a/image: batch 2: does not fit into the memory of cpu \(.*\); raise `accumulate`",
    ):
        Trainer(load_training_experiment(write_experiment()), tmp_path).run()


def test_other_errors_of_torch_are_not_called_lack_of_memory(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(torch, "stack", fails)
    with pytest.raises(PluginError, match="RuntimeError: mat1"):
        Trainer(load_training_experiment(write_experiment()), tmp_path).run()


def test_a_disk_that_fills_up_keeps_the_checkpoint_before_and_training_goes_on_from_it(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = load_training_experiment(write_experiment())
    Trainer(experiment, tmp_path / "whole").run()
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > first:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    trainer = Trainer(experiment, tmp_path / "parts")
    assert trainer.store.entries  # pairs are written before the disk fills up
    first = 4  # experiment.yaml; last.pt before the first step; best.pt and last.pt after step 4
    with monkeypatch.context() as filling:
        filling.setattr(files.os, "fsync", full)
        with pytest.raises(StorageError, match=r"(last|best)\.pt: the disk is full.*Free some space"):
            trainer.run()
    assert not list((tmp_path / "parts").rglob(".part-*"))
    assert torch.load(tmp_path / "parts/a/image/last.pt", weights_only=True)["step"] == 4
    Trainer(experiment, tmp_path / "parts").run()
    one, two = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_a_contestant_that_still_improves_is_named(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    experiment = load_training_experiment(
        write_experiment(
            validation={"every": 1, "clips": 1, "distances": [0, 3]}, contestants=contestants(steps=9)
        )
    )
    values = [0.1 + 0.05 * step for step in range(10)]
    steps = iter(values)
    monkeypatch.setattr(Trainer, "_scores", lambda *_: {"miou": next(steps, values[-1])})
    summary = Trainer(experiment, tmp_path, reporter=listener).run()
    assert summary["contestants"]["a"]["still_improving"]
    # the line through steps 7, 8, 9 rises 0.05 a step, over a third of the 9 steps 0.15
    assert any("a was still improving at the end (+15.0 points" in text for text in listener.messages)


def test_curves_of_all_contestants_meet_in_one_figure(write_experiment: Any, tmp_path: Path) -> None:
    both = [*contestants(), {**contestants()[0], "label": "b"}]
    Trainer(load_training_experiment(write_experiment(contestants=both)), tmp_path).run()
    (accuracy,) = training_charts(tmp_path, [("a", "image"), ("b", "image")])
    assert [line.name for line in accuracy.lines] == ["a", "b"]
    assert [point.x for point in accuracy.lines[0].points] == [0, 4, 6]


def test_the_log_holds_every_step_with_its_terms(write_experiment: Any, tmp_path: Path) -> None:
    Trainer(load_training_experiment(write_experiment()), tmp_path).run()
    with (tmp_path / "a/image/train.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == list(range(6))
    assert set(rows[0]) == {
        "step", "loss", "segmentation", "distance", "learning_rate", "gradient_norm", "skipped_batches", "seconds",
    }  # fmt: skip
    for row in rows:
        assert float(row["loss"]) == pytest.approx(float(row["segmentation"]) + float(row["distance"]))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_accumulated_gradients_are_those_of_the_whole_batch(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accumulate: int
) -> None:
    monkeypatch.setattr(
        torch.nn.BatchNorm2d, "forward", lambda self, maps: maps
    )  # statistics differ by batch
    found = []
    for parts in (1, accumulate):
        section = contestants({"dropout": 0.0}, batch=4, steps=3, optimiser="sgd", accumulate=parts)
        path = write_experiment(contestants=section)
        Trainer(load_training_experiment(path), tmp_path / str(parts)).run()
        found.append(state(tmp_path / str(parts)))
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key].float(), value.float(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("channels_last", [True, False])
def test_batches_and_networks_have_the_wanted_layout(
    write_experiment: Any, tmp_path: Path, channels_last: bool
) -> None:
    trainer = Trainer(load_training_experiment(write_experiment(channels_last=channels_last)), tmp_path)
    contestant = trainer.experiment.contestants[0]
    method = trainer.build(contestant)
    batch = trainer._source(method.stages()[0], contestant.stages["image"], "a/image").micro_batch(0).batch
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.image.is_contiguous(memory_format=layout)
    convolution = method.parts()["network"][0]  # type: ignore[index]
    assert convolution.weight.is_contiguous(memory_format=layout)


@pytest.mark.parametrize(("width", "layout"), [(4, torch.contiguous_format), (8, torch.channels_last)])
def test_strided_1x1_convolutions_of_few_channels_are_not_trained_channels_last(
    write_experiment: Any, tmp_path: Path, width: int, layout: torch.memory_format
) -> None:
    options = {"network": "bisenet18", "width": width}
    image = {"steps": 1, "batch": 2, "learning_rate": 0.01}
    slim = [{"name": "constant", "label": "a", "options": options, "stages": {"image": image}}]
    trainer = Trainer(load_training_experiment(write_experiment(contestants=slim)), tmp_path)
    contestant = trainer.experiment.contestants[0]
    method = trainer.build(contestant)
    stage = method.stages()[0]
    batch = (
        trainer._source(stage, contestant.stages["image"], "a/image", method, contestant).micro_batch(0).batch
    )
    assert batch.image.is_contiguous(memory_format=layout)
    for weight in method.parts()["network"].parameters():
        assert weight.is_contiguous(memory_format=layout) or weight.dim() != 4


def test_both_layouts_train_to_the_same_weights(write_experiment: Any, tmp_path: Path) -> None:
    # SGD: the bias before a normalisation has no gradient but rounding, which Adam would blow up
    plain = contestants({"dropout": 0.0}, optimiser="sgd")
    for layout in (True, False):
        path = write_experiment(channels_last=layout, contestants=plain)
        Trainer(load_training_experiment(path), tmp_path / str(layout)).run()
    one, two = state(tmp_path / "True"), state(tmp_path / "False")
    for key, value in one.items():
        torch.testing.assert_close(two[key].float(), value.float(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_fused_optimisers_step_like_plain_ones(optimiser: str) -> None:
    torch.manual_seed(0)
    section = StageSection(steps=5, optimiser=optimiser, learning_rate=0.01, weight_decay=0.1)
    start = [torch.randn(4, 3), torch.randn(3)]
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimiser]
    results = []
    for fused in (True, False):
        parameters = {f"p.{i}": torch.nn.Parameter(value.clone()) for i, value in enumerate(start)}
        groups = parameter_groups(parameters, {}, section)
        more = {"momentum": section.momentum} if optimiser == "sgd" else {}
        built = build_optimiser(groups, section) if fused else kind(groups, lr=0.01, fused=False, **more)
        for step in range(5):
            for number, parameter in enumerate(parameters.values()):
                parameter.grad = torch.sin(parameter.detach() * (step + number + 1))
            built.step()
        results.append([p.detach() for p in parameters.values()])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-5)


def test_a_moving_average_is_what_is_validated_saved_and_handed_on(
    write_experiment: Any, tmp_path: Path
) -> None:
    second = {
        "steps": 1,
        "batch": 2,
        "learning_rate": 1e-9,
        "initialise_from": {"network": "a/image/network"},
    }
    both = [*contestants(ema_decay=0.9), {"name": "tiny", "label": "b", "stages": {"image": second}}]
    Trainer(load_training_experiment(write_experiment(contestants=both)), tmp_path).run()
    kept = torch.load(tmp_path / "a/image/last.pt", weights_only=True)
    own, average = kept["parts"]["network"]["0.weight"], kept["average"]["network"]["0.weight"]
    assert not torch.allclose(own, average)
    started = torch.load(tmp_path / "b/image/last.pt", weights_only=True)["parts"]["network"]["0.weight"]
    torch.testing.assert_close(started, average, atol=1e-6, rtol=1e-5)


def test_validation_leaves_training_as_it_was(write_experiment: Any, tmp_path: Path) -> None:
    found = []
    for every in (1, 6):
        validation = {"every": every, "clips": 1, "distances": [0, 3]}
        Trainer(
            load_training_experiment(write_experiment(validation=validation)), tmp_path / str(every)
        ).run()
        found.append(state(tmp_path / str(every)))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])
    assert len(read_log(tmp_path / "1/a/image/validation.csv")) == 7


def test_frozen_parameters_are_not_in_the_optimiser(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(load_training_experiment(write_experiment()), tmp_path)
    seen: list[StageTrainer] = []
    original = StageTrainer.run

    def recording(self: StageTrainer) -> None:
        seen.append(self)
        original(self)

    StageTrainer.run = recording  # type: ignore[method-assign]
    try:
        trainer.run()
    finally:
        StageTrainer.run = original  # type: ignore[method-assign]
    assert "network.4.bias" not in seen[0].parameters
    assert not any(name.startswith("teacher.") for name in seen[0].parameters)


def test_validation_clips_beyond_the_room_are_coded_anew_with_the_same_score(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vssbench.training import validation

    trainer = Trainer(load_training_experiment(write_experiment()), tmp_path)
    method = trainer.build(trainer.experiment.contestants[0])
    found = []
    for room in (2**30, 0):
        monkeypatch.setattr(validation, "KEPT_BYTES", room)
        made = validation.ValidationSet(
            trainer.dataset, trainer.experiment, method.needs, distances=(0, 3), clips=2
        )
        found += [made.score(method, trainer.device).miou, made.score(method, trainer.device).miou]
        assert len(made._kept) == (2 if room else 0)
    assert len(set(found)) == 1


def test_a_contestant_may_have_a_memory_layout_of_its_own(write_experiment: Any, tmp_path: Path) -> None:
    stages = {"image": {"steps": 1, "batch": 2}}
    plain = {"name": "tiny", "label": "plain", "stages": stages}
    own = {**plain, "label": "own", "channels_last": False}
    experiment = load_training_experiment(write_experiment(channels_last=True, contestants=[plain, own]))
    trainer = Trainer(experiment, tmp_path / "out")
    layouts = [
        trainer.build(c).parts()["network"][0].weight.is_contiguous(memory_format=torch.channels_last)
        for c in experiment.contestants
    ]
    assert layouts == [True, False]
    before = load_training_experiment(write_experiment(channels_last=True, contestants=[plain]))
    assert experiment.digest("plain") == before.digest("plain")


def test_a_kill_between_the_two_checkpoints_keeps_the_best(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"validation": {"every": 2, "clips": 1, "distances": [0, 3]}, "contestants": contestants()}
    experiment = load_training_experiment(write_experiment(**document))
    scores = {0: 0.1, 2: 0.2, 4: 0.5, 6: 0.3}

    def trained(folder: str) -> Trainer:
        trainer, log = Trainer(experiment, tmp_path / folder), tmp_path / folder / "a/image/validation.csv"

        def scored(*_: Any) -> dict[str, float]:
            rows = read_log(log) if log.exists() else []
            value = scores.get(int(rows[-1]["step"]) + 2 if rows else 0, 0.0)
            return {"miou": value, "miou_d0": value, "miou_d3": value}

        monkeypatch.setattr(trainer, "_scores", scored)
        return trainer

    trained("whole").run()
    save, done = StageTrainer._save, []

    def killed(self: StageTrainer, name: str) -> None:
        save(self, name)
        done.append(name)
        if self.step == 4:
            raise KeyboardInterrupt

    with monkeypatch.context() as killing:
        killing.setattr(StageTrainer, "_save", killed)
        with pytest.raises(KeyboardInterrupt):
            trained("parts").run()
    trained("parts").run()
    documents = [torch.load(tmp_path / f / "a/image/best.pt", weights_only=True) for f in ("whole", "parts")]
    assert [d["step"] for d in documents] == [4, 4]
    assert [d["best_miou"] for d in documents] == [0.5, 0.5]


def test_a_disk_that_is_full_in_the_middle_of_a_checkpoint_is_named(tmp_path: Path) -> None:
    import resource

    from vssbench.training.checkpoint import save_checkpoint

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(
            StorageError, match=r"last\.pt: the limit on file sizes is reached.*Free some space"
        ):
            save_checkpoint(tmp_path / "last.pt", {"parts": torch.zeros(100_000)}, experiment="e", stage="s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_too_few_validations_are_not_taken_for_a_plateau(write_experiment: Any, tmp_path: Path) -> None:
    listener = Listener()
    experiment = load_training_experiment(write_experiment())
    summary = Trainer(experiment, tmp_path, reporter=listener).run()
    assert summary["contestants"]["a"]["still_improving"] is None
    assert any("too few validations" in message for message in listener.messages)


def test_mistakes_of_later_contestants_are_said_before_anything_trains(
    write_experiment: Any, tmp_path: Path
) -> None:
    second = {**contestants()[0], "label": "b", "options": {"droput": 0.1}}
    with pytest.raises(VssbenchError, match="droput"):
        Trainer(
            load_training_experiment(write_experiment(contestants=[*contestants(), second])), tmp_path
        ).run()
    assert not (tmp_path / "a").exists()
    outputs = [{"weights": "x", "source": "a/image/teacher"}]
    with pytest.raises(VssbenchError, match="trains no part 'teacher'"):
        Trainer(load_training_experiment(write_experiment(outputs=outputs)), tmp_path).run()
    weights = contestants({"weights": {"network": "quickstart/hr"}})
    with pytest.raises(VssbenchError, match=r"options\.weights is for runs"):
        Trainer(load_training_experiment(write_experiment(contestants=weights)), tmp_path).run()
    assert not (tmp_path / "a").exists()


def test_a_refused_run_leaves_the_record_of_the_finished_one(write_experiment: Any, tmp_path: Path) -> None:
    Trainer(load_training_experiment(write_experiment()), tmp_path / "out").run()
    written = (tmp_path / "out/experiment.yaml").read_text()
    with pytest.raises(VssbenchError, match="the experiment changed"):
        Trainer(load_training_experiment(write_experiment(seed=9)), tmp_path / "out").run()
    assert (tmp_path / "out/experiment.yaml").read_text() == written


def test_another_closing_validation_is_scored_without_training_again(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validation = {"every": 4, "clips": 1, "distances": [0, 3]}
    Trainer(load_training_experiment(write_experiment(validation=validation)), tmp_path / "out").run()
    again = load_training_experiment(
        write_experiment(validation={**validation, "final_distances": [1, 2, 3]})
    )
    monkeypatch.setattr(StageTrainer, "_train_step", lambda *_: pytest.fail("trained again"))
    final = Trainer(again, tmp_path / "out").run()["contestants"]["a"]["final"]
    assert set(final) == {"miou", "miou_d1", "miou_d2", "miou_d3"}


def test_a_log_whose_first_step_had_no_loss_gets_its_columns_later(tmp_path: Path) -> None:
    log = StageLog(tmp_path, resumed_step=0)
    log.step(0, {"loss": 0.0})
    log.step(1, {"loss": 2.0, "segmentation": 2.0})
    log = StageLog(tmp_path, resumed_step=2)
    log.step(2, {"loss": 3.0, "distance": 1.0})
    assert read_log(tmp_path / "train.csv") == [
        {"step": 0, "loss": 0.0},
        {"step": 1, "loss": 2.0, "segmentation": 2.0},
        {"step": 2, "loss": 3.0, "distance": 1.0},
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["train.csv"]


def test_a_second_training_on_the_folder_is_refused_and_told_who_holds_it(
    write_experiment: Any, tmp_path: Path
) -> None:
    experiment = load_training_experiment(write_experiment())
    with owned(tmp_path / "out"):
        with pytest.raises(StorageError, match=rf"out: in use by process {os.getpid()} on .*, started 20"):
            Trainer(experiment, tmp_path / "out").run()
        assert not (tmp_path / "out" / "experiment.yaml").exists()
    assert Trainer(experiment, tmp_path / "out").run()["contestants"]
    assert not (tmp_path / "out" / ".owner").exists()


def test_what_killed_processes_left_half_written_goes_at_the_next_start(
    write_experiment: Any, tmp_path: Path
) -> None:
    experiment = load_training_experiment(write_experiment())
    trainer = Trainer(experiment, tmp_path / "out")
    pairs = trainer.store.folder
    (pairs / "index.json").unlink()  # killed while coding pairs
    other = tmp_path / "out" / "seed-3"  # another process is at work there
    left = [pairs / ".part-a", tmp_path / "out" / ".part-b", tmp_path / "out" / "a" / "image" / ".part-c"]
    for path in (*left, other / ".part-d"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    with owned(other):
        Trainer(experiment, tmp_path / "out").run()
    assert [path for path in left if path.exists()] == []
    assert (other / ".part-d").exists()
