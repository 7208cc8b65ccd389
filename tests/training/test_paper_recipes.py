"""AR-Seg's recipes as the specification states them (sections 4, 5 and 8), and the corrected ones beside them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vssbench.experiment.training import StageSection, TrainingExperiment, load_training_experiment
from vssbench.method import BuildContext, Frame
from vssbench.registry import methods
from vssbench.training.log import read_log
from vssbench.training.schedule import rate_factor, spans
from vssbench.training.trainer import Trainer

CAMVID_SCALES = (0.5, 0.675, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5)
CITYSCAPES_SCALES = (0.5, 0.75, 0.875, 1.0, 1.25, 1.5, 1.75, 2.0)
RECIPES = ("camvid-psp18", "camvid-bise18", "cityscapes-psp18", "cityscapes-bise18")
NETWORK = {"psp18": {"camvid": "pspnet18-camvid", "cityscapes": "pspnet18-cityscapes"}}
LOSS = {"pspnet18-camvid": "nll+presence", "pspnet18-cityscapes": "ce+aux", "bisenet18": "ohem"}


def recipe(name: str) -> TrainingExperiment:
    return load_training_experiment(f"ar-seg/{name}")


@pytest.mark.parametrize("name", RECIPES)
def test_optimisers_epochs_and_batches_are_the_tables(name: str) -> None:
    found = {c.label: c for c in recipe(name).contestants}
    adam = {"optimiser": "adam", "learning_rate": 1e-3, "weight_decay": 0.0}
    sgd = {"optimiser": "sgd", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}
    wanted = adam if name.startswith("camvid") else sgd
    lengths = {"camvid": {"lr-image": 50, "fusion": 50}, "cityscapes": {"fusion": 200}}[name.split("-")[0]]
    for label in ("ar-0.7", "ar-0.6", "ar-0.5"):
        stages = found[label].stages
        assert {key: stage.epochs for key, stage in stages.items()} == lengths
        for stage in stages.values():
            assert stage.model_dump(include=set(wanted)) == wanted
            assert stage.batch == (16 if name == "cityscapes-bise18" else 8)
            assert (stage.warmup_steps, stage.clip_norm, stage.ema_decay, stage.accumulate) == (
                0,
                None,
                None,
                1,
            )
            assert stage.checkpoint == "best"
    if name == "cityscapes-bise18":
        assert "hr" not in found  # converted, not trained
        return
    hr = found["hr"].stages["image"]
    assert hr.epochs == (100 if name.startswith("camvid") else 200)
    assert hr.model_dump(include=set(wanted)) == wanted
    assert (hr.batch, found["hr"].seed) == (8, 233)


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_network_loss_and_start(name: str) -> None:
    experiment = recipe(name)
    assert (experiment.seed, experiment.class_weights) == (689, "none")
    method = next(c for c in experiment.contestants if c.label == "ar-0.5")
    options = methods.load("ar-seg").Options(**method.options)
    assert (options.mode, options.fst, options.loss) == ("paper", "mse+shared", "network")
    assert (options.initialisation, options.fusion_lr_multiplier, options.window) == ("kaiming", 1, 7)
    network = options.network
    assert network == ("bisenet18" if "bise" in name else NETWORK["psp18"][name.split("-")[0]])
    built = methods.load("ar-seg")(
        options.model_copy(update={"width": 4}), BuildContext(12, (96, 96), 12, torch.device("cpu"))
    )
    assert built.hr.loss == LOSS[network]
    assert all(not stage.lr_multipliers for stage in built.stages())
    starts = next(iter(method.stages.values())).initialise_from
    assert set(starts) == ({"hr", "lr"} if name == "cityscapes-bise18" else {"hr"})


@pytest.mark.parametrize("name", RECIPES)
def test_data_are_uncoded_frames_with_the_motion_of_distance_11(name: str) -> None:
    experiment = recipe(name)
    pairs = experiment.pairs
    assert (pairs.distances, pairs.pixels, pairs.original_share) == ((11,), "original", 1.0)
    assert (pairs.flow_rule, pairs.flow_stride, pairs.keyframe_interval) == ("paper", 1, 12)
    assert (experiment.validation.every, experiment.validation.pixels) == ("epoch", "original")
    assert experiment.validation.distances == (11,)
    assert experiment.codecs[0].bitrate_kbps == (3000 if name.startswith("camvid") else 5000)
    assert experiment.codecs[0].extra == {"rect": "1", "amp": "1"}
    settings = experiment.augmentation
    assert (settings.rule, settings.flip, settings.label_stride) == ("paper", 0.5, 1)
    if name.startswith("camvid"):
        assert (settings.jitter, settings.scales, settings.crop) == (0.5, CAMVID_SCALES, (720, 960))
        return
    assert (settings.jitter, settings.scales, settings.crop) == (0.4, CITYSCAPES_SCALES, (1024, 512))
    stage = next(c for c in experiment.contestants if c.label == "ar-0.5").stages["fusion"]
    assert stage.augmentation == settings.model_copy(update={"jitter": 0.5})


@pytest.mark.parametrize("name", RECIPES)
def test_the_corrected_recipe_differs_in_the_listed_defects_only(name: str) -> None:
    paper, corrected = recipe(name), recipe(f"{name}-corrected")
    assert corrected.augmentation == paper.augmentation.model_copy(update={"rule": "corrected"})
    assert (corrected.pairs.pixels, corrected.pairs.flow_rule) == ("decoded", "exact")
    assert corrected.validation.pixels == "decoded"
    for one, other in zip(paper.contestants, corrected.contestants, strict=True):
        assert other.options == {**one.options, "mode": "corrected"}
        for key, stage in one.stages.items():
            changed = {"continues", "augmentation"}
            assert other.stages[key].model_dump(exclude=changed) == stage.model_dump(exclude=changed)
            assert other.stages[key].continues is None  # best model and schedule start anew


def test_one_cosine_runs_over_both_lr_stages() -> None:
    stages = recipe("camvid-bise18").contestants[-1].stages
    found = spans(stages, {"lr-image": 366, "fusion": 366})
    # 366 // 8 = 45 steps an epoch; the schedule counts 46
    assert (found["lr-image"].steps, found["lr-image"].start, found["lr-image"].epoch) == (2250, 0, 45)
    assert (found["fusion"].steps, found["fusion"].start) == (2250, 2250)
    assert found["lr-image"].total == found["fusion"].total == 100 * 46
    assert rate_factor(2250, 4600) == pytest.approx(0.5 * (1 + math.cos(math.pi * 2250 / 4600)))
    last = math.sin(math.pi * 101 / 9200) ** 2  # 101 steps before the end of the schedule: it never reaches 0
    assert rate_factor(4499, 4600) == pytest.approx(last, rel=1e-9)


def test_the_cosine_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.Adam([parameter], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=46)
    for step in range(45):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(1e-3 * rate_factor(step, 46), rel=1e-9)
        optimiser.step()
        schedule.step()


def test_stages_without_epochs_keep_a_schedule_of_their_own() -> None:
    sections = {name: StageSection(steps=10) for name in ("a", "b")}
    found = spans(sections, {"a": 3, "b": 3})
    assert [(s.steps, s.start, s.total) for s in found.values()] == [(10, 0, 10), (10, 0, 10)]


def two_stages(write_experiment: Any, **pair: Any) -> TrainingExperiment:
    stage = {"batch": 4, "learning_rate": 0.01, "optimiser": "adam", "checkpoint": "best"}
    path = write_experiment(
        dataset={"name": "boxes", "sequences": 2, "frames": 12},  # 24 images, 18 pairs
        validation={"every": "epoch", "clips": 1, "distances": [0, 3]},
        contestants=[
            {
                "name": "tiny",
                "label": "a",
                "stages": {
                    "image": {"epochs": 2, **stage},
                    "pair": {"epochs": 1, "continues": "image", **stage, **pair},
                },
            }
        ],
    )
    return load_training_experiment(path)


def test_a_stage_that_continues_has_memory_rate_and_best_of_the_one_before(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = two_stages(write_experiment)
    scores = iter([0.1, 0.7, 0.6, 0.6, 0.5])  # before, after two epochs; before, after the second stage's
    monkeypatch.setattr(Trainer, "_scores", lambda *_: {"miou": next(scores, 0.0)})
    summary = Trainer(experiment, tmp_path).run()
    assert summary["contestants"]["a"]["steps"] == 2 * 6 + 4
    rates = [
        row["learning_rate"]
        for stage in ("image", "pair")
        for row in read_log(tmp_path / f"a/{stage}/train.csv")
    ]
    total = 2 * 7 + 1 * 5  # floor(24 / 4) + 1 and floor(18 / 4) + 1 steps an epoch
    assert rates == pytest.approx([0.01 * rate_factor(step, total) for step in range(16)])
    last = torch.load(tmp_path / "a/pair/last.pt", weights_only=True)
    steps = {
        name: float(last["optimiser"]["state"][i]["step"]) for i, name in enumerate(last["optimiser_names"])
    }
    assert steps["network.0.weight"] == 16
    assert steps["network.4.bias"] == 4  # frozen in the first stage
    assert last["best_miou"] == 0.7
    first, second = (torch.load(tmp_path / f"a/{s}/best.pt", weights_only=True) for s in ("image", "pair"))
    for key, value in first["parts"]["network"].items():
        assert torch.equal(value, second["parts"]["network"][key])  # 0.6 and 0.5 do not beat 0.7


def test_a_continued_stage_resumes_bit_for_bit(write_experiment: Any, tmp_path: Path) -> None:
    Trainer(two_stages(write_experiment), tmp_path / "whole").run()
    trainer = Trainer(two_stages(write_experiment), tmp_path / "parts")
    trainer.run()
    for name in ("pair/done.json", "final.json", "pair/last.pt", "pair/best.pt"):
        (tmp_path / "parts/a" / name).unlink(missing_ok=True)
    Trainer(two_stages(write_experiment), tmp_path / "parts").run()  # the second stage anew
    one, two = (
        torch.load(tmp_path / f"{name}/a/pair/last.pt", weights_only=True)["parts"]["network"]
        for name in ("whole", "parts")
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


def test_an_epoch_drops_what_does_not_fill_a_batch(write_experiment: Any, tmp_path: Path) -> None:
    experiment = two_stages(write_experiment)
    trainer = Trainer(experiment, tmp_path)
    contestant = experiment.contestants[0]
    stage = trainer.build(contestant).stages()[1]
    source = trainer._source(stage, contestant.stages["pair"], "a/pair")
    epochs = [
        [o for step in range(e * 4, e * 4 + 4) for o in source.micro_batch(step).origins] for e in (0, 1)
    ]
    assert [len(set(epoch)) for epoch in epochs] == [16, 16]  # of 18
    assert set(epochs[0]) != set(epochs[1])


def test_original_pixels_train_with_the_motion_of_the_coded_ones(
    write_experiment: Any, tmp_path: Path
) -> None:
    stores = []
    for number, pixels in enumerate(("decoded", "original")):
        pairs = {"keyframe_interval": 4, "pixels": pixels}
        stores.append(
            Trainer(load_training_experiment(write_experiment(pairs=pairs)), tmp_path / str(number)).store
        )
    entry = next(e for e in stores[0].entries if e.distance == 3)
    decoded, original = stores[0].pair(entry), stores[1].pair(entry, pixels="original")
    assert np.array_equal(decoded.flow, original.flow)
    sequence = Trainer(load_training_experiment(write_experiment()), tmp_path / "2").dataset.sequences(
        "train"
    )[0]
    index = int(entry.origin.split(":")[1])
    assert np.array_equal(original.image, sequence.image(index))
    assert np.array_equal(original.reference, sequence.image(index - 3))
    assert not np.array_equal(decoded.image, original.image)
    assert stores[0].digest != stores[1].digest


def test_the_stage_before_the_fusion_is_validated_by_the_lr_network_alone() -> None:
    context = BuildContext(5, (48, 64), 12, torch.device("cpu"))
    options = {"network": "bisenet18", "width": 4, "lr_scale": 0.5}
    ar_seg, constant = methods.load("ar-seg"), methods.load("constant")
    torch.manual_seed(0)
    method = ar_seg(ar_seg.Options(**options, window=3), context)
    plain = constant(constant.Options(**options), context)
    plain.network.load_state_dict(method.lr.network.state_dict())
    image = torch.randint(0, 256, (1, 3, 48, 64), dtype=torch.uint8)
    frame = Frame(index=3, keyframe_distance=3, image=image, frame_type="P", size=(48, 64))
    stage = next(s for s in method.stages() if s.name == "lr-image")
    assert stage.predictor is not None
    ours, wanted = (m.step(m.start(1), frame)[0].labels for m in (stage.predictor, plain))
    assert torch.equal(ours, wanted)
    fusion = next(s for s in method.stages() if s.name == "fusion")
    assert fusion.predictor is None


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"steps": 3, "epochs": 2}, "exactly one of steps and epochs"),
        ({}, "exactly one of steps and epochs"),
        ({"steps": 3, "continues": "pair"}, "not the stage before"),
    ],
)
def test_contradictory_lengths_are_refused(
    write_experiment: Any, stage: dict[str, Any], message: str
) -> None:
    from vssbench.errors import ConfigError

    with pytest.raises(ConfigError, match=message):
        load_training_experiment(
            write_experiment(contestants=[{"name": "tiny", "label": "a", "stages": {"image": stage}}])
        )
