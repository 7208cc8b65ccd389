"""Accel: warped features of a deep reference network corrected by a light one on every frame (CVPR 2019)."""

from vssbench.baselines.accel.fusion import ScoreFusion
from vssbench.baselines.accel.method import Accel, AccelOptions, AccelState

__all__ = ["Accel", "AccelOptions", "AccelState", "ScoreFusion"]
