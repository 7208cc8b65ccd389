"""Blocks of consecutive labelled frames: how long they should be, and drawing them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def block_weights(
    sequence_of: NDArray[np.intp], length: int, resamples: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Blocks from anywhere in any sequence, wrapped around inside it: [resamples, units].

    length 3, one sequence of 5 frames, start 3:  frames 3 4 0
    """
    total = len(sequence_of)
    size = np.bincount(sequence_of)[sequence_of]
    first = np.searchsorted(sequence_of, sequence_of)
    change = np.zeros((resamples, total + 1), dtype=np.int16)  # where the weight steps up and down
    rows = np.arange(resamples)
    for _ in range(max(2, round(total / length))):
        start = rng.integers(0, total, resamples)
        begin, end = first[start], first[start] + size[start]
        stop = start + np.minimum(length, size[start])  # a shorter sequence is taken once, not twice
        change[rows, start] += 1
        change[rows, np.minimum(stop, end)] -= 1
        wrapped = np.maximum(stop - end, 0)
        change[rows, begin] += wrapped > 0
        change[rows, begin + wrapped] -= wrapped > 0
    return np.cumsum(change[:, :-1], axis=1, dtype=np.int16).astype(np.uint16)


def block_length(values: Values, sequence_of: NDArray[np.intp]) -> int:
    """Labelled frames per block, from the autocorrelation of the per-frame influence.

    Twice the length of Politis and White (2004, corrected 2009) for circular blocks, at least sqrt(n): shorter
    blocks cover too little at the sizes of VSS test sets (docs/metrics.md).
    """
    total = len(values)
    sizes = np.bincount(sequence_of)
    cap = max(1, min(int(sizes.max()) // 2, total // 4))
    length = max(2 * _politis_white(values, sequence_of, int(sizes.max())), math.sqrt(total))
    return int(min(math.ceil(length), cap))


def _politis_white(values: Values, sequence_of: NDArray[np.intp], longest: int) -> float:
    total = len(values)
    run = max(5, math.ceil(math.sqrt(math.log10(total))))
    largest_lag = min(math.ceil(math.sqrt(total)) + run, longest - 2)
    if largest_lag <= run:
        return 1.0
    centred = values - values.mean()
    covariance = np.empty(largest_lag + 1)
    for lag in range(largest_lag + 1):
        together = sequence_of[lag:] == sequence_of[: total - lag]
        covariance[lag] = (centred[lag:] * centred[: total - lag])[together].sum() / total
    if covariance[0] <= 0:
        return 1.0
    small = np.abs(covariance / covariance[0]) < 2 * math.sqrt(math.log10(total) / total)
    starts = (m for m in range(largest_lag - run + 1) if small[m + 1 : m + 1 + run].all())
    bandwidth = min(max(2 * next(starts, largest_lag - run), 1), largest_lag)
    lags = np.arange(1, bandwidth + 1)
    taper = np.minimum(1.0, 2 * (1 - lags / bandwidth))
    spectrum = covariance[0] + 2 * float((taper * covariance[1 : bandwidth + 1]).sum())
    slope = 2 * float((taper * lags * covariance[1 : bandwidth + 1]).sum())
    if spectrum <= 0:
        return 1.0
    return float((1.5 * slope**2 / spectrum**2 * total) ** (1 / 3))
