"""Axes of the page's charts: ranges, round tick positions, data to picture coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Axis:
    """Maps data values in [low, high] to picture coordinates [start, end], linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Picture coordinate of a data value, two decimals."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)


def round_step(span: float, count: int) -> float:
    """The smallest of 1, 2, 5 x 10^n that cuts `span` into at most `count` parts.

    >>> round_step(23, 5), round_step(0.4, 4)
    (5.0, 0.1)
    """
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(f * power for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9)))


def linear_axis(
    values: Iterable[float], start: float, end: float, count: int = 5, margin: float = 0.06
) -> Axis:
    """An axis around the finite values with `margin` of the span at both ends and round ticks inside."""
    known = [v for v in values if math.isfinite(v)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    room = (high - low) * margin
    low, high = low - room, high + room
    step = round_step(high - low, count)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, start, end, tuple(round(i * step, 10) for i in range(first, last + 1)))


def log_axis(values: Iterable[float], start: float, end: float) -> Axis:
    """A logarithmic axis around the positive finite values, ticks at 1, 2, 5 x 10^n (1, 10, 100 over long spans)."""
    known = [v for v in values if math.isfinite(v) and v > 0] or [1.0, 10.0]
    room = max((max(known) / min(known)) ** 0.08, 1.15)
    low, high = min(known) / room, max(known) * room
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ladders: tuple[Sequence[float], ...] = (
        (1,),
        (1, 2, 5),
        tuple(range(1, 10)),
        tuple(i / 10 for i in range(10, 100)),
    )
    for factors in ladders if high / low >= 300 else ladders[1:]:
        ticks = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(ticks) >= 2:
            break
    return Axis(low, high, start, end, tuple(ticks), logarithmic=True)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places moved apart until neighbours are `gap` or more apart, in low..high where all fit; their order stays.

    >>> spread([5, 5, 20], 2, 0, 20)
    [4.0, 6.0, 20.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[
        tuple[float, list[int]]
    ] = []  # first place, members; what touches is one block around its mean
    for i in order:
        blocks.append((wanted[i], [i]))
        while len(blocks) > 1 and blocks[-2][0] + gap * len(blocks[-2][1]) > blocks[-1][0]:
            members = blocks[-2][1] + blocks[-1][1]
            mean = sum(wanted[k] - gap * n for n, k in enumerate(members)) / len(members)
            blocks[-2:] = [(min(max(mean, low), max(low, high - gap * (len(members) - 1))), members)]
    places = [0.0] * len(wanted)
    for first, members in blocks:
        for n, k in enumerate(members):
            places[k] = float(first + gap * n)
    return places


def distance_ticks(distances: Sequence[int], count: int = 12) -> tuple[int, ...]:
    """Which keyframe distances get a tick: all, or every n-th where they are many."""
    ordered = sorted(set(distances))
    stride = max(1, math.ceil(len(ordered) / count))
    return tuple(ordered[::stride])
