"""AR-Seg on a schedule: the keyframe's feature is carried where that is good enough, and fused elsewhere."""

from vssbench.baselines.scheduled.method import Scheduled, ScheduledOptions

__all__ = ["Scheduled", "ScheduledOptions"]
