"""Was a contestant still improving when its training ended?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

THRESHOLD = 0.01
"""Gain of mIoU (0..1) over the last third of the steps, by a fitted line, from which the warning is given."""


ENOUGH = 3
"""Validations in the last third from which the question can be answered."""


def last_third(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The validations of `curve` [(step, mIoU)] in its last third that have a value."""
    return [(step, miou) for step, miou in curve if step > curve[-1][0] * 2 / 3 and np.isfinite(miou)]


def still_improving(curve: Sequence[tuple[float, float]], threshold: float = THRESHOLD) -> float | None:
    """The fitted gain over the last third of `curve` [(step, mIoU)] if it is at least `threshold`, else None.

    A line is fitted to the validations of the last third (at least three of them, else the question is not answered
    and None comes back).

    steps 0..900, mIoU of the validations after step 600:  700 0.50, 800 0.51, 900 0.52  ->  0.03 (0.01 per 100 steps)
    """
    if not curve:
        return None
    tail = last_third(curve)
    if len(tail) < ENOUGH:
        return None
    last = curve[-1][0]
    steps, values = np.array(tail, np.float64).T
    gain = float(np.polyfit(steps, values, 1)[0] * last / 3)
    return gain if gain >= threshold - 1e-12 else None
