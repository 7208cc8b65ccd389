"""Fit what the adaptive schedule of `scheduled` expects of a frame, on the frames of an experiment.

    python reports/results/fit_schedule.py schedule datasets.synthetic.split=train datasets.synthetic.sequences=24

Its first entry with `schedule: adaptive` is asked for both answers to every labelled frame between keyframes. A frame's
gain is the change of mIoU over all carried frames if that one were fused, times the number of frames, in points. The
printed line is the entry's option `predictor`: least squares of the gain on the signals.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from vssbench.baselines.scheduled import Scheduled
from vssbench.baselines.scheduled.predictor import SIGNALS, signals_of
from vssbench.engine.feed import ClipFeed, DecodedClip
from vssbench.engine.reading import label_of
from vssbench.errors import ConfigError
from vssbench.experiment.schema import Experiment, load_experiment
from vssbench.metrics.confusion import count_pairs, mean_iou
from vssbench.networks.padding import pad_frame
from vssbench.runner.plan import Job, make_plan
from vssbench.runner.reader import ClipReader
from vssbench.runner.workshop import Workshop

Row = tuple[tuple[float, ...], list[NDArray[np.int64]]]
"""A frame's signals, and the confusion counts [K, K] of its carried and of its fused answer."""


def main(experiment: Experiment) -> None:
    """Print the predictor, and how much of the gain it explains on the frames that it was fitted on."""
    shop = Workshop(experiment, None, "cpu")
    rows: list[Row] = []
    for job in make_plan(experiment):
        rows += observe(shop, job)
        print(f"{job.sequence}: {len(rows)} frames", file=sys.stderr)
    print(fit(np.array([signals for signals, _ in rows]), gains([counts for _, counts in rows])))


def observe(shop: Workshop, job: Job) -> Iterator[Row]:
    """The rows of one sequence. Raises ConfigError if no entry of the experiment is adaptive."""
    sequence = shop.sequence(job.dataset, job.sequence)
    built = shop.methods(job.dataset, job.codec, sequence.size).values()
    method = next((one for one in built if isinstance(one, Scheduled) and one.adapts), None)
    if method is None:
        raise ConfigError(
            "the experiment has no entry with `name: scheduled` and `schedule: adaptive`; add one"
        )
    settings = shop.experiment.codec_settings(shop.codec(job.dataset, job.codec))
    reader = ClipReader(
        job.dataset, sequence, settings, shop.cache, method.needs, motion=True, ahead=False, alone=False
    )
    classes = shop.dataset(job.dataset).classes
    for encode in job.encodes:
        for clip in reader.clips(encode):
            for position, signals, answers in both_answers(method, clip):
                truth = label_of(job.dataset, sequence, clip.plan.first + position)
                yield (
                    signals,
                    [
                        count_pairs(truth, one, len(classes), ignore_index=classes.ignore_index)
                        for one in answers
                    ],
                )


def both_answers(
    method: Scheduled, clip: DecodedClip
) -> Iterator[tuple[int, tuple[float, ...], list[NDArray[np.uint8]]]]:
    """Position, signals, and the carried and the fused labels [H, W] of every scored frame between keyframes."""
    feed, state, bits = ClipFeed(clip, torch.device("cpu")), method.start(1), 0
    for position in range(len(clip.frames)):
        seen = feed.frame(position, method.needs)
        frame = pad_frame(seen, method.context.size)
        if frame.is_key:
            method.fusing.step(state.ar_seg, frame)
            continue
        bits += int(frame.coded_bits) if frame.coded_bits is not None else 0
        if position in clip.plan.scored:
            steps = [one.step(state.ar_seg, frame) for one in (method.carrying, method.fusing)]
            height, width = seen.size
            yield (
                position,
                signals_of(frame, bits),
                [prediction.labels[0, :height, :width].numpy() for (prediction,) in steps],
            )


def gains(counts: list[list[NDArray[np.int64]]]) -> NDArray[np.float64]:
    """Points of mIoU, for each frame if every frame gained as much."""
    carried = np.sum([one for one, _ in counts], axis=0)
    base = float(mean_iou(carried))
    return np.array(
        [100 * len(counts) * (float(mean_iou(carried - one + other)) - base) for one, other in counts]
    )


def fit(signals: NDArray[np.float64], gain: NDArray[np.float64]) -> str:
    """The option as YAML, with the explained share of the gain's variance as a comment."""
    design = np.column_stack([np.ones(len(gain)), signals])
    solution = np.linalg.lstsq(design, gain, rcond=None)[0]
    predicted = design @ solution
    values = dict(zip(("constant", *SIGNALS), solution, strict=True))
    values |= {"mean": predicted.mean(), "deviation": predicted.std()}
    explained = 1 - float(((gain - predicted) ** 2).sum() / ((gain - gain.mean()) ** 2).sum())
    option = ", ".join(f"{name}: {value:.4g}" for name, value in values.items())
    return f"predictor: {{{option}}}  # {len(gain)} frames, mean gain {gain.mean():.3f}, R2 {explained:.3f}"


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    main(load_experiment(sys.argv[1], sys.argv[2:]))
