"""Intervals over training seeds: how far a figure would move if the networks were trained again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vssbench.errors import InputError


@dataclass(frozen=True, slots=True)
class SeedInterval:
    """Mean of one figure over seeds with Student's interval of that mean."""

    mean: float
    deviation: float
    """Sample standard deviation; NaN for one seed."""
    low: float
    """Lower end of the interval; NaN for one seed."""
    high: float
    seeds: int
    level: float

    @property
    def method(self) -> str:
        """How the interval was made, as a report prints it."""
        return f"{100 * self.level:g} % Student's t over {self.seeds} training seeds"


def over_seeds(values: Sequence[float], *, level: float = 0.95) -> SeedInterval:
    """Mean and interval mean +- t * deviation / sqrt(n) of one value per seed.

    It covers the randomness of training only, not the choice of frames. One seed has no interval (NaN).

    values 1, 2, 3:  mean 2, deviation 1, t(2 degrees) = 4.303  ->  2 +- 2.484
    Raises InputError without any value or with a level outside 0..1.
    """
    from scipy.special import stdtrit

    if not values or not 0 < level < 1:
        raise InputError(
            f"an interval over seeds needs a value and a level in 0..1, got {len(values)}, {level}"
        )
    mean = float(np.mean(values))
    if len(values) == 1:
        return SeedInterval(mean, math.nan, math.nan, math.nan, 1, level)
    deviation = float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, (1 + level) / 2)) * deviation / math.sqrt(len(values))
    return SeedInterval(mean, deviation, mean - half, mean + half, len(values), level)
