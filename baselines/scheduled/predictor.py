"""What fusing a frame is expected to gain over carrying it, from what the decoder alone knows of the frame."""

from __future__ import annotations

import math
from statistics import NormalDist

from pydantic import BaseModel, ConfigDict, Field

from vssbench.method import Frame
from vssbench.records import MODE_INTRA

FLOOR = 1e-3
"""Added to shares and relative lengths before their logarithm."""
SIGNALS = ("age", "motion", "invalid", "intra", "bits", "quantiser")
"""Names of `signals_of`'s values, in order; `GainPredictor` has a coefficient for each."""


def signals_of(frame: Frame, bits: int) -> tuple[float, ...]:
    """What is known of a frame between keyframes before any network has run on it.

    bits: of the pictures behind the keyframe, this one included. In order: logarithms of the keyframe distance, of the
    mean length of the motion to the keyframe in frame diagonals, of the share of that motion that does not exist, of
    the share of intra blocks, and of the bits per pixel; and the mean quantiser over 51.
    Raises ValueError if the frame lacks one of them.
    """
    flow, valid, blocks, qp = frame.flow_key, frame.flow_valid_key, frame.block_types, frame.qp
    if flow is None or valid is None or blocks is None or qp is None:
        raise ValueError(
            f"scheduled: frame {frame.index} lacks decoder signals although `needs` asks for them"
        )
    height, width = frame.size
    return (
        math.log(frame.keyframe_distance),
        math.log(FLOOR + float(flow.norm(dim=1).mean()) / math.hypot(height, width)),
        math.log(FLOOR + float((~valid).float().mean())),
        math.log(FLOOR + float((blocks == MODE_INTRA).float().mean())),
        math.log(FLOOR + bits / (height * width)),
        float(qp.float().mean()) / 51,
    )


class GainPredictor(BaseModel):
    """A linear map of a frame's signals, and how its values were distributed on the frames that it was fitted on."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    constant: float
    """points of mIoU"""
    age: float
    """per natural logarithm of the keyframe distance"""
    motion: float
    """per logarithm of the mean motion to the keyframe, in frame diagonals"""
    invalid: float
    """per logarithm of the share of that motion that does not exist"""
    intra: float
    """per logarithm of the share of intra blocks"""
    bits: float
    """per logarithm of the bits per pixel behind the keyframe"""
    quantiser: float
    """per 51 steps of the mean quantiser"""
    mean: float
    """of the predictions on the fitted frames"""
    deviation: float = Field(gt=0)
    """of the predictions on the fitted frames"""

    def gain(self, signals: tuple[float, ...]) -> float:
        """Expected mIoU of the fused minus that of the carried frame, in points."""
        pairs = zip(SIGNALS, signals, strict=True)
        return self.constant + sum(float(getattr(self, name)) * value for name, value in pairs)

    def threshold(self, share: float) -> float:
        """The gain that this share (0..1; beyond: all or none) of frames like the fitted ones exceeds."""
        if not 0 < share < 1:
            return -math.inf if share >= 1 else math.inf
        return NormalDist(self.mean, self.deviation).inv_cdf(1 - share)


STREETS = GainPredictor(
    constant=-13.69,
    age=-0.623,
    motion=-2.303,
    invalid=3.318,
    intra=-0.3234,
    bits=1.868,
    quantiser=35.43,
    mean=2.974,
    deviation=2.646,
)
"""Of 24 training sequences of the synthetic streets, by the command that reports/results/fit_schedule.py begins with."""
