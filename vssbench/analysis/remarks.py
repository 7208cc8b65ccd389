"""What a reader of a run's numbers must know about its data: empty frames, empty classes, unlike bits, missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vssbench.records import HostConditions
from vssbench.results.documents import DatasetRecord
from vssbench.results.group import Group
from vssbench.results.latency_records import LatencyRecord

UNEQUAL = 1.25
"""Times of equal work further apart than this are the machine's doing."""
UNSTEADY = 0.25
"""Middle half of the units' times over their median, from which they are not ranked."""
LEAST_UNITS = 4


def data_remarks(groups: Sequence[Group], datasets: Mapping[str, DatasetRecord]) -> list[str]:
    """One line per finding, nothing where all is as it should be."""
    lines = []
    for name in dict.fromkeys(group.dataset for group in groups):
        mine = [group for group in groups if group.dataset == name]
        lines += _unscored(name, mine)
        lines += _without_truth(name, mine, datasets[name].class_names)
        lines += _of_sequences(name, datasets[name])
    for place in dict.fromkeys((group.dataset, group.codec) for group in groups):
        here = [group for group in groups if (group.dataset, group.codec) == place]
        bits = unlike_bits(here)
        if bits:
            lines.append(f"{place[0]}, {place[1]}: {bits}")
        lines += [f"{place[0]}, {place[1]}: {line}" for line in _undefined(here)]
    return lines


def _unscored(dataset: str, groups: Sequence[Group]) -> list[str]:
    frames = dict.fromkeys(place for group in groups for place in group.unscored_frames)
    if not frames:
        return []
    sequence, frame = next(iter(frames))
    found = f"{len(frames)} labelled frame(s) have no scored pixel, every label is ignored"
    return [f"{dataset}: {found} (first: frame {frame} of {sequence}); they count nothing"]


def _of_sequences(title: str, dataset: DatasetRecord) -> list[str]:
    """How frames were read, where that was a choice; the first sequence stands for all."""
    said = [f"{name}: {remark}" for name, one in dataset.sequences.items() for remark in one.remarks]
    more = f" (and so on, {len(said)} sequences in all)" if len(said) > 1 else ""
    return [f"{title}, {said[0]}{more}"] if said else []


def _without_truth(dataset: str, groups: Sequence[Group], names: Sequence[str]) -> list[str]:
    true = np.sum([group.total.sum(axis=(0, 2)) for group in groups], axis=0)
    missing = [i for i in range(len(true)) if true[i] == 0]
    if not missing:
        return []
    predicted = [i for i in missing if any(group.total[:, :, i].any() for group in groups)]
    line = f"{dataset}: no true pixel of {', '.join(names[i] for i in missing)}; such classes are in no mean"
    if predicted:
        line += f", but count as 0 for methods that predict them ({', '.join(names[i] for i in predicted)})"
    return [line]


def noisy_times(groups: Sequence[Group]) -> list[str]:
    """Step times that a ranking would read too much into, a line per dataset and method; none if they are steady.

    The same work on the pictures of two codecs takes the same time; so do the units of one codec.
    """
    lines = []
    for dataset, method in dict.fromkeys((group.dataset, group.method) for group in groups):
        mine = [g for g in groups if (g.dataset, g.method) == (dataset, method) and g.unit_step_ms]
        lines += _unequal(dataset, method, mine) or _unsteady(dataset, method, mine)
    return lines


def _unequal(dataset: str, method: str, groups: Sequence[Group]) -> list[str]:
    for place in ("key", "non_key"):
        alike = [g for g in groups if place in g.step_ms and g.executed_share == groups[0].executed_share]
        times = {group.codec: group.step_ms[place] for group in alike}
        if len(times) > 1 and max(times.values()) > UNEQUAL * min(times.values()):
            told = " and ".join(f"{value:.3g} ms on {codec}" for codec, value in times.items())
            return [f"{dataset}: {method} did equal work in unequal time, {told}; step times are not ranked"]
    return []


def _unsteady(dataset: str, method: str, groups: Sequence[Group]) -> list[str]:
    for group in groups:
        for values in group.unit_step_ms.values():
            low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
            if len(values) >= LEAST_UNITS and high - low > UNSTEADY * middle:
                share = f"middle half {100 * (high - low) / middle:.0f} % of the median"
                told = f"{dataset}: step times of {method} on {group.codec} vary between units ({share})"
                return [f"{told}; step times are not ranked"]
    return []


def noisy_stopwatch(records: Sequence[LatencyRecord]) -> list[str]:
    """Why times by stopwatch are not ranked, at most a line per reason and dataset; none if they are steady."""
    lines = []
    for dataset in dict.fromkeys(record.dataset for record in records):
        mine = [record for record in records if record.dataset == dataset]
        busy = max((r.host for r in mine if r.host and r.host.busy), key=_taken, default=None)
        if busy is not None:
            lines.append(f"{dataset}: while methods were timed, {busy.busy}; stopwatch times are not ranked")
        unsteady = [record for record in mine if not record.gop_mean.stable]
        if unsteady:
            named = ", ".join(record.method for record in unsteady)
            lines.append(
                f"{dataset}: stopwatch times of {named} are {unsteady[0].gop_mean.stability}; they are not ranked"
            )
    return lines


def _taken(host: HostConditions) -> float:
    return host.others_share or 0.0


def unlike_bits(groups: Sequence[Group]) -> str:
    """Why methods of one dataset and codec did not see the same pixels and motion; '' if they did."""
    first, digests = groups[0], dict(zip(groups[0].unit_names, groups[0].decoded_digests, strict=True))
    for group in groups[1:]:
        other = dict(zip(group.unit_names, group.decoded_digests, strict=True))
        differing = [name for name in digests.keys() & other.keys() if digests[name] != other[name]]
        if differing:
            return (
                f"{first.method} and {group.method} saw different decoded pixels or motion in {len(differing)} unit(s), for "
                f"example {min(differing)}; delete the run folder and run it again"
            )
    return ""


def _undefined(groups: Sequence[Group]) -> list[str]:
    """Further metrics that have no value for any method, with the reason."""
    values: dict[str, list[float]] = {}
    for group in groups:
        for row in group.further:
            if (row.distance, row.class_index) == (-1, -1) and row.metric.startswith(
                ("VC", "TC", "boundary")
            ):
                values.setdefault(row.metric, []).append(row.value)
    reasons = {
        "VC": "no window of so many neighbouring scored frames in which a true pixel stays the same",
        "TC": "no neighbouring scored frames with known flow",
        "bo": "some distance has no contour",
    }
    return [
        f"{metric} has no value: {reasons[metric[:2]]}"
        for metric, found in values.items()
        if np.isnan(found).all()
    ]
