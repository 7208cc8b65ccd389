"""Paired comparisons inside a run: every method against one reference on the same frames and bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from vssbench.analysis.remarks import unlike_bits
from vssbench.errors import ConfigError, InputError, nearest
from vssbench.metrics.intervals import PairedDifference, compare_methods
from vssbench.results.group import Group
from vssbench.results.stored import StoredRun

Opened = TypeVar("Opened", bound=StoredRun)


@dataclass(frozen=True, slots=True)
class SectionDifferences:
    """All methods of one dataset and codec against the reference."""

    dataset: str
    codec: str
    reference: str
    """Title without seed: a method trained with a seed is held against the reference of that seed."""
    differences: tuple[PairedDifference, ...]
    """In the order of the experiment; p-values are adjusted over all sections (Holm). Empty if `note` says why."""
    note: str = ""


def paired_differences(run: StoredRun) -> list[SectionDifferences]:
    """Differences of all sections with two methods or more; p-values adjusted once over all of them.

    The reference is the experiment's `reference`, else the most expensive constant-resolution method, else the first.
    A method whose answers are the truth is neither reference nor tested: it agrees with itself; then there are no
    differences unless the experiment names another reference.
    """
    if run.roster.truth and run.roster.reference in ("", run.roster.truth):
        return []
    places: dict[tuple[str, str], list[Group]] = {}
    for group in run.groups:
        if group.method == run.roster.truth:
            continue
        places.setdefault((group.dataset, group.codec), []).append(group)
    sections = [_section(run, groups) for groups in places.values() if len(groups) > 1]
    every = [pair for _, pairs in sections for pair in pairs]
    found = iter(
        compare_methods([(a.unit_counts(), b.unit_counts()) for a, b in every], run.roster.equivalence_margin)
    )
    return [replace(section, differences=tuple(next(found) for _ in pairs)) for section, pairs in sections]


def _section(run: StoredRun, groups: Sequence[Group]) -> tuple[SectionDifferences, list[tuple[Group, Group]]]:
    """The section without its differences, and its (reference, method) pairs: none where `note` says why."""
    place = (groups[0].dataset, groups[0].codec)
    entries = {group.method: run.roster.method(group.dataset, group.method) for group in groups}
    first = entries[reference_method(run, *place)]
    references = {
        entries[g.method].training_seed: g
        for g in groups
        if entries[g.method].title_without_seed == first.title_without_seed
    }
    others = [g for g in groups if entries[g.method].title_without_seed != first.title_without_seed]
    pairs = [
        (references.get(seed, references[first.training_seed]), group)
        for group in others
        if (seed := entries[group.method].training_seed) in references or len(references) == 1
    ]
    note = unlike_bits(groups)
    frames = groups[0].unit_counts()
    unlike = [
        g.method
        for g in groups
        if (g.unit_counts().sequences, g.unit_counts().frames) != (frames.sequences, frames.frames)
    ]
    if unlike:
        note = note or f"{groups[0].method} and {unlike[0]} were scored on different frames"
    elif any((group.frames == 0).any() for group in groups):
        note = note or "some distance has no scored frame"
    elif not pairs:
        note = note or f"no method has a seed of the reference {first.title_without_seed}"
    told = f"no paired comparison: {note}" if note else ""
    section = SectionDifferences(*place, first.title_without_seed, (), told)
    return section, [] if note else pairs


@dataclass(frozen=True, slots=True)
class RunDifference:
    """One method on one dataset and codec in two runs; second minus first on the same frames."""

    dataset: str
    codec: str
    method: str
    difference: PairedDifference
    gop_mean_gmacs: tuple[float, float]
    """Cost in the first and the second run, NaN where not measured."""
    same_pixels: bool
    """Whether both runs decoded the same pixels and motion."""
    kbps: tuple[float, float]
    """Achieved bit rates."""
    step_ms: dict[str, tuple[float, float]]
    """Place in the GOP -> mean milliseconds per frame; empty where the times do not compare."""


def compare_runs(first: StoredRun, second: StoredRun) -> list[RunDifference]:
    """Every (dataset, codec, method) that both runs hold, p-values adjusted over all of them (Holm).

    Raises InputError if the runs share nothing, or were scored on different frames. Whether what they share is alike is
    `comparability.require_alike`.
    """
    groups = {(g.dataset, g.codec, g.method): g for g in first.groups}
    pairs = [(groups[key], g) for g in second.groups if (key := (g.dataset, g.codec, g.method)) in groups]
    if not pairs:
        raise InputError(
            f"{first.path} and {second.path} share no dataset, codec and method; compare runs with equal labels"
        )
    machines = [(one.environment.processors, one.environment.bits.get("device")) for one in (first, second)]
    margin = first.roster.equivalence_margin
    found = compare_methods([(a.unit_counts(), b.unit_counts()) for a, b in pairs], margin)
    return [
        RunDifference(
            b.dataset,
            b.codec,
            b.method,
            difference,
            (first.gmacs(a.dataset, a.method, a.codec), second.gmacs(b.dataset, b.method, b.codec)),
            a.decoded_digests == b.decoded_digests,
            (a.kbps, b.kbps),
            {place: (a.step_ms[place], b.step_ms[place]) for place in a.step_ms if place in b.step_ms}
            if machines[0] == machines[1] and a.workers == b.workers
            else {},
        )
        for (a, b), difference in zip(pairs, found, strict=True)
    ]


def measured_against(run: Opened, reference: str) -> Opened:
    """The run with another reference method, named without its seed. Raises ConfigError for an unknown title."""
    known = list(dict.fromkeys(entry.title_without_seed for entry in run.roster.methods))
    if reference not in known:
        raise ConfigError(f"{run.path}: no method has the title {reference!r}; {nearest(reference, known)}")
    return replace(run, roster=run.roster.model_copy(update={"reference": reference}))


def reference_method(run: StoredRun, dataset: str, codec: str) -> str:
    """The method that the others of a section are measured against: of several seeds the first."""
    here = {group.method for group in run.groups if (group.dataset, group.codec) == (dataset, codec)}
    here = here - {run.roster.truth} or here
    present = [entry for entry in run.roster.methods_on(dataset, codec) if entry.title in here]
    for entry in present:
        if entry.title_without_seed == run.roster.reference:
            return entry.title

    def cost(title: str) -> float:
        value = run.gmacs(dataset, title, codec)
        return value if math.isfinite(value) else -1.0

    # max keeps the first of equals, so without costs the first constant method is taken
    constant = [entry.title for entry in present if entry.is_constant]
    return max(constant, key=cost, default=present[0].title)
