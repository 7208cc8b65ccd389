"""A method with the weights that its options name: the one place where files and method are brought together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from vssbench.errors import CheckpointError
from vssbench.method import BuildContext, Method, MethodOptions
from vssbench.networks.weights import WeightsMetadata, load_weights, read_metadata, require_classes
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


def build_trained(
    method_class: type[Method],
    options: MethodOptions,
    context: BuildContext,
    *,
    title: str,
    class_names: Sequence[str] = (),
) -> Method:
    """Build a method, fill its parts with the weights that its options name, and put them into eval mode on the device.

    Pixels are normalised as the option `normalisation` says, else as the weights say, else as the context says.
    class_names: the dataset's, which the weights must have been trained for; () does not look.
    Sets `Method.untrained` and `Method.remarks`.
    Raises ConfigError, and CheckpointError naming method and part where weights are missing, do not fit or contradict
    one another.
    """
    found: dict[str, WeightsMetadata | None] = {}
    for name, reference in options.weights.items():
        with _naming(title, name):
            found[name] = read_metadata(reference)
    said = {name: Said(options.weights[name], m.normalisation if m else None) for name, m in found.items()}
    agreed = agree(f"method {title}", said, getattr(options, "normalisation", None), context.normalisation)
    method = method_class(options, replace(context, normalisation=agreed.normalisation))
    parts = method.parts()
    unknown = sorted(set(options.weights) - set(parts))
    if unknown:
        raise CheckpointError(f"method {title}: weights name the parts {unknown}; it has {sorted(parts)}")
    for name, part in parts.items():
        if name in found:
            with _naming(title, name):
                load_weights(part, options.weights[name])
                require_classes(found[name], class_names, options.weights[name])
        part.to(context.device).eval()
    method.untrained = tuple(
        name for name, part in parts.items() if name not in found and any(True for _ in part.parameters())
    )
    method.remarks = (*agreed.remarks, *_other_pictures(title, method, found))
    return method


@contextmanager
def _naming(title: str, part: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"method {title}, part {part}: {error}") from error


def agree(
    whose: str, said: Mapping[str, Said], chosen: Normalisation | None, default: Normalisation
) -> Agreed:
    """The normalisation of a method: that of its option, else of its weights, else the default.

    said: part -> what its weights say. whose: who it
    is, for messages. Raises CheckpointError naming two parts whose weights want different pixels.
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
                if wanted != chosen
            ),
        )
    first = next(iter(known), "")
    for part, wanted in known.items():
        if wanted != known[first]:
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


def _other_pictures(title: str, method: Method, found: Mapping[str, WeightsMetadata | None]) -> list[str]:
    """Parts that see pictures of another scale or size than they were trained on."""
    remarks = []
    for part, metadata in found.items():
        scale, size = method.lr_scale_of(part), method.context.size
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
