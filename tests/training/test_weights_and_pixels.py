"""What trainings begin from decides their pixels, what they make says it, and what cannot be trained is refused first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vssbench.cli import app
from vssbench.dataset import IMAGENET
from vssbench.errors import CapabilityError, CheckpointError, ConfigError, VssbenchError
from vssbench.experiment.training import load_training_experiment
from vssbench.networks import create
from vssbench.networks.weights import WeightsMetadata, read_metadata, save_weights
from vssbench.records import Normalisation
from vssbench.training.trainer import Trainer

NETWORK = {"network": "bisenet18", "width": 4, "loss": "cross-entropy"}
OTHER = Normalisation((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 1, "BGR")


def stored(path: Path, **said: Any) -> str:
    network = create("bisenet18", 2, width=4)
    return str(save_weights(network, path, WeightsMetadata.describing(network, **said)))


def contestant(label: str, source: str | None = None, steps: int = 1, **options: Any) -> dict[str, Any]:
    start = {} if source is None else {"initialise_from": {"network": source}}
    return {
        "name": "constant",
        "label": label,
        "options": {**NETWORK, **options},
        "stages": {"image": {"steps": steps, "batch": 2, **start}},
    }


def trainer(write_experiment: Any, folder: Path, *contestants: dict[str, Any], **more: Any) -> Trainer:
    return Trainer(load_training_experiment(write_experiment(contestants=list(contestants), **more)), folder)


def test_a_training_goes_on_with_the_pixels_of_what_it_begins_from(
    write_experiment: Any, tmp_path: Path
) -> None:
    source = stored(tmp_path / "w.safetensors", normalisation=OTHER)
    found = trainer(
        write_experiment,
        tmp_path / "out",
        contestant("a", source),
        contestant("b", "a/image/network"),
        contestant("c"),
    )
    wanted = {"a": OTHER, "b": OTHER, "c": IMAGENET}
    for section in found.experiment.contestants:
        method = found.build(section)
        assert method.normalisation == wanted[section.label]
        stage = method.stages()[0]
        batch = found._source(stage, section.stages["image"], "t", method, section).micro_batch(0).batch
        raw = (
            found._source(stage, section.stages["image"], "t").micro_batch(0).batch
        )  # the dataset's constants
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in IMAGENET[:2])
        rgb = raw.image * deviation + mean
        if section.label != "c":
            mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) for v in OTHER[:2])
            rgb = rgb.flip(1)
        torch.testing.assert_close(batch.image, (rgb - mean) / deviation, rtol=1e-4, atol=1e-4)


def test_what_nothing_is_known_of_is_said_once_and_own_stages_need_no_word(
    write_experiment: Any, tmp_path: Path
) -> None:
    ar = {
        "name": "ar-seg",
        "label": "ar",
        "options": {**NETWORK, "window": 3},
        "stages": {
            "hr": {"steps": 1, "batch": 2, "initialise_from": {"hr": stored(tmp_path / "w.safetensors")}},
            "fusion": {"steps": 1, "batch": 2, "initialise_from": {"lr": "ar/hr/hr"}},
        },
    }
    remarks = trainer(write_experiment, tmp_path / "out", ar).prepare()
    assert len(remarks) == 1
    assert remarks[0].startswith(f"ar: the weights of hr, part hr ({tmp_path}/w.safetensors) do not say")


def test_what_a_training_makes_says_what_it_saw(write_experiment: Any, tmp_path: Path) -> None:
    source = stored(tmp_path / "w.safetensors", normalisation=OTHER)
    outputs = [{"weights": "mine/half", "source": "a/image/network"}]
    trainer(write_experiment, tmp_path / "out", contestant("a", source, lr_scale=0.5), outputs=outputs).run()
    said = read_metadata(tmp_path / "out/weights/mine/half.safetensors")
    assert said is not None
    assert (said.normalisation, said.size, said.lr_scale) == (OTHER, (32, 48), 0.5)
    assert (said.data, said.class_names) == ("boxes, train", ("ground", "car"))


def test_beginnings_that_want_different_pixels_are_refused(write_experiment: Any, tmp_path: Path) -> None:
    one = stored(tmp_path / "one.safetensors", normalisation=OTHER)
    two = stored(tmp_path / "two.safetensors", normalisation=IMAGENET)
    fusion = {"steps": 1, "batch": 2, "initialise_from": {"hr": one, "lr": two}}
    both = {
        "name": "ar-seg",
        "label": "ar",
        "options": {**NETWORK, "window": 3},
        "stages": {"fusion": fusion},
    }
    with pytest.raises(CheckpointError, match=r"ar: its weights want different pixels: part fusion, part hr"):
        trainer(write_experiment, tmp_path / "out", both).run()
    assert not (tmp_path / "out").exists()


def refused(arguments: list[str]) -> VssbenchError:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, VssbenchError), result.output
    return result.exception


CASES: dict[str, tuple[dict[str, Any], type[VssbenchError], str]] = {
    "weights that are not there": (
        {"contestants": [contestant("a"), contestant("b", "absent.safetensors")]}, CheckpointError, "no such weight file",
    ),
    "weights of another width": (
        {"contestants": [contestant("a", "quickstart/hr")]}, ConfigError, "does not fit quickstart/hr",
    ),
    "a part that is not there": (
        {
            "contestants": [contestant("a")],
            "evaluations": [
                {"name": "warp-only", "label": "w", "options": {"width": 4}, "parts": {"hr": "a/image/network"}}
            ],
        },
        ConfigError, "the method has no part 'hr'; ",
    ),
    "an output that holds no network to describe": (
        {"outputs": [{"weights": "mine/a", "source": "a/image/network"}]},
        ConfigError, r"outputs\.mine/a\.source: a/image/network: Sequential contains no network to describe",
    ),
    "the paper's rule with B pictures": (
        {
            "codecs": [{"codec": "hevc", "qp": 24, "b_frames": 2}],
            "pairs": {"keyframe_interval": 4, "flow_rule": "paper"},
            "contestants": [contestant("a")],
        },
        CapabilityError, "P pictures only",
    ),
}  # fmt: skip


@pytest.mark.parametrize("title", CASES)
def test_a_dry_run_refuses_what_the_training_refuses(
    title: str, write_experiment: Any, tmp_path: Path
) -> None:
    changes, kind, words = CASES[title]
    arguments = ["train", write_experiment(**changes), "-o", str(tmp_path / "out"), "--threads", "1"]
    dry, real = refused([*arguments, "--dry-run"]), refused(arguments)
    assert type(dry) is type(real) is kind
    assert str(dry) == str(real)
    with pytest.raises(kind, match=words):
        raise dry
    assert not (tmp_path / "out").exists()
