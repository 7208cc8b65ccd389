"""Two gloo processes train to the same weights as one."""

from __future__ import annotations

import csv
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.errors import ConfigError
from vssbench.experiment.training import load_training_experiment
from vssbench.training.trainer import Processes, Trainer


def _train_in_process(rank: int, port: int, path: str, folder: str, tests: str) -> None:
    import importlib.util
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("tiny_plugins", Path(tests) / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_plugins"] = module
    spec.loader.exec_module(module)
    from vssbench.registry import Entry, datasets, methods
    from vssbench.training.distributed import joined_processes

    datasets.entries["boxes"] = Entry("boxes", "tiny_plugins:Boxes", "test")
    methods.entries["tiny"] = Entry("tiny", "tiny_plugins:Tiny", "test")
    with joined_processes("cpu") as processes:
        Trainer(load_training_experiment(path), Path(folder), processes=processes).run()


def train_in_two_processes(path: str, folder: Path) -> None:
    """Two gloo processes on one experiment, both of which must succeed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # this file as a script: where tests run on an installed wheel, spawned processes cannot import it by name
    arguments = [str(port), path, str(folder), str(Path(__file__).parent)]
    processes = [subprocess.Popen([sys.executable, __file__, str(rank), *arguments]) for rank in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]


@pytest.mark.slow
def test_two_processes_equal_one(write_experiment: Any, tmp_path: Path) -> None:
    stage = {"steps": 4, "batch": 4, "learning_rate": 0.02, "optimiser": "sgd", "weight_decay": 0.1}
    options = {"dropout": 0.0, "shortcut": True}
    contestant = {"name": "tiny", "label": "a", "options": options, "stages": {"image": stage}}
    path = write_experiment(contestants=[contestant])
    Trainer(load_training_experiment(path), tmp_path / "one").run()
    train_in_two_processes(path, tmp_path / "two")
    states = [
        torch.load(tmp_path / name / "a/image/last.pt", weights_only=True)["parts"] for name in ("one", "two")
    ]
    assert states[0].keys() == states[1].keys() == {"network", "shortcut"}
    for part, tensors in states[0].items():
        for key, value in tensors.items():
            torch.testing.assert_close(states[1][part][key].float(), value.float(), atol=1e-5, rtol=1e-4)
    for name, steps in (("train.csv", "0123"), ("validation.csv", "04")):
        with (tmp_path / "two/a/image" / name).open() as rows:
            assert [row["step"] for row in csv.DictReader(rows)] == list(steps)


@pytest.mark.slow
def test_a_share_without_labels_holds_nobody_up(write_experiment: Any, tmp_path: Path) -> None:
    stage = {"steps": 6, "batch": 2, "learning_rate": 0.02}
    path = write_experiment(
        dataset={"name": "boxes", "labelled_columns": 12},
        augmentation={"crop": [16, 16]},
        contestants=[{"name": "tiny", "label": "a", "stages": {"image": stage}}],
    )
    train_in_two_processes(path, tmp_path / "two")
    with (tmp_path / "two/a/image/train.csv").open() as rows:
        found = list(csv.DictReader(rows))
    skipped = [float(row["skipped_batches"]) for row in found]
    assert len(found) == 6
    assert 0 < skipped[-1] < 6  # of the writing process: its share had labels in some steps, none in others
    state = torch.load(tmp_path / "two/a/image/last.pt", weights_only=True)["parts"]["network"]
    assert all(torch.isfinite(value).all() for value in state.values())


@pytest.mark.slow
def test_the_command_runs_under_torchrun(tmp_path: Path) -> None:
    stage = {"steps": 2, "batch": 2, "learning_rate": 0.01}
    options = {"network": "bisenet18", "width": 4, "loss": "cross-entropy"}
    contestant = {"name": "constant", "label": "a", "options": options, "stages": {"image": stage}}
    document = {
        "name": "small",
        "dataset": {"name": "synthetic", "sequences": 1, "frames": 4, "size": [64, 96]},
        "codecs": [{"codec": "h264", "qp": 30, "preset": "ultrafast", "references": 1}],
        "pairs": {"keyframe_interval": 2, "limit_clips": 2},
        "validation": {"every": 2, "clips": 1, "distances": [0]},
        "contestants": [contestant],
        "outputs": [{"weights": "small/a", "source": "a/image/network"}],
    }
    (tmp_path / "small.yaml").write_text(json.dumps(document))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = ["-m", "vssbench", "train", "small.yaml", "-o", "out", "--threads", "1"]
    done = subprocess.run([*torchrun, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert " ".join(done.stdout.split()).count("mIoU % on coded validation clips") == 1  # one process prints
    assert (tmp_path / "out/weights/small/a.safetensors").is_file()


def test_shares_that_would_be_uneven_are_refused(write_experiment: Any, tmp_path: Path) -> None:
    stage = {"steps": 2, "batch": 3, "learning_rate": 0.02}
    path = write_experiment(contestants=[{"name": "tiny", "label": "a", "stages": {"image": stage}}])
    with pytest.raises(
        ConfigError, match=r"contestant a, stage image: .* 3 samples .* 2 processes .* multiple of 2"
    ):
        Trainer(load_training_experiment(path), tmp_path / "out", processes=Processes(0, 2)).run()
    even = {"name": "tiny", "label": "b", "stages": {"image": {**stage, "batch": 2}}}
    both = write_experiment(contestants=[{"name": "tiny", "label": "a", "stages": {"image": stage}}, even])
    Trainer(load_training_experiment(both), tmp_path / "b", processes=Processes(0, 2)).run(["b"])


if __name__ == "__main__":
    _train_in_process(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
