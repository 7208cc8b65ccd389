"""Several seeds and several lr_scales from one experiment file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.errors import CheckpointError, ConfigError
from vssbench.experiment.training import load_training_experiment
from vssbench.metrics.seeds import over_seeds
from vssbench.training.seeds import _row, seed_experiment, summarise_seeds, train_seeds
from vssbench.training.trainer import Trainer

STAGE = {"steps": 2, "batch": 2, "learning_rate": 0.02}


def make(folder: Path) -> Any:
    return lambda experiment, place: Trainer(experiment, place, common=folder)


def test_an_interval_over_seeds_is_students() -> None:
    found = over_seeds([1.0, 2.0, 3.0])
    assert (found.mean, found.deviation, found.seeds) == (2.0, 1.0, 3)
    half = 4.302652729911275 / 3**0.5  # t of 2 degrees at 97.5 %
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half))
    single = over_seeds([0.5])
    assert single.mean == 0.5
    assert single.low != single.low  # one seed says nothing about seeds


def test_seeds_share_the_pairs_and_differ_in_weights(write_experiment: Any, tmp_path: Path) -> None:
    experiment = load_training_experiment(write_experiment(seed=3, seeds=[3, 4]))
    out = tmp_path / "out"
    summary = train_seeds(experiment, out, [3, 4], make(out))
    assert len(list(out.glob("pairs-*"))) == 1
    assert not list(out.glob("seed-*/pairs-*"))
    states = [
        torch.load(out / f"seed-{n}/a/image/last.pt", weights_only=True)["parts"]["network"] for n in (3, 4)
    ]
    assert not torch.equal(states[0]["0.weight"], states[1]["0.weight"])
    finals = [
        json.loads((out / f"seed-{n}/summary.json").read_text())["contestants"]["a"]["final"] for n in (3, 4)
    ]
    found = summary["contestants"]["a"]["final"]["miou"]
    assert found["values"] == [final["miou"] for final in finals]
    assert found["mean"] == pytest.approx(sum(found["values"]) / 2)
    assert found["low"] <= found["mean"] <= found["high"]
    assert json.loads((out / "summary.json").read_text()) == summary


def test_the_pairs_own_seed_trains_as_without_seeds(write_experiment: Any) -> None:
    several, single = (
        load_training_experiment(write_experiment(seed=3, **more)) for more in ({"seeds": [3, 4]}, {})
    )
    assert several.for_seed(3).digest() == single.digest()
    assert several.for_seed(4).digest() != single.digest()
    assert several.for_seed(4).pair_seed == 3


def test_seeds_name_their_weights(write_experiment: Any) -> None:
    outputs = [
        {"weights": "small/net", "source": "a/image/network"},
        {"weights": "small/{seed}-net", "source": "a/image/network"},
    ]
    path = write_experiment(seeds=[1, 2])
    document = json.loads(Path(path).read_text())
    Path(path).write_text(
        json.dumps({**document, "outputs": outputs}).replace('"small/{seed}', '"small/s{seed}')
    )
    experiment = load_training_experiment(path)
    names = [output.weights for output in seed_experiment(experiment, 2).outputs]
    assert names == ["small/net-seed2", "small/s2-net"]


def test_a_seed_of_another_experiment_is_refused(write_experiment: Any, tmp_path: Path) -> None:
    (tmp_path / "seed-2").mkdir()
    (tmp_path / "seed-2/summary.json").write_text(json.dumps({"digest": "other", "contestants": {}}))
    with pytest.raises(CheckpointError, match="seed-2"):
        summarise_seeds(load_training_experiment(write_experiment()), tmp_path)


def test_seeds_are_distinct(write_experiment: Any) -> None:
    with pytest.raises(ConfigError, match="distinct"):
        load_training_experiment(write_experiment(seeds=[1, 1]))


def test_seeds_scored_at_other_distances_are_not_averaged() -> None:
    found = {
        seed: {"contestants": {"a": {"final": dict.fromkeys(("miou", *names), 0.5)}}}
        for seed, names in ((1, ("miou_d0", "miou_d1")), (2, ("miou_d0",)))
    }
    with pytest.raises(CheckpointError, match=r"a: the closing validation of seeds \[1, 2\] scored other"):
        _row("a", found)
