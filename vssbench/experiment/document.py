"""From a name, a file or plain data to the complete document of an experiment: read, overridden, expanded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vssbench.errors import ConfigError
from vssbench.experiment.expand import ExpansionRule, expand, substitute
from vssbench.experiment.overrides import ONE_OF, UnknownEntryError, apply_override
from vssbench.experiment.yaml import Entries, ExperimentKind, Keys, place_of, read_experiment_file


@dataclass(frozen=True, slots=True)
class DocumentKind:
    """What sets experiments for `vssbench run` and for `vssbench train` apart before they are validated."""

    name: ExperimentKind
    lists: tuple[str, ...]
    """Lists whose singular may stand for one entry in the file, and for all entries in `--set`."""
    rules: Mapping[str, ExpansionRule]
    foreign: str
    """A key by which an experiment of the other kind is told."""


def read_document(
    experiment: str | Path | Mapping[str, Any], overrides: Sequence[str], kind: DocumentKind
) -> tuple[Keys, str]:
    """The document with overrides applied and entries expanded, and how messages call it.

    Raises ConfigError naming file, line, column and key; InputError if the file cannot be read.
    """
    if isinstance(experiment, Mapping):
        document, where = substitute(experiment, {}), "experiment"
    else:
        document, where = read_experiment_file(str(experiment), kind.name)
    if kind.foreign in document:
        other = "train" if kind.name == "run" else "run"
        raise ConfigError(
            f"{where}: has {kind.foreign}, so it is an experiment for `vssbench {other}`, not for `vssbench {kind.name}`"
        )
    for plural in kind.lists:
        _name_in_plural(document, plural)
    for override in overrides:
        try:
            apply_override(document, override, kind.lists)
        except UnknownEntryError:  # perhaps it names what lr_scales or seeds expand to
            expand(document, kind.rules)
            apply_override(document, override, kind.lists)
    _say_in_title(document, overrides)
    expand(document, kind.rules)
    return document, where


def _say_in_title(document: Keys, overrides: Sequence[str]) -> None:
    """A title that tells the file's settings must not stand over others; paths of a machine stay out of it."""
    told = [
        text for text in overrides if "/" not in text and not text.startswith(("title", "seed", "device"))
    ]
    title = document.get("title")
    if told and isinstance(title, str) and title and not any(text.startswith("title") for text in overrides):
        document["title"] = f"{title} ({', '.join(told)})"


def _name_in_plural(document: Keys, plural: str) -> None:
    """`dataset: {...}` becomes `datasets: [{...}]`."""
    singular = ONE_OF[plural]
    if singular not in document or plural in document:
        return
    place = place_of(document, (singular,))
    document[plural] = Entries([document.pop(singular)])
    if place is not None:
        document.places[plural] = document[plural].places[0] = place
