"""What the frame viewer of the page knows: kept frames with their pictures and their scores, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vssbench.analysis.run import Group, Run
from vssbench.metrics.confusion import iou, mean_of_present
from vssbench.rendering.page.frames import Track
from vssbench.rendering.page.media import FrameMedia, MediaStore, track_media
from vssbench.rendering.text import kbps_text, printable
from vssbench.results.frames import FrameCase

Scores = dict[tuple[str, str, str, int, int], dict[str, list[float]]]
"""(dataset, codec, sequence, frame, distance) -> method -> IoU of every class, NaN where absent."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Everything the page shows of single frames."""

    data: dict[str, Any]
    """For the page's script; JSON values only."""
    media: dict[tuple[str, str, str, int, int], FrameMedia]
    """Pictures by the place of their frame."""
    cases: dict[tuple[str, str, str, int, int], FrameCase]
    scores: Scores


def make_viewer(run: Run, found: Sequence[Track], store: MediaStore) -> Viewer:
    """Pictures and scores of all tracks; the pictures go into `store`."""
    scores = frame_scores(run, [case for track in found for case in track.cases])
    media: dict[tuple[str, str, str, int, int], FrameMedia] = {}
    described = []
    for number, track in enumerate(found):
        pictures = track_media(track, number, store)
        media |= {case.place: made for case, made in zip(track.cases, pictures, strict=True)}
        described.append(_track(run, track, pictures, scores))
    classes = {
        track.dataset: [
            [name, "#{:02x}{:02x}{:02x}".format(*colour)]
            for name, colour in zip(track.cases[0].class_names, track.cases[0].palette, strict=False)
        ]
        for track in found
    }
    cases = {case.place: case for track in found for case in track.cases}
    words = {name: getattr(run.roster, name) for name in ("score", "class_score", "truth_title")}
    return Viewer({"tracks": described, "classes": classes, **words}, media, cases, scores)


def frame_scores(run: Run, cases: Sequence[FrameCase]) -> Scores:
    """IoU of every class in every kept frame, from the counts of the unit records."""
    found: Scores = {case.place: {} for case in cases}
    wanted: dict[tuple[str, str], list[FrameCase]] = {}
    for case in cases:
        wanted.setdefault((case.dataset, case.codec), []).append(case)
    for group in run.groups:
        for case, index in _located(group, wanted.get((group.dataset, group.codec), [])):
            found[case.place][group.method] = iou(group.case_counts[index]).tolist()
    return found


def _located(group: Group, cases: Sequence[FrameCase]) -> Iterator[tuple[FrameCase, int]]:
    """The cases that a group scored, with their positions in its counts."""
    rows = {place: i for i, place in enumerate(group.labelled)} if cases else {}
    columns = {distance: i for i, distance in enumerate(group.distances)}
    for case in cases:
        row, column = rows.get((case.sequence, case.frame)), columns.get(case.distance)
        if row is None or column is None:
            continue
        hits = np.flatnonzero((group.case_places[:, 0] == row) & (group.case_places[:, 1] == column))
        if len(hits):
            yield case, int(hits[0])


def _track(run: Run, track: Track, pictures: Sequence[FrameMedia], scores: Scores) -> dict[str, Any]:
    methods = list(dict.fromkeys(title for case in track.cases for title in case.prediction_names))
    kbps = {(g.dataset, g.codec): g.kbps for g in run.groups}.get((track.dataset, track.codec), math.nan)
    sequence = run.datasets[track.dataset].sequences.get(track.sequence)
    parts = [track.dataset, track.codec, kbps_text(kbps), track.sequence]
    frames = [
        _frame(case, made, methods, scores[case.place])
        for case, made in zip(track.cases, pictures, strict=True)
    ]
    return {
        "dataset": track.dataset,
        "codec": track.codec,
        "title": printable(" · ".join(part for part in parts if part)),
        "width": pictures[0].width,
        "height": pictures[0].height,
        "rate": sequence.frame_rate_hz if sequence else 0,
        "methods": methods,
        "frames": frames,
    }


def _frame(
    case: FrameCase, made: FrameMedia, methods: Sequence[str], scores: dict[str, list[float]]
) -> dict[str, Any]:
    per_class = [scores.get(title) for title in methods]
    return {
        "frame": case.frame,
        "d": case.distance,
        "type": case.frame_type,
        "bits": None if case.coded_bytes is None else 8 * case.coded_bytes,
        "qp": _rounded(case.qp, 1),
        "miou": [None if one is None else frame_miou(one) for one in per_class],
        "iou": [None if one is None else [_rounded(value, 4) for value in one] for one in per_class],
        "decoded": made.decoded,
        "truth": made.truth,
        "motion": made.motion,
        "p": [made.predictions.get(title) for title in methods],
        "e": [made.errors.get(title) for title in methods],
    }


def frame_miou(per_class: Sequence[float]) -> float | None:
    """Mean over the classes of one frame, four decimals; None if nothing was scored."""
    return _rounded(float(mean_of_present(np.array(per_class))), 4)


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
