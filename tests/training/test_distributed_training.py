"""Two gloo processes train to the same weights as one."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from vssbench.training.config import load_experiment
from vssbench.training.trainer import Trainer


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
        Trainer(load_experiment(path), Path(folder), processes=processes).run()


@pytest.mark.slow
def test_two_processes_equal_one(write_experiment: Any, tmp_path: Path) -> None:
    stage = {"steps": 4, "batch": 4, "learning_rate": 0.02, "optimiser": "sgd"}
    contestant = {"name": "tiny", "label": "a", "options": {"dropout": 0.0}, "stages": {"image": stage}}
    path = write_experiment(contestants=[contestant])
    Trainer(load_experiment(path), tmp_path / "one").run()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # this file as a script: where tests run on an installed wheel, spawned processes cannot import it by name
    arguments = [str(port), str(path), str(tmp_path / "two"), str(Path(__file__).parent)]
    processes = [subprocess.Popen([sys.executable, __file__, str(rank), *arguments]) for rank in range(2)]
    assert [process.wait(timeout=300) for process in processes] == [0, 0]
    states = [
        torch.load(tmp_path / name / "a/image/last.pt", weights_only=True)["parts"]["network"]
        for name in ("one", "two")
    ]
    assert states[0].keys() == states[1].keys()
    for key, value in states[0].items():
        torch.testing.assert_close(states[1][key].float(), value.float(), atol=1e-5, rtol=1e-4)


if __name__ == "__main__":
    _train_in_process(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
