"""From decoded clips to the frames a method asked for. What two methods both need is computed once."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vssbench.codec import (
    Bitstream,
    KeyframeFlow,
    SourceStream,
    digest_decoded,
    flow_field_to_previous,
    flows_to_picture,
    prediction_residual,
)
from vssbench.codec.decode import window
from vssbench.errors import BitstreamError
from vssbench.experiment.clips import Clip, Encode
from vssbench.method import FlowRule, Frame, Needs
from vssbench.records import DecodedFrame, FlowField, MotionField

MARGIN = 16
"""Pictures before and after a GOP that its own may refer to: the largest decoded picture buffer."""
KEPT = 32
"""Flows and images on the device that are kept of one clip."""


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """What lies around a GOP in a stream as it is."""

    before: Sequence[DecodedFrame]
    after: Sequence[DecodedFrame]
    distances: Mapping[int, int]
    """Position outside the GOP -> pictures since the last keyframe."""


class _Flows:
    """Flow by position, made in order; going back further than what is kept begins anew."""

    def __init__(self, make: Callable[[], Iterator[FlowField]]) -> None:
        self._make = make
        self._kept: OrderedDict[int, FlowField] = OrderedDict()
        self._made, self._next = make(), 0

    def at(self, position: int) -> FlowField:
        if position < self._next and position not in self._kept:
            self._made, self._next = self._make(), 0
            self._kept.clear()
        while position >= self._next:
            self._kept[self._next] = next(self._made)
            self._next += 1
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return self._kept[position]


@dataclass(eq=False)
class DecodedClip:
    """One GOP with the decoded pictures around it that lookahead and history need."""

    plan: Clip
    frames: Sequence[DecodedFrame]
    """The GOP's pictures, keyframe first."""
    keyframe_interval: int
    history: Sequence[DecodedFrame] = ()
    """Pictures before the keyframe, oldest first."""
    lookahead: Sequence[DecodedFrame] = ()
    """Pictures after the GOP, next keyframe first."""
    coded: Bitstream | SourceStream | None = None
    """What the GOP was decoded from, where that is known."""
    around: Neighbours | None = None
    """The stream goes on across the GOP's borders; None where GOPs are closed, or encoded on their own."""
    _flows_to_key: dict[FlowRule, _Flows] = field(init=False, default_factory=dict)

    def at(self, position: int) -> DecodedFrame:
        """Picture by position: 0 is the keyframe, negative is history, len(frames) the next keyframe."""
        if position < 0:
            return self.history[len(self.history) + position]
        if position < len(self.frames):
            return self.frames[position]
        return self.lookahead[position - len(self.frames)]

    def positions(self) -> range:
        """All positions that exist, history and lookahead included."""
        return range(-len(self.history), len(self.frames) + len(self.lookahead))

    def keyframe_distance(self, position: int) -> int:
        """Pictures since the last keyframe before or at `position`."""
        if self.around is not None:
            return position if 0 <= position < len(self.frames) else self.around.distances[position]
        return (
            position - len(self.frames) if position >= len(self.frames) else position % self.keyframe_interval
        )

    def flow_to_key(self, position: int, rule: FlowRule) -> FlowField:
        """Composed flow of the GOP's picture at `position` towards the keyframe."""
        if rule not in self._flows_to_key:
            self._flows_to_key[rule] = _Flows(lambda: self._compose(rule))
        return self._flows_to_key[rule].at(position)

    def _compose(self, rule: FlowRule) -> Iterator[FlowField]:
        """Flow of the GOP's pictures towards the keyframe, in order."""
        if self.around is not None:
            pictures, key = self._stretch(0)
            return flows_to_picture([_motion(frame) for frame in pictures], key, rule)
        tracker = KeyframeFlow(rule=rule)
        return (tracker.push(_motion(frame)) for frame in self.frames)

    def flow_to_previous(self, position: int, rule: FlowRule) -> FlowField:
        """Flow of the picture at `position` towards the picture before it."""
        pictures, index = self._stretch(position)
        return flow_field_to_previous([_motion(frame) for frame in pictures], index, rule=rule)

    def residual(self, position: int) -> NDArray[np.int16]:
        """What the picture at `position` differs from its motion-compensated reference by."""
        return prediction_residual(*self._stretch(position))

    def _stretch(self, position: int) -> tuple[Sequence[DecodedFrame], int]:
        """The pictures that the one at `position` may refer to, and its index among them.

        GOPs are closed, and those before and after the clip may be bitstreams of their own, whose picture order
        counts begin anew; in a stream as it is they may lie on both sides.
        """
        if self.around is not None:
            before = self.around.before
            return [*before, *self.frames, *self.around.after], position + len(before)
        if position < 0:
            return self.history, position + len(self.history)
        if position < len(self.frames):
            return self.frames, position
        return self.lookahead, position - len(self.frames)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the GOP's decoded pixels and motion."""
        return digest_decoded(self.frames)

    @property
    def bitstream(self) -> Bitstream | SourceStream:
        """What the GOP was decoded from. Raises ValueError where that is not known."""
        if self.coded is None:
            raise ValueError(f"the clip at frame {self.plan.first} was not read from a bitstream")
        return self.coded


def _motion(frame: DecodedFrame) -> MotionField:
    if frame.motion is None:
        raise BitstreamError(f"picture {frame.index} was decoded without motion although a method needs it")
    return frame.motion


def _qp(frame: DecodedFrame) -> NDArray[np.int8]:
    if frame.qp is None:
        raise BitstreamError(
            f"picture {frame.index} was decoded without quantisers although a method needs them"
        )
    return frame.qp


def split_into_clips(
    decoded: Iterable[DecodedFrame],
    encode: Encode,
    keyframe_interval: int | None,
    *,
    history: int = 0,
    lookahead: int = 0,
) -> Iterator[DecodedClip]:
    """Group the pictures of one bitstream into its clips, holding three GOPs at most.

    keyframe_interval: None for a stream as it is, whose GOPs may be open and begin with any picture.
    Raises BitstreamError if a clip does not start with its only I picture or pictures are missing.
    """
    stream = iter(decoded)
    margin = MARGIN if keyframe_interval is None else 0
    before: deque[DecodedFrame] = deque(maxlen=max(history, margin) or 1)
    ahead: deque[DecodedFrame] = deque()
    firsts = [clip.first for clip in encode.clips]
    for plan in encode.clips:
        wanted = plan.length + max(lookahead, margin)
        while len(ahead) < wanted and (frame := next(stream, None)) is not None:
            ahead.append(frame)
        if len(ahead) < plan.length:
            raise BitstreamError(
                f"clip at frame {plan.first}: {plan.length} pictures were encoded, only {len(ahead)} could be decoded"
            )
        frames = [ahead.popleft() for _ in range(plan.length)]
        past = tuple(before)[-history:] if history else ()
        clip = DecodedClip(plan, frames, keyframe_interval or plan.length, past, tuple(ahead)[:lookahead])
        if keyframe_interval is None:
            positions = (*range(-len(before), 0), *range(plan.length, plan.length + len(ahead)))
            distances = {p: _distance(firsts, plan.first + p) for p in positions}
            clip.around = Neighbours(tuple(before), tuple(ahead), distances)
        else:
            _check_frame_types(plan, frames)
        yield clip
        if history or margin:
            before.extend(frames)


def _distance(keyframes: Sequence[int], index: int) -> int:
    """Pictures since the last of the ascending keyframes: (0, 5), 7 -> 2."""
    return index - keyframes[bisect_right(keyframes, index) - 1]


def _check_frame_types(plan: Clip, frames: Sequence[DecodedFrame]) -> None:
    types = "".join(frame.frame_type for frame in frames)
    if types[0] != "I" or "I" in types[1:]:
        raise BitstreamError(
            f"clip at frame {plan.first} has frame types {types}; expected one I picture at its start only "
            "(do the codec's extra options force scene cuts or another keyframe interval?)"
        )


class ClipFeed:
    """Builds `Frame`s of one clip for methods on one device; pixels are copied to the device once per picture."""

    def __init__(self, clip: DecodedClip, device: torch.device) -> None:
        self.clip = clip
        self.device = device
        self._images: OrderedDict[int, Tensor] = OrderedDict()

    def positions(self, needs: Needs) -> list[int]:
        """Which pictures a method with these needs must be pushed so that the scored ones are answered."""
        scored = self.clip.plan.scored
        if needs.memory == "sequence":  # learns from every frame that passes, scored or not
            return [p for p in self.clip.positions() if -needs.history <= p < len(self.clip.frames)]
        if not scored:
            return []
        last = scored[-1] + needs.lookahead
        if needs.stateless:
            return list(scored)
        if not needs.every_frame:
            return sorted({0, *scored})
        return [p for p in self.clip.positions() if -needs.history <= p <= last]

    def frame(self, position: int, needs: Needs) -> Frame:
        """The picture at `position` with exactly what `needs` names."""
        decoded = self.clip.at(position)
        distance = self.clip.keyframe_distance(position)
        inside = 0 <= position < len(self.clip.frames)
        flow_key = self.clip.flow_to_key(position, needs.flow_rule) if needs.flow_key and inside else None
        flow_previous = (
            self.clip.flow_to_previous(position, needs.flow_rule)
            if needs.flow_previous and position > -len(self.clip.history)
            else None
        )
        bits = decoded.coded_bytes
        return Frame(
            index=position,
            keyframe_distance=distance,
            image=self._image(position) if needs.pixels or distance == 0 else None,
            frame_type=decoded.frame_type,
            size=(decoded.image.shape[0], decoded.image.shape[1]),
            flow_previous=self._tensor(flow_previous.flow) if flow_previous else None,
            flow_key=self._tensor(flow_key.flow) if flow_key else None,
            flow_valid_key=self._tensor(flow_key.valid) if flow_key else None,
            flow_valid_previous=self._tensor(flow_previous.valid) if flow_previous else None,
            residual=self._tensor(self.clip.residual(position)) if needs.residual and position > 0 else None,
            block_types=self._tensor(window(_motion(decoded), _motion(decoded).mode))
            if needs.block_types
            else None,
            qp=self._tensor(_qp(decoded)) if needs.qp else None,
            coded_bits=None if bits is None else torch.tensor([8 * bits], device=self.device),
            display_order=decoded.index,
            decode_order=decoded.decode_order,
            time=self.clip.plan.first + position,
        )

    def _image(self, position: int) -> Tensor:
        if position not in self._images:
            image = np.ascontiguousarray(self.clip.at(position).image.transpose(2, 0, 1))
            self._images[position] = torch.from_numpy(image)[None].to(self.device)
            if len(self._images) > KEPT:
                self._images.popitem(last=False)
        return self._images[position]

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        # records are read-only and torch wants to own writable memory, hence the copy
        return torch.from_numpy(np.array(array))[None].to(self.device)
