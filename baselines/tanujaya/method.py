"""Tanujaya et al. as a method: class maps follow the blocks, holes are inpainted. Source: baselines specification, 13."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from vssbench.baselines.tanujaya.repair import LEAST, GuidedRepair
from vssbench.method import BuildContext, Frame, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels, resize, scale_flow, warp
from vssbench.ops.losses import segmentation_loss

CELL = 4
"""Side of a cell of the class maps in pixels."""
DROPPED_CELLS = 4
"""Side of a hole that training adds, in cells."""
CHAIN = 3
"""Steps from the frame that is segmented whole to the one with the loss, in training."""
INPAINTING_WEIGHT = 0.5


class TanujayaOptions(NetworkOptions):
    """Options of Tanujaya et al. Parts for `weights`: 'network' and 'repair'."""

    network: NetworkChoice = Field("bisenet18", description="registered network of the keyframes")
    repair_width: int = Field(16, ge=1, description="channels of the repairing network and its attention")
    threshold: float = Field(
        0.5,
        ge=0,
        allow_inf_nan=False,
        description="mean difference of a cell to what was carried there, in deviations of the normalisation, from "
        "which it is a hole",
    )
    dropped: float = Field(0.2, ge=0, lt=1, description="share of blocks that training turns into holes")


@dataclass(slots=True, eq=False)
class TanujayaState:
    """What a clip carries from frame to frame."""

    classes: Tensor | None = None
    """[N, K, H/4, W/4] probabilities of the last frame; None before the first keyframe."""
    image: Tensor | None = None
    """[N, 3, H, W] normalised last frame."""


class Tanujaya(NetworkMethod):
    """Keyframes by the network; other frames carry the last frame's probabilities along its blocks and repair them.

    Holes are cells whose motion does not exist (intra blocks) or whose pixels differ from the ones carried there.
    """

    Options = TanujayaOptions
    options: TanujayaOptions

    def __init__(self, options: TanujayaOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width)
        self.repair = GuidedRepair(context.classes, options.repair_width)
        for part in (self.network, self.repair):
            part.to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels and one-step motion of every frame, sides of whole cells."""
        return Needs(flow_previous=True, flow_rule="exact", size_multiple=CELL)

    def parts(self) -> dict[str, nn.Module]:
        """'network' and 'repair'."""
        return {"network": self.network, "repair": self.repair}

    def start(self, batch: int) -> TanujayaState:
        """Nothing is known before the keyframe."""
        return TanujayaState()

    @torch.no_grad()
    def step(self, state: TanujayaState, frame: Frame) -> list[Prediction]:
        """Network on a keyframe; otherwise carry and repair."""
        if frame.image is None:
            raise ValueError(
                f"tanujaya: frame {frame.index} carries no pixels although `needs` asks for them"
            )
        image = normalise_image(frame.image, self.normalisation)
        if frame.is_key:
            output = self.network(image)
            state.classes, state.image = self._on_cells(output, image), image
            return [Prediction(frame.index, predict_labels(output, frame.size), "key")]
        if state.classes is None or state.image is None:
            raise ValueError(f"tanujaya: frame {frame.index} came before any keyframe of its clip")
        if frame.flow_previous is None:
            raise ValueError(
                f"tanujaya: frame {frame.index} carries no flow_previous although `needs` asks for it"
            )
        holes = self.holes(image, state.image, frame.flow_previous, frame.flow_valid_previous)
        state.classes, _ = self._carry(state.classes, holes, image, frame.flow_previous)
        state.image = image
        return [Prediction(frame.index, predict_labels(state.classes, frame.size), "non_key")]

    def _on_cells(self, output: Tensor, image: Tensor) -> Tensor:
        """Probabilities [N, K, H/4, W/4] of the network's output for an image [N, 3, H, W]."""
        return torch.softmax(resize(output, (image.shape[-2] // CELL, image.shape[-1] // CELL)), 1)

    def holes(self, image: Tensor, earlier: Tensor, flow: Tensor, valid: Tensor | None) -> Tensor:
        """Float [N, 1, H/4, W/4]: 1 where at least half of a cell has no motion, or the cell differs too much.

        image, earlier: normalised [N, 3, H, W]; flow [N, 2, H, W] pixels; valid bool [N, H, W], None for all.
        """
        difference = (image - warp(earlier, flow, sampling="exact", interpolation="nearest")).abs()
        wrong = F.avg_pool2d(difference.mean(1, keepdim=True), CELL) > self.options.threshold
        if valid is not None:
            wrong = wrong | (F.avg_pool2d((~valid).unsqueeze(1).to(image.dtype), CELL) >= 0.5)
        return wrong.to(image.dtype)

    def _carry(self, classes: Tensor, holes: Tensor, image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Repaired and inpainted probabilities of a frame from those of the frame before."""
        scaled = scale_flow(flow, (classes.shape[-2], classes.shape[-1]), resample="nearest")
        moved = warp(classes, scaled, sampling="exact")
        repaired, inpainted = self.repair(moved, holes, F.avg_pool2d(image, CELL))
        return repaired, inpainted

    def stages(self) -> list[Stage]:
        """'image' (the network), then 'repair' (window): the repairing network behind the frozen one."""
        return [
            *super().stages(),
            Stage("repair", "window", ("repair",), self._repair_loss, window=CHAIN),
        ]

    def _repair_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """The first frame of the window by the network, a chain of repairs with added holes, loss on the last one."""
        if not batch.window or len(batch.window_flow) != len(batch.window):
            raise ValueError("tanujaya: the stage 'repair' needs batches of the recipe 'window'")
        frames = [*batch.window, batch.image]
        with torch.no_grad():
            classes = self._on_cells(self.network(frames[0]), frames[0])
        inpainted = classes
        for earlier, image, flow in zip(frames[:-1], frames[1:], batch.window_flow, strict=True):
            holes = torch.maximum(self.holes(image, earlier, flow, None), self._dropped(classes))
            classes, inpainted = self._carry(classes, holes, image, flow)

        def loss(probabilities: Tensor) -> Tensor:
            scores = probabilities.clamp(min=LEAST).log()
            terms = segmentation_loss("cross-entropy", scores, batch.label, class_weights=batch.class_weights)
            return terms["segmentation"]

        return {"segmentation": loss(classes), "inpainting": INPAINTING_WEIGHT * loss(inpainted)}

    def _dropped(self, classes: Tensor) -> Tensor:
        """Float [N, 1, h, w]: blocks of 16x16 pixels that are holes by chance."""
        batch, _, height, width = classes.shape
        blocks = (batch, 1, -(-height // DROPPED_CELLS), -(-width // DROPPED_CELLS))
        chosen = (torch.rand(blocks, device=classes.device) < self.options.dropped).to(classes.dtype)
        return F.interpolate(chosen, scale_factor=DROPPED_CELLS, mode="nearest")[..., :height, :width]
