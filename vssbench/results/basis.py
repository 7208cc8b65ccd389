"""What the records of a run rest on, as digests: a record belongs where its own `belongs` is one of these.

Digested are the experiment (datasets, codecs, methods with all options, protocol, seed, further metrics), the class table,
frames and labels of the sequence, and the environment's bits: code, packages, encoders, device, weights. Titles, words,
limits and paths decide nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vssbench.results.documents import DatasetRecord
from vssbench.results.roster import Roster
from vssbench.results.schema import UnitKey

Digests = tuple[str, ...]
"""One for each environment in which the run went on; what is made now carries the last."""
_WORDS = {
    "datasets": {"paths"},
    "codecs": set(),
    "methods": {
        "weights",
        "untrained",
        "family",
        "base",
        "budget_knob",
        "title_without_seed",
        "training_seed",
        "networks",
    },
}
"""Fields of a roster's entries that decide no number, or follow from the others."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Everything that decides the records of one run."""

    experiment: str
    datasets: Mapping[str, DatasetRecord]
    """By title."""
    environments: Digests
    """The one of this session last."""
    parts: frozenset[tuple[str, str, str]]
    """(dataset, codec, method) titles of what runs."""
    _of_sequences: dict[tuple[str, str], Digests] = field(default_factory=dict)

    def of_unit(self, key: UnitKey) -> Digests:
        """What a unit's record may belong to; () where the unit is no part of the run."""
        known = (key.dataset, key.codec, key.method) in self.parts
        return self.of_sequence(key.dataset, key.sequence) if known else ()

    def of_sequence(self, dataset: str, sequence: str) -> Digests:
        """What units and kept frames of a sequence may belong to; () where it takes no part."""
        place = (dataset, sequence)
        if place not in self._of_sequences:
            record = self.datasets[dataset].sequences.get(sequence)
            if record is None:
                return ()
            plain = record.model_dump(mode="json", exclude={"remarks"})
            self._of_sequences[place] = self._digests(self._table(dataset), plain, sequence)
        return self._of_sequences[place]

    def of_dataset(self, dataset: str) -> Digests:
        """What costs and times of a dataset may belong to."""
        return self._digests(self.data_digest(dataset))

    @property
    def of_run(self) -> str:
        """What the plan belongs to: experiment and data, in whatever environment."""
        return _digest([self.experiment, *(self.data_digest(title) for title in sorted(self.datasets))])

    def data_digest(self, dataset: str) -> str:
        """Of the class table, and of frames and labels of every sequence."""
        sequences = {
            name: record.model_dump(mode="json", exclude={"remarks"})
            for name, record in self.datasets[dataset].sequences.items()
        }
        return _digest([self._table(dataset), sequences])

    def _table(self, dataset: str) -> dict[str, Any]:
        return self.datasets[dataset].model_dump(mode="json", exclude={"sequences"})

    def _digests(self, *decisive: Any) -> Digests:
        return tuple(_digest([self.experiment, environment, *decisive]) for environment in self.environments)


def make_basis(
    roster: Roster, datasets: Mapping[str, DatasetRecord], bits: Sequence[Mapping[str, Any]]
) -> Basis:
    """The basis of a run. datasets: by title; bits: of every environment in which the run went on, this session's last."""
    decisive = roster.model_dump(mode="json", include={"seed", "protocol", "metrics", "oracles", *_WORDS})
    if roster.truth:
        decisive["truth"] = roster.truth
    for section, words in _WORDS.items():
        decisive[section] = [{k: v for k, v in one.items() if k not in words} for one in decisive[section]]
    return Basis(_digest(decisive), datasets, tuple(map(_digest, bits)), frozenset(roster.combinations()))


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
