"""A finished or growing run as tables. Everything here is derived from the records on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.bootstrap import Interval, MiouIntervals, bootstrap_miou
from vssbench.metrics.confusion import iou, mean_of_present
from vssbench.metrics.unit_counts import UnitMargins, margins_of_cases
from vssbench.results.schema import UnitRecord
from vssbench.results.store import RunFolder

if TYPE_CHECKING:
    from vssbench.results.seeds import SeedRow

GROUP = ("dataset", "codec", "method")
FEW_GROUPS = 10
"""Intervals from fewer blocks or sequences than this carry a warning."""


@dataclass(eq=False)
class Group:
    """All stored cases of one (dataset, codec, method)."""

    dataset: str
    codec: str
    method: str
    distances: tuple[int, ...]
    units: int
    """Stored units."""
    labelled: tuple[tuple[str, int], ...]
    """(sequence, frame) of each labelled frame that was scored, ascending."""
    case_counts: NDArray[np.int64]
    """[cases, C, C] pixels, indexed [case, truth, predicted]."""
    case_places: NDArray[np.intp]
    """[cases, 2] position in `labelled`, position in `distances`."""
    frames: NDArray[np.int64]
    """[D] scored frames."""
    kbps: float
    step_ms: dict[str, float]
    """Mean wall time of a step by kind, milliseconds."""
    steps: dict[str, int]
    executed_share: float
    frame_types: dict[str, int]
    """How many scored frames were decoded as I, P, B."""
    clip_frames: tuple[int, int]
    """Shortest and longest clip behind the cases."""
    decoded_digests: list[str]
    """Digest of decoded pixels and motion of each unit."""
    unit_step_ms: dict[str, list[float]]
    """Mean wall time of a step in each unit, by kind, milliseconds."""

    @cached_property
    def total(self) -> NDArray[np.int64]:
        """[D, C, C] counts over all cases."""
        columns = self.case_places[:, 1]
        return np.stack([self.case_counts[columns == d].sum(0) for d in range(len(self.distances))])

    @cached_property
    def _units(self) -> UnitMargins:
        rows, columns = self.case_places.T
        counted = np.zeros(len(self.labelled), dtype=np.bool_)
        counted[rows[self.case_counts.any(axis=(1, 2))]] = True
        kept = np.flatnonzero(counted)
        place = np.cumsum(counted) - 1
        chosen = [self.labelled[i] for i in kept]
        margins = margins_of_cases(self.case_counts, place[rows], columns, len(self.distances))
        shape = (len(self.distances), self.case_counts.shape[-1])
        return UnitMargins(self.method, margins, shape, tuple(s for s, _ in chosen), tuple(f for _, f in chosen))

    def unit_counts(self) -> UnitMargins:
        """The counts by labelled frame, as the bootstrap draws them; frames without a scored pixel are left out."""
        return self._units

    @property
    def unscored_frames(self) -> list[tuple[str, int]]:
        """Labelled frames in which every pixel is ignored: they count nothing and are in no resample."""
        used = set(zip(self._units.sequences, self._units.frames, strict=True))
        return [place for place in self.labelled if place not in used]

    @cached_property
    def intervals(self) -> MiouIntervals | None:
        """Bootstrap intervals of mIoU, mIoU_d and classes.

        None with fewer than two frames, with an empty distance, or so few frames that resamples lose a distance.
        """
        units = self.unit_counts()
        if len(units.frames) < 2 or not self.total.any(axis=(1, 2)).all():
            return None
        found = bootstrap_miou(units)
        return found if np.isfinite(found.miou.low) else None

    @property
    def iou_d(self) -> NDArray[np.float64]:
        """[D, C] IoU, NaN where a class is absent at that distance."""
        return np.stack([iou(counts) for counts in self.total])

    @property
    def miou_d(self) -> NDArray[np.float64]:
        """[D] mean over the classes present."""
        return np.array([mean_of_present(row) for row in self.iou_d])

    @property
    def miou(self) -> float:
        """Plain mean of mIoU_d over the scored distances."""
        return float(self.miou_d.mean())


@dataclass(eq=False)
class Run:
    """Results of one run folder."""

    folder: RunFolder
    experiment: dict[str, Any]
    environment: dict[str, Any]
    datasets: dict[str, Any]
    plan: dict[str, Any]
    costs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """(dataset, method) -> MACs record."""

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    def units(self) -> Iterator[UnitRecord]:
        """All stored units, read from disk one by one."""
        return self.folder.units()

    @cached_property
    def groups(self) -> list[Group]:
        """Cases summed by (dataset, codec, method), in the order of the experiment."""
        collected: dict[tuple[str, str, str], list[UnitRecord]] = {}
        for unit in self.units():
            collected.setdefault((unit.key.dataset, unit.key.codec, unit.key.method), []).append(unit)
        order = [
            (d, c, m)
            for d in self._titles("datasets")
            for c in self._titles("codecs")
            for m in self._titles("methods")
        ]
        return [_group(key, collected[key]) for key in order if key in collected]

    def _titles(self, kind: str) -> list[str]:
        return list(self.plan["titles"][kind])

    @property
    def unit_count(self) -> int:
        """Stored units."""
        return sum(group.units for group in self.groups)

    @property
    def complete(self) -> bool:
        """True when every planned unit is stored."""
        return bool(self.unit_count == self.plan["units"])

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers must know: missing units, forced resumes, damaged files, thin samples."""
        lines = []
        if not self.complete:
            lines.append(
                f"incomplete: {self.unit_count} of {self.plan['units']} units are stored; run the same command again"
            )
        for changed in self.environment.get("forced", []):
            lines.append("resumed by force in another environment: " + "; ".join(changed))
        damaged = self.folder.set_aside_damaged()
        if damaged:
            lines.append(f"{len(damaged)} damaged unit files were set aside and redone")
        for group in self.groups:
            if (group.frames == 0).any():
                lines.append(
                    f"{group.method} on {group.dataset}, {group.codec}: some distances have no scored frame"
                )
        return lines + self._interval_warnings()

    def _interval_warnings(self) -> list[str]:
        without = sorted(
            {f"{group.dataset}, {group.codec}" for group in self.groups if group.intervals is None}
        )
        lines = [f"{place}: too few scored frames for intervals" for place in without]
        fewest: dict[str, int] = {}
        for group in self.groups:
            if group.intervals is not None:
                number = group.intervals.miou.groups
                fewest[group.dataset] = min(number, fewest.get(group.dataset, number))
        for dataset, number in fewest.items():
            if number < FEW_GROUPS:
                lines.append(
                    f"{dataset}: intervals rest on about {number} independent blocks or sequences; read them as rough"
                )
        return lines

    @property
    def resampling(self) -> dict[str, str]:
        """Dataset -> how its intervals were made, for readers; datasets without intervals are absent."""
        found: dict[str, list[str]] = {}
        for group in self.groups:
            if group.intervals is not None:
                method = group.intervals.miou.method
                if method not in found.setdefault(group.dataset, []):
                    found[group.dataset].append(method)
        return {dataset: "; ".join(methods) for dataset, methods in found.items()}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per (dataset, codec, method): mIoU in 0..1, achieved kb/s, GMACs, milliseconds."""
        rows = []
        for group in self.groups:
            cost = self.costs.get((group.dataset, group.method), {})
            rows.append(
                {
                    "dataset": group.dataset,
                    "codec": group.codec,
                    "method": group.method,
                    "miou": group.miou,
                    "miou_low": group.intervals.miou.low if group.intervals else np.nan,
                    "miou_high": group.intervals.miou.high if group.intervals else np.nan,
                    "miou_key": group.miou_d[0] if group.distances[0] == 0 else np.nan,
                    "miou_last": group.miou_d[-1],
                    "key_gmacs": cost.get("key_gmacs", np.nan),
                    "non_key_gmacs": cost.get("non_key_gmacs", np.nan),
                    "gop_mean_gmacs": cost.get("gop_mean_gmacs", np.nan),
                    "key_ms": group.step_ms.get("key", np.nan),
                    "non_key_ms": group.step_ms.get("non_key", np.nan),
                    "achieved_kbps": group.kbps,
                    "frames": int(group.frames.sum()),
                    "units": group.units,
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long tidy table: run, dataset, codec, method, d, class, metric, value, low, high.

        `d` is -1 for means over the distances, `class` is '' for values over all classes; low and high are the
        ends of the interval (see `resampling`), NaN where none was computed. Where methods have several training
        seeds, metric 'miou_over_seeds' has their mean and interval over seeds under the title without the seed.
        """
        rows: list[tuple[Any, ...]] = []
        for group in self.groups:
            rows += self._rows_of(group)
        for row in self.over_seeds:
            head = (self.path.name, row.dataset, row.codec, row.method)
            for d, found in zip(
                (-1, *self._distances(row.dataset, row.codec)), (row.miou, *row.miou_d), strict=True
            ):
                rows.append((*head, d, "", "miou_over_seeds", found.mean, found.low, found.high))
        columns = ["run", "dataset", "codec", "method", "d", "class", "metric", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    @cached_property
    def over_seeds(self) -> list[SeedRow]:
        """Methods with the mean over their training seeds; empty where no method has two."""
        from vssbench.results.seeds import seed_rows

        return seed_rows(self)

    def _distances(self, dataset: str, codec: str) -> tuple[int, ...]:
        return next(g.distances for g in self.groups if (g.dataset, g.codec) == (dataset, codec))

    def _rows_of(self, group: Group) -> Iterator[tuple[Any, ...]]:
        head = (self.path.name, group.dataset, group.codec, group.method)
        nothing = (np.nan, np.nan)
        found = group.intervals
        yield (*head, -1, "", "miou", group.miou, *_ends(found.miou if found else None))
        for i, (d, value) in enumerate(zip(group.distances, group.miou_d, strict=True)):
            yield (*head, d, "", "miou", value, *_ends(found.miou_d[i] if found else None))
        names = self.datasets[group.dataset]["class_names"]
        for i, (name, value) in enumerate(zip(names, mean_of_present(group.iou_d.T), strict=True)):
            yield (*head, -1, name, "iou", value, *_ends(found.per_class[i] if found else None))
        for d, row in zip(group.distances, group.iou_d, strict=True):
            for name, value in zip(names, row, strict=True):
                yield (*head, d, name, "iou", value, *nothing)
        cost = self.costs.get((group.dataset, group.method), {})
        for metric in ("key_gmacs", "non_key_gmacs", "gop_mean_gmacs"):
            if metric in cost:
                yield (*head, -1, "", metric, cost[metric], *nothing)
        for kind, value in sorted(group.step_ms.items()):
            yield (*head, -1, "", f"{kind}_ms", value, *nothing)
        yield (*head, -1, "", "achieved_kbps", group.kbps, *nothing)


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (interval.low, interval.high) if interval else (np.nan, np.nan)


def _group(key: tuple[str, str, str], units: list[UnitRecord]) -> Group:
    cases = [(unit.key.sequence, case) for unit in units for case in unit.cases]
    distances = sorted({case.distance for _, case in cases})
    labelled = sorted({(sequence, case.frame) for sequence, case in cases})
    column = {d: i for i, d in enumerate(distances)}
    row = {place: i for i, place in enumerate(labelled)}
    places = [(row[sequence, case.frame], column[case.distance]) for sequence, case in cases]
    steps, step_ms = _step_times(units)
    lengths = [case.clip_frames for _, case in cases]
    return Group(
        *key,
        distances=tuple(distances),
        units=len(units),
        labelled=tuple(labelled),
        case_counts=np.concatenate([unit.counts for unit in units]),
        case_places=np.array(places, dtype=np.intp),
        frames=np.bincount([place[1] for place in places], minlength=len(distances)).astype(np.int64),
        kbps=float(np.mean([unit.achieved_kbps for unit in units])),
        step_ms=step_ms,
        steps=steps,
        executed_share=float(np.mean([unit.executed_share for unit in units])),
        frame_types=dict(sorted(Counter(case.frame_type for _, case in cases).items())),
        clip_frames=(min(lengths), max(lengths)),
        decoded_digests=[unit.decoded_digest for unit in units],
        unit_step_ms={
            kind: [
                1000 * unit.timings[f"step_{kind}"] / unit.steps[kind]
                for unit in units
                if kind in unit.steps and f"step_{kind}" in unit.timings
            ]
            for kind in steps
        },
    )


def _step_times(units: list[UnitRecord]) -> tuple[dict[str, int], dict[str, float]]:
    """Number of steps and their mean wall time in milliseconds, by kind."""
    steps: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for unit in units:
        for kind, number in unit.steps.items():
            steps[kind] += number
            seconds[kind] = seconds.get(kind, 0.0) + unit.timings.get(f"step_{kind}", 0.0)
    return dict(steps), {kind: 1000 * seconds[kind] / steps[kind] for kind in steps if seconds[kind] > 0}


def load_run(path: str | Path) -> Run:
    """Open a run folder. Raises InputError if it is none, or if files are damaged."""
    folder = RunFolder(Path(path))
    if not (folder.path / "experiment.json").is_file():
        raise InputError(
            f"{folder.path}: not a vssbench run folder (no experiment.json); `vssbench run` makes one"
        )
    run = Run(
        folder=folder,
        experiment=folder.read_json("experiment.json"),
        environment=folder.read_json("environment.json"),
        datasets=folder.read_json("datasets.json"),
        plan=folder.read_json("plan.json"),
    )
    for file in sorted((folder.path / "costs").glob("*/*.json")):
        cost = folder.read_json(str(file.relative_to(folder.path)))
        run.costs[cost["dataset"], cost["method"]] = cost
    return run
