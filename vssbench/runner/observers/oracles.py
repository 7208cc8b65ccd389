"""Oracle runs: the same clip with one imperfection taken away, so that its share of the loss can be told.

    exact     the method with the exact motion of the synthetic streets in place of the codec's
    filled    the same, and where the keyframe does not show what the frame shows, the answer of the full-resolution
              network on the frame itself
    source    the full-resolution network on the frames as they were before encoding (stored with that method)

docs/metrics.md says how the loss is split by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from vssbench.analysis.decomposition import reference_titles
from vssbench.dataset import VideoSequence
from vssbench.engine.evaluate import ClipResult, run_method
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.engine.reading import exact_flow_of, image_of
from vssbench.errors import CapabilityError
from vssbench.experiment.schema import MethodSpec
from vssbench.method import FlowRule, Method
from vssbench.metrics.confusion import count_pairs
from vssbench.metrics.further import ORACLE_EXACT, ORACLE_FILLED, ORACLE_SOURCE, hits_and_union
from vssbench.records import FlowField
from vssbench.results.roster import method_entry
from vssbench.runner.observers.accuracy import UnitRecords
from vssbench.runner.observers.observer import Labels, Observer


def require_exact_flow(dataset: str, sequence: VideoSequence) -> None:
    """Raise CapabilityError naming the dataset if its flow is not known exactly."""
    if len(sequence) > 1 and exact_flow_of(sequence, 1, dataset) is None:
        raise CapabilityError(
            f"oracles: dataset {dataset} (sequence {sequence.name}) has no exact flow, so its loss cannot be decomposed; "
            "leave oracles off, or use the dataset synthetic"
        )


@dataclass(eq=False)
class ExactClip(DecodedClip):
    """A decoded clip whose motion is the dataset's exact one."""

    sequence: VideoSequence | None = None
    _exact_to_key: list[FlowField] = field(default_factory=list)

    @classmethod
    def of(cls, clip: DecodedClip, sequence: VideoSequence) -> ExactClip:
        """The same pictures with exact motion."""
        return cls(
            clip.plan, clip.frames, clip.keyframe_interval, clip.history, clip.lookahead, sequence=sequence
        )

    def flow_to_key(self, position: int, rule: FlowRule) -> FlowField:
        """Exact flow composed hop by hop, as a codec's is; not valid where any hop is occluded or leaves the frame."""
        while len(self._exact_to_key) <= position:
            hop = len(self._exact_to_key)
            self._exact_to_key.append(
                compose(self.flow_to_previous(hop, rule), self._exact_to_key[-1])
                if hop
                else _standing(self.frames[0].image.shape[:2])
            )
        return self._exact_to_key[position]

    def flow_to_previous(self, position: int, rule: FlowRule) -> FlowField:
        """Exact flow towards the picture before."""
        assert self.sequence is not None  # set by `of`
        found = exact_flow_of(self.sequence, self.plan.first + position)
        if found is None:
            raise CapabilityError(
                f"sequence {self.sequence.name} has no exact flow at frame {self.plan.first + position}; leave oracles off"
            )
        return found


def _standing(size: tuple[int, ...]) -> FlowField:
    rows, columns = size
    return FlowField(np.zeros((2, rows, columns), np.float32), np.ones((rows, columns), np.bool_))


def compose(hop: FlowField, rest: FlowField) -> FlowField:
    """Flow of a hop followed by the flow from where it ends (nearest pixel); not valid where either is not.

    hop x = -1, rest x = -2 everywhere  ->  x = -3, not valid in the first column
    """
    rows, columns = hop.valid.shape
    y, x = np.mgrid[:rows, :columns]
    to_x, to_y = np.rint(x + hop.flow[0]).astype(np.intp), np.rint(y + hop.flow[1]).astype(np.intp)
    inside = (to_x >= 0) & (to_x < columns) & (to_y >= 0) & (to_y < rows)
    to_x, to_y = to_x.clip(0, columns - 1), to_y.clip(0, rows - 1)
    return FlowField(
        np.ascontiguousarray(hop.flow + rest.flow[:, to_y, to_x]),
        np.ascontiguousarray(hop.valid & inside & rest.valid[to_y, to_x]),
    )


class Oracles(Observer):
    """Makes the oracle runs of one sequence under one codec for the units that are owed."""

    def __init__(
        self,
        records: UnitRecords,
        methods: Mapping[str, Method],
        reference_of: Mapping[str, str],
        sequence: VideoSequence,
        device: torch.device,
    ) -> None:
        self.records, self.methods, self.reference_of = records, methods, reference_of
        self.sequence, self.classes, self.device = sequence, records.classes, device
        self._exact: tuple[DecodedClip, ExactClip] | None = None

    def wants(self, unit: str) -> set[str]:
        """The full-resolution references of the methods that are owed."""
        return {self.reference_of[title] for title in self.records.wants(unit)}

    def see(self, clip: DecodedClip, labels: Mapping[int, Labels], results: Mapping[str, ClipResult]) -> None:
        """Run the oracles of every owed method on one clip."""
        for title in self.records.wants(clip.plan.unit):
            counts = self._count(title, clip, labels, results)
            self.records.measure(title, clip.plan.unit, counts)

    def _count(
        self,
        title: str,
        clip: DecodedClip,
        labels: Mapping[int, Labels],
        results: Mapping[str, ClipResult],
    ) -> dict[str, NDArray[np.int64]]:
        """Counts [cases, 2, C] of the oracle runs of one method on one clip; its reference must be among `results`."""
        found: dict[str, NDArray[np.int64]] = {}
        method = self.methods[title]
        if method.needs.flow:
            exact = self._exact_clip(clip)
            moved = _predictions(run_method(method, exact, ClipFeed(exact, self.device)), clip)
            full = _predictions(results[self.reference_of[title]], clip)
            valid = {p: exact.flow_to_key(p, "exact").valid for p in clip.plan.scored}
            filled = {p: np.where(valid[p], moved[p], full[p]) for p in clip.plan.scored}
            found |= {ORACLE_EXACT: self._counts(labels, moved), ORACLE_FILLED: self._counts(labels, filled)}
        if title == self.reference_of[title]:
            source = self._source_clip(clip)
            answered = run_method(method, source, ClipFeed(source, self.device))
            found[ORACLE_SOURCE] = self._counts(labels, _predictions(answered, clip))
        return found

    def _exact_clip(self, clip: DecodedClip) -> ExactClip:
        if self._exact is None or self._exact[0] is not clip:
            self._exact = clip, ExactClip.of(clip, self.sequence)
        return self._exact[1]

    def _source_clip(self, clip: DecodedClip) -> DecodedClip:
        frames = [
            replace(frame, image=np.array(image_of(self.sequence, clip.plan.first + p)))
            if p in clip.plan.scored
            else frame
            for p, frame in enumerate(clip.frames)
        ]
        return DecodedClip(clip.plan, frames, clip.keyframe_interval)

    def _counts(self, labels: Mapping[int, Labels], predicted: dict[int, Labels]) -> NDArray[np.int64]:
        classes = self.classes
        pairs = [count_pairs(labels[p], predicted[p], len(classes), classes.ignore_index) for p in predicted]
        return hits_and_union(np.stack(pairs))


def _predictions(result: ClipResult, clip: DecodedClip) -> dict[int, Labels]:
    return {p: result.labels(p) for p in clip.plan.scored}


def oracle_references(specs: Sequence[MethodSpec]) -> dict[str, str]:
    """Title of each method -> that of its full-resolution counterpart. Raises ConfigError naming a method without one."""
    return reference_titles([method_entry(spec) for spec in specs])


def refuse_impossible_oracles(dataset: str, specs: Sequence[MethodSpec], sequence: VideoSequence) -> None:
    """Raise ConfigError naming method or dataset if oracles cannot be run on a sequence."""
    oracle_references(specs)
    require_exact_flow(dataset, sequence)
