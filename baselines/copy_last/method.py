"""Copy-last: segment keyframes, repeat the label map until the next. The floor of every propagation method."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor

from vssbench.method import BuildContext, Frame, Needs, Prediction
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels


class CopyLastOptions(NetworkOptions):
    """Options of copy-last. Part for `weights`: 'network'."""

    network: NetworkChoice = Field("bisenet18", description="registered network")


@dataclass(slots=True, eq=False)
class CopyLastState:
    """The keyframe's answer."""

    labels: Tensor | None = None
    """uint8 [N, H, W]; None before the first keyframe."""


class CopyLast(NetworkMethod):
    """Keyframes alone, everything else stands still. Source: baselines specification sections 0.2 and 17.

    Needs neither motion nor pixels between keyframes, so that it is what motion must be worth.
    """

    Options = CopyLastOptions
    options: CopyLastOptions

    def __init__(self, options: CopyLastOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of keyframes."""
        return Needs(pixels=False, every_frame=False)

    def start(self, batch: int) -> CopyLastState:
        """Nothing is known before the keyframe."""
        return CopyLastState()

    @torch.no_grad()
    def step(self, state: CopyLastState, frame: Frame) -> list[Prediction]:
        """Network on a keyframe; otherwise its labels again."""
        if frame.is_key:
            if frame.image is None:
                raise ValueError(f"copy-last: keyframe {frame.index} carries no pixels")
            output = self.network(normalise_image(frame.image, self.normalisation))
            state.labels = predict_labels(output, frame.size)
            return [Prediction(frame.index, state.labels, "key")]
        if state.labels is None:
            raise ValueError(f"copy-last: frame {frame.index} came before any keyframe of its clip")
        return [Prediction(frame.index, state.labels, "non_key")]
