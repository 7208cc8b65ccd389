"""The baseline of the gate: what is kept of a complete run so that later ones can be held against it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from vssbench.analysis.comparability import Facts, facts_of
from vssbench.errors import InputError
from vssbench.results.costs import Figure
from vssbench.results.documents import Document, EnvironmentRecord
from vssbench.results.group import Group
from vssbench.results.store import RunFolder
from vssbench.results.stored import StoredRun

NEUTRAL = "share of pixels"
"""Beginning of the names of further metrics that are neither good nor bad."""
_REMEDY = "make one with `vssbench baseline update`"


class BaselineRow(Document):
    """One method on one dataset and codec."""

    dataset: str
    codec: str
    method: str
    counts: tuple[tuple[tuple[int, ...], ...], ...]
    """[distance, truth, predicted] pixels over all frames: every score follows from them."""
    further: dict[str, Figure]
    """Further metrics over all classes and distances."""
    gop_mean_gmacs: float | None
    uncounted: tuple[str, ...]
    """Work that is missing from the MACs."""
    step_ms: dict[str, tuple[float, ...]]
    """Place in the GOP -> mean milliseconds per frame of each unit."""
    workers: tuple[int, ...]
    """How many worker processes ran side by side while the times were taken."""


class Baseline(Document):
    """Everything `vssbench check` needs of the run that is the measure."""

    schema_version: Literal[4] = 4
    facts: Facts
    environment: EnvironmentRecord
    rows: tuple[BaselineRow, ...]


def make_baseline(run: StoredRun) -> Baseline:
    """The baseline of a complete run. Raises InputError if it is incomplete."""
    if not run.complete:
        raise InputError(
            f"{run.path}: {run.unit_count} of {run.plan.units} units are stored; a baseline needs a complete run"
        )
    return Baseline(
        facts=facts_of(run),
        environment=run.environment,
        rows=tuple(row_of(run, group) for group in run.groups),
    )


def row_of(run: StoredRun, group: Group) -> BaselineRow:
    """What is held of one method."""
    cost = run.costs.get((group.dataset, group.method))
    gmacs = run.gmacs(group.dataset, group.method)
    return BaselineRow(
        dataset=group.dataset,
        codec=group.codec,
        method=group.method,
        counts=group.total.tolist(),
        further={
            row.metric: row.value
            for row in group.further
            if (row.distance, row.class_index) == (-1, -1) and not row.metric.startswith(NEUTRAL)
        },
        gop_mean_gmacs=gmacs if np.isfinite(gmacs) else None,
        uncounted=cost.uncounted if cost else (),
        step_ms={
            kind: tuple(round(float(v), 6) for v in values)
            for kind, values in sorted(group.unit_step_ms.items())
        },
        workers=group.workers,
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Store a baseline with its digest. Raises StorageError."""
    RunFolder(path.parent).write_record(path.name, baseline)


def read_baseline(path: Path) -> Baseline:
    """A stored baseline. Raises InputError if it is none, damaged, edited, or of another version."""
    return RunFolder(path.parent).read_record(path.name, Baseline, remedy=_REMEDY)
