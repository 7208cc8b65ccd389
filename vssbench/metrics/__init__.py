"""Metrics: integer counts in, numbers with intervals out."""

from __future__ import annotations

from vssbench.metrics.confusion import count_pairs, iou, mean_iou
from vssbench.metrics.keyframe_iou import DistanceIoU, KeyframeDistanceIoU

__all__ = ["DistanceIoU", "KeyframeDistanceIoU", "count_pairs", "iou", "mean_iou"]
