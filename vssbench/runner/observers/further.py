"""Counting what an experiment asks for beyond mIoU, clip by clip."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vssbench.dataset import VideoSequence
from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip
from vssbench.engine.reading import exact_flow_of
from vssbench.metrics import further
from vssbench.metrics.consistency import WindowTracker, warped_counts
from vssbench.records import FlowField
from vssbench.runner.observers.accuracy import UnitRecords
from vssbench.runner.observers.observer import Labels, Observer

Counts = dict[str, NDArray[np.int64]]
BITSTREAM, EXACT = "bitstream", "exact"
CIRCULAR = "bitstream, circular"
"""Name of the codec's motion as TC's flow: it favours methods that warp along it."""


@dataclass(eq=False)
class _Follower:
    """What consistency over time remembers of one method's predictions."""

    trackers: tuple[WindowTracker, ...]
    frame: int = -2
    predicted: Labels | None = None


@dataclass(eq=False)
class _ClipFacts:
    """What all methods of a clip share: it depends on truth and motion only."""

    clip: DecodedClip
    areas: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    flows: dict[tuple[str, int], FlowField | None] = field(default_factory=dict)


class FurtherMetrics(Observer):
    """Counts further metrics for the units that are owed."""

    def __init__(
        self,
        records: UnitRecords,
        names: Collection[str],
        sequence: VideoSequence,
    ) -> None:
        self.records, self.names, self.sequence = records, frozenset(names), sequence
        self.classes = records.classes
        self._followers: dict[str, _Follower] = {}
        self._facts: _ClipFacts | None = None
        self._exact = len(sequence) > 1 and exact_flow_of(sequence, 1) is not None
        self.needs_motion = "breakdown" in self.names or ("consistency" in self.names and not self._exact)
        # windows over time need the clips whose counts are stored already, too
        self._followed = {key.method for key in records.owed} if "consistency" in self.names else set()

    def wants(self, unit: str) -> Collection[str]:
        """Methods that are followed through the whole stream; what is owed in the unit is wanted for its records."""
        return self._followed

    def see(self, clip: DecodedClip, labels: Mapping[int, Labels], results: Mapping[str, ClipResult]) -> None:
        """Count one clip."""
        owed = self.records.wants(clip.plan.unit)
        for title, result in results.items():
            over_time = self._follow(title, clip, labels, result) if title in self._followed else {}
            if title in owed:
                counts = {**over_time, **self._count(clip, labels, result)}
                self.records.measure(title, clip.plan.unit, counts)

    def _follow(
        self, title: str, clip: DecodedClip, labels: Mapping[int, Labels], result: ClipResult
    ) -> Counts:
        """Counts over time of one method."""
        ignore = self.classes.ignore_index
        follower = self._followers.setdefault(title, _Follower(()))
        windows, warped = [], []
        for position in clip.plan.scored:
            frame, predicted = clip.plan.first + position, result.labels(position)
            if frame != follower.frame + 1:
                trackers = (WindowTracker("released", ignore), WindowTracker("corrected", ignore))
                follower = self._followers[title] = _Follower(trackers)
            for tracker in follower.trackers:
                tracker.push(labels[position], predicted)
            none = (further.NO_WINDOW, further.NO_WINDOW)
            windows.append([[t.window(n) or none for t in follower.trackers] for n in further.WINDOWS])
            warped.append(self._warped(follower.predicted, predicted, clip, position))
            follower.frame, follower.predicted = frame, predicted
        source = EXACT if self._exact else CIRCULAR
        return {further.VC: np.array(windows, dtype=np.int64), further.TC + source: np.stack(warped)}

    def _count(self, clip: DecodedClip, labels: Mapping[int, Labels], result: ClipResult) -> Counts:
        """Counts of one method on one clip that need no other clip."""
        found: dict[str, list[NDArray[np.int64]]] = {}
        for position in clip.plan.scored:
            counts = self._frame_counts(clip, position, labels[position], result.labels(position))
            for name, values in counts.items():
                found.setdefault(name, []).append(values)
        return {name: np.stack(values) for name, values in found.items()}

    def _frame_counts(self, clip: DecodedClip, position: int, truth: Labels, predicted: Labels) -> Counts:
        classes, ignore = len(self.classes), self.classes.ignore_index
        found: Counts = {}
        if "boundary" in self.names:
            found |= further.boundary_counts(truth, predicted, classes, ignore)
        if "breakdown" in self.names:
            areas = self._shared(clip).areas
            if position not in areas:
                areas[position] = further.frame_areas(truth, ignore)
            found[further.SEGMENT] = further.segment_counts(
                truth, predicted, areas[position], classes, ignore
            )
            for source in (BITSTREAM, EXACT) if self._exact else (BITSTREAM,):
                speeds = further.frame_speeds(self._flow(clip, position, source))
                found[further.MOTION + source] = further.motion_counts(
                    truth, predicted, speeds, classes, ignore
                )
        return found

    def _warped(
        self, before: Labels | None, now: Labels, clip: DecodedClip, position: int
    ) -> NDArray[np.int64]:
        """[3, C] agreement with the prediction before; zeros where there is none or no flow."""
        flow = self._flow(clip, position, EXACT if self._exact else BITSTREAM)
        classes = len(self.classes)
        if before is None or flow is None:
            return np.zeros((3, classes), dtype=np.int64)
        return further.hits_truth_predicted(warped_counts(before, now, flow, classes))

    def _flow(self, clip: DecodedClip, position: int, source: str) -> FlowField | None:
        """Flow to the previous picture; the bitstream has none at a keyframe."""
        flows = self._shared(clip).flows
        if (source, position) not in flows:
            if source == EXACT:
                flows[source, position] = exact_flow_of(self.sequence, clip.plan.first + position)
            else:
                flows[source, position] = clip.flow_to_previous(position, "exact") if position else None
        return flows[source, position]

    def _shared(self, clip: DecodedClip) -> _ClipFacts:
        if self._facts is None or self._facts.clip is not clip:
            self._facts = _ClipFacts(clip)
        return self._facts
