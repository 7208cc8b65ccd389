"""AR-Seg: keyframes at full, other frames at low resolution, fused along the motion (CVPR 2023)."""

from vssbench.baselines.ar_seg.creff import CReFF
from vssbench.baselines.ar_seg.fusion import FusedOutput, FusionNetwork
from vssbench.baselines.ar_seg.method import ARSeg, ARSegState
from vssbench.baselines.ar_seg.options import ARSegOptions
from vssbench.baselines.ar_seg.settings import CReFFSettings
from vssbench.baselines.ar_seg.variants import VARIANTS, Variant

__all__ = [
    "VARIANTS",
    "ARSeg",
    "ARSegOptions",
    "ARSegState",
    "CReFF",
    "CReFFSettings",
    "FusedOutput",
    "FusionNetwork",
    "Variant",
]
