"""Frames that a run kept for the viewer, in tracks to scrub through."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vssbench.analysis.run import Run
from vssbench.rendering.images.colours import IGNORED
from vssbench.results.frames import FrameCase


@dataclass(frozen=True, slots=True)
class Track:
    """Kept frames of one sequence under one codec setting, by frame and distance: what the viewer scrubs through."""

    dataset: str
    codec: str
    sequence: str
    cases: tuple[FrameCase, ...]


def tracks(run: Run) -> list[Track]:
    """All kept frames of a run by dataset, codec and sequence, in the order of the experiment."""
    roster = run.roster
    planned = {(dataset, codec) for dataset, codec, _ in roster.combinations()}
    found: dict[tuple[str, str, str, int, int], FrameCase] = {}
    for case in run.kept_frames[0]:
        if (case.dataset, case.codec) in planned:
            found.setdefault(case.place, case)
    grouped: dict[tuple[str, str, str], list[FrameCase]] = {}
    for case in sorted(found.values(), key=lambda c: (c.sequence, c.frame, c.distance)):
        grouped.setdefault((case.dataset, case.codec, case.sequence), []).append(case)
    datasets = {entry.title: i for i, entry in enumerate(roster.datasets)}
    codecs = {title: i for i, title in enumerate(roster.codec_titles)}
    made = [Track(*place, tuple(cases)) for place, cases in grouped.items()]
    return sorted(made, key=lambda t: (datasets[t.dataset], codecs[t.codec], -len(t.cases)))


def palette_bytes(case: FrameCase) -> bytes:
    """The palette of a label picture: class colours, ignored and unknown values black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(case.palette)] = case.palette
    palette[case.ignore_index] = IGNORED
    return palette.tobytes()
