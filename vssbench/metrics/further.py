"""The further metrics that an experiment can ask for, as integer counts of one frame and as numbers of many.

    metrics: [boundary, breakdown, consistency]

Counts of frames add up, so they are stored per case beside the confusion counts and divided once, when a run is read.
Every count here is int64 and has its class axis last: true positives with unions, or true positives with true and
predicted pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import InputError
from vssbench.metrics.boundary import (
    DEFAULT_DISTANCE_SHARE,
    DEFAULT_RADII,
    BoundaryIoU,
    TrimapIoU,
)
from vssbench.metrics.breakdown import (
    BreakdownCounts,
    motion_breakdown,
    motion_magnitude,
    segment_area,
    size_breakdown,
)
from vssbench.metrics.confusion import Counts, Ratios, mean_of_present
from vssbench.metrics.consistency import Window, average_windows, tc_name
from vssbench.records import IGNORE_INDEX, FlowField

METRIC_GROUPS = ("boundary", "breakdown", "consistency")
"""Names of the groups, as an experiment gives them."""
WINDOWS = (8, 16)
"""Lengths n of VC_n."""
VC_VARIANTS = ("released", "corrected")
NO_WINDOW = -1
"""Both numbers of a window that does not exist."""

BOUNDARY, TRIMAP, SEGMENT, MOTION, VC, TC = "boundary", "trimap", "segment", "motion:", "vc", "tc:"
"""Names of the counts in a unit record; `motion:` and `tc:` are followed by the source of the flow."""
ORACLE = "oracle "
ORACLE_EXACT, ORACLE_FILLED, ORACLE_SOURCE = "oracle exact", "oracle filled", "oracle source"
"""Names of the counts [cases, 2, C] of oracle runs; analysis/decomposition.py makes numbers of them."""

Values = NDArray[np.int64]


def boundary_counts(
    truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, ignore_index: int = IGNORE_INDEX
) -> dict[str, Values]:
    """Counts of one frame: 'boundary' [2, C] (both bands, either band), 'trimap' [R, 2, C] by ring."""
    bands = BoundaryIoU(classes, ignore_index=ignore_index)
    bands.update(truth, predicted)
    rings = TrimapIoU(classes, ignore_index=ignore_index)
    rings.update(truth, predicted)
    return {BOUNDARY: bands.sums, TRIMAP: hits_and_union(rings.rings)}


def segment_counts(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    areas: NDArray[np.float64],
    classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Values:
    """Counts [B, 3, C] of one frame by the size of the true segment; areas: `segment_area(truth)`."""
    found = size_breakdown(classes, ignore_index=ignore_index)
    found.update(truth, predicted, areas)
    return hits_truth_predicted(found.counts)


def motion_counts(
    truth: NDArray[np.integer],
    predicted: NDArray[np.integer],
    speeds: NDArray[np.float32] | None,
    classes: int,
    ignore_index: int = IGNORE_INDEX,
) -> Values:
    """Counts [B, 3, C] of one frame by speed; speeds: pixels per picture [H, W], None where the frame has no flow."""
    found = motion_breakdown(classes, ignore_index=ignore_index, source="any")
    known = np.full(truth.shape, np.nan, dtype=np.float32) if speeds is None else speeds
    found.update(truth, predicted, known)
    return hits_truth_predicted(found.counts)


def frame_areas(truth: NDArray[np.integer], ignore_index: int = IGNORE_INDEX) -> NDArray[np.float64]:
    """What `segment_counts` wants: a share of the frame per pixel."""
    return segment_area(truth, ignore_index)


def frame_speeds(flow: FlowField | None) -> NDArray[np.float32] | None:
    """What `motion_counts` wants: the length of a flow to the previous picture."""
    return None if flow is None else motion_magnitude(flow)


def hits_and_union(counts: Counts) -> Values:
    """[..., C, C] -> [..., 2, C]."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.stack([hits, counts.sum(-1) + counts.sum(-2) - hits], axis=-2)


def hits_truth_predicted(counts: Counts) -> Values:
    """[..., C, C] -> [..., 3, C]."""
    return np.stack([np.diagonal(counts, axis1=-2, axis2=-1), counts.sum(-1), counts.sum(-2)], axis=-2)


def ratios(hits: Values, union: Values) -> Ratios:
    """IoU; NaN where the union is empty."""
    out = np.full(hits.shape, np.nan)
    np.divide(hits, union, out=out, where=union > 0)
    return out


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of a further metric."""

    distance: int
    """Keyframe distance; -1: all of them."""
    class_index: int
    """-1: all classes."""
    metric: str
    value: float
    """0..1; NaN where it does not exist."""


def rows_of(
    name: str,
    values: Values,
    columns: NDArray[np.intp],
    distances: Sequence[int],
    streams: Sequence[str],
    frames: Sequence[int],
) -> Iterator[Measured]:
    """All numbers of one kind of counts [cases, ...].

    columns [cases]: index into `distances`; streams, frames [cases]: which coded stream a case is from, and where.
    Raises InputError for a name that this version does not know.
    """
    if name == VC:
        yield from _consistency_rows(values, streams, frames)
        return
    summed = np.stack([values[columns == d].sum(0) for d in range(len(distances))])
    if name == BOUNDARY:
        yield from _band_rows(
            f"boundary IoU ({100 * DEFAULT_DISTANCE_SHARE:g} % of the diagonal)", summed, distances
        )
    elif name == TRIMAP:
        cumulative = np.cumsum(summed, axis=1)
        for r, radius in enumerate(DEFAULT_RADII):
            yield from _mean_rows(f"trimap mIoU (r = {radius} px)", cumulative[:, r], distances)
    elif name == SEGMENT:
        yield from _bin_rows(size_breakdown(1), summed, distances)
    elif name.startswith(MOTION):
        yield from _bin_rows(motion_breakdown(1, source=name.removeprefix(MOTION)), summed, distances)
    elif name.startswith(TC):
        yield from _warp_rows(tc_name(name.removeprefix(TC)), values, columns, distances, streams)
    else:
        raise InputError(f"unit records hold counts named {name!r}, which this vssbench does not know")


def _band_rows(metric: str, summed: Values, distances: Sequence[int]) -> Iterator[Measured]:
    """Mean over classes by distance and over all, then every class; summed [D, 2, C]."""
    yield from _mean_rows(metric, summed, distances)
    by_class = ratios(summed[:, 0], summed[:, 1])
    for index, value in enumerate(mean_of_present(by_class.T)):
        yield Measured(-1, index, metric, float(value))
    for d, row in zip(distances, by_class, strict=True):
        for index, value in enumerate(row):
            yield Measured(d, index, metric, float(value))


def _mean_rows(metric: str, summed: Values, distances: Sequence[int]) -> Iterator[Measured]:
    """Mean over classes at each distance, and the plain mean over distances; NaN if one of them is empty."""
    found = mean_of_present(ratios(summed[:, 0], summed[:, 1]))
    yield Measured(-1, -1, metric, float(found.mean()))
    for d, value in zip(distances, found, strict=True):
        yield Measured(d, -1, metric, float(value))


def _bin_rows(kind: BreakdownCounts, summed: Values, distances: Sequence[int]) -> Iterator[Measured]:
    """Per bin; summed [D, B, 3, C]. Over all distances the counts are pooled, for some bins are empty at some d."""
    places = [(-1, summed.sum(0)), *zip(distances, summed, strict=True)]
    for d, counts in places:
        hits, truth, predicted = np.moveaxis(counts, 1, 0)
        miou, recall = (
            mean_of_present(ratios(hits, truth + predicted - hits)),
            mean_of_present(ratios(hits, truth)),
        )
        share = ratios(truth.sum(-1), np.broadcast_to(truth.sum(), truth.shape[:1]))
        for b, title in enumerate(kind.bins):
            where = f"{kind.quantity} {title}"
            pooled = "pooled " if d == -1 else ""
            yield Measured(d, -1, f"{pooled}mIoU, {where}", float(miou[b]))
            yield Measured(d, -1, f"{pooled}mean recall, {where}", float(recall[b]))
            yield Measured(d, -1, f"share of pixels, {where}", float(share[b]))


def _consistency_rows(values: Values, streams: Sequence[str], frames: Sequence[int]) -> Iterator[Measured]:
    """VC_n of all windows; values [cases, windows, variants, 2]. The released variant drops each stream's last one."""
    order = sorted(range(len(streams)), key=lambda i: (streams[i], frames[i]))
    for w, n in enumerate(WINDOWS):
        for v, variant in enumerate(VC_VARIANTS):
            found: dict[str, list[Window]] = {}
            for i in order:
                kept, still = (int(x) for x in values[i, w, v])
                windows = found.setdefault(streams[i], [])
                if still != NO_WINDOW:
                    windows.append((kept, still))
            used = [ws[:-1] if variant == "released" else ws for ws in found.values()]
            value, _ = average_windows(used, "released" if variant == "released" else "corrected")
            yield Measured(-1, -1, f"VC{n} ({variant})", value)


def _warp_rows(
    metric: str, values: Values, columns: NDArray[np.intp], distances: Sequence[int], streams: Sequence[str]
) -> Iterator[Measured]:
    """TC: mIoU per stream, plain mean over streams; values [cases, 3, C]. Then the same of the pairs at each d."""
    names = np.array(streams)
    of_stream = [names == name for name in dict.fromkeys(streams)]
    for d, chosen in (
        (-1, np.ones(len(values), bool)),
        *((d, columns == i) for i, d in enumerate(distances)),
    ):
        found = []
        for mine in of_stream:
            hits, before, now = values[chosen & mine].sum(0)
            found.append(float(mean_of_present(ratios(hits, before + now - hits))))
        yield Measured(d, -1, metric, float(mean_of_present(np.array(found))))
