"""The trainer on a tiny task: exact resume, frozen parts, what stops it, what leaves it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.errors import CheckpointError, ConfigError, InputError
from vssbench.experiment.training import load_training_experiment
from vssbench.training.checkpoint import load_checkpoint
from vssbench.training.log import read_log
from vssbench.training.stage_trainer import DivergedError, StageTrainer, hash_seed
from vssbench.training.trainer import Trainer, choose_precision


def contestants(**stage: Any) -> list[dict[str, Any]]:
    settings = {"steps": 6, "batch": 2, "learning_rate": 0.02, **stage}
    return [{"name": "tiny", "label": "a", "stages": {"image": settings}}]


def weights(folder: Path, stage: str = "a/image", name: str = "last") -> dict[str, torch.Tensor]:
    state = torch.load(folder / stage / f"{name}.pt", weights_only=True)
    return {key: value for part in state["parts"].values() for key, value in part.items()}


def assert_equal_weights(first: Path, second: Path, stage: str = "a/image") -> None:
    one, two = weights(first, stage), weights(second, stage)
    assert one.keys() == two.keys()
    for key in one:
        assert torch.equal(one[key], two[key]), key


class KilledError(Exception):
    """Stands for kill -9."""


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "sgd"])
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one_bit_for_bit(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: str
) -> None:
    stage = {"optimiser": optimiser, "ema_decay": 0.9, "accumulate": 2, "warmup_steps": 2}
    experiment = load_training_experiment(write_experiment(contestants=contestants(**stage)))
    Trainer(experiment, tmp_path / "whole").run()
    step = StageTrainer._train_step

    def killing(self: StageTrainer, reader: Any) -> dict[str, float]:
        if self.step == 5:  # the last checkpoint was written after step 4
            raise KilledError
        return step(self, reader)

    monkeypatch.setattr(StageTrainer, "_train_step", killing)
    with pytest.raises(KilledError):
        Trainer(experiment, tmp_path / "parts").run()
    monkeypatch.setattr(StageTrainer, "_train_step", step)
    torch.manual_seed(12345)  # the global generator's state must not matter
    Trainer(experiment, tmp_path / "parts").run()
    assert_equal_weights(tmp_path / "whole", tmp_path / "parts")
    logs = [read_log(tmp_path / name / "a/image/train.csv") for name in ("whole", "parts")]
    assert [row["step"] for row in logs[1]] == list(range(6))
    assert [row["loss"] for row in logs[0]] == [row["loss"] for row in logs[1]]


def test_accumulated_micro_batches_see_the_samples_of_the_whole_batch(
    write_experiment: Any, tmp_path: Path
) -> None:
    path = write_experiment(contestants=contestants(batch=4))
    trainer = Trainer(load_training_experiment(path), tmp_path)
    contestant = trainer.experiment.contestants[0]
    stage = trainer.build(contestant).stages()[0]
    whole = trainer._source(stage, contestant.stages["image"], "a/image").micro_batch(3)
    split = contestant.stages["image"].model_copy(update={"accumulate": 2})
    source = trainer._source(stage, split, "a/image")
    parts = [source.micro_batch(3, part) for part in range(2)]
    assert parts[0].origins + parts[1].origins == whole.origins
    assert torch.equal(torch.cat([part.batch.image for part in parts]), whole.batch.image)


def test_ranks_share_the_batch_without_overlap(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(load_training_experiment(write_experiment(contestants=contestants(batch=4))), tmp_path)
    contestant = trainer.experiment.contestants[0]
    stage = trainer.build(contestant).stages()[0]
    source = trainer._source(stage, contestant.stages["image"], "a/image")
    whole = source.micro_batch(2).origins
    source.world_size = 2
    shares = []
    for rank in range(2):
        source.rank = rank
        shares.append(source.micro_batch(2).origins)
    assert sorted(shares[0] + shares[1]) == sorted(whole)


def test_an_epoch_shows_every_sample_once(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(load_training_experiment(write_experiment()), tmp_path)
    contestant = trainer.experiment.contestants[0]
    stage = trainer.build(contestant).stages()[0]
    source = trainer._source(stage, contestant.stages["image"], "a/image")
    count = len(source.entries)
    epochs = [[source.entry(e * count + i) for i in range(count)] for e in range(2)]
    assert len(set(epochs[0])) == len(set(epochs[1])) == count
    assert epochs[0] != epochs[1]


def test_only_what_the_stage_names_changes(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(load_training_experiment(write_experiment()), tmp_path)
    before = trainer.build(trainer.experiment.contestants[0]).parts()
    fresh = {part: {k: v.clone() for k, v in m.state_dict().items()} for part, m in before.items()}
    methods: list[Any] = []
    build = trainer.build
    trainer.build = lambda contestant: methods.append(build(contestant)) or methods[-1]  # type: ignore[method-assign,func-returns-value]
    trainer.run()
    parts = methods[-1].parts()
    for key, value in parts["teacher"].state_dict().items():
        assert torch.equal(value, fresh["teacher"][key]), key  # not even its running statistics
    after = parts["network"].state_dict()
    assert torch.equal(after["4.bias"], fresh["network"]["4.bias"])
    assert not torch.equal(after["4.weight"], fresh["network"]["4.weight"])
    assert not torch.equal(after["1.running_mean"], fresh["network"]["1.running_mean"])


def test_the_task_is_learnt(write_experiment: Any, tmp_path: Path) -> None:
    stage = {"steps": 60, "batch": 4, "learning_rate": 0.05}
    experiment = load_training_experiment(
        write_experiment(
            contestants=contestants(**stage), validation={"every": 60, "clips": 1, "distances": [0, 3]}
        ),
        ["contestants.a.options.dropout=0"],
    )
    scores = Trainer(experiment, tmp_path).run()["contestants"]["a"]["final"]
    assert scores["miou"] > 0.95
    assert scores["miou"] == pytest.approx((scores["miou_d0"] + scores["miou_d3"]) / 2)


def test_monitors_look_at_the_same_samples_at_every_step_and_for_every_contestant(
    write_experiment: Any, tmp_path: Path
) -> None:
    stages = {"pair": {"steps": 2, "batch": 3, "learning_rate": 0.01}}
    contestants = [{"name": "tiny", "label": label, "stages": stages} for label in ("a", "b")]
    validation = {"every": 1, "clips": 1, "distances": [3]}
    Trainer(
        load_training_experiment(write_experiment(contestants=contestants, validation=validation)), tmp_path
    ).run()
    rows = [row for label in "ab" for row in read_log(tmp_path / label / "pair/validation.csv")]
    assert len(rows) == 6
    assert len({row["seen"] for row in rows}) == 1


def test_a_pair_stage_gets_keyframe_and_motion(write_experiment: Any, tmp_path: Path) -> None:
    stages = {"pair": {"steps": 2, "batch": 3, "learning_rate": 0.01}}
    trainer = Trainer(
        load_training_experiment(
            write_experiment(contestants=[{"name": "tiny", "label": "a", "stages": stages}])
        ),
        tmp_path,
    )
    methods: list[Any] = []
    build = trainer.build
    trainer.build = lambda contestant: methods.append(build(contestant)) or methods[-1]  # type: ignore[method-assign,func-returns-value]
    trainer.run()
    assert methods[-1].prepared == 1
    batch = methods[-1].batches[0]
    assert batch.reference.shape == batch.image.shape == (3, 3, 32, 48)
    assert batch.flow_key.shape == (3, 2, 32, 48)
    assert "seen" in read_log(tmp_path / "a/pair/validation.csv")[0]


def test_nan_stops_names_the_batch_and_keeps_the_last_good_checkpoint(
    write_experiment: Any, tmp_path: Path
) -> None:
    experiment = load_training_experiment(write_experiment(), ["contestants.a.options.explode_at=5"])
    with pytest.raises(
        DivergedError, match=r"a/image: loss .*nan.* at step 5, batch box-\d:\d.*last good state"
    ):
        Trainer(experiment, tmp_path).run()
    kept = weights(tmp_path)
    assert torch.load(tmp_path / "a/image/last.pt", weights_only=True)["step"] == 4
    assert all(torch.isfinite(value).all() for value in kept.values())


def test_labels_that_are_all_ignored_are_refused(write_experiment: Any, tmp_path: Path) -> None:
    experiment = load_training_experiment(write_experiment(), ["dataset.ignored=true"])
    with pytest.raises(InputError, match="every label pixel is ignored"):
        Trainer(experiment, tmp_path).run()


def test_a_label_outside_the_table_is_refused_with_its_place(write_experiment: Any, tmp_path: Path) -> None:
    experiment = load_training_experiment(write_experiment(), ["dataset.bad_label=true"])
    with pytest.raises(
        InputError, match=r"box-0 frame 0: label 7 at \(x=4, y=4\) is outside the table of 2 classes"
    ):
        Trainer(experiment, tmp_path).run()


def test_a_batch_without_labels_changes_nothing_but_is_counted(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vssbench.training import data

    micro_batch = data.BatchSource.micro_batch

    def ignoring(self: Any, step: int, part: int = 0) -> Any:
        named = micro_batch(self, step, part)
        if step >= 4:
            named.batch.label.fill_(255)
        return named

    monkeypatch.setattr(data.BatchSource, "micro_batch", ignoring)
    Trainer(load_training_experiment(write_experiment()), tmp_path).run()
    rows = read_log(tmp_path / "a/image/train.csv")
    assert [row["skipped_batches"] for row in rows] == [0, 0, 0, 0, 1, 2]
    best = weights(tmp_path, name="best")  # written after step 4
    for key, value in weights(tmp_path).items():
        assert torch.equal(value, best[key]), key


def test_a_finished_contestant_is_kept_and_a_changed_experiment_refused(
    write_experiment: Any, tmp_path: Path
) -> None:
    path = write_experiment()
    first = Trainer(load_training_experiment(path), tmp_path).run()
    stamp = (tmp_path / "a/image/last.pt").stat().st_mtime_ns
    assert Trainer(load_training_experiment(path), tmp_path).run()["contestants"] == first["contestants"]
    assert (tmp_path / "a/image/last.pt").stat().st_mtime_ns == stamp
    with pytest.raises(CheckpointError, match="the experiment changed"):
        Trainer(load_training_experiment(path, ["seed=4"]), tmp_path).run()


def test_a_checkpoint_of_another_experiment_is_refused(write_experiment: Any, tmp_path: Path) -> None:
    """Interrupted, so that only the checkpoint can tell."""
    path = write_experiment()
    Trainer(load_training_experiment(path), tmp_path).run()
    for marker in ("a/final.json", "a/image/done.json"):
        (tmp_path / marker).unlink()
    with pytest.raises(CheckpointError, match=r"last\.pt: belongs to experiment"):
        Trainer(load_training_experiment(path, ["seed=4"]), tmp_path).run()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match=r"last\.pt: not a readable checkpoint"):
        load_checkpoint(path, experiment="x", stage="a/image")


def test_weights_pass_from_contestant_to_contestant(write_experiment: Any, tmp_path: Path) -> None:
    second = {
        "steps": 1,
        "batch": 2,
        "learning_rate": 1e-9,
        "initialise_from": {"network": "a/image/network"},
    }
    both = [*contestants(), {"name": "tiny", "label": "b", "stages": {"image": second}}]
    Trainer(load_training_experiment(write_experiment(contestants=both)), tmp_path).run()
    one, two = weights(tmp_path), weights(tmp_path, "b/image")
    assert torch.allclose(one["0.weight"], two["0.weight"], atol=1e-6)


def test_unknown_stages_and_labels_are_refused(write_experiment: Any, tmp_path: Path) -> None:
    wrong = [{"name": "tiny", "label": "a", "stages": {"imag": {"steps": 1}}}]
    with pytest.raises(ConfigError, match=r"no stage 'imag'.*image"):
        Trainer(load_training_experiment(write_experiment(contestants=wrong)), tmp_path).run()
    with pytest.raises(ConfigError, match="--only c"):
        Trainer(load_training_experiment(write_experiment()), tmp_path).run(["c"])


def test_unmatched_steps_are_said(write_experiment: Any, tmp_path: Path) -> None:
    other = {"name": "tiny", "label": "b", "stages": {"image": {"steps": 2, "batch": 2}}}
    messages: list[str] = []

    class Listener:
        def message(self, text: str) -> None:
            messages.append(text)

        def advance(self, task: str, done: int, total: int, note: str = "") -> None:
            pass

    experiment = load_training_experiment(write_experiment(contestants=[*contestants(), other]))
    summary = Trainer(experiment, tmp_path, reporter=Listener()).run()
    assert summary["unmatched_steps"] == {"a": 6, "b": 2}
    assert any("different numbers of steps" in text for text in messages)
    assert json.loads((tmp_path / "summary.json").read_text())["contestants"].keys() == {"a", "b"}


def test_class_weights_reach_the_loss(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(load_training_experiment(write_experiment(class_weights="sqrt-inverse")), tmp_path)
    counts = trainer.store.label_counts
    weight = trainer._loss_weights()
    assert weight is not None
    assert float(weight[1] / weight[0]) == pytest.approx((counts[0] / counts[1]) ** 0.5, rel=1e-6)


@pytest.mark.parametrize(("instructions", "automatic"), [(True, torch.bfloat16), (False, torch.float32)])
def test_automatic_precision_is_one_the_machine_has(
    monkeypatch: pytest.MonkeyPatch, instructions: bool, automatic: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: instructions, raising=False)
    assert choose_precision("float32", torch.device("cpu")) == torch.float32
    assert choose_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    assert choose_precision("auto", torch.device("cpu")) == automatic


def test_bfloat16_training_runs_and_keeps_float32_weights(write_experiment: Any, tmp_path: Path) -> None:
    Trainer(load_training_experiment(write_experiment(precision="bfloat16")), tmp_path).run()
    assert weights(tmp_path)["0.weight"].dtype == torch.float32


def test_seeds_of_neighbouring_steps_differ() -> None:
    assert len({hash_seed(1, stage, step) for stage in range(4) for step in range(500)}) == 2000
