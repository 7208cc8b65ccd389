"""Temporal consistency of label maps: VC_n as released and corrected, and flow-warped TC.

Frames come one by one; a few maps per sequence are kept, whatever its length. Each variant is another number
with another name: they are never mixed in a column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vssbench.errors import ConfigError, InputError
from vssbench.metrics.confusion import Counts, count_pairs, mean_iou
from vssbench.records import IGNORE_INDEX, FlowField

VcVariant = Literal["released", "corrected"]
Window = tuple[int, int]
"""(pixels kept by truth and prediction, pixels kept by truth)."""


@dataclass(frozen=True, slots=True)
class VideoConsistencyResult:
    """VC_n of all sequences, 0..1; NaN where no window could be scored."""

    name: str
    """'VC8 (released)', 'VC16 (corrected)', ...: the column's heading."""
    value: float
    """Released: mean over all windows. Corrected: mean over a sequence's windows, then over sequences."""
    windows: int
    """Windows that were scored."""
    empty_windows: int
    """Windows in which no true pixel keeps its class; they have no value and are in no mean."""
    short_sequences: tuple[str, ...]
    """Sequences with too few frames for one window; they are in no mean."""


class VideoConsistency:
    """VC_n: of the pixels whose true class stays the same over n frames, the share whose prediction does.

    released: as the published code computes it, for comparison with published mVC8 / mVC16. The prediction must
      be constant, right or wrong; ignored pixels count as a class of their own; the last window of every
      sequence is left out; all windows of all sequences are averaged.
    corrected: the prediction must equal the truth in all n frames; ignored pixels are not scored; every window
      counts; windows are averaged inside a sequence first.

    Source: Miao et al., VSPW, CVPR 2021; its VC_perclip.py as described in the project's specification.
    """

    def __init__(self, n: int, variant: VcVariant, ignore_index: int = IGNORE_INDEX) -> None:
        """Raises ConfigError for n < 2 or an unknown variant."""
        if n < 2:
            raise ConfigError(f"VC_n compares n frames, so n must be 2 or more, got {n}")
        if variant not in ("released", "corrected"):
            raise ConfigError(f"unknown variant {variant!r}; choose released or corrected")
        self.n, self.variant, self.ignore_index = n, variant, ignore_index
        self.windows: dict[str, tuple[Window, ...]] = {}
        self._open: _OpenSequence | None = None

    @property
    def name(self) -> str:
        """Column heading."""
        return f"VC{self.n} ({self.variant})"

    def update(self, sequence: str, truth: ArrayLike, predicted: ArrayLike) -> None:
        """Add the next frame of a sequence: label maps [H, W]. A new name ends the sequence before it.

        Raises InputError for shapes that differ or a sequence that was already ended.
        """
        true_map, predicted_map = np.asarray(truth), np.asarray(predicted)
        if self._open is None or self._open.name != sequence:
            self.end_sequence()
            if sequence in self.windows:
                raise InputError(
                    f"{self.name}: sequence {sequence!r} was ended; its frames must come in one run"
                )
            self._open = _OpenSequence(
                sequence, true_map.shape, WindowTracker(self.variant, self.ignore_index)
            )
        if not true_map.shape == predicted_map.shape == self._open.shape:
            raise InputError(
                f"{self.name}: sequence {sequence!r} has frames {self._open.shape}, got truth {true_map.shape} and "
                f"prediction {predicted_map.shape}"
            )
        self._open.add(true_map, predicted_map, self.n)

    def end_sequence(self) -> None:
        """Say that the current sequence has no more frames (`compute` and `merge` do it too)."""
        if self._open is not None:
            found = self._open.found[:-1] if self.variant == "released" else self._open.found
            self.windows[self._open.name] = tuple(found)
            self._open = None

    def merge(self, other: VideoConsistency) -> VideoConsistency:
        """Take the sequences of `other` in and return self.

        Raises ConfigError for another n, variant or ignore_index, InputError for a sequence in both.
        """
        mine, theirs = ((m.n, m.variant, m.ignore_index) for m in (self, other))
        if mine != theirs:
            raise ConfigError(
                f"cannot merge {self.name} with {other.name} (ignore_index {mine[2]} and {theirs[2]})"
            )
        self.end_sequence()
        other.end_sequence()
        _require_disjoint(self.name, self.windows, other.windows)
        self.windows = {**self.windows, **other.windows}
        return self

    def compute(self) -> VideoConsistencyResult:
        """Average what was counted."""
        self.end_sequence()
        ordered = [self.windows[name] for name in sorted(self.windows)]
        value, scored = average_windows(ordered, self.variant)
        return VideoConsistencyResult(
            name=self.name,
            value=value,
            windows=scored,
            empty_windows=sum(still == 0 for found in ordered for _, still in found),
            short_sequences=tuple(name for name in sorted(self.windows) if not self.windows[name]),
        )


def average_windows(sequences: Sequence[Sequence[Window]], variant: VcVariant) -> tuple[float, int]:
    """VC_n of the windows of each sequence, 0..1 or NaN, and how many windows have a value.

    Released: mean over all windows (whose last one per sequence must have been dropped). Corrected: mean over a
    sequence's windows, then over sequences.
    """
    per_sequence = [[kept / still for kept, still in found if still] for found in sequences]
    scored = [ratio for ratios in per_sequence for ratio in ratios]
    means = scored if variant == "released" else [float(np.mean(r)) for r in per_sequence if r]
    return (float(np.mean(means)) if means else float("nan")), len(scored)


class WindowTracker:
    """Per pixel: for how many frames truth and prediction have been what they are. Frames of one sequence in order."""

    def __init__(self, variant: VcVariant, ignore_index: int = IGNORE_INDEX) -> None:
        self.variant, self.ignore_index = variant, ignore_index
        self.seen = 0
        self._still: NDArray[np.int32] = np.zeros((), dtype=np.int32)
        self._kept: NDArray[np.int32] = np.zeros((), dtype=np.int32)
        self._last: tuple[NDArray[np.generic], NDArray[np.generic]] | None = None

    def push(self, truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> None:
        """Take the next frame: label maps [H, W]."""
        same_truth, same_prediction = (
            (True, True) if self._last is None else (truth == self._last[0], predicted == self._last[1])
        )
        still = np.where(same_truth, self._still, 0) + 1
        kept = np.where(same_prediction, self._kept, 0) + 1
        if self.variant == "corrected":
            still = np.where(truth == self.ignore_index, 0, still)
            kept = np.where(truth == predicted, kept, 0)
        self._still, self._kept = (np.broadcast_to(a, truth.shape) for a in (still, kept))
        self._last = truth.copy(), predicted.copy()
        self.seen += 1

    def window(self, n: int) -> Window | None:
        """The window of n frames that ends with the last one; None while there are fewer."""
        if self.seen < n:
            return None
        still = self._still >= n
        return int((still & (self._kept >= n)).sum()), int(still.sum())


class _OpenSequence:
    """The sequence whose frames are coming in."""

    def __init__(self, name: str, shape: tuple[int, ...], tracker: WindowTracker) -> None:
        self.name, self.shape, self.tracker = name, shape, tracker
        self.found: list[Window] = []

    def add(self, truth: NDArray[np.generic], predicted: NDArray[np.generic], n: int) -> None:
        self.tracker.push(truth, predicted)
        window = self.tracker.window(n)
        if window is not None:
            self.found.append(window)


@dataclass(frozen=True, slots=True)
class TemporalConsistencyResult:
    """Agreement of each prediction with the one before it, moved along the flow; 0..1."""

    name: str
    """The column's heading; names the flow source."""
    value: float
    """mIoU per sequence, plain mean over sequences; NaN without a frame pair."""
    pooled: float
    """mIoU of the counts of all sequences together."""
    unpaired_sequences: tuple[str, ...]
    """Sequences without any compared pixel (single frames, or no valid flow); they are in no mean."""
    compared_share: float
    """Share of pixels that had a valid flow inside the frame."""
    circular: bool
    """The flow is the codec's own motion: methods that warp with it are favoured."""


class TemporalConsistency:
    """TC: mIoU between the prediction and the previous prediction warped to it along a given flow.

    Label values are moved by nearest neighbour, so no class is invented at edges; pixels whose flow is invalid
    (occluded, intra) or leaves the frame are not compared. Flow is `FlowField` towards the previous frame.
    Source: after Liu et al., ECCV 2020 (arXiv 2002.11433), whose code warps the later map back, interpolates
    class numbers and masks nothing; these are corrected here, so values differ from published ones.
    """

    def __init__(self, classes: int, flow_source: str) -> None:
        """flow_source: 'exact', 'motion vectors', or the name of an estimator; it becomes part of the name."""
        if not flow_source:
            raise ConfigError("name the flow source: TC values of different sources do not compare")
        self.classes, self.flow_source = classes, flow_source
        self.counts: dict[str, Counts] = {}
        self.compared: int = 0
        self.pixels: int = 0
        self._last: tuple[str, NDArray[np.integer]] | None = None

    @property
    def name(self) -> str:
        """Column heading."""
        return tc_name(self.flow_source)

    def update(self, sequence: str, predicted: ArrayLike, flow: FlowField | None) -> None:
        """Add the next frame of a sequence: label map [H, W] and its flow to the previous frame.

        flow is not used (and may be None) for the first frame. Raises InputError for a missing flow, shapes
        that differ, or a sequence that comes back after another one.
        """
        current = np.asarray(predicted)
        if self._last is None or self._last[0] != sequence:
            if sequence in self.counts:
                raise InputError(f"{self.name}: frames of sequence {sequence!r} must come in one run")
            count_pairs(current, current, self.classes, ignore_index=-1)  # refuses values outside the classes
            self.counts[sequence] = np.zeros((self.classes, self.classes), dtype=np.int64)
        else:
            if flow is None:
                raise InputError(
                    f"{self.name}: sequence {sequence!r} has a frame without flow to the previous one"
                )
            if not current.shape == self._last[1].shape == flow.valid.shape:
                raise InputError(
                    f"{self.name}: sequence {sequence!r} has labels {self._last[1].shape}, then {current.shape}, and "
                    f"flow {flow.valid.shape}"
                )
            found = warped_counts(self._last[1], current, flow, self.classes)
            self.counts[sequence] += found
            self.compared += int(found.sum())
            self.pixels += current.size
        self._last = (sequence, current.copy())

    def merge(self, other: TemporalConsistency) -> TemporalConsistency:
        """Take the sequences of `other` in and return self. Raises ConfigError for unlike settings."""
        if (self.classes, self.flow_source) != (other.classes, other.flow_source):
            raise ConfigError(
                f"cannot merge {self.name} of {self.classes} classes with {other.name} of {other.classes}"
            )
        _require_disjoint(self.name, self.counts, other.counts)
        self.counts = {**self.counts, **other.counts}
        self.compared += other.compared
        self.pixels += other.pixels
        self._last = None
        return self

    def compute(self) -> TemporalConsistencyResult:
        """Divide once per sequence."""
        names = sorted(self.counts)
        used = [self.counts[name] for name in names if self.counts[name].any()]
        nan = float("nan")
        return TemporalConsistencyResult(
            name=self.name,
            value=float(mean_iou(np.stack(used)).mean()) if used else nan,
            pooled=float(mean_iou(np.sum(used, axis=0))) if used else nan,
            unpaired_sequences=tuple(name for name in names if not self.counts[name].any()),
            compared_share=self.compared / self.pixels if self.pixels else nan,
            circular=self.flow_source == "motion vectors",
        )


def tc_name(flow_source: str) -> str:
    """Column heading of TC along the flow of a source."""
    return f"TC (flow: {flow_source}, nearest, occlusions masked)"


def warped_counts(
    previous: NDArray[np.integer], current: NDArray[np.integer], flow: FlowField, classes: int
) -> Counts:
    """Label pairs [C, C] of the previous map, moved along the flow, and the current one, where the flow is known."""
    moved, valid = warp_labels(previous, flow)
    source = np.where(valid, moved.astype(np.uint16), classes)
    return count_pairs(source, current, classes, ignore_index=classes)


def warp_labels(
    previous: NDArray[np.integer], field: FlowField
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Labels of the previous frame at the place each pixel came from, and where that is known.

    Nearest neighbour, halves rounded to even; outside the frame and where the field is invalid: not known.

    previous 5 6 7, flow x = -1 everywhere  ->  labels ? 5 6, valid False True True
    """
    rows, columns = previous.shape
    y, x = np.mgrid[:rows, :columns]
    source_x, source_y = np.rint(x + field.flow[0]), np.rint(y + field.flow[1])
    inside = (source_x >= 0) & (source_x < columns) & (source_y >= 0) & (source_y < rows)
    valid = inside & field.valid
    index = np.where(valid, source_y * columns + source_x, 0).astype(np.intp)
    return previous.reshape(-1)[index], valid


def _require_disjoint(metric: str, mine: Mapping[str, object], theirs: Mapping[str, object]) -> None:
    common = sorted(mine.keys() & theirs.keys())
    if common:
        raise InputError(
            f"{metric}: sequence {common[0]!r} is in both parts ({len(common)} such); parts must differ"
        )
