"""Metrics: integer counts in, numbers with intervals out. Nothing here imports torch."""

from __future__ import annotations

from vssbench.metrics.bjontegaard import (
    BDResult,
    Curve,
    CurveError,
    bd_bitrate,
    bd_flops,
    bd_joules,
    bd_milliseconds,
    bd_miou,
)
from vssbench.metrics.boundary import BoundaryIoU, TrimapIoU
from vssbench.metrics.breakdown import BreakdownCounts, motion_breakdown, size_breakdown
from vssbench.metrics.confusion import count_pairs, iou, mean_iou
from vssbench.metrics.consistency import TemporalConsistency, VideoConsistency
from vssbench.metrics.intervals import (
    Interval,
    MeasuredCurve,
    MeasuredPoint,
    PairedDifference,
    UnitCounts,
    bd_with_interval,
    compare_methods,
    miou_difference,
    miou_intervals,
)
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU

__all__ = [
    "BDResult",
    "BoundaryIoU",
    "BreakdownCounts",
    "Curve",
    "CurveError",
    "DistanceIoU",
    "Interval",
    "KeyframeDistanceIoU",
    "MeasuredCurve",
    "MeasuredPoint",
    "PairedDifference",
    "TemporalConsistency",
    "TrimapIoU",
    "UnitCounts",
    "VideoConsistency",
    "bd_bitrate",
    "bd_flops",
    "bd_joules",
    "bd_milliseconds",
    "bd_miou",
    "bd_with_interval",
    "compare_methods",
    "count_pairs",
    "iou",
    "mean_iou",
    "miou_difference",
    "miou_intervals",
    "motion_breakdown",
    "size_breakdown",
]
