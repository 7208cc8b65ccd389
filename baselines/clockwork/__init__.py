"""Clockwork: shallow stage on every frame, deep stage when its clock ticks (ECCV-W 2016)."""

from vssbench.baselines.clockwork.method import Clockwork, ClockworkOptions, ClockworkState

__all__ = ["Clockwork", "ClockworkOptions", "ClockworkState"]
