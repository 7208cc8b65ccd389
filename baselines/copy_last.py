"""Copy-last: segment keyframes, repeat the label map until the next. The floor of every propagation method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vssbench.method import (
    BuildContext,
    Frame,
    Method,
    MethodOptions,
    Needs,
    Prediction,
    Stage,
    TrainingBatch,
)
from vssbench.networks import create
from vssbench.ops import normalise_image, predict_labels
from vssbench.ops.losses import SegmentationLoss


class CopyLastOptions(MethodOptions):
    """Options of copy-last. Part for `weights`: 'network'."""

    network: str = Field("bisenet18", description="registered network")
    width: int = Field(64, ge=1, description="base channels; 64 is the published network")
    normalisation: tuple[tuple[float, float, float], tuple[float, float, float]] | None = Field(
        None, description="mean and deviation of RGB in 0..1; default: the dataset's"
    )
    loss: SegmentationLoss | Literal["network"] = Field(
        "network", description="segmentation loss; default: the network's"
    )


@dataclass(slots=True, eq=False)
class CopyLastState:
    """The keyframe's answer."""

    labels: Tensor | None = None
    """uint8 [N, H, W]; None before the first keyframe."""


class CopyLast(Method):
    """Keyframes alone, everything else stands still. Source: baselines specification sections 0.2 and 17.

    Needs neither motion nor pixels between keyframes, so that it is what motion must be worth.
    """

    Options = CopyLastOptions
    options: CopyLastOptions

    def __init__(self, options: CopyLastOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()
        self.normalisation = options.normalisation or context.normalisation

    @property
    def needs(self) -> Needs:
        """Pixels of keyframes."""
        return Needs(pixels=False, every_frame=False)

    def parts(self) -> dict[str, nn.Module]:
        """'network'."""
        return {"network": self.network}

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

    def stages(self) -> list[Stage]:
        """'image': the keyframe network on single full-resolution images."""
        return [Stage("image", "image", ("network",), self._loss)]

    def _loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        kind = self.network.loss if self.options.loss == "network" else self.options.loss
        return self.network.forward_training(batch.image).losses(kind, batch.label, batch.class_weights)
