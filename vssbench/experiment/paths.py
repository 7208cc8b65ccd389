"""Paths in experiments: relative to the file that names them, `~` is the home folder.

Paths on the command line, in Python and in packaged experiments are relative to the working folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vssbench.errors import ConfigError
from vssbench.experiment.validation import annotated_types
from vssbench.experiment.yaml import Place, place_of, value_at

WEIGHTS_SUFFIX = ".safetensors"


def anchor_options(document: Any, location: tuple[int | str, ...], options: type[BaseModel]) -> None:
    """Anchor every path among the options at `location` of the document, in place: fields of type Path, and weight files.

    Raises ConfigError for the home folder of a user who does not exist.
    """
    entry = value_at(document, location)
    paths = [key for key, field in options.model_fields.items() if Path in annotated_types(field.annotation)]
    for key in paths:
        _anchor(document, (*location, key), entry, key)
    network = entry.get("network")
    if isinstance(network, dict):
        _anchor(document, (*location, "network", "state_dict"), network, "state_dict")
    weights = entry.get("weights")
    if isinstance(weights, dict):
        anchor_weights(document, (*location, "weights"), weights)


def anchor_weights(document: Any, location: tuple[int | str, ...], parts: dict[str, Any]) -> None:
    """Anchor the weight files among `part -> file or name`, in place; names stay as they are."""
    for part, source in parts.items():
        if isinstance(source, str) and source.endswith(WEIGHTS_SUFFIX):
            _anchor(document, (*location, part), parts, part)


def anchor_key(document: dict[str, Any], key: str) -> None:
    """Anchor one path at the top of a document, in place."""
    _anchor(document, (key,), document, key)


def _anchor(document: Any, location: tuple[int | str, ...], holder: dict[str, Any], key: str) -> None:
    value = holder.get(key)
    if isinstance(value, (str, Path)) and str(value):
        holder[key] = anchored(value, place_of(document, location))


def anchored(path: str | Path, place: Place | None) -> str:
    """The path as the program opens it. Raises ConfigError for the home folder of a user who does not exist."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{place.text + ': ' if place else ''}{str(path)!r}: {error}") from None
    return str(place.folder / expanded if place is not None and place.folder is not None else expanded)
