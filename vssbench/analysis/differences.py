"""Paired comparisons inside a run: every method against one reference on the same frames and bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vssbench.errors import ConfigError, InputError, nearest
from vssbench.metrics.bootstrap import PairedDifference, bootstrap_difference, compare_methods, holm
from vssbench.analysis.decomposition import title_of
from vssbench.analysis.remarks import unlike_bits
from vssbench.analysis.run import Group, Run


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

    The reference is the experiment's `reference`, else the most expensive constant-resolution method, else the first.
    """
    sections: dict[tuple[str, str], list[Group]] = {}
    for group in run.groups:
        sections.setdefault((group.dataset, group.codec), []).append(group)
    return [_compare(run, groups) for groups in sections.values() if len(groups) > 1]


def _compare(run: Run, groups: Sequence[Group]) -> SectionDifferences:
    place = (groups[0].dataset, groups[0].codec)
    reference = reference_method(run, *place)
    bits = unlike_bits(groups)
    if bits:
        return SectionDifferences(*place, reference, (), f"no paired comparison: {bits}")
    try:
        found = compare_methods([group.unit_counts() for group in groups], reference=reference)
    except InputError as error:
        return SectionDifferences(*place, reference, (), f"no paired comparison: {error}")
    return SectionDifferences(*place, reference, found)


MUST_MATCH = ("protocol", "class_names", "ignore_index")
"""What two runs must share for their numbers to be compared."""


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


def compare_runs(first: Run, second: Run) -> list[RunDifference]:
    """Every (dataset, codec, method) that both runs hold, p-values adjusted over all of them (Holm).

    Raises InputError naming what differs if the runs were scored by other rules, share nothing, or were scored on
    different frames.
    """
    groups = {(g.dataset, g.codec, g.method): g for g in first.groups}
    pairs = [(groups[key], g) for g in second.groups if (key := (g.dataset, g.codec, g.method)) in groups]
    if not pairs:
        raise InputError(
            f"{first.path} and {second.path} share no dataset, codec and method; compare runs with equal labels"
        )
    _require_same_rules(first, second, sorted({g.dataset for g, _ in pairs}))
    found = [bootstrap_difference(a.unit_counts(), b.unit_counts()) for a, b in pairs]
    adjusted = holm([difference.p_value for difference in found])
    return [
        RunDifference(
            b.dataset,
            b.codec,
            b.method,
            replace(difference, adjusted_p_value=p),
            (_gmacs(first, a), _gmacs(second, b)),
            a.decoded_digests == b.decoded_digests,
        )
        for (a, b), difference, p in zip(pairs, found, adjusted, strict=True)
    ]


def _require_same_rules(first: Run, second: Run, datasets: Sequence[str]) -> None:
    if first.experiment.get("protocol") != second.experiment.get("protocol"):
        raise InputError(
            f"{first.path} and {second.path} were cut and scored by different protocols "
            f"({first.experiment.get('protocol')} and {second.experiment.get('protocol')}); their mIoU is not comparable"
        )
    for name in datasets:
        for key in MUST_MATCH[1:]:
            if first.datasets[name][key] != second.datasets[name][key]:
                raise InputError(
                    f"{first.path} and {second.path}: {key} of dataset {name} differs; their mIoU is not comparable"
                )


def _gmacs(run: Run, group: Group) -> float:
    return float(run.costs.get((group.dataset, group.method), {}).get("gop_mean_gmacs", math.nan))


def constant_methods(run: Run) -> set[str]:
    """Titles of the methods that run at one constant resolution."""
    return {
        str(entry.get("label") or entry.get("name", ""))
        for entry in run.experiment.get("methods", [])
        if entry.get("name") == "constant"
    }


def title_without_seed(run: Run, method: str) -> str:
    """The title that all training seeds of a method share; the method's own where it has none."""
    for entry in run.experiment.get("methods", []):
        if title_of(entry) == method:
            return str(entry.get("seeds_of") or method)
    return method


def measured_against(run: Run, reference: str) -> Run:
    """The run with another reference method, named without its seed. Raises ConfigError for an unknown title."""
    known = {title_without_seed(run, method) for method in run.plan["titles"]["methods"]}
    if reference not in known:
        raise ConfigError(
            f"{run.path}: no method has the title {reference!r}; {nearest(reference, list(known))}"
        )
    return replace(run, experiment={**run.experiment, "reference": reference})


def reference_method(run: Run, dataset: str, codec: str) -> str:
    """The method that the others of a section are measured against: of several seeds the first."""
    present = [group.method for group in run.groups if (group.dataset, group.codec) == (dataset, codec)]
    chosen = str(run.experiment.get("reference") or "")
    for method in present:
        if chosen and title_without_seed(run, method) == chosen:
            return method
    constant = constant_methods(run)

    def cost(method: str) -> float:
        value = float(run.costs.get((dataset, method), {}).get("gop_mean_gmacs", math.nan))
        return value if math.isfinite(value) else -1.0

    # max keeps the first of equals, so without costs the first constant method is taken
    return max((m for m in present if m in constant), key=cost, default=present[0])
