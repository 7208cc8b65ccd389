"""Block-motion feature interpolation: features of both enclosing keyframes carried along block motion (ECCV-W 2018)."""

from vssbench.baselines.inter_bmv.fusion import LearnedFusion
from vssbench.baselines.inter_bmv.method import InterBMV, InterBMVOptions, InterBMVState

__all__ = ["InterBMV", "InterBMVOptions", "InterBMVState", "LearnedFusion"]
