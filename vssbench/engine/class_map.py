"""Answers in the classes of the weights, turned into those of the dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vssbench.errors import ConfigError
from vssbench.method import Frame, Method, Prediction
from vssbench.registry import nearest

CLASS_MAPS: dict[str, dict[str, str]] = {
    "cityscapes-camvid": {
        "road": "road", "sidewalk": "pavement", "building": "building", "wall": "building", "fence": "fence",
        "pole": "pole", "traffic light": "signsymbol", "traffic sign": "signsymbol", "vegetation": "tree",
        "terrain": "tree", "sky": "sky", "person": "pedestrian", "rider": "bicyclist", "car": "car", "truck": "car",
        "bus": "car", "train": "car", "motorcycle": "bicyclist", "bicycle": "bicyclist",
    },
    "camvid-cityscapes": {
        "sky": "sky", "building": "building", "pole": "pole", "road": "road", "pavement": "sidewalk",
        "tree": "vegetation", "signsymbol": "traffic sign", "fence": "fence", "car": "car", "pedestrian": "person",
        "bicyclist": "rider",
    },
    "cityscapes-vspw": {
        "road": "road", "sidewalk": "path", "building": "building", "wall": "wall", "fence": "handrail_or_fence",
        "pole": "pole", "traffic light": "traffic_light", "traffic sign": "billboard_or_Bulletin_Board",
        "vegetation": "tree", "terrain": "grass", "sky": "sky", "person": "person", "rider": "person", "car": "car",
        "truck": "truck", "bus": "bus", "train": "train", "motorcycle": "motorcycle", "bicycle": "bicycle",
    },
}  # fmt: skip
"""Name -> class of the weights -> class of the dataset."""


def mapped_indices(
    chosen: str | Mapping[str, str], theirs: Sequence[str], ours: Sequence[str], title: str
) -> list[int]:
    """For each class of the weights the index of the dataset's class that it stands for.

    chosen: name of a table above, or a table. Raises ConfigError naming `title` and the class that has no counterpart.
    """
    if isinstance(chosen, str) and chosen not in CLASS_MAPS:
        raise ConfigError(
            f"{title}: class_map {chosen!r}: {nearest(chosen, list(CLASS_MAPS))}, or give a table"
        )
    table = CLASS_MAPS[chosen] if isinstance(chosen, str) else chosen
    if not theirs:
        raise ConfigError(f"{title}: class_map needs weights that name their classes, and these do not")
    for name in theirs:
        if name not in table:
            raise ConfigError(f"{title}: class_map says nothing of {name!r}, a class of the weights")
        if table[name] not in ours:
            raise ConfigError(
                f"{title}: class_map turns {name!r} into {table[name]!r}, which the dataset does not have; "
                f"{nearest(table[name], list(ours))}"
            )
    return [list(ours).index(table[name]) for name in theirs]


def answer_in(method: Method, indices: Sequence[int]) -> None:
    """Make `method` answer indices[k] where it answers k."""
    step, flush = method.step, method.flush

    def mapped(predictions: list[Prediction]) -> list[Prediction]:
        if not isinstance(predictions, list):
            return predictions  # who takes it says that it is wrong, and whose it is
        return [
            dataclasses.replace(
                one,
                labels=torch.tensor(indices, dtype=torch.uint8, device=one.labels.device)[one.labels.long()],
            )
            for one in predictions
        ]

    def mapped_step(state: Any, frame: Frame) -> list[Prediction]:
        return mapped(step(state, frame))

    def mapped_flush(state: Any) -> list[Prediction]:
        return mapped(flush(state))

    setattr(method, "step", mapped_step)  # noqa: B010 - an instance's own step
    setattr(method, "flush", mapped_flush)  # noqa: B010
