"""Starting a network with trained values: its own, or the ResNet-18 of another network of the same width."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vssbench.errors import CheckpointError

_CONTEXT = "context."
"""BiSeNet's backbone lies in its context path; elsewhere it stands by itself."""
_BACKBONE = "backbone."


def start_from(module: nn.Module, values: Mapping[str, Tensor], source: str) -> None:
    """Begin `module` with `values` before it is trained; what `values` does not have keeps its values.

    values: state of the same module, of a part of it (a network for a network with fusion), or of another network with
    a ResNet-18: of that only the backbone is taken. It is how short trainings begin (training notes, point 1).
    source: for messages. Raises CheckpointError if neither fits; then nothing has changed.
    """
    own = {name: value.clone() for name, value in module.state_dict().items()}
    state = _backbone(own, values) or dict(values)
    try:
        missing, unexpected = module.load_state_dict(state, strict=False)
    except RuntimeError as error:  # shapes differ; torch copies those that fit all the same
        module.load_state_dict(own)
        raise CheckpointError(f"does not fit {source}: {' '.join(str(error).split())}") from error
    if len(missing) == len(own) or (unexpected and missing):
        module.load_state_dict(own)
        raise CheckpointError(f"does not fit {source}: missing {missing[:4]}, unexpected {unexpected[:4]}")


def _backbone(own: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone in `values` under the names of `own`, if the two are different networks that both have one."""
    theirs = {name.removeprefix(_CONTEXT): value for name, value in values.items()}
    wanted = [name for name in own if name.removeprefix(_CONTEXT).startswith(_BACKBONE)]
    if not wanted or own.keys() >= values.keys():
        return {}
    if any(name.removeprefix(_CONTEXT) not in theirs for name in wanted):
        return {}
    return {name: theirs[name.removeprefix(_CONTEXT)] for name in wanted}
