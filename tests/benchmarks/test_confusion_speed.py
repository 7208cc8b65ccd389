"""Update throughput of the pair counts beside torchmetrics' on 1024x2048 maps, both on one CPU thread.

Run with `pytest tests/benchmarks/test_confusion_speed.py --benchmark-enable --benchmark-only -s`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassJaccardIndex

from vssbench.metrics.confusion import count_pairs

CLASSES, SIZE, ROUNDS = 19, (1024, 2048), 7


def noise_maps() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, CLASSES, SIZE, np.uint8), rng.integers(0, CLASSES, SIZE, np.uint8)


def street_maps() -> tuple[np.ndarray, np.ndarray]:
    """Flat regions with an ignored stripe and 2 % wrong pixels: closer to a label map than noise is."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, CLASSES, (32, 64), np.uint8).repeat(32, 0).repeat(32, 1)
    predicted = np.roll(truth, 3, axis=1)
    wrong = rng.random(SIZE) < 0.02
    predicted[wrong] = rng.integers(0, CLASSES, int(wrong.sum()), np.uint8)
    truth[:60] = 255
    return truth, predicted


def best_times(actions: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Shortest of several rounds, the contestants taking turns so that drift hits all of them."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in range(ROUNDS):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


@pytest.mark.parametrize("maps", [noise_maps, street_maps])
def test_counting_is_at_least_three_times_as_fast_as_torchmetrics(
    maps: Callable[[], tuple[np.ndarray, np.ndarray]], benchmark: Any
) -> None:
    truth, predicted = maps()
    truth_tensor, predicted_tensor = torch.from_numpy(truth).long(), torch.from_numpy(predicted).long()
    # Both get the cheaper setting: no validation there, full validation here, tensors already int64.
    options = {"num_classes": CLASSES, "ignore_index": 255, "validate_args": False}
    jaccard, confusion = MulticlassJaccardIndex(**options), MulticlassConfusionMatrix(**options)
    total = np.zeros((CLASSES, CLASSES), np.int64)

    def ours() -> None:
        nonlocal total
        total += count_pairs(truth, predicted, CLASSES)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        best = best_times(
            {
                "vssbench": ours,
                "jaccard": lambda: jaccard.update(predicted_tensor, truth_tensor),
                "confusion": lambda: confusion.update(predicted_tensor, truth_tensor),
            }
        )
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(total, confusion.compute().numpy())
    ratios = {name: best[name] / best["vssbench"] for name in ("jaccard", "confusion")}
    benchmark.extra_info.update(ratios)
    benchmark.pedantic(ours, rounds=ROUNDS)
    print(
        f"\n{maps.__name__}: count_pairs {1e3 * best['vssbench']:.1f} ms, "
        + ", ".join(f"torchmetrics {name} {1e3 * best[name]:.1f} ms ({ratios[name]:.1f}x)" for name in ratios)
    )
    assert min(ratios.values()) >= 3
