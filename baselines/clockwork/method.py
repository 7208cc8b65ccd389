"""The clock, and what a frame gets from it. Source: baselines specification section 9."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from vssbench.method import BuildContext, Frame, Needs, Prediction, StepKind
from vssbench.networks import create
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels


class ClockworkOptions(NetworkOptions):
    """Options of Clockwork. Part for `weights`: 'network'."""

    network: Literal["fcn18"] = Field("fcn18", description="network with a shallow and a deep stage")
    clock: Literal["fixed", "adaptive", "pipelined"] = Field(
        "fixed",
        description="fixed: the deep stage runs every `period` frames; adaptive: when the shallow labels have changed; "
        "pipelined: as fixed, on the frame before, so that both stages could run at once",
    )
    period: int | None = Field(
        None, ge=1, description="frames between ticks, counted from the keyframe; default: keyframes only"
    )
    threshold: float = Field(
        0.25, ge=0, le=1, description="adaptive: share of pixels whose shallow label must differ for a tick"
    )


@dataclass(slots=True, eq=False)
class ClockworkState:
    """What the deep stage left behind."""

    deep: Tensor | None = None
    """Deep part of the feature [N, C, h, w], from the last tick; never moved."""
    labels: Tensor | None = None
    """Shallow labels at the last tick, uint8 [N, h, w] (adaptive clock)."""
    shallow: Tensor | None = None
    """The previous frame's stage-2 map (pipelined clock)."""


class Clockwork(NetworkMethod):
    """The deep stage is reused as it is, without any warp. Keyframes always tick.

    In stage 'image' the shallow scores train as an auxiliary output.
    """

    Options = ClockworkOptions
    budget_knob = ("period", "threshold")
    options: ClockworkOptions

    def __init__(self, options: ClockworkOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network: Any = create(options.network, context.classes, width=options.width)
        self.network.to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of every frame; an adaptive clock is one clip's own, so clips cannot share a step."""
        adaptive = self.options.clock == "adaptive"
        independent = self.options.clock == "fixed" and self.options.period is None
        return Needs(adaptive=adaptive, batchable=not adaptive, every_frame=not independent)

    def start(self, batch: int) -> ClockworkState:
        """Nothing is known before the keyframe."""
        return ClockworkState()

    @torch.no_grad()
    def step(self, state: ClockworkState, frame: Frame) -> list[Prediction]:
        """Shallow stage, deep stage if the clock ticks, one classifier on their sum."""
        if frame.image is None:
            raise ValueError(
                f"clockwork: frame {frame.index} carries no pixels although `needs` asks for them"
            )
        if state.deep is None and not frame.is_key:
            raise ValueError(f"clockwork: frame {frame.index} came before any keyframe of its clip")
        shallow, second = self.network.shallow(normalise_image(frame.image, self.normalisation))
        ticks = self._ticks(state, frame, shallow)
        if ticks:
            late = self.options.clock == "pipelined" and not frame.is_key and state.shallow is not None
            state.deep = self.network.deep(state.shallow if late else second)
        if self.options.clock == "pipelined":
            state.shallow = second
        assert state.deep is not None
        output = self.network.classify(shallow + state.deep, frame.size)
        kind: StepKind = "key" if ticks else "non_key"
        return [Prediction(frame.index, predict_labels(output, frame.size), kind)]

    def _ticks(self, state: ClockworkState, frame: Frame, shallow: Tensor) -> bool:
        if self.options.clock != "adaptive":
            return frame.is_key_every(self.options.period)
        labels = self.network.classifier(shallow).argmax(1).to(torch.uint8)
        changed = 1.0
        if not frame.is_key and state.labels is not None:
            changed = float((labels != state.labels).float().mean())
        ticks = frame.is_key or changed >= self.options.threshold
        if ticks:
            state.labels = labels
        return ticks
