"""Warp-only: segment keyframes, carry the result along the motion, compute nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from vssbench.method import BuildContext, FlowRule, Frame, Needs, Prediction
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels, resize, scale_flow, warp


class WarpOnlyOptions(NetworkOptions):
    """Options of warp-only. Part for `weights`: 'network'."""

    network: NetworkChoice = Field("bisenet18", description="registered network")
    what: Literal["feature", "scores", "labels"] = Field(
        "feature",
        description="what is carried: the feature before the final 1x1, class scores, or the label map",
    )
    propagation: Literal["composed", "recursive"] = Field(
        "composed", description="composed: one warp from the keyframe; recursive: the last result by one step"
    )
    sampling: Literal["paper", "exact"] = Field(
        "exact", description="paper: AR-Seg's stretched sampling; exact: a plain shift"
    )
    flow_rule: FlowRule = Field(
        "exact", description="paper: integer hops, intra as zero motion; exact: sub-pel"
    )
    flow_resample: Literal["nearest", "bilinear"] = Field(
        "nearest", description="of the flow to the feature's size"
    )
    border: Literal["zero", "clamp"] | None = Field(
        None,
        description="samples outside the frame; default: zero for paper sampling, else clamp; labels always clamp",
    )


@dataclass(slots=True, eq=False)
class WarpOnlyState:
    """What is carried along the motion."""

    carried: Tensor | None = None
    """Feature [N, C, h, w], scores [N, K, H, W] or labels as floats [N, 1, H, W]; None before the first keyframe."""


class WarpOnly(NetworkMethod):
    """The paper's "+W_MV" row and its relatives. Source: baselines specification section 2.

    'composed' warps the keyframe's result by the flow to the keyframe; 'recursive' warps the previous frame's result
    by the flow to the previous frame and hence must see every frame.
    """

    Options = WarpOnlyOptions
    options: WarpOnlyOptions

    def __init__(self, options: WarpOnlyOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of keyframes, and one kind of flow."""
        composed = self.options.propagation == "composed"
        return Needs(
            pixels=False,
            flow_key=composed,
            flow_previous=not composed,
            flow_rule=self.options.flow_rule,
            every_frame=not composed,
        )

    def start(self, batch: int) -> WarpOnlyState:
        """Nothing is known before the keyframe."""
        return WarpOnlyState()

    @torch.no_grad()
    def step(self, state: WarpOnlyState, frame: Frame) -> list[Prediction]:
        """Network on a keyframe; otherwise warp what is carried."""
        if frame.is_key:
            if frame.image is None:
                raise ValueError(f"warp-only: keyframe {frame.index} carries no pixels")
            state.carried = self._begin(normalise_image(frame.image, self.normalisation), frame.size)
            return [Prediction(frame.index, self._labels(state.carried, frame.size), "key")]
        if state.carried is None:
            raise ValueError(f"warp-only: frame {frame.index} came before any keyframe of its clip")
        moved = self._move(state.carried, frame)
        if self.options.propagation == "recursive":
            state.carried = moved
        return [Prediction(frame.index, self._labels(moved, frame.size), "non_key")]

    def _begin(self, image: Tensor, size: tuple[int, int]) -> Tensor:
        feature = self.network.features(image)
        if self.options.what == "feature":
            return feature
        output = self.network.classify(feature, size)
        if self.options.what == "scores":
            return resize(output, size)
        return predict_labels(output, size).unsqueeze(1).float()

    def _move(self, carried: Tensor, frame: Frame) -> Tensor:
        flow = frame.flow_key if self.options.propagation == "composed" else frame.flow_previous
        if flow is None:
            raise ValueError(f"warp-only: frame {frame.index} carries no flow although `needs` asks for it")
        # invalid flow is followed too: where a hop is missing the chain stands still, which is the best guess
        options = self.options
        size = (carried.shape[-2], carried.shape[-1])
        ratio: Literal["paper", "exact"] = "paper" if options.sampling == "paper" else "exact"
        scaled = scale_flow(flow, size, resample=options.flow_resample, ratio=ratio)
        if options.what == "labels":  # a class index cannot be averaged, and 0 would be a class
            return warp(carried, scaled, sampling=options.sampling, border="clamp", interpolation="nearest")
        return warp(carried, scaled, sampling=options.sampling, border=options.border)

    def _labels(self, carried: Tensor, size: tuple[int, int]) -> Tensor:
        if self.options.what == "feature":
            return predict_labels(self.network.classify(carried, size), size)
        if self.options.what == "scores":
            return predict_labels(carried, size)
        return carried[:, 0].to(torch.uint8)
