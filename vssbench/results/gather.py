"""Unit files into groups, which is most of the work of reading a large run."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager

from vssbench.results.basis import Basis
from vssbench.results.group import Group, build_group
from vssbench.results.helper_processes import Shared, in_reverse
from vssbench.results.schema import UnitRecord
from vssbench.results.store import RunFolder

FEW_UNITS = 1000
"""Fewer units than this are read faster than they are handed to another process."""
GroupKey = tuple[str, str, str]
"""Dataset, codec, method."""


def gather(folder: RunFolder, basis: Basis, names: Sequence[str]) -> dict[GroupKey, Group]:
    """The groups of the units of these names. Raises InputError at one that is damaged or from elsewhere."""
    collected: dict[GroupKey, list[UnitRecord]] = {}
    with _collection_paused():
        for unit in folder.units(basis.of_unit, names):
            collected.setdefault((unit.key.dataset, unit.key.codec, unit.key.method), []).append(unit)
        return {key: build_group(key, units) for key, units in collected.items()}


def _gather_with_intervals(folder: RunFolder, basis: Basis, names: Sequence[str]) -> dict[GroupKey, Group]:
    """As `gather`, for a helper: intervals are the second large part of the work and are kept with the group."""
    found = gather(folder, basis, names)
    for group in found.values():
        _ = group.intervals
    return found


def gather_all(folder: RunFolder, basis: Basis, helper: Executor | None) -> dict[GroupKey, Group]:
    """The groups of all stored units; other processes may read some while this one reads the rest."""
    names = list(folder.stored_units())
    if helper is None or len(names) < FEW_UNITS:
        return gather(folder, basis, names)
    calls = [Shared(helper, _gather_with_intervals, folder, basis, part) for part in _by_group(names)]
    return {key: group for part in in_reverse(calls) for key, group in part.items()}


def _by_group(names: Sequence[str]) -> list[list[str]]:
    """Unit names, those of one group (their first three folders) together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(tuple(name.split("/")[:3]), []).append(name)
    return [groups[key] for key in sorted(groups)]


@contextmanager
def _collection_paused() -> Iterator[None]:
    """Without the garbage collector, which finds nothing in records but looks at all of them again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
