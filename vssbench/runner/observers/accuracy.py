"""Unit records: confusion counts of the scored frames, with what the methods did and took for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vssbench.engine.evaluate import ClipResult, score
from vssbench.engine.feed import DecodedClip
from vssbench.records import ClassTable, CodedQuality
from vssbench.results.schema import CaseRecord, UnitKey, UnitRecord
from vssbench.results.store import RunFolder
from vssbench.runner.observers.observer import Labels, Observer
from vssbench.runner.plan import Job

Counts = Mapping[str, NDArray[np.int64]]


@dataclass(eq=False)
class _UnitDraft:
    """Collects the cases of one unit for one method until the unit's last clip was seen."""

    cases: list[CaseRecord] = field(default_factory=list)
    counts: list[NDArray[np.int64]] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    kbps: list[float] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    coded: dict[str, CodedQuality | None] = field(default_factory=dict)
    """Digest of each bitstream -> its quality."""
    timings: dict[str, float] = field(default_factory=dict)
    step_macs: dict[int, tuple[int, int]] = field(default_factory=dict)
    measured: dict[str, list[NDArray[np.int64]]] = field(default_factory=dict)

    def add(self, clip: DecodedClip, result: ClipResult, counts: NDArray[np.int64]) -> None:
        self.cases += [_case(clip, result, position) for position in clip.plan.scored]
        self.counts.append(counts)
        self.steps.update(result.steps)
        self.shares += result.executed_shares
        self.kbps.append(clip.bitstream.achieved_kbps)
        self.digests.append(clip.digest)
        self.coded[clip.bitstream.digest] = clip.bitstream.quality
        for place, seconds in result.seconds.items():
            for name, value in ((f"step_{place}", seconds), (f"steps_{place}", result.timed[place])):
                self.timings[name] = self.timings.get(name, 0) + value
        for distance, (steps, macs) in result.step_macs.items():
            before = self.step_macs.get(distance, (0, 0))
            self.step_macs[distance] = (before[0] + steps, before[1] + macs)

    def finish(self, key: UnitKey, job: Job, *, timed: bool) -> UnitRecord:
        return UnitRecord(
            key=key,
            cases=tuple(self.cases),
            counts=np.concatenate(self.counts),
            steps=dict(self.steps),
            executed_share=float(np.mean(self.shares)),
            achieved_kbps=float(np.mean(self.kbps)),
            decoded_digest=_joined(self.digests),
            coded_digest=_joined(list(self.coded)),
            quality=CodedQuality.pooled(self.coded.values()),
            timings={**self.timings, "workers": job.workers} if timed else {},
            belongs=job.belongs,
            step_macs=tuple((d, *self.step_macs[d]) for d in sorted(self.step_macs)) or None,
            measured={name: np.concatenate(parts) for name, parts in self.measured.items()},
        )


def _joined(digests: list[str]) -> str:
    return digests[0] if len(digests) == 1 else "+".join(digest[:16] for digest in digests)


def _case(clip: DecodedClip, result: ClipResult, position: int) -> CaseRecord:
    frame = clip.frames[position]
    return CaseRecord(
        frame=clip.plan.first + position,
        distance=position,
        frame_type=frame.frame_type,
        clip_first=clip.plan.first,
        clip_frames=clip.plan.length,
        coded_bytes=frame.coded_bytes,
        kind=result.predictions[position].kind,
    )


class UnitRecords(Observer):
    """Makes and stores the unit records that a job owes; the counts of other observers go into them."""

    def __init__(
        self,
        folder: RunFolder,
        job: Job,
        owed: Collection[UnitKey],
        classes: ClassTable,
        on_unit: Callable[[], None],
        *,
        timed: bool,
    ) -> None:
        self.folder, self.job, self.owed, self.classes = folder, job, owed, classes
        self.on_unit, self.timed = on_unit, timed
        self.stored = 0
        self._drafts: dict[UnitKey, _UnitDraft] = {}

    def wants(self, unit: str) -> list[str]:
        """Methods without a record of the unit."""
        return [method for method in self.job.methods if self.job.key(method, unit) in self.owed]

    def see(self, clip: DecodedClip, labels: Mapping[int, Labels], results: Mapping[str, ClipResult]) -> None:
        """Count the scored frames of the methods that are owed."""
        for method in self.wants(clip.plan.unit):
            result = results[method]
            counts = score(result, clip, labels, len(self.classes), self.classes.ignore_index)
            self._draft(method, clip.plan.unit).add(clip, result, counts)

    def measure(self, method: str, unit: str, counts: Counts) -> None:
        """Counts [cases of a clip, ...] that belong into the record beside the confusion counts."""
        measured = self._draft(method, unit).measured
        for name, values in counts.items():
            measured.setdefault(name, []).append(values)

    def _draft(self, method: str, unit: str) -> _UnitDraft:
        return self._drafts.setdefault(self.job.key(method, unit), _UnitDraft())

    def finish(self, unit: str) -> None:
        """Store the unit's records. Raises StorageError."""
        for method in self.wants(unit):
            key = self.job.key(method, unit)
            if key in self._drafts:
                draft = self._drafts.pop(key)
                self.folder.write_unit(draft.finish(key, self.job, timed=self.timed))
                self.stored += 1
                self.on_unit()
