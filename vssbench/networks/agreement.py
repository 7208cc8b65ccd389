"""What the weights of one method say of the pixels they were trained on, brought together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from vssbench.errors import CheckpointError
from vssbench.method import Method
from vssbench.networks.weights import WeightsMetadata
from vssbench.records import Normalisation


class Said(NamedTuple):
    """What the weights of one part say of pixels."""

    reference: str
    """Packaged name, path or stage of a training."""
    normalisation: Normalisation | None
    """None where they do not say it."""


class Agreed(NamedTuple):
    """The normalisation of a whole method, and what a reader must know of the choice."""

    normalisation: Normalisation
    remarks: tuple[str, ...]


def agree(
    whose: str, said: Mapping[str, Said], chosen: Normalisation | None, default: Normalisation
) -> Agreed:
    """The normalisation of a method: that of its option, else of its weights, else the default.

    whose: who it is, for messages. said: part -> what its weights say. Raises CheckpointError naming two
    parts whose weights want different pixels.
    """
    default = Normalisation(*default)  # a dataset may give a plain pair
    known = {part: one.normalisation for part, one in said.items() if one.normalisation is not None}
    if chosen is not None:
        return Agreed(
            chosen,
            tuple(
                f"{whose}: the option normalisation ({chosen.describe()}) contradicts the weights of {part}, "
                f"{said[part].reference} ({wanted.describe()}); the option is used"
                for part, wanted in known.items()
                if not wanted.same_pixels(chosen)
            ),
        )
    first = next(iter(known), "")
    for part, wanted in known.items():
        if not wanted.same_pixels(known[first]):
            raise CheckpointError(
                f"{whose}: its weights want different pixels: part {first}, {said[first].reference}: "
                f"{known[first].describe()}; part {part}, {said[part].reference}: {wanted.describe()}. A method normalises "
                "once; take weights that were trained alike, or decide with the option `normalisation`"
            )
    used = known[first] if first else default
    origin = f"that of {first}" if first else "the default of the dataset"
    silent = ", ".join(f"{part} ({one.reference})" for part, one in said.items() if part not in known)
    remark = f"{whose}: the weights of {silent} do not say how pixels are normalised; {origin} is used: {used.describe()}"
    return Agreed(used, (remark,) if silent else ())


def other_pictures(
    title: str, method: Method, found: Mapping[str, WeightsMetadata | None], size: tuple[int, int]
) -> list[str]:
    """Remarks on parts that see frames of another `size` or scale than they were trained on."""
    remarks = []
    for part, metadata in found.items():
        scale = method.lr_scale_of(part)
        if metadata is None:
            continue
        if metadata.lr_scale is not None and not math.isclose(metadata.lr_scale, scale):
            remarks.append(
                f"method {title}: {part} was trained at lr_scale {metadata.lr_scale:g} and runs at {scale:g}"
            )
        if metadata.size is not None and metadata.size != size:
            remarks.append(
                f"method {title}: {part} was trained on frames of {metadata.size[0]}x{metadata.size[1]} and runs on "
                f"{size[0]}x{size[1]}"
            )
    return remarks
