"""Copy-last: the keyframe's labels until the next keyframe."""

from vssbench.baselines.copy_last.method import CopyLast, CopyLastOptions, CopyLastState

__all__ = ["CopyLast", "CopyLastOptions", "CopyLastState"]
