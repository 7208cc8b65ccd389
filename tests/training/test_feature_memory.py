"""Features of the frozen network are kept where samples come again, and training stays the same bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.experiment.training import Augmentation, load_training_experiment
from vssbench.method import TrainingBatch
from vssbench.training.feature_memory import FeatureMemory
from vssbench.training.trainer import Trainer

AR_SEG = {"network": "bisenet18", "width": 4, "loss": "cross-entropy", "mode": "corrected", "window": 3}


def recalled(memory: FeatureMemory, key: str, value: float) -> float:
    return float(memory.recall("hr", (key,), torch.full((1, 4), value), lambda images: 2 * images)[0, 0])


def test_a_sample_is_computed_once_and_the_oldest_goes_first() -> None:
    memory = FeatureMemory(2 * 16)  # two features of four floats
    assert recalled(memory, "a", 1.0) == 2.0
    assert recalled(memory, "a", 9.0) == 2.0  # equal keys are equal samples: the images are not looked at
    assert recalled(memory, "b", 3.0) == 6.0
    assert recalled(memory, "a", 9.0) == 2.0  # now b is the older one
    assert recalled(memory, "c", 4.0) == 8.0
    assert recalled(memory, "b", 5.0) == 10.0  # was dropped
    assert (memory.hits, memory.misses, memory.used_bytes) == (2, 4, 32)


def test_what_is_larger_than_the_room_is_not_kept() -> None:
    memory = FeatureMemory(15)
    assert [recalled(memory, "a", 1.0), recalled(memory, "a", 2.0)] == [2.0, 4.0]
    assert memory.used_bytes == 0


def test_features_are_told_apart_by_name_and_carry_no_gradient() -> None:
    memory = FeatureMemory(1000)
    network = torch.nn.Linear(4, 2)
    images = torch.randn(2, 4)
    first = memory.recall("image", ("a", "b"), images, network)
    second = memory.recall("reference", ("a", "b"), -images, network)
    assert not first.requires_grad
    torch.testing.assert_close(first, network(images).detach())
    torch.testing.assert_close(second, network(-images).detach())


def test_without_memory_a_batch_computes_at_once() -> None:
    batch = TrainingBatch(torch.randn(3, 4), torch.zeros(3, dtype=torch.long))
    seen: list[int] = []
    batch.without_gradient("hr", batch.image, lambda images: seen.append(len(images)) or images)  # type: ignore[func-returns-value]
    assert seen == [3]


@pytest.mark.parametrize(
    ("settings", "repeats"),
    [
        ({"flip": 0}, True),
        ({"flip": 0.5}, False),
        ({"flip": 1, "scales": [1.0, 1.5]}, False),
        ({"flip": 0, "jitter": 0.1}, False),
        ({"flip": 0, "crop": [8, 8]}, False),
        ({"flip": 0.5, "jitter": 0.3, "crop": [8, 8], "variants": 3}, True),
    ],
)
def test_which_augmentations_repeat(settings: dict[str, Any], repeats: bool) -> None:
    assert Augmentation(**settings).repeats is repeats


def experiment(write_experiment: Any, megabytes: int, **augmentation: Any) -> Any:
    stage = {"steps": 9, "batch": 2, "learning_rate": 0.01}
    path = write_experiment(
        dataset={"name": "boxes", "sequences": 1, "frames": 8},  # six pairs: three steps show each
        pairs={"keyframe_interval": 4, "distances": [1, 2, 3]},
        augmentation={"label_stride": 2, **augmentation},
        validation={"every": 9, "clips": 1, "distances": [0, 3]},
        feature_memory_mb=megabytes,
        contestants=[{"name": "ar-seg", "label": "ar", "options": AR_SEG, "stages": {"fusion": stage}}],
    )
    return load_training_experiment(path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "ar/fusion/last.pt", weights_only=True)["parts"][
        "lr"
    ]
    return state


def test_training_with_memory_equals_training_without_room_bit_for_bit(
    write_experiment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories = [FeatureMemory(2**20), FeatureMemory(0)]
    found = []
    for number, memory in enumerate(memories):
        trainer = Trainer(
            experiment(write_experiment, 1, jitter=0.2, crop=[32, 40], variants=2), tmp_path / str(number)
        )
        monkeypatch.setattr(trainer, "_memory", lambda memory=memory: memory)
        trainer.run()
        found.append(weights(tmp_path / str(number)))
    assert (memories[0].hits, memories[0].misses) == (
        12,
        24,
    )  # 2 versions of 6 pairs, 2 frames each; then again
    assert (memories[1].hits, memories[1].misses) == (0, 36)
    for key, value in found[0].items():
        assert torch.equal(value, found[1][key]), key


def test_samples_that_never_repeat_are_not_named(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(experiment(write_experiment, 1, flip=0.5), tmp_path)
    contestant = trainer.experiment.contestants[0]
    stage = next(s for s in trainer.build(contestant).stages() if s.name == "fusion")
    batch = trainer._source(stage, contestant.stages["fusion"], "ar/fusion").micro_batch(0).batch
    assert batch.keys == ()
    assert batch.memory is not None


def test_equal_names_are_equal_samples(write_experiment: Any, tmp_path: Path) -> None:
    trainer = Trainer(experiment(write_experiment, 1, jitter=0.3, flip=0.5, variants=2), tmp_path)
    contestant = trainer.experiment.contestants[0]
    stage = next(s for s in trainer.build(contestant).stages() if s.name == "fusion")
    source = trainer._source(stage, contestant.stages["fusion"], "ar/fusion")
    seen: dict[str, torch.Tensor] = {}
    for step in range(12):  # four epochs
        batch = source.micro_batch(step).batch
        for key, image, flow in zip(batch.keys, batch.image, batch.flow_key, strict=True):
            content = torch.cat([image.flatten(), flow.flatten()])
            assert torch.equal(seen.setdefault(key, content), content)
    assert len(seen) == 12
