"""The whole chain with real methods: image stage, its weights in AR-Seg, fusion stage, weight files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.errors import ConfigError
from vssbench.experiment.training import OutputSection, load_training_experiment
from vssbench.networks import create
from vssbench.networks.weights import WeightsMetadata, load_weights, read_weights, save_weights
from vssbench.training.log import read_log
from vssbench.training.trainer import Trainer

NETWORK = {
    "network": "bisenet18",
    "width": 4,
    "loss": "cross-entropy",
    "mode": "corrected",
    "padding": "none",  # ar-seg would see wider frames than the others, for its LR network
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chain")


def chain(write_experiment: Any) -> str:
    image = {"steps": 8, "batch": 2, "learning_rate": 0.01}
    start = {"hr": "full/image/network", "lr": "full/image/network"}
    fusion = {"steps": 8, "batch": 2, "learning_rate": 0.01, "initialise_from": start}
    path: str = write_experiment(
        augmentation={"label_stride": 2},
        validation={"every": 8, "clips": 1, "distances": [0, 3]},
        contestants=[
            {"name": "constant", "label": "full", "options": NETWORK, "stages": {"image": image}},
            {
                "name": "ar-seg",
                "label": "ar",
                "options": {**NETWORK, "lr_scale": 0.5, "window": 3, "initialisation": "identity-like"},
                "stages": {"fusion": fusion},
            },
        ],
        evaluations=[
            {
                "name": "warp-only",
                "label": "warp",
                "options": {"network": "bisenet18", "width": 4, "padding": "none"},
                "parts": {"network": "full/image/network"},
            }
        ],
        outputs=[
            {"weights": "small/hr", "source": "full/image/network"},
            {"weights": "small/ar", "source": "ar/fusion/lr", "dtype": "float32"},
        ],
    )
    return path


def test_hr_weights_feed_ar_seg_and_leave_as_files(write_experiment: Any, trained: Path) -> None:
    trainer = Trainer(load_training_experiment(chain(write_experiment)), trained)
    summary = trainer.run()
    assert summary["contestants"].keys() == {"full", "ar", "warp"}
    rows = {label: row["final"] for label, row in summary["contestants"].items()}
    assert (
        rows["warp"]["miou_d0"] == rows["full"]["miou_d0"] == rows["ar"]["miou_d0"]
    )  # the same network on keyframes
    hr = torch.load(trained / "full/image/last.pt", weights_only=True)["parts"]["network"]
    state = torch.load(trained / "ar/fusion/last.pt", weights_only=True)["parts"]
    assert state.keys() == {"lr"}  # the HR network is frozen and not stored again
    lr = state["lr"]
    # FST shares the frozen final 1x1 of the HR network; the rest of the LR network moved on
    assert torch.equal(lr["network.classifier.weight"], hr["classifier.weight"])
    assert not torch.equal(lr["network.head.conv.weight"], hr["head.conv.weight"])
    monitors = read_log(trained / "ar/fusion/validation.csv")[-1]
    assert {"lr_feature_mse", "warped_feature_mse", "fused_feature_mse"} <= monitors.keys()


def test_weights_for_other_classes_start_nothing(write_experiment: Any, tmp_path: Path) -> None:
    network = create("bisenet18", 2, width=4)
    path = tmp_path / "start.safetensors"

    def begin(names: tuple[str, ...]) -> Trainer:
        save_weights(network, path, WeightsMetadata.describing(network, class_names=names))
        stage = {"steps": 1, "batch": 2, "initialise_from": {"network": str(path)}}
        contestant = {"name": "constant", "label": "a", "options": NETWORK, "stages": {"image": stage}}
        return Trainer(load_training_experiment(write_experiment(contestants=[contestant])), tmp_path / "out")

    with pytest.raises(ConfigError, match=r"class 0 is 'car' there and 'ground' in the dataset"):
        begin(("car", "ground")).run()
    begin(("Ground", "CAR")).run()


def test_retrained_weights_under_an_old_name_make_another_experiment(
    write_experiment: Any, tmp_path: Path
) -> None:
    path = tmp_path / "start.safetensors"
    stage = {"steps": 1, "batch": 2, "initialise_from": {"network": str(path)}}
    contestant = {"name": "constant", "label": "a", "options": NETWORK, "stages": {"image": stage}}
    experiment = load_training_experiment(write_experiment(contestants=[contestant]))
    digests = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        network = create("bisenet18", 2, width=4)
        save_weights(network, path, WeightsMetadata.describing(network))
        os.utime(path, (seed, seed))
        digests.append(experiment.digest("a"))
    assert digests[0] == digests[1] != digests[2]


def test_the_written_weights_are_those_of_the_checkpoint(write_experiment: Any, trained: Path) -> None:
    if not (trained / "weights/manifest.json").exists():
        Trainer(load_training_experiment(chain(write_experiment)), trained).run()
    manifest = json.loads((trained / "weights/manifest.json").read_text())["weights"]
    assert manifest.keys() == {"small/hr", "small/ar"}
    assert manifest["small/hr"]["file"] == "small/hr.safetensors"
    assert manifest["small/hr"]["validation"].keys() == {"miou", "miou_d0", "miou_d3"}
    network = create("bisenet18", 2, width=4)
    metadata = load_weights(network, trained / "weights/small/hr.safetensors")
    assert metadata is not None
    assert metadata.class_names == ("ground", "car")
    hr = torch.load(trained / "full/image/last.pt", weights_only=True)["parts"]["network"]
    torch.testing.assert_close(network.head.conv.weight, hr["head.conv.weight"].half().float())
    tensors, _ = read_weights(trained / "weights/small/ar.safetensors")
    assert any(name.startswith("fusion.") for name in tensors)
    assert not any("auxiliary" in name for name in tensors)


def test_an_output_without_the_module_it_leaves_out_is_refused_before_training(
    write_experiment: Any, tmp_path: Path
) -> None:
    path = write_experiment(
        contestants=[
            {
                "name": "constant",
                "label": "a",
                "options": NETWORK,
                "stages": {"image": {"steps": 1, "batch": 2}},
            }
        ],
        outputs=[{"weights": "small/a", "source": "a/image/network", "leave_out": ["scale"]}],
    )
    with pytest.raises(
        ConfigError, match=r"outputs\.small/a\.leave_out: a/image/network has no module 'scale'"
    ):
        Trainer(load_training_experiment(path), tmp_path / "out").run()
    assert not (tmp_path / "out/a/image").exists()
    left = load_training_experiment(path).model_copy(
        update={
            "outputs": (
                OutputSection(weights="small/a", source="a/image/network", leave_out=("classifier",)),
            )
        }
    )
    Trainer(left, tmp_path / "out").run()
    names = read_weights(tmp_path / "out/weights/small/a.safetensors")[0]
    assert names
    assert not [name for name in names if name.startswith("classifier.")]
