"""TapLab: scores carried along motion vectors, corrected where residuals gather (TPAMI 2022)."""

from vssbench.baselines.taplab.calibration import refresh_rate, scale_for_rate
from vssbench.baselines.taplab.method import TapLab, TapLabOptions, TapLabState

__all__ = ["TapLab", "TapLabOptions", "TapLabState", "refresh_rate", "scale_for_rate"]
