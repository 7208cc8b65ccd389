"""The ESPNetv2 weights for Cityscapes that its authors released (EdgeNets, MIT), and our names for their parameters."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from vssbench.dataset import IMAGENET
from vssbench.networks.checkpoints import check_keys, read_state_dict
from vssbench.networks.espnetv2 import ESPNetv2
from vssbench.networks.weights import WeightsMetadata

FILE_NAME = re.compile(
    r"espnetv2[-_](s[-_])?(?P<factor>[\d.]+)[-_]city(scapes)?[-_](?P<width>\d+)x(?P<height>\d+)\.pth"
)
LICENCE = "MIT, Copyright (c) 2021 Sachin Mehta"
FRAME = (1024, 2048)
"""Cityscapes' frames, from which the training pictures were resized."""
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation", "terrain",
    "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)  # fmt: skip
"""The train ids. The released networks have a 20th output for the background, which their authors do not score."""

_LAYER = {"conv": "conv", "norm": "bn", "activation": "act"}
_NUMBERED = {"conv": "0", "norm": "1", "activation": "2"}
_BRANCHED = {"reduce": "proj_1x1", "joined": "br_after_cat", "expand": "conv_1x1_exp"}
_PYRAMID = {"project": "projection_layer", "merge": "merge_layer.2"}


def espnetv2_key(name: str) -> str:
    """Key in the released state dict for one of our parameters."""
    part, *path, leaf = name.split(".")
    match part, path:
        case "encoder", ["stem", layer]:
            key = f"base_net.level1.{_LAYER[layer]}"
        case "encoder", ["down", step, *inner]:
            key = f"base_net.level{int(step) + 2}_0.{_downsampling_key(inner)}"
        case "encoder", ["stages", step, unit, "activation"]:
            key = f"base_net.level{int(step) + 3}.{unit}.module_act"
        case "encoder", ["stages", step, unit, _, *inner]:
            key = f"base_net.level{int(step) + 3}.{unit}.{_branches_key(inner)}"
        case "pyramids", [step, "stages", stage]:
            key = f"bu_dec_l{int(step) + 1}.stages.{stage}"
        case "pyramids", [step, "joined", layer]:
            key = f"bu_dec_l{int(step) + 1}.merge_layer.0.br.{int(_NUMBERED[layer]) - 1}"
        case "pyramids", [step, module, layer]:
            key = f"bu_dec_l{int(step) + 1}.{_PYRAMID[module]}.cbr.{_NUMBERED[layer]}"
        case "expand", [step, "conv"]:
            key = f"bu_dec_l{int(step) + 1}.merge_layer.3"
        case "expand", [step, layer]:
            key = f"bu_dec_l{int(step) + 1}.br.br.{int(_NUMBERED[layer]) - 1}"
        case "skips", [step, "gate"]:
            key = f"merge_enc_dec_l{int(step) + 2}.wt_layer.1"
        case "skips", [step, _, layer]:
            key = f"merge_enc_dec_l{int(step) + 2}.expansion_layer.cbr.{_NUMBERED[layer]}"
        case "sums", [step, layer]:
            key = f"bu_br_l{int(step) + 2}.{int(_NUMBERED[layer]) - 1}"
        case _:
            key = "bu_dec_l4.merge_layer.3"
    return f"{key}.{leaf}"


def _downsampling_key(path: list[str]) -> str:
    match path:
        case ["activation"]:
            return "act"
        case ["picture", step, layer]:
            return f"inp_reinf.{step}.{_LAYER[layer]}"
    return f"eesp.{_branches_key(path[1:])}"


def _branches_key(path: list[str]) -> str:
    return f"spp_dw.{path[1]}.conv" if path[0] == "branches" else f"{_BRANCHED[path[0]]}.{_LAYER[path[1]]}"


def load_espnetv2(network: ESPNetv2, path: Path) -> None:
    """Load a released file into a network of its width with 20 classes, or with 19: then without the background.

    Raises CheckpointError if it cannot be read without running code, or does not fit.
    """
    state: dict[str, Tensor] = {
        key: value
        for key, value in read_state_dict(path).items()
        if not re.search(r"_0\.eesp\.module_act\.", key)  # in the files, but never run
    }
    if network.classes == len(CITYSCAPES):
        for key in (espnetv2_key("classifier.weight"), espnetv2_key("classifier.bias")):
            state[key] = state[key][: network.classes]
    own = network.state_dict()
    check_keys(str(path), network, {espnetv2_key(name): value for name, value in own.items()}, state)
    network.load_state_dict({name: state[espnetv2_key(name)] for name in own})


def released_espnetv2(path: Path) -> tuple[ESPNetv2, WeightsMetadata]:
    """The network in a released file, without the output for the background, and what is known of it. Raises as above."""
    match = FILE_NAME.fullmatch(path.name)
    assert match is not None
    network = ESPNetv2(len(CITYSCAPES), width=round(64 * float(match["factor"])))
    load_espnetv2(network, path)
    return network, WeightsMetadata.describing(
        network,
        experiment=f"EdgeNets release, {path.name}",
        class_names=CITYSCAPES,
        data="cityscapes, train",
        licence=LICENCE,
        normalisation=IMAGENET,
        size=FRAME,
        lr_scale=int(match["height"]) / FRAME[0],
    )
