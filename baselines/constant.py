"""Constant resolution: every frame on its own, at full or reduced resolution. The reference of every comparison."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from vssbench.method import BuildContext, Frame, Needs, Prediction, TrainingBatch
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels, resize_input, scaled_size
from vssbench.ops.resize import Corners, SizeRule


class ConstantOptions(NetworkOptions):
    """Options of constant resolution. Part for `weights`: 'network'."""

    network: NetworkChoice = Field("bisenet18", description="registered network")
    lr_scale: float = Field(1.0, gt=0, le=4, description="alpha: resize factor of the input")
    mode: Literal["paper", "corrected"] = Field(
        "paper",
        description="paper: truncated size, corners aligned; corrected: rounded size, pixel areas aligned",
    )


class ConstantResolution(NetworkMethod):
    """Resize by lr_scale, segment, resize the output to the frame. Source: baselines specification section 1.

    Raises ConfigError if lr_scale leaves no pixel.
    """

    Options = ConstantOptions
    budget_knob = ("lr_scale",)
    options: ConstantOptions

    def __init__(self, options: ConstantOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self._size_rule: SizeRule = "truncate" if options.mode == "paper" else "round"
        self._corners: Corners = "align-corners" if options.mode == "paper" else "half-pixel"
        scaled_size(context.size, options.lr_scale, size_rule=self._size_rule)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of the scored frame only."""
        return Needs(every_frame=False, stateless=True)

    def start(self, batch: int) -> None:
        """Frames do not depend on one another: there is no state."""
        return

    @torch.no_grad()
    def step(self, state: None, frame: Frame) -> list[Prediction]:
        """Segment the frame."""
        if frame.image is None:
            raise ValueError(
                f"constant: frame {frame.index} carries no pixels although `needs` asks for them"
            )
        image = self._input(normalise_image(frame.image, self.normalisation))
        output = self.network.inference_scores(
            self.network.features(image), (image.shape[-2], image.shape[-1])
        )
        kind: Literal["key", "non_key"] = "key" if frame.is_key else "non_key"
        return [Prediction(frame.index, predict_labels(output, frame.size), kind)]

    def lr_scale_of(self, part: str) -> float:
        """The network sees resized frames."""
        return self.options.lr_scale

    def _input(self, image: Tensor) -> Tensor:
        return resize_input(image, self.options.lr_scale, size_rule=self._size_rule, corners=self._corners)

    def image_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Images are resized by lr_scale and scored against full-resolution labels."""
        output = self.network.forward_training(self._input(batch.image))
        return output.losses(self.options.loss_of(self.network), batch.label, batch.class_weights)
