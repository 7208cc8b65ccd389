"""Block motion compensation of results with guided inpainting of what it cannot carry (Tanujaya et al., ISCAS 2020)."""

from vssbench.baselines.tanujaya.method import Tanujaya, TanujayaOptions
from vssbench.baselines.tanujaya.repair import GuidedRepair, PixelAdaptiveConvolution

__all__ = ["GuidedRepair", "PixelAdaptiveConvolution", "Tanujaya", "TanujayaOptions"]
