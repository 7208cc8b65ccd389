"""One clip through the real codec: decoded pictures and their motion towards the keyframe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.codec import CodecSettings, decode, encode, flows_to_keyframe
from vssbench.errors import InputError
from vssbench.records import FlowField


@dataclass(frozen=True, slots=True, eq=False)
class CodedClip:
    """Decoded pictures of one closed GOP."""

    images: list[NDArray[np.uint8]]
    """[H, W, 3] each, display order."""
    frame_types: list[str]
    flows: list[FlowField]
    """Towards picture 0; zero for picture 0 itself. Empty if motion was not asked for."""


def code_clip(
    frames: Sequence[NDArray[np.uint8]],
    settings: CodecSettings,
    frame_rate_hz: float,
    *,
    rule: Literal["paper", "exact"] = "exact",
    motion: bool = True,
) -> CodedClip:
    """Encode and decode `frames` (RGB uint8 [H, W, 3], at most one GOP).

    Raises CapabilityError if the codec settings give no motion, InputError if pictures are missing.
    """
    bitstream = encode(frames, settings, frame_rate_hz)
    decoded = list(decode(bitstream, motion=motion))
    if len(decoded) != len(frames):
        raise InputError(f"{len(frames)} frames were coded but {len(decoded)} decoded")
    flows: list[FlowField] = []
    if motion:
        flows = list(flows_to_keyframe((p.motion for p in decoded if p.motion is not None), rule))
    return CodedClip([p.image for p in decoded], [p.frame_type for p in decoded], flows)
