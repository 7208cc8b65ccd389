"""Starting a network with trained values: its own, or the ResNet-18 of another network of the same width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from vssbench.errors import CheckpointError
from vssbench.networks.network import SegmentationNetwork
from vssbench.networks.weights import training_only_prefixes

_CONTEXT = "context."
"""BiSeNet's backbone lies in its context path; elsewhere it stands by itself."""
_BACKBONE = "backbone."


def start_from(module: nn.Module, values: Mapping[str, Tensor], source: str) -> bool:
    """Begin `module` with `values` before it is trained; returns True if only a backbone could be taken.

    values: state of the same module (heads that only training uses may be absent), of a whole part of it (a network for
    a network with fusion), or of another network with a ResNet-18: of that only the backbone is taken. It is how short
    trainings begin (training notes, point 1). source: for messages.
    Raises CheckpointError if none of these fits; then nothing has changed.
    """
    own = {name: value.clone() for name, value in module.state_dict().items()}
    backbone = _backbone(own, values)
    try:
        missing, unexpected = module.load_state_dict(backbone or values, strict=False)
    except RuntimeError as error:  # shapes differ; torch copies those that fit all the same
        module.load_state_dict(own)
        raise CheckpointError(f"does not fit {source}: {' '.join(str(error).split())}") from error
    wanting = [] if backbone else _wanting(module, missing)
    if wanting:
        module.load_state_dict(own)
        raise CheckpointError(f"does not fit {source}: missing {wanting[:4]}, unexpected {unexpected[:4]}")
    return bool(backbone)


def _wanting(module: nn.Module, missing: Sequence[str]) -> list[str]:
    """Those of the missing names that may not be: all but training heads and, around a network, parts not begun."""
    optional = tuple(training_only_prefixes(module))
    needed = [name for name in missing if not (optional and name.startswith(optional))]
    if isinstance(module, SegmentationNetwork):
        return needed
    begun = {name.split(".")[0] for name in module.state_dict().keys() - set(missing)}
    return [name for name in needed if not begun or name.split(".")[0] in begun]


def _backbone(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone in `values` under the names of `own`, if the two are different networks that both have one."""
    theirs = {name.removeprefix(_CONTEXT): value for name, value in values.items()}
    wanted = [name for name in own if name.removeprefix(_CONTEXT).startswith(_BACKBONE)]
    same = own.keys() >= values.keys() or own.keys() <= values.keys()
    if not wanted or same or any(name.removeprefix(_CONTEXT) not in theirs for name in wanted):
        return {}
    return {name: theirs[name.removeprefix(_CONTEXT)] for name in wanted}
