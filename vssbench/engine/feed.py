"""From decoded clips to the frames a method asked for. What two methods both need is computed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vssbench.codec import (
    Bitstream,
    KeyframeFlow,
    digest_decoded,
    flow_field_to_previous,
    prediction_residual,
)
from vssbench.errors import BitstreamError
from vssbench.experiment.clips import Clip, Encode
from vssbench.method import FlowRule, Frame, Needs
from vssbench.records import DecodedFrame, FlowField, MotionField


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
    coded: Bitstream | None = None
    """What the GOP was decoded from, where that is known."""
    _flows_to_key: dict[FlowRule, list[FlowField]] = field(default_factory=dict)

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
        return (
            position - len(self.frames) if position >= len(self.frames) else position % self.keyframe_interval
        )

    def flow_to_key(self, position: int, rule: FlowRule) -> FlowField:
        """Composed flow of the GOP's picture at `position` towards the keyframe."""
        flows = self._flows_to_key.get(rule)
        if flows is None:
            tracker = KeyframeFlow(rule=rule)
            flows = [tracker.push(_motion(frame)) for frame in self.frames]
            self._flows_to_key[rule] = flows
        return flows[position]

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
        counts begin anew.
        """
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
    def bitstream(self) -> Bitstream:
        """What the GOP was decoded from. Raises ValueError where that is not known."""
        if self.coded is None:
            raise ValueError(f"the clip at frame {self.plan.first} was not read from a bitstream")
        return self.coded


def _motion(frame: DecodedFrame) -> MotionField:
    if frame.motion is None:
        raise BitstreamError(f"picture {frame.index} was decoded without motion although a method needs it")
    return frame.motion


def split_into_clips(
    decoded: Iterable[DecodedFrame],
    encode: Encode,
    keyframe_interval: int,
    *,
    history: int = 0,
    lookahead: int = 0,
) -> Iterator[DecodedClip]:
    """Group the pictures of one bitstream into its clips, holding three GOPs at most.

    Raises BitstreamError if a clip does not start with its only I picture or pictures are missing.
    """
    stream = iter(decoded)
    before: deque[DecodedFrame] = deque(maxlen=history or 1)
    ahead: deque[DecodedFrame] = deque()
    for plan in encode.clips:
        while len(ahead) < plan.length + lookahead and (frame := next(stream, None)) is not None:
            ahead.append(frame)
        if len(ahead) < plan.length:
            raise BitstreamError(
                f"clip at frame {plan.first}: {plan.length} pictures were encoded, only {len(ahead)} could be decoded"
            )
        frames = [ahead.popleft() for _ in range(plan.length)]
        _check_frame_types(plan, frames)
        yield DecodedClip(
            plan, frames, keyframe_interval, tuple(before) if history else (), tuple(ahead)[:lookahead]
        )
        if history:
            before.extend(frames)


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
        self._images: dict[int, Tensor] = {}

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
        valid = flow_key or flow_previous
        return Frame(
            index=position,
            keyframe_distance=distance,
            image=self._image(position) if needs.pixels or distance == 0 else None,
            frame_type=decoded.frame_type,
            size=(decoded.image.shape[0], decoded.image.shape[1]),
            flow_previous=self._tensor(flow_previous.flow) if flow_previous else None,
            flow_key=self._tensor(flow_key.flow) if flow_key else None,
            flow_valid=self._tensor(valid.valid) if valid else None,
            residual=self._tensor(self.clip.residual(position)) if needs.residual and position > 0 else None,
            block_types=self._tensor(_cropped_mode(_motion(decoded))) if needs.block_types else None,
            time=self.clip.plan.first + position,
        )

    def _image(self, position: int) -> Tensor:
        if position not in self._images:
            image = np.ascontiguousarray(self.clip.at(position).image.transpose(2, 0, 1))
            self._images[position] = torch.from_numpy(image)[None].to(self.device)
        return self._images[position]

    def _tensor(self, array: NDArray[np.generic]) -> Tensor:
        # records are read-only and torch wants to own writable memory, hence the copy
        return torch.from_numpy(np.array(array))[None].to(self.device)


def _cropped_mode(motion: MotionField) -> NDArray[np.uint8]:
    left, top = motion.crop_left_top
    rows, columns = -(-motion.size[0] // 4), -(-motion.size[1] // 4)
    return motion.mode[top // 4 : top // 4 + rows, left // 4 : left // 4 + columns]
