"""Choosing TapLab's thresholds: residual energy depends on codec, bitrate and content, so a rate is set instead.

No gradients: energies of training clips in, one factor on both published thresholds out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from vssbench.baselines.taplab.policy import RefreshRule
from vssbench.codec import flow_to_previous
from vssbench.errors import ConfigError
from vssbench.ops.compensation import compensated_difference, residual_energy
from vssbench.records import DecodedFrame

STEPS = 60
"""Bisections; each halves the range of the factor's logarithm."""


def clip_energies(decoded: Sequence[DecodedFrame]) -> list[float]:
    """Mean energy per pixel of every P frame of one decoded clip, as the method measures it by default.

    decoded: pictures of one GOP in display order, with motion. Raises ConfigError if motion is absent.
    """
    fields = [frame.motion for frame in decoded if frame.motion is not None]
    if len(fields) != len(decoded):
        raise ConfigError(
            "taplab calibration: the clip was decoded without motion; use decode(..., motion=True)"
        )
    pictures = [torch.from_numpy(np.array(frame.image)).permute(2, 0, 1)[None] for frame in decoded]
    energies = []
    for index in range(1, len(decoded)):
        flow = torch.from_numpy(np.array(flow_to_previous(fields, index)))[None]
        residual = compensated_difference(pictures[index], pictures[index - 1], flow)
        energies.append(float(residual_energy(residual).double().mean()))
    return energies


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
