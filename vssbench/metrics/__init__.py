"""Metrics: integer counts in, numbers with intervals out."""

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
from vssbench.metrics.confusion import count_pairs, iou, mean_iou
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU

__all__ = [
    "BDResult",
    "Curve",
    "CurveError",
    "DistanceIoU",
    "KeyframeDistanceIoU",
    "bd_bitrate",
    "bd_flops",
    "bd_joules",
    "bd_milliseconds",
    "bd_miou",
    "count_pairs",
    "iou",
    "mean_iou",
]
