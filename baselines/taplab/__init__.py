"""TapLab: scores carried along motion vectors, corrected where residuals gather (TPAMI 2022)."""

from vssbench.baselines.taplab.calibration import clip_energies, refresh_rate, scale_for_rate
from vssbench.baselines.taplab.method import TapLab, TapLabOptions, TapLabState

__all__ = ["TapLab", "TapLabOptions", "TapLabState", "clip_energies", "refresh_rate", "scale_for_rate"]
