"""Training experiments: reading, overriding, refusing."""

from __future__ import annotations

from typing import Any

import pytest

from vssbench.errors import ConfigError, InputError
from vssbench.experiment.training import load_training_experiment
from vssbench.experiment.yaml import packaged_experiments


@pytest.mark.parametrize("name", packaged_experiments("train"))
def test_packaged_experiments_are_valid(name: str) -> None:
    assert load_training_experiment(name).name == name.replace("/", "-")


def test_our_own_experiments_are_packaged() -> None:
    ours = {
        "quickstart",
        "camvid480",
        "camvid-alphas",
        "streets-bise18",
        "streets-psp18",
        "table2-camvid",
        "table2-synthetic",
    }
    assert ours <= set(packaged_experiments("train"))


@pytest.mark.parametrize(
    "name", ["quickstart", "camvid480", "camvid-alphas", "streets-bise18", "streets-psp18"]
)
def test_packaged_contestants_are_matched(name: str) -> None:
    assert load_training_experiment(name).unmatched_steps() == {}


def test_overrides_reach_lists_by_label_even_with_dots(write_experiment: Any) -> None:
    contestants = [{"name": "tiny", "label": "constant-0.5", "stages": {"image": {"steps": 5}}}]
    path = write_experiment(contestants=contestants)
    changed = load_training_experiment(
        path, ["contestants.constant-0.5.stages.image.steps=9", "dataset.frames=4", "seed=8"]
    )
    assert changed.contestants[0].stages["image"].steps == 9
    assert changed.dataset.option_values["frames"] == 4
    assert changed.seed == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=1", "did you mean seed"),
        ("contestants.b.stages=1", "known: a"),
        ("seed", "expected key=value"),
        ("pairs.distances=[9]", "distance 9"),
        ("validation.distances=[3, 0]", "ascending"),
        ("contestants.a.stages.image.accumulate=3", "no multiple"),
    ],
)
def test_wrong_overrides_name_the_key(write_experiment: Any, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_training_experiment(write_experiment(), [override])


def test_weights_can_only_come_from_earlier_stages(write_experiment: Any) -> None:
    stage = {"steps": 1, "initialise_from": {"network": "b/image/network"}}
    path = write_experiment(contestants=[{"name": "tiny", "label": "a", "stages": {"image": stage}}])
    with pytest.raises(ConfigError, match="not trained earlier"):
        load_training_experiment(path)


def test_labels_are_unique(write_experiment: Any) -> None:
    one = {"name": "tiny", "label": "a", "stages": {"image": {"steps": 1}}}
    with pytest.raises(ConfigError, match="used twice"):
        load_training_experiment(write_experiment(contestants=[one, one]))


def test_a_missing_file_and_an_unknown_name_differ(tmp_path: Any) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_training_experiment(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="did you mean quickstart"):
        load_training_experiment("quickstrat")


def test_digest_covers_what_decides_the_weights_only(write_experiment: Any) -> None:
    stage = {"steps": 4}
    contestants = [
        {"name": "tiny", "label": "a", "stages": {"image": stage}},
        {
            "name": "tiny",
            "label": "b",
            "stages": {"image": {**stage, "initialise_from": {"network": "a/image/network"}}},
        },
        {"name": "tiny", "label": "c", "stages": {"image": stage}},
    ]
    path = write_experiment(contestants=contestants)
    base = load_training_experiment(path)
    for harmless in ("description=other", "validation.final_clips=9", "contestants.c.stages.image.steps=5"):
        assert load_training_experiment(path, [harmless]).digest("b") == base.digest("b")
    for harmful in ("seed=9", "contestants.a.stages.image.steps=5", "codecs.0.qp=30"):
        assert load_training_experiment(path, [harmful]).digest("b") != base.digest("b")


def test_validation_distances_lie_in_the_group_of_pictures(write_experiment: Any) -> None:
    with pytest.raises(ConfigError, match=r"distance 6 does not exist with pairs\.keyframe_interval 4"):
        load_training_experiment(write_experiment(validation={"final_distances": [0, 6]}))
    assert load_training_experiment(write_experiment(validation={})).validation.distances == (0, 1, 3)
    assert load_training_experiment(write_experiment(validation={}, pairs={})).validation.distances == (
        0,
        5,
        11,
    )


def test_a_contestants_own_seed_moves_with_the_seeds(write_experiment: Any) -> None:
    stages = {"image": {"steps": 1, "batch": 2, "learning_rate": 0.02}}
    own = {"name": "tiny", "label": "a", "seed": 7, "stages": stages}
    experiment = load_training_experiment(write_experiment(contestants=[own], seeds=[1, 2, 3]))
    found = [experiment.for_seed(seed).contestants[0].seed for seed in (1, 2, 3)]
    assert len(set(found)) == 3
    assert found[2] == 7, "the seed of the file is the training that has no seeds"
