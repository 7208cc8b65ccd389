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
from vssbench.metrics.bootstrap import (
    BootstrapOptions,
    Interval,
    MeasuredCurve,
    MeasuredPoint,
    PairedDifference,
    UnitCounts,
    bootstrap_bd,
    bootstrap_difference,
    bootstrap_miou,
    compare_methods,
)
from vssbench.metrics.boundary import BoundaryIoU, TrimapIoU
from vssbench.metrics.breakdown import BreakdownCounts, motion_breakdown, size_breakdown
from vssbench.metrics.confusion import count_pairs, iou, mean_iou
from vssbench.metrics.consistency import TemporalConsistency, VideoConsistency
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU

__all__ = [
    "BDResult",
    "BootstrapOptions",
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
    "bootstrap_bd",
    "bootstrap_difference",
    "bootstrap_miou",
    "compare_methods",
    "count_pairs",
    "iou",
    "mean_iou",
    "motion_breakdown",
    "size_breakdown",
]
