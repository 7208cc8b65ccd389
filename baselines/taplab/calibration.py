"""Choosing TapLab's thresholds: residual energy depends on codec, bitrate and content, so a rate is set instead.

No gradients: energies of training clips in, one factor on both published thresholds out.
"""

from __future__ import annotations

from collections.abc import Sequence

from vssbench.baselines.taplab.policy import RefreshRule
from vssbench.errors import ConfigError

STEPS = 60
"""Bisections; each halves the range of the factor's logarithm."""


def refresh_rate(energies: Sequence[Sequence[float]], scale: float) -> float:
    """Share of the frames that would be segmented whole; energies: per clip, mean energy per pixel of each P frame."""
    due = total = 0
    for clip in energies:
        rule = RefreshRule(scale)
        due += sum(rule.is_due(energy) for energy in clip)
        total += len(clip)
    if not total:
        raise ConfigError("taplab calibration: no frames between keyframes; give clips of two frames or more")
    return due / total


def scale_for_rate(energies: Sequence[Sequence[float]], rate: float) -> float:
    """Smallest factor found by bisection whose refresh rate is at most `rate` (0..1).

    Raises ConfigError for a rate outside 0..1 or clips without frames.
    """
    if not 0 <= rate <= 1:
        raise ConfigError(f"taplab calibration: rate {rate} must lie in 0..1")
    low, high = 1e-6, 1e6
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        if refresh_rate(energies, middle) <= rate:
            high = middle
        else:
            low = middle
    return high
