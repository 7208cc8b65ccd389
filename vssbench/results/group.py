"""All cases of one dataset, codec and method, summed and ready for intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.confusion import iou, mean_of_present
from vssbench.metrics.further import ORACLE, Measured, rows_of
from vssbench.metrics.intervals import MiouIntervals, miou_intervals
from vssbench.metrics.unit_counts import UnitMargins, margins_of_cases
from vssbench.records import CodedQuality
from vssbench.results.schema import UnitRecord


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
    unit_kbps: list[float]
    """Achieved bitrate of each unit."""
    qualities: list[CodedQuality | None]
    """Of the bitstreams behind each unit, None where the frames before coding are unknown."""
    step_ms: dict[str, float]
    """Mean wall time of a frame in milliseconds: 'key' the keyframe, 'non_key' the frames after it."""
    steps: dict[str, int]
    """Answered frames by kind of step."""
    executed_share: float
    frame_types: dict[str, int]
    """How many scored frames were decoded as I, P, B."""
    clip_frames: tuple[int, int]
    """Shortest and longest clip behind the cases."""
    pictures_per_keyframe: float
    """Mean length of the clips behind the cases, each counted once."""
    decoded_digests: list[str]
    """Digest of decoded pixels and motion of each unit."""
    unit_step_ms: dict[str, list[float]]
    """The same in each unit."""
    workers: tuple[int, ...]
    """How many worker processes ran side by side while the units were timed, each number once."""
    unit_names: list[str]
    """'SEQUENCE/UNIT' of each unit, in the order of the lists above."""
    measured: dict[str, NDArray[np.int64]]
    """Counts of further metrics and oracle runs by name, each [cases, ...] (metrics/further.py)."""
    case_streams: list[str]
    """[cases] the coded stream that a case is from: 'SEQUENCE/PHASE'; empty if nothing further was measured."""

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
        return UnitMargins(
            self.method, margins, shape, tuple(s for s, _ in chosen), tuple(f for _, f in chosen)
        )

    def unit_counts(self) -> UnitMargins:
        """The counts by labelled frame; frames without a scored pixel are left out."""
        return self._units

    @property
    def unscored_frames(self) -> list[tuple[str, int]]:
        """Labelled frames in which every pixel is ignored: they count nothing."""
        used = set(zip(self._units.sequences, self._units.frames, strict=True))
        return [place for place in self.labelled if place not in used]

    @property
    def kbps(self) -> float:
        """Achieved bitrate, mean over the units."""
        return float(np.mean(self.unit_kbps))

    @property
    def quality(self) -> CodedQuality | None:
        """Of what was coded, over all units; None where that of any is unknown."""
        return CodedQuality.pooled(self.qualities)

    @cached_property
    def intervals(self) -> MiouIntervals | None:
        """Intervals of mIoU, mIoU_d and classes; each says itself why it has no ends. None with an empty distance."""
        return miou_intervals(self.unit_counts()) if self.total.any(axis=(1, 2)).all() else None

    def measured_at(self, name: str) -> NDArray[np.int64]:
        """Counts of one name summed by distance: [D, ...]."""
        columns = self.case_places[:, 1]
        return np.stack([self.measured[name][columns == d].sum(0) for d in range(len(self.distances))])

    @cached_property
    def further(self) -> list[Measured]:
        """Every number of the further metrics; none if the experiment asked for none."""
        frames = [self.labelled[row][1] for row in self.case_places[:, 0]] if self.measured else []
        return [
            row
            for name, values in self.measured.items()
            if not name.startswith(ORACLE)
            for row in rows_of(
                name, values, self.case_places[:, 1], self.distances, self.case_streams, frames
            )
        ]

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


def build_group(key: tuple[str, str, str], units: Sequence[UnitRecord]) -> Group:
    """Gather the units of one (dataset, codec, method). Raises InputError if they do not hold the same counts."""
    cases = [case for unit in units for case in unit.cases]
    sequences = [unit.key.sequence for unit in units for _ in unit.cases]
    frames, of_case, types, firsts, lengths, _, _ = zip(*cases, strict=True)
    clips = set(zip(sequences, firsts, lengths, strict=True))
    labelled = sorted(set(zip(sequences, frames, strict=True)))
    row = {place: i for i, place in enumerate(labelled)}
    distances, columns = np.unique(np.array(of_case), return_inverse=True)
    rows = [row[place] for place in zip(sequences, frames, strict=True)]
    steps: Counter[str] = Counter()
    for unit in units:
        steps.update(unit.steps)
    timed = [_timed(unit) for unit in units]
    return Group(
        *key,
        distances=tuple(distances.tolist()),
        units=len(units),
        labelled=tuple(labelled),
        case_counts=_concatenated([unit.counts for unit in units], key, "classes"),
        case_places=np.stack([np.array(rows, dtype=np.intp), columns.astype(np.intp)], axis=1),
        frames=np.bincount(columns, minlength=len(distances)).astype(np.int64),
        unit_kbps=[unit.achieved_kbps for unit in units],
        qualities=[unit.quality for unit in units],
        step_ms=_step_ms(timed),
        steps=dict(steps),
        executed_share=float(np.mean([unit.executed_share for unit in units])),
        frame_types=dict(sorted(Counter(types).items())),
        clip_frames=(min(lengths), max(lengths)),
        pictures_per_keyframe=sum(length for _, _, length in clips) / len(clips),
        decoded_digests=[unit.decoded_digest for unit in units],
        unit_step_ms=_unit_step_ms(timed),
        workers=tuple(sorted({int(unit.timings["workers"]) for unit in units if "workers" in unit.timings})),
        unit_names=[f"{unit.key.sequence}/{unit.key.unit}" for unit in units],
        measured=_measured(key, units),
        case_streams=[_stream(unit) for unit in units for _ in unit.cases] if units[0].measured else [],
    )


def _stream(unit: UnitRecord) -> str:
    """A phase of a sequence is one coded stream; units are named phase-00-gop-000003."""
    return f"{unit.key.sequence}/{unit.key.unit.split('-gop-')[0]}"


def _measured(key: tuple[str, str, str], units: Sequence[UnitRecord]) -> dict[str, NDArray[np.int64]]:
    names = list(units[0].measured)
    for unit in units:
        if set(unit.measured) != set(names):
            raise InputError(
                f"{' / '.join(key)}: unit {unit.key.sequence}/{unit.key.unit} holds the counts {sorted(unit.measured)}, "
                f"others {sorted(names)}; delete its file and run the experiment again"
            )
    return {name: _concatenated([u.measured[name] for u in units], key, name) for name in names}


def _concatenated(
    parts: Sequence[NDArray[np.int64]], key: tuple[str, str, str], what: str
) -> NDArray[np.int64]:
    shapes = {part.shape[1:] for part in parts}
    if len(shapes) != 1:
        raise InputError(
            f"{' / '.join(key)}: units were counted with different tables ({what}: {sorted(shapes)}); "
            "they are of different experiments, run it again in a folder of its own"
        )
    return np.concatenate(parts)


Timed = dict[str, tuple[float, float]]
"""Place in the GOP -> (frames, seconds)."""


def _timed(unit: UnitRecord) -> Timed:
    places = {name.removeprefix("step_"): s for name, s in unit.timings.items() if name.startswith("step_")}
    frames = {place: unit.timings[f"steps_{place}"] for place in places}
    return {place: (frames[place], seconds) for place, seconds in places.items() if frames[place] and seconds}


def _step_ms(units: Sequence[Timed]) -> dict[str, float]:
    """Mean wall time per frame in milliseconds, by place in the GOP."""
    frames: dict[str, float] = {}
    sums: dict[str, float] = {}
    for unit in units:
        for place, (number, seconds) in unit.items():
            frames[place] = frames.get(place, 0.0) + number
            sums[place] = sums.get(place, 0.0) + seconds
    return {place: 1000 * sums[place] / number for place, number in frames.items()}


def _unit_step_ms(units: Sequence[Timed]) -> dict[str, list[float]]:
    """The same unit by unit."""
    found: dict[str, list[float]] = {}
    for unit in units:
        for place, (number, seconds) in unit.items():
            found.setdefault(place, []).append(1000 * seconds / number)
    return found
