"""Training checkpoints: everything an exact resume needs, written atomically, never unpickled as code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from vssbench.errors import CheckpointError
from vssbench.files import write_atomically

FORMAT = 1


def save_checkpoint(path: Path, state: dict[str, Any], *, experiment: str, stage: str) -> None:
    """Write `state` (tensors, numbers, text, containers) with its identity. Raises StorageError."""
    document = {"format": FORMAT, "experiment": experiment, "stage": stage, **state}
    write_atomically(path, lambda stream: torch.save(document, stream))


def load_checkpoint(path: Path, *, experiment: str, stage: str) -> dict[str, Any]:
    """Read a checkpoint of this experiment and stage. Raises CheckpointError if it is damaged or of another one."""
    try:
        document = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds for damaged files
        raise CheckpointError(
            f"{path}: not a readable checkpoint ({error}); delete it to start the stage again"
        ) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a training checkpoint of format {FORMAT}")
    found = (document["experiment"], document["stage"])
    if found != (experiment, stage):
        raise CheckpointError(
            f"{path}: belongs to experiment {found[0]} stage {found[1]!r}, expected {experiment} stage {stage!r}; "
            "the experiment changed since: choose another output folder or delete this one"
        )
    return document


def state_of(parts: dict[str, nn.Module]) -> dict[str, dict[str, torch.Tensor]]:
    """Copies of the state dicts of `parts`, on the CPU."""
    return {
        name: {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}
        for name, module in parts.items()
    }


def restore(parts: dict[str, nn.Module], state: dict[str, dict[str, torch.Tensor]], path: Path) -> None:
    """Load what `state_of` returned. Raises CheckpointError naming the part that does not fit."""
    for name, values in state.items():
        if name not in parts:
            raise CheckpointError(f"{path}: holds part {name!r}, the method has {sorted(parts)}")
        try:
            parts[name].load_state_dict(values)
        except RuntimeError as error:
            raise CheckpointError(f"{path}: part {name!r} does not fit the network: {error}") from error
