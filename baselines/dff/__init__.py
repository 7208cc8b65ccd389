"""Deep Feature Flow: keyframe features carried along estimated flow, then scaled (CVPR 2017)."""

from vssbench.baselines.dff.method import DeepFeatureFlow, DFFOptions, DFFState

__all__ = ["DFFOptions", "DFFState", "DeepFeatureFlow"]
