"""Counting what an experiment asks for beyond mIoU: the further metrics and the oracle runs, clip by clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from vssbench.experiment.schema import Experiment, MethodSpec
from vssbench.dataset import VideoSequence
from vssbench.method import Method
from vssbench.metrics import further
from vssbench.metrics.consistency import WindowTracker, warped_counts
from vssbench.records import ClassTable, FlowField
from vssbench.analysis.decomposition import reference_titles
from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip
from vssbench.runner.observers.oracles import Oracles, require_exact_flow

Counts = dict[str, NDArray[np.int64]]
Labels = NDArray[np.uint8]
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


class Measurer:
    """Counts further metrics for the methods of one job; clips must come in the order of the stream."""

    def __init__(
        self,
        experiment: Experiment,
        specs: list[MethodSpec],
        sequence: VideoSequence,
        classes: ClassTable,
        device: torch.device,
    ) -> None:
        self.names = frozenset(experiment.metrics)
        self.sequence, self.classes = sequence, classes
        self.oracles = Oracles(sequence, classes, device, _references(specs)) if experiment.oracles else None
        self._followers: dict[str, _Follower] = {}
        self._facts: _ClipFacts | None = None
        self._exact = bool(self.names) and len(sequence) > 1 and sequence.flow_to_previous(1) is not None

    @property
    def needs_motion(self) -> bool:
        """Whether the bitstream's motion must be decoded although no method asks for it."""
        return "breakdown" in self.names or ("consistency" in self.names and not self._exact)

    @property
    def follows(self) -> bool:
        """Whether every clip of a stream must be gone through once one of its units is owed."""
        return "consistency" in self.names

    def with_references(self, titles: list[str]) -> list[str]:
        """The titles, and the methods whose answers their oracle runs need."""
        if self.oracles is None or not titles:
            return titles
        wanted = {*titles, *(self.oracles.reference_of[title] for title in titles)}
        return [title for title in self.oracles.reference_of if title in wanted]

    def follow(
        self, title: str, clip: DecodedClip, labels: Mapping[int, Labels], result: ClipResult
    ) -> Counts:
        """Counts over time of one method; also for clips whose counts are stored already, so that windows are whole."""
        if not self.follows:
            return {}
        ignore = self.classes.ignore_index
        follower = self._followers.setdefault(title, _Follower(()))
        windows, warped = [], []
        for position in clip.plan.scored:
            frame, predicted = clip.plan.first + position, _labels_of(result, position)
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

    def count(
        self,
        title: str,
        method: Method,
        clip: DecodedClip,
        labels: dict[int, Labels],
        results: dict[str, ClipResult],
    ) -> Counts:
        """Counts of one method on one clip that need no other clip."""
        found: dict[str, list[NDArray[np.int64]]] = {}
        for position in clip.plan.scored if self.names else ():
            truth, predicted = labels[position], _labels_of(results[title], position)
            for name, values in self._frame_counts(clip, position, truth, predicted).items():
                found.setdefault(name, []).append(values)
        counts = {name: np.stack(values) for name, values in found.items()}
        if self.oracles is not None:
            counts |= self.oracles.count(title, method, clip, labels, results)
        return counts

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
                flows[source, position] = self.sequence.flow_to_previous(clip.plan.first + position)
            else:
                flows[source, position] = clip.flow_to_previous(position, "exact") if position else None
        return flows[source, position]

    def _shared(self, clip: DecodedClip) -> _ClipFacts:
        if self._facts is None or self._facts.clip is not clip:
            self._facts = _ClipFacts(clip)
        return self._facts


def _labels_of(result: ClipResult, position: int) -> Labels:
    return np.asarray(result.predictions[position].labels[0].cpu().numpy(), dtype=np.uint8)


def _references(specs: list[MethodSpec]) -> dict[str, str]:
    return reference_titles([spec.model_dump() for spec in specs])


def refuse_what_cannot_be_measured(
    experiment: Experiment, dataset: str, specs: list[MethodSpec], sequence: VideoSequence
) -> None:
    """Raise ConfigError naming method or dataset if the experiment's oracles cannot be run on a sequence."""
    if experiment.oracles:
        _references(specs)
        require_exact_flow(dataset, sequence)
