"""Bad weight files: safetensors and .pth."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from bad_input.case import EXECUTED, EXPERIMENT, Words, bad, changed, experiment
from safetensors.torch import save_file

from vssbench.dataset import IMAGENET
from vssbench.networks import create, save_weights
from vssbench.networks.weights import WeightsMetadata
from vssbench.records import Normalisation

CAMVID = Normalisation((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369))


class Executes:
    """What pickle would run on reading."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {EXECUTED}",)


def weights(data: bytes) -> Words:
    Path("w.safetensors").write_bytes(data)
    return changed("method.weights={network: w.safetensors}")


def described(**header: object) -> Words:
    """Weights that fit, with changes in what the file says about itself."""
    says = {"network": "bisenet18", "width": 4, "classes": 11, **header}
    save_file(
        create("bisenet18", 11, width=4).state_dict(),
        "w.safetensors",
        metadata={"vssbench": json.dumps(says)},
    )
    return changed("method.weights={network: w.safetensors}")


def two_halves() -> Words:
    """The two paths of TDNet, trained on differently normalised pixels."""
    for name, normalisation in (("a", IMAGENET), ("b", CAMVID)):
        network = create("bisenet18", 11, width=4)
        said = WeightsMetadata.describing(network, normalisation=normalisation)
        save_weights(network, f"{name}.safetensors", said)
    method = {"label": "m", "name": "tdnet", "network": "bisenet18", "width": 4, "paths": 2}
    weights = {"path0": "a.safetensors", "path1": "b.safetensors"}
    return experiment(json.dumps({**EXPERIMENT, "methods": [{**method, "weights": weights}]}))


def tensors() -> bytes:
    save_file({"a": torch.zeros(4)}, "t.safetensors")
    return Path("t.safetensors").read_bytes()


def convert(data: bytes) -> Words:
    branch = Path("release/camvid-psp18/HR")
    branch.mkdir(parents=True)
    (branch / "PSPNet_resnet18_1.0_100_.pth").write_bytes(data)
    return ["weights", "convert", "release", "--out", "out"]


def torch_file(value: object) -> bytes:
    torch.save(value, "t.pth")
    return Path("t.pth").read_bytes()


WEIGHTS: dict[str, Callable[[], Words]] = {
    "a weight file that is none": lambda: weights(b"not safetensors"),
    "a weight file cut short": lambda: weights(tensors()[:-4]),
    "a weight header that claims an exabyte": lambda: weights(struct.pack("<Q", 1 << 60) + b"{}"),
    "a weight header that is no JSON": lambda: weights(struct.pack("<Q", 4) + b"{{{{"),
    "tensors that lie outside the file": lambda: weights(tensors().replace(b"[0,16]", b"[0,99]")),
    "weights of another network": lambda: weights(tensors()),
    "weights that want to divide by zero": lambda: described(normalisation=[[0, 0, 0], [1, 1, 0]]),
    "weights whose pixels are in no known order": lambda: described(
        normalisation=[[0, 0, 0], [1, 1, 1], 1, "YUV"]
    ),
    "a weight header with a key that nobody knows": lambda: described(colour="blue"),
    "weights trained for other classes": lambda: described(class_names=list("abcdefghijk")),
    "parts that want different pixels": two_halves,
    "a pickle named .safetensors (never unpickled)": lambda: weights(pickle.dumps(Executes())),
    "weights under an unknown name": lambda: changed("method.weights={network: nothing/like-it}"),
    "a .pth where safetensors are expected": lambda: changed("method.weights={network: model.pth}"),
    "weights for a part that the method lacks": lambda: changed("method.weights={hr: w.safetensors}"),
    "a .pth that would run a command (never unpickled)": lambda: convert(torch_file({"a": Executes()})),
    "an old .pth that would run a command": lambda: convert(pickle.dumps({"a": Executes()})),
    "a .pth cut in half": lambda: convert(torch_file({"a": torch.zeros(999)})[:1500]),
    "a .pth that holds no tensors": lambda: convert(torch_file({"epoch": 3})),
}
for title, make in WEIGHTS.items():
    bad("weights", title, 3)(make)
