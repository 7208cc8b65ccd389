"""A finished or growing run as tables. Everything here is derived from the records on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.confusion import iou, mean_of_present
from vssbench.results.schema import UnitRecord
from vssbench.results.store import RunFolder

GROUP = ("dataset", "codec", "method")


@dataclass(eq=False)
class Group:
    """All stored cases of one (dataset, codec, method)."""

    dataset: str
    codec: str
    method: str
    distances: tuple[int, ...]
    blocks: list[tuple[str, int]]
    """(sequence, first frame) of each unit, in a fixed order."""
    counts: NDArray[np.int64]
    """[units, D, C, C] pixels, indexed [unit, distance, truth, predicted]."""
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

    @property
    def total(self) -> NDArray[np.int64]:
        """[D, C, C] counts over all units."""
        return np.asarray(self.counts.sum(axis=0))

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
        return sum(len(group.blocks) for group in self.groups)

    @property
    def complete(self) -> bool:
        """True when every planned unit is stored."""
        return self.unit_count == self.plan["units"]

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
        return lines

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
                    "miou_key": group.miou_d[0] if group.distances[0] == 0 else np.nan,
                    "miou_last": group.miou_d[-1],
                    "key_gmacs": cost.get("key_gmacs", np.nan),
                    "non_key_gmacs": cost.get("non_key_gmacs", np.nan),
                    "gop_mean_gmacs": cost.get("gop_mean_gmacs", np.nan),
                    "key_ms": group.step_ms.get("key", np.nan),
                    "non_key_ms": group.step_ms.get("non_key", np.nan),
                    "achieved_kbps": group.kbps,
                    "frames": int(group.frames.sum()),
                    "units": len(group.blocks),
                }
            )
        return pd.DataFrame(rows)

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long tidy table: run, dataset, codec, method, d, class, metric, value, low, high.

        `d` is -1 for values over all distances, `class` is '' for values over all classes; low and high are the
        interval's ends, NaN where none was computed.
        """
        rows: list[tuple[Any, ...]] = []
        for group in self.groups:
            rows += self._rows_of(group)
        columns = ["run", "dataset", "codec", "method", "d", "class", "metric", "value", "low", "high"]
        return pd.DataFrame(rows, columns=columns)

    def _rows_of(self, group: Group) -> Iterator[tuple[Any, ...]]:
        head = (self.path.name, group.dataset, group.codec, group.method)
        nothing = (np.nan, np.nan)
        yield (*head, -1, "", "miou", group.miou, *nothing)
        for d, value in zip(group.distances, group.miou_d, strict=True):
            yield (*head, d, "", "miou", value, *nothing)
        names = self.datasets[group.dataset]["class_names"]
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


def _group(key: tuple[str, str, str], units: list[UnitRecord]) -> Group:
    distances = sorted({case.distance for unit in units for case in unit.cases})
    column = {d: i for i, d in enumerate(distances)}
    classes = units[0].counts.shape[1]
    counts = np.zeros((len(units), len(distances), classes, classes), dtype=np.int64)
    frames = np.zeros(len(distances), dtype=np.int64)
    types: dict[str, int] = {}
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    for row, unit in enumerate(units):
        for case, pixels in zip(unit.cases, unit.counts, strict=True):
            counts[row, column[case.distance]] += pixels
            frames[column[case.distance]] += 1
            types[case.frame_type] = types.get(case.frame_type, 0) + 1
        for kind, number in unit.steps.items():
            steps[kind] = steps.get(kind, 0) + number
            seconds[kind] = seconds.get(kind, 0.0) + unit.timings.get(f"step_{kind}", 0.0)
    lengths = [case.clip_frames for unit in units for case in unit.cases]
    return Group(
        *key,
        distances=tuple(distances),
        blocks=[(unit.key.sequence, unit.cases[0].frame) for unit in units],
        counts=counts,
        frames=frames,
        kbps=float(np.mean([unit.achieved_kbps for unit in units])),
        step_ms={kind: 1000 * seconds[kind] / steps[kind] for kind in steps if seconds[kind] > 0},
        steps=steps,
        executed_share=float(np.mean([unit.executed_share for unit in units])),
        frame_types=dict(sorted(types.items())),
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
