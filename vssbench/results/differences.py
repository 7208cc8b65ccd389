"""Paired comparisons inside a run: every method against one reference on the same frames and bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from vssbench.errors import InputError
from vssbench.metrics.bootstrap import PairedDifference, compare_methods
from vssbench.results.run import Group, Run


@dataclass(frozen=True, slots=True)
class SectionDifferences:
    """All methods of one dataset and codec against the reference."""

    dataset: str
    codec: str
    reference: str
    differences: tuple[PairedDifference, ...]
    """In the order of the experiment; p-values are adjusted inside this section (Holm). Empty if `note` says why."""
    note: str = ""


def paired_differences(run: Run) -> list[SectionDifferences]:
    """Differences of all sections with two methods or more.

    The reference is the most expensive constant-resolution method, or the first method where there is none.
    """
    sections: dict[tuple[str, str], list[Group]] = {}
    for group in run.groups:
        sections.setdefault((group.dataset, group.codec), []).append(group)
    return [_compare(run, groups) for groups in sections.values() if len(groups) > 1]


def _compare(run: Run, groups: Sequence[Group]) -> SectionDifferences:
    place = (groups[0].dataset, groups[0].codec)
    reference = reference_method(run, *place)
    try:
        found = compare_methods([group.unit_counts() for group in groups], reference=reference)
    except InputError as error:
        return SectionDifferences(*place, reference, (), f"no paired comparison: {error}")
    return SectionDifferences(*place, reference, found)


def constant_methods(run: Run) -> set[str]:
    """Titles of the methods that run at one constant resolution."""
    return {
        str(entry.get("label") or entry.get("name", ""))
        for entry in run.experiment.get("methods", [])
        if entry.get("name") == "constant"
    }


def reference_method(run: Run, dataset: str, codec: str) -> str:
    """The method that the others of a section are measured against."""
    present = [group.method for group in run.groups if (group.dataset, group.codec) == (dataset, codec)]
    constant = constant_methods(run)

    def cost(method: str) -> float:
        value = float(run.costs.get((dataset, method), {}).get("gop_mean_gmacs", math.nan))
        return value if math.isfinite(value) else -1.0

    # max keeps the first of equals, so without costs the first constant method is taken
    return max((m for m in present if m in constant), key=cost, default=present[0])
