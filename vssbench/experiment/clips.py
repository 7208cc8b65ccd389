"""Which clips a protocol cuts from a sequence, what is scored in them, and which of them belong together.

keyframe_interval 4, labelled frame t = 5:
  clip     d=0: frames 5 6 7 8   d=1: 4 5 6 7   d=2: 3 4 5 6   d=3: 2 3 4 5      (four encodes, one unit)
  stream   phase 0: 0 1 2 3 | 4 5 6 7 | 8 ...  scores t at d=1; phase 2: 2 3 4 5 | 6 ...  scores t at d=3
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vssbench.experiment.schema import ProtocolSettings


@dataclass(frozen=True, slots=True)
class Clip:
    """One closed GOP and the pictures in it that are scored."""

    unit: str
    """Name of the unit that its cases are stored under."""
    first: int
    """Sequence index of the keyframe."""
    length: int
    """Pictures in the GOP, keyframe included."""
    scored: tuple[int, ...]
    """Ascending keyframe distances whose frames are labelled and scored."""


@dataclass(frozen=True, slots=True)
class Encode:
    """One bitstream: consecutive frames that are encoded on their own, and the clips in it in order."""

    first: int
    length: int
    clips: tuple[Clip, ...]


def cut_clips(
    frames: int, labelled: Sequence[int], protocol: ProtocolSettings
) -> Iterator[tuple[Encode, ...]]:
    """The bitstreams of one sequence of `frames` frames, of which the ascending indices `labelled` have labels.

    Those whose units are stored together come together. Where nothing is scored they are left out.
    """
    chosen = list(labelled)[:: protocol.labelled_stride]
    found = (
        _clips_before_labels(frames, chosen, protocol)
        if protocol.kind == "clip"
        else _clips_of_streams(frames, chosen, protocol)
    )
    for encodes in found:
        if any(clip.scored for encode in encodes for clip in encode.clips):
            yield encodes


AROUND = 32
"""Pictures behind a sample that are still cut into groups: more than any method looks ahead."""


def cut_source(
    frames: int,
    keyframes: Sequence[int],
    labelled: Sequence[int],
    protocol: ProtocolSettings,
    most: float = math.inf,
) -> Iterator[tuple[Encode, ...]]:
    """A stream as it is, from its first keyframe on: every stretch from keyframe to keyframe is a unit.

    keyframes: ascending indices. most: a sample of so many pictures, the last group whole. Labelled frames are scored at the distance that they have, where the protocol names it
    (`distances: all` names every one); nothing is yielded where none is.
    """
    inside = [key for key in keyframes if key - keyframes[0] < most]
    end = next((key for key in keyframes if key > inside[-1]), frames)
    has_label = {t for t in list(labelled)[:: protocol.labelled_stride] if t < end}
    wanted, keyframes = protocol.distances, [key for key in keyframes if key < end + AROUND]
    frames = min(frames, end + AROUND)
    clips = [
        Clip(
            f"phase-00-gop-{gop:06d}",
            first,
            end - first,
            tuple(
                d for d in range(end - first) if first + d in has_label and (wanted == "all" or d in wanted)
            ),
        )
        for gop, (first, end) in enumerate(itertools.pairwise([*keyframes, frames]))
    ]
    if any(clip.scored for clip in clips):
        yield (Encode(keyframes[0], frames - keyframes[0], tuple(clips)),)


def _clips_before_labels(
    frames: int, labelled: Sequence[int], protocol: ProtocolSettings
) -> Iterator[tuple[Encode, ...]]:
    """All bitstreams of one labelled frame t together; a distance d > t has no clip because the sequence starts too late."""
    for t in labelled:
        unit = f"frame-{t:06d}"
        encodes = []
        for d in protocol.scored_distances:
            first = t - d
            if first < 0:
                continue
            wanted = d + 1 if protocol.clip_frames == "until_labelled" else protocol.keyframe_interval
            length = min(wanted, frames - first)
            encodes.append(Encode(first, length, (Clip(unit, first, length, (d,)),)))
        yield tuple(encodes)


def _clips_of_streams(
    frames: int, labelled: Sequence[int], protocol: ProtocolSettings
) -> Iterator[tuple[Encode, ...]]:
    """One bitstream per phase; every GOP is a unit. Frames before the phase are not encoded."""
    interval = protocol.keyframe_interval
    wanted = set(protocol.scored_distances)
    has_label = set(labelled)
    for phase in protocol.stream_phases:
        clips = []
        for gop, first in enumerate(range(phase, frames, interval)):
            length = min(interval, frames - first)
            scored = tuple(d for d in range(length) if d in wanted and first + d in has_label)
            clips.append(Clip(f"phase-{phase:02d}-gop-{gop:06d}", first, length, scored))
        if clips:
            yield (Encode(phase, frames - phase, tuple(clips)),)
