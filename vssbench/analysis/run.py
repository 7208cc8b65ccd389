"""A finished or growing run as tables: the public face. Everything here is derived from the records on disk."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vssbench.analysis.decomposition import Decomposition, decompose
from vssbench.analysis.families import (
    FamilyComparison,
    RateComparison,
    family_comparisons,
    rate_comparisons,
)
from vssbench.analysis.relatives import relatives
from vssbench.analysis.remarks import data_remarks, noisy_stopwatch, noisy_times
from vssbench.analysis.seeds import SeedRow, seed_rows
from vssbench.metrics.confusion import mean_of_present
from vssbench.metrics.intervals import Interval
from vssbench.records import CodedQuality
from vssbench.results.costs import CostRecord
from vssbench.results.group import Group as Group
from vssbench.results.latency_records import latency_records
from vssbench.results.stored import StoredRun

AGREEMENTS = {
    "miou": "agreement",
    "iou": "class_agreement",
    "frequency_weighted_iou": "frequency_weighted_agreement",
    "pixel_accuracy": "pixel_agreement",
    "category_miou": "mean_category_agreement",
    "category_iou": "category_agreement",
    "miou_over_seeds": "agreement_over_seeds",
}
"""What a metric of the counts is called where the answers of a method are the truth."""
GMACS = ("key_gmacs", "non_key_gmacs", "gop_mean_gmacs")
"""Costs that stand in tables, by their name in `CostRecord`."""


class Run(StoredRun):
    """Results of one run folder."""

    @property
    def warnings(self) -> list[str]:
        """What a reader of the numbers must know: missing units, forced resumes, damaged files, thin samples."""
        lines = []
        if not self.complete:
            lines.append(
                f"incomplete: {self.unit_count} of {self.plan.units} units are stored; run the same command again"
            )
        for changed in self.environment.forced:
            lines.append("resumed by force in another environment: " + "; ".join(changed))
        damaged = self.folder.set_aside_damaged()
        if damaged:
            lines.append(
                f"{len(damaged)} files that were damaged or from another run were set aside and made again"
            )
        lines += self.kept_frames[1]
        for group in self.groups:
            if (group.frames == 0).any():
                lines.append(
                    f"{group.method} on {group.dataset}, {group.codec}: some distances have no scored frame"
                )
        return (
            lines
            + self.roster.weights_warnings
            + [
                f"{cost.method} on {cost.dataset}: GMACs are at least what is given, because some work cannot be counted: "
                + ", ".join(cost.uncounted)
                for cost in sorted(self.all_costs, key=lambda one: (one.dataset, one.method, one.codec))
                if cost.uncounted
            ]
            + data_remarks(self.groups, self.datasets)
            + self._interval_warnings()
            + noisy_times(self.groups)
            + noisy_stopwatch(latency_records(self.folder, self.basis))
        )

    def _interval_warnings(self) -> list[str]:
        missing = {
            (g.dataset, g.intervals.miou.note) for g in self.groups if g.intervals and g.intervals.miou.note
        }
        return [
            f"{dataset}: no intervals and no verdicts on differences: {note}"
            for dataset, note in sorted(missing)
        ]

    @property
    def interval_methods(self) -> dict[str, str]:
        """Dataset -> how its intervals were made, or why there are none, for readers."""
        found: dict[str, dict[str, None]] = {}
        for group in self.groups:
            if group.intervals is not None:
                found.setdefault(group.dataset, {})[group.intervals.miou.method] = None
        return {dataset: "; ".join(methods) for dataset, methods in found.items()}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row per (dataset, codec, method): mIoU in 0..1, achieved kb/s, PSNR and SSIM of luma (`coded`), GMACs,
        milliseconds.

        Where the answers of a method are the truth, `agreement` stands in place of `miou` in all names, and `reference`
        marks that method.

        `uncounted` names work without which the GMACs are lower bounds, '' where all was counted.
        `untrained` says it of methods with parts that have no weights: 'untrained', 'untrained: lr', or ''.
        """
        rows = []
        for group in self.groups:
            cost = self.cost(group.dataset, group.method, group.codec)
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
                    **_gmacs(cost),
                    "key_ms": group.step_ms.get("key", np.nan),
                    "non_key_ms": group.step_ms.get("non_key", np.nan),
                    "achieved_kbps": group.kbps,
                    **_quality(group.quality),
                    "frames": int(group.frames.sum()),
                    "units": group.units,
                    "uncounted": ", ".join(cost.uncounted) if cost else "",
                    "untrained": self.roster.method(group.dataset, group.method).untrained_mark,
                }
            )
        frame = pd.DataFrame(rows)
        if self.roster.truth and rows:
            frame["reference"] = frame["method"] == self.roster.truth
            frame.columns = frame.columns.str.replace("miou", "agreement")
        return frame

    @cached_property
    def table(self) -> pd.DataFrame:
        """Long tidy table: run, dataset, codec, method, d, class, metric, value, low, high.

        `d` is -1 for means over the distances, `class` is '' for values over all classes; low and high are the
        ends of the interval (see `interval_methods`), NaN where none was computed. Where methods have several training
        seeds, metric 'miou_over_seeds' has their mean and interval over seeds under the title without the seed. BD
        values stand under the name of the family (shares: -0.5 is half the cost) and, over bitrate, of the codec.
        """
        rows: list[tuple[Any, ...]] = []
        for group in self.groups:
            rows += self._rows_of(group)
        for loss in self.decompositions:
            place = (self.path.name, loss.dataset, loss.codec, loss.method)
            rows += [(*place, d, "", metric, value, np.nan, np.nan) for d, metric, value in loss.rows()]
        comparisons: list[FamilyComparison | RateComparison] = [*self.families, *self.rates]
        for comparison in comparisons:
            for codec, method, metric, bd in comparison.rows():
                if bd is not None:
                    ends = bd.interval or (np.nan, np.nan)
                    rows.append(
                        (self.path.name, comparison.dataset, codec, method, -1, "", metric, bd.value, *ends)
                    )
        for row in self.over_seeds:
            head = (self.path.name, row.dataset, row.codec, row.method)
            for d, found in zip(
                (-1, *self._distances(row.dataset, row.codec)), (row.miou, *row.miou_d), strict=True
            ):
                rows.append((*head, d, "", "miou_over_seeds", found.mean, found.low, found.high))
        columns = ["run", "dataset", "codec", "method", "d", "class", "metric", "value", "low", "high"]
        table = pd.DataFrame(rows, columns=columns)
        return table.replace({"metric": AGREEMENTS}) if self.roster.truth else table

    @cached_property
    def coded(self) -> pd.DataFrame:
        """What the methods saw: dataset, codec, sequence, achieved_kbps, psnr_db, ssim, a row per coded sequence.

        PSNR and SSIM are of luma against the frames that were encoded: PSNR from the mean squared error over all pictures
        (infinite without loss), SSIM the mean over pictures; both NaN for streams as they are.
        """
        fullest: dict[tuple[str, str], Group] = {}
        for group in self.groups:
            best = fullest.setdefault((group.dataset, group.codec), group)
            if group.units > best.units:
                fullest[group.dataset, group.codec] = group
        rows = []
        for (dataset, codec), group in fullest.items():
            sequences = np.array([name.rsplit("/", 1)[0] for name in group.unit_names])
            for sequence in dict.fromkeys(sequences.tolist()):
                own = np.flatnonzero(sequences == sequence)
                rate = float(np.mean([group.unit_kbps[i] for i in own]))
                quality = CodedQuality.pooled(group.qualities[i] for i in own)
                rows.append((dataset, codec, sequence, rate, *_quality(quality).values()))
        return pd.DataFrame(
            rows, columns=["dataset", "codec", "sequence", "achieved_kbps", "psnr_db", "ssim"]
        )

    @cached_property
    def over_seeds(self) -> list[SeedRow]:
        """Methods with the mean over their training seeds; empty where no method has two."""
        return seed_rows(self)

    @cached_property
    def decompositions(self) -> list[Decomposition]:
        """Where the loss of each method comes from; empty if the run was made without oracles."""
        return decompose(self.groups, self.roster)

    @cached_property
    def families(self) -> list[FamilyComparison]:
        """Families of methods against constant resolution; empty with fewer than two operating points.

        Empty too where answers of a method are the truth: its own point would lie on a curve.
        """
        return [] if self.roster.truth else family_comparisons(self)

    @cached_property
    def rates(self) -> list[RateComparison]:
        """Methods against the reference over bitrate; empty with one bitrate per codec.

        Empty too where answers of a method are the truth: they are others at every bitrate.
        """
        return [] if self.roster.truth else rate_comparisons(self)

    def _distances(self, dataset: str, codec: str) -> tuple[int, ...]:
        return next(g.distances for g in self.groups if (g.dataset, g.codec) == (dataset, codec))

    def _rows_of(self, group: Group) -> Iterator[tuple[Any, ...]]:
        head = (self.path.name, group.dataset, group.codec, group.method)
        nothing = (np.nan, np.nan)
        found = group.intervals
        yield (*head, -1, "", "miou", group.miou, *_ends(found.miou if found else None))
        for i, (d, value) in enumerate(zip(group.distances, group.miou_d, strict=True)):
            yield (*head, d, "", "miou", value, *_ends(found.miou_d[i] if found else None))
        dataset = self.datasets[group.dataset]
        names = dataset.class_names
        for i, (name, value) in enumerate(zip(names, mean_of_present(group.iou_d.T), strict=True)):
            yield (*head, -1, name, "iou", value, *_ends(found.per_class[i] if found else None))
        for d, row in zip(group.distances, group.iou_d, strict=True):
            for name, value in zip(names, row, strict=True):
                yield (*head, d, name, "iou", value, *nothing)
        yield from ((*head, *row, *nothing) for row in relatives(group, dataset.categories))
        for metric, value in _gmacs(self.cost(group.dataset, group.method, group.codec)).items():
            if np.isfinite(value):
                yield (*head, -1, "", metric, value, *nothing)
        for kind, value in sorted(group.step_ms.items()):
            yield (*head, -1, "", f"{kind}_ms", value, *nothing)
        yield (*head, -1, "", "achieved_kbps", group.kbps, *nothing)
        for metric, value in _quality(group.quality).items():
            if not np.isnan(value):
                yield (*head, -1, "", metric, value, *nothing)
        for row in group.further:
            title = names[row.class_index] if row.class_index >= 0 else ""
            yield (*head, row.distance, title, row.metric, row.value, *nothing)


def _ends(interval: Interval | None) -> tuple[float, float]:
    return (interval.low, interval.high) if interval else (np.nan, np.nan)


def _quality(found: CodedQuality | None) -> dict[str, float]:
    """PSNR and SSIM of luma, NaN where they are unknown."""
    if found is None:
        return {"psnr_db": np.nan, "ssim": np.nan}
    return {"psnr_db": found.psnr_db, "ssim": found.ssim}


def _gmacs(cost: CostRecord | None) -> dict[str, float]:
    """Every name of GMACS with its value, NaN where nothing was counted."""
    return {name: np.nan if cost is None else getattr(cost, name) for name in GMACS}


def load_run(path: str | Path, *, helper: Executor | None = None) -> Run:
    """Open a run folder. Raises InputError if it is none, or if files are damaged.

    helper: processes that read part of a large run, for commands (results/helper_processes.py).
    """
    return Run.read(Path(path), helper)
