"""Do 95 % intervals hold the truth 95 times in 100? Simulated test sets from a population that is known.

`python tests/metrics/test_coverage.py` prints a longer table (several minutes; the numbers of docs/metrics.md).
"""

from __future__ import annotations

import numpy as np
import pytest

from vssbench.metrics.bootstrap import (
    BootstrapOptions,
    MeasuredCurve,
    MeasuredPoint,
    UnitCounts,
    bootstrap_bd,
    bootstrap_difference,
    bootstrap_miou,
)
from vssbench.metrics.confusion import mean_iou

CLASSES = 5
RECALL_LOGITS = np.array([2.2, 1.6, 1.2, 0.6, 0.2])
LOG_SHARES = np.log([0.40, 0.28, 0.18, 0.09, 0.05])
RARE_TOGETHER = np.array([-0.3, 0.1, 0.2, 0.6, 0.9])
OPTIONS = BootstrapOptions(resamples=400)


def latent(rng: np.random.Generator, sequences: int, frames: int, memory: float) -> np.ndarray:
    """[sequences, frames, 2] difficulty and rare-class content: AR(1) in time, independent between sequences."""
    noise = rng.standard_normal((sequences, frames, 2))
    state = np.empty_like(noise)
    state[:, 0] = noise[:, 0]
    for t in range(1, frames):
        state[:, t] = memory * state[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    return state


def counts_of(rng: np.random.Generator, state: np.ndarray, gain: float = 0.0) -> np.ndarray:
    """[units, 1, C, C] confusion of each frame; gain shifts every recall (another method on the same frames)."""
    state = state.reshape(-1, 2)
    private = 0.3 * rng.standard_normal((len(state), CLASSES))
    recall = 1 / (1 + np.exp(-(RECALL_LOGITS + gain + 0.6 * state[:, :1] + private)))
    shares = np.exp(LOG_SHARES + 0.5 * state[:, 1:] * RARE_TOGETHER)
    pixels = np.rint(10_000 * shares / shares.sum(1, keepdims=True)).astype(np.int64)
    hits = np.rint(pixels * recall).astype(np.int64)
    spread = (pixels - hits) // (CLASSES - 1)
    counts = np.repeat(spread[:, :, None], CLASSES, axis=2)
    counts[:, np.arange(CLASSES), np.arange(CLASSES)] = hits
    return counts[:, None]


def units_of(name: str, counts: np.ndarray, sequences: int, frames: int) -> UnitCounts:
    names = tuple(f"s{i:03d}" for i in range(sequences) for _ in range(frames))
    return UnitCounts(name, counts, names, tuple(range(frames)) * sequences)


def true_miou(memory: float, gain: float = 0.0) -> float:
    rng = np.random.default_rng(99)
    return float(mean_iou(counts_of(rng, latent(rng, 40_000, 5, memory), gain).sum(0))[0])


def coverage(
    trials: int, sequences: int, frames: int, memory: float, *, paired: bool, seed: int = 0
) -> float:
    rng = np.random.default_rng(seed)
    truth = true_miou(memory, 0.15) - true_miou(memory) if paired else true_miou(memory)
    hits = 0
    for _ in range(trials):
        state = latent(rng, sequences, frames, memory)
        units = units_of("a", counts_of(rng, state), sequences, frames)
        if paired:
            better = units_of("b", counts_of(rng, state, 0.15), sequences, frames)
            interval = bootstrap_difference(units, better, OPTIONS).miou
        else:
            interval = bootstrap_miou(units, OPTIONS).miou
        hits += interval.low <= truth <= interval.high
    return hits / trials


@pytest.mark.slow
def test_sequence_intervals_on_miou_cover_93_to_97_percent() -> None:
    assert 0.93 <= coverage(600, 20, 5, 0.9, paired=False) <= 0.97


@pytest.mark.slow
def test_sequence_intervals_on_differences_cover_93_to_97_percent() -> None:
    assert 0.93 <= coverage(600, 20, 5, 0.9, paired=True) <= 0.97


@pytest.mark.slow
def test_block_intervals_in_few_sequences_cover_93_to_97_percent() -> None:
    assert 0.93 <= coverage(200, 5, 50, 0.5, paired=False) <= 0.97


def bd_coverage(trials: int, sequences: int, seed: int = 0) -> tuple[float, float]:
    """Coverage and share of trials with an interval, BD-FLOPs of two four-point curves."""
    rng = np.random.default_rng(seed)
    gains = {"anchor": (-0.3, -0.1, 0.1, 0.25), "test": (-0.1, 0.1, 0.3, 0.45)}
    costs = (1.0, 2.0, 4.0, 8.0)

    def curves(state: np.ndarray) -> list[MeasuredCurve]:
        n, frames = state.shape[:2]
        return [
            MeasuredCurve(
                name,
                tuple(
                    MeasuredPoint(units_of(f"{name} {g}", counts_of(rng, state, g), n, frames), c)
                    for g, c in zip(values, costs, strict=True)
                ),
            )
            for name, values in gains.items()
        ]

    truth = bootstrap_bd(*curves(latent(rng, 4000, 5, 0.9)), options=BootstrapOptions(resamples=100)).value
    found = [
        bootstrap_bd(*curves(latent(rng, sequences, 5, 0.9)), options=BootstrapOptions(resamples=200))
        for _ in range(trials)
    ]
    intervals = [r.interval for r in found if r.interval is not None]
    return sum(low <= truth <= high for low, high in intervals) / len(intervals), len(intervals) / trials


SEQUENCE_CASES = ((12, 5, 0.9), (20, 5, 0.9), (40, 5, 0.9), (100, 1, 0.0))
BLOCK_CASES = (
    (1, 100, 0.0), (1, 100, 0.5), (1, 100, 0.8), (1, 300, 0.9), (3, 80, 0.8), (5, 50, 0.5), (5, 50, 0.8), (3, 80, 0.95),
)  # fmt: skip

if __name__ == "__main__":
    for case in BLOCK_CASES:
        print("blocks", *case, "mIoU", coverage(600, *case, paired=False), flush=True)
    for case in SEQUENCE_CASES:
        for paired in (False, True):
            name = "difference" if paired else "mIoU"
            print("sequences", *case, name, coverage(1500, *case, paired=paired), flush=True)
    print("BD-FLOPs, 20 sequences: coverage, share with an interval", bd_coverage(200, 20))
