"""TapLab as a method: FFW, RGC and RGFS. Source: baselines specification sections 7 and 14."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from vssbench.baselines.taplab.policy import RefreshRule, block_energies, candidates, default_block
from vssbench.method import BuildContext, FlowRule, Frame, Needs, Prediction
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels, resize, warp
from vssbench.ops.compensation import EnergySpace, compensated_difference, residual_energy


class TapLabOptions(NetworkOptions):
    """Options of TapLab. Part for `weights`: 'network'."""

    network: NetworkChoice = Field("light-fpn18", description="registered network")
    refresh: bool = Field(True, description="RGFS: segment the whole frame when residuals are large")
    threshold_scale: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="factor on its two published thresholds. The budget knob"
    )
    region_correction: bool = Field(True, description="RGC: segment the block with the most residual again")
    block: int | None = Field(
        None, ge=1, description="side of that block; default: half the height, rounded up to a multiple of 32"
    )
    blend: float = Field(0.6, gt=0, le=1, description="weight of the new scores inside the block")
    residual: Literal["previous", "references"] = Field(
        "previous",
        description="previous: against the picture before, displaced by whole samples (released); references: against each "
        "block's own reference pictures",
    )
    interpolation: Literal["nearest", "bilinear"] = Field(
        "nearest", description="sampling of the picture before, for residual: previous"
    )
    space: EnergySpace = Field("rgb", description="energy summed over colours (released), or of the luma")
    flow_rule: FlowRule = Field("exact", description="exact: sub-pel; paper: whole samples")
    border: Literal["zero", "clamp"] = Field(
        "clamp", description="scores from outside the frame: nearest inside, or 0 (released)"
    )


@dataclass(slots=True, eq=False)
class TapLabState:
    """What a clip carries from frame to frame."""

    rule: RefreshRule
    scores: Tensor | None = None
    """[1, K, H, W] log-probabilities of the last frame; None before the first keyframe."""
    image: Tensor | None = None
    """uint8 [1, 3, H, W] last frame."""
    gathered: Tensor = field(default_factory=lambda: torch.zeros(0))
    """float64 [J] energy of each candidate block since it was segmented last."""


class TapLab(NetworkMethod):
    """I frames through the network; other frames warp the last scores and correct what residuals point at.

    P frame: if its residual energy is high, the whole frame is segmented (RGFS, a 'key' step); else the scores move
    along the one-step motion (FFW) and the block with the most gathered energy is segmented and blended in (RGC, a
    'partial' step). Without any residual nothing is recomputed. Takes one clip at a time.
    Beside the network nothing is trained; see `calibration`.
    Raises ConfigError if a block does not fit the frame.
    """

    Options = TapLabOptions
    budget_knob = ("threshold_scale", "refresh")
    options: TapLabOptions

    def __init__(self, options: TapLabOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.block = default_block(context.size) if options.block is None else options.block
        self.blocks = candidates(context.size, self.block)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels and one-step motion of every frame; the codec layer's residual if it is asked for."""
        return Needs(
            flow_previous=True,
            flow_rule=self.options.flow_rule,
            residual=self.options.residual == "references",
            batchable=False,
            adaptive=True,
        )

    def start(self, batch: int) -> TapLabState:
        """Nothing is known before the keyframe."""
        return TapLabState(self._new_rule())

    def _new_rule(self) -> RefreshRule:
        return RefreshRule(self.options.threshold_scale if self.options.refresh else math.inf)

    @torch.no_grad()
    def step(self, state: TapLabState, frame: Frame) -> list[Prediction]:
        """Segment, or warp and correct."""
        if frame.image is None:
            raise ValueError(f"taplab: frame {frame.index} carries no pixels although `needs` asks for them")
        if frame.is_key:
            state.rule = self._new_rule()
            return self._segment_whole(state, frame)
        if state.scores is None or state.image is None:
            raise ValueError(f"taplab: frame {frame.index} came before any keyframe of its clip")
        if frame.flow_previous is None:
            raise ValueError(
                f"taplab: frame {frame.index} carries no flow_previous although `needs` asks for it"
            )
        energy = self._energy(frame, state.image)
        if state.rule.is_due(float(energy.double().mean())):
            return self._segment_whole(state, frame)
        state.scores = warp(state.scores, frame.flow_previous, sampling="exact", border=self.options.border)
        corrected = self.options.region_correction and self._correct(state, frame.image, energy)
        state.image = frame.image
        labels = predict_labels(state.scores, frame.size)
        if not corrected:
            return [Prediction(frame.index, labels, "non_key")]
        share = self.block**2 / (frame.size[0] * frame.size[1])
        return [Prediction(frame.index, labels, "partial", share)]

    def _segment_whole(self, state: TapLabState, frame: Frame) -> list[Prediction]:
        """The network on the whole frame; everything gathered is forgotten."""
        assert frame.image is not None
        state.scores = self._log_probabilities(frame.image)
        state.image = frame.image
        state.gathered = torch.zeros(len(self.blocks), dtype=torch.float64, device=frame.image.device)
        return [Prediction(frame.index, predict_labels(state.scores, frame.size), "key")]

    def _log_probabilities(self, image: Tensor) -> Tensor:
        """[1, K, H, W] at the size of the uint8 image [1, 3, H, W]."""
        output = self.network(normalise_image(image, self.normalisation))
        return F.log_softmax(resize(output, (image.shape[-2], image.shape[-1])), dim=1)

    def _energy(self, frame: Frame, previous: Tensor) -> Tensor:
        """[H, W] residual energy of a P frame."""
        if self.options.residual == "references":
            if frame.residual is None:
                raise ValueError(
                    f"taplab: frame {frame.index} carries no residual although `needs` asks for it"
                )
            residual = frame.residual
        else:
            assert frame.image is not None
            assert frame.flow_previous is not None
            residual = compensated_difference(
                frame.image, previous, frame.flow_previous, interpolation=self.options.interpolation
            )
        return residual_energy(residual, space=self.options.space)[0]

    def _correct(self, state: TapLabState, image: Tensor, energy: Tensor) -> bool:
        """Segment the block with the most gathered energy and blend it in; False if no block has any."""
        assert state.scores is not None
        state.gathered = state.gathered + block_energies(energy, self.blocks, self.block)
        chosen = int(state.gathered.argmax())
        if float(state.gathered[chosen]) == 0.0:
            return False
        state.gathered[chosen] = 0.0
        top, left = self.blocks[chosen]
        rows, columns = slice(top, top + self.block), slice(left, left + self.block)
        fresh = self._log_probabilities(image[..., rows, columns])
        scores = state.scores.clone()
        scores[..., rows, columns] = torch.lerp(scores[..., rows, columns], fresh, self.options.blend)
        state.scores = scores
        return True
