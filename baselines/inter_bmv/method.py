"""Block-motion feature interpolation (Jain and Gonzalez) as a method. Source: baselines specification section 8."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from vssbench.baselines.inter_bmv.fusion import FusionRule, LearnedFusion, fuse
from vssbench.baselines.inter_bmv.propagation import Propagation, carry, move
from vssbench.errors import ConfigError
from vssbench.method import BuildContext, FlowRule, Frame, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels
from vssbench.ops.flow_chain import Reversal, compose_flow, match_blocks, reverse_flow
from vssbench.ops.gradients import frozen
from vssbench.ops.losses import segmentation_loss

MissingLink = Literal["block-matching", "zero", "forward"]


class InterBMVOptions(NetworkOptions):
    """Options of block-motion feature interpolation. Parts for `weights`: 'network', and 'fusion' if it is learned."""

    network: NetworkChoice = Field("deeplab101", description="registered network of the keyframes")
    cut: Literal["task", "classifier"] | None = Field(
        None,
        description="what is carried: the map before N_task (default where it exists) or before the final 1x1",
    )
    fusion: FusionRule = Field(
        "distance",
        description="of both features: weighted by distance, average, max, learned 1x1 (conv); forward: the causal control",
    )
    key_interval: int | None = Field(
        None,
        ge=1,
        description="n: frames between keyframes, on P frames too; default: the stream's keyframes. The budget knob",
    )
    missing_link: MissingLink = Field(
        "block-matching",
        description="motion between the last frame and a keyframe without vectors (an I frame): 16x16 full search, none, or "
        "forward propagation alone for these frames",
    )
    search_radius: int = Field(16, ge=1, description="pixels, for missing_link: block-matching")
    backward: Reversal = Field(
        "splat",
        description="motion to the next frame: opposite vectors, carried to where they point or in place",
    )
    propagation: Propagation = Field(
        "composed", description="composed: one warp per frame; recursive: step by step (published)"
    )
    trains: Literal["fusion", "all"] = Field("fusion", description="what stage 'fusion' trains")
    flow_rule: FlowRule = Field("exact", description="exact: sub-pel; paper: whole samples")
    flow_resample: Literal["nearest", "bilinear"] = Field(
        "nearest", description="of flow to the feature's size"
    )


@dataclass(slots=True, eq=False)
class InterBMVState:
    """What a clip carries: the last keyframe and the frames that wait for the next."""

    feature: Tensor | None = None
    """[N, C, h, w] of the last keyframe; None before the first."""
    waiting: list[int] = field(default_factory=list)
    """`Frame.index` of frames not answered yet."""
    flows: list[Tensor] = field(default_factory=list)
    """[N, 2, H, W] of each frame since the keyframe towards the one before it."""
    size: tuple[int, int] = (0, 0)
    image: Tensor | None = None
    """uint8 [N, 3, H, W] last frame, for block matching."""


class InterBMV(NetworkMethod):
    """Frames between two keyframes take the fused features of both, each carried along block motion.

    Frames wait for the next keyframe, so the latency is up to n - 1 frames; what still waits when a sequence ends is
    answered from the keyframe before alone. Raises ConfigError if the network cannot be cut where `cut` says.
    """

    Options = InterBMVOptions
    budget_knob = ("key_interval",)
    options: InterBMVOptions

    def __init__(self, options: InterBMVOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width)
        self.cut = self.network.choose_cut(options.cut)
        learned = options.fusion == "conv"
        self.fusion = LearnedFusion(self.network.cut_channels(self.cut)) if learned else None
        if options.fusion != "conv" and options.trains == "all":
            raise ConfigError(
                f"inter-bmv: trains: all belongs to fusion: conv; fusion {options.fusion!r} learns nothing"
            )
        for part in self.parts().values():
            part.to(context.device).eval()
        self._causal = options.fusion == "forward"

    @property
    def needs(self) -> Needs:
        """One-step motion; pixels between keyframes only to search a missing link; the next keyframe unless causal."""
        interval = self.context.keyframe_interval
        latency = min(self.options.key_interval or interval, interval) - 1
        return Needs(
            pixels=self.options.key_interval is not None
            or (not self._causal and self.options.missing_link == "block-matching"),
            flow_previous=True,
            flow_rule=self.options.flow_rule,
            lookahead=0 if self._causal else latency,
            bridges_end=True,
        )

    def parts(self) -> dict[str, nn.Module]:
        """'network', and 'fusion' if it is learned."""
        return super().parts() | ({"fusion": self.fusion} if self.fusion is not None else {})

    def start(self, batch: int) -> InterBMVState:
        """Nothing is known before the keyframe."""
        return InterBMVState()

    @torch.no_grad()
    def step(self, state: InterBMVState, frame: Frame) -> list[Prediction]:
        """A keyframe answers itself and all frames that waited for it; other frames wait (or move on, if causal)."""
        if frame.is_key_every(self.options.key_interval):
            return self._arrive(state, frame)
        if state.feature is None:
            raise ValueError(f"inter-bmv: frame {frame.index} came before any keyframe of its clip")
        if frame.flow_previous is None:
            raise ValueError(
                f"inter-bmv: frame {frame.index} carries no flow_previous although `needs` asks for it"
            )
        if self._causal:
            return [self._move_on(state, frame, frame.flow_previous)]
        state.flows.append(frame.flow_previous)
        state.waiting.append(frame.index)
        state.size, state.image = frame.size, frame.image
        return []

    def _move_on(self, state: InterBMVState, frame: Frame, flow: Tensor) -> Prediction:
        """The causal control: the keyframe before alone, at once."""
        assert state.feature is not None
        if self.options.propagation == "recursive":
            moved = state.feature = move(state.feature, flow, self.options.flow_resample)
        else:
            state.flows = [compose_flow(flow, state.flows[0]) if state.flows else flow]
            moved = move(state.feature, state.flows[0], self.options.flow_resample)
        return self._answer(frame.index, moved, frame.size, "non_key")

    def _arrive(self, state: InterBMVState, frame: Frame) -> list[Prediction]:
        """Segment a keyframe and interpolate the frames before it."""
        if frame.image is None:
            raise ValueError(f"inter-bmv: keyframe {frame.index} carries no pixels")
        feature = self.network.partial(normalise_image(frame.image, self.normalisation), self.cut).feature
        answers = []
        if state.waiting and state.feature is not None:
            link = self._link(state.image, frame)
            answers = self._interpolate(state, feature, link)
        answers.append(self._answer(frame.index, feature, frame.size, "key"))
        state.feature, state.image = feature, frame.image
        state.waiting.clear()
        state.flows.clear()
        return answers

    def _link(self, image: Tensor | None, key: Frame) -> Tensor | None:
        """Flow of the frame before the keyframe towards it; None if there is to be none."""
        assert key.image is not None
        if key.frame_type != "I" and key.flow_previous is not None:
            return reverse_flow(key.flow_previous, self.options.backward)
        if self.options.missing_link == "forward":
            return None
        if self.options.missing_link == "zero":
            return torch.zeros(
                (key.image.shape[0], 2, *key.size), dtype=torch.float32, device=key.image.device
            )
        if image is None:
            raise ValueError(
                f"inter-bmv: the frame before {key.index} carries no pixels although `needs` asks for them"
            )
        return match_blocks(image, key.image, radius=self.options.search_radius)

    def _interpolate(self, state: InterBMVState, after: Tensor, link: Tensor | None) -> list[Prediction]:
        assert state.feature is not None
        before = self._forward(state.feature, state.flows)
        if link is None:
            fused = before
        else:
            fused = self._fuse_all(before, self._backward(after, state.flows[1:], link))
        return [
            self._answer(index, feature, state.size, "non_key")
            for index, feature in zip(state.waiting, fused, strict=True)
        ]

    def _forward(self, feature: Tensor, flows: Sequence[Tensor]) -> list[Tensor]:
        return carry(feature, flows, self.options.propagation, self.options.flow_resample)

    def _backward(self, feature: Tensor, flows: Sequence[Tensor], link: Tensor) -> list[Tensor]:
        """The next keyframe's feature at every waiting frame, in their order.

        flows: of the second waiting frame to the first, and so on; link: of the last waiting frame to the keyframe.
        """
        back = [link, *(reverse_flow(flow, self.options.backward) for flow in reversed(flows))]
        return carry(feature, back, self.options.propagation, self.options.flow_resample)[::-1]

    def _fuse_all(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Tensor]:
        count = len(before) + 1
        return [
            fuse(self.options.fusion, first, second, i / count, self.fusion)
            for i, (first, second) in enumerate(zip(before, after, strict=True), start=1)
        ]

    def _answer(
        self, index: int, feature: Tensor, size: tuple[int, int], kind: Literal["key", "non_key"]
    ) -> Prediction:
        scores = self.network.classify_from(feature, self.cut, size)
        return Prediction(index, predict_labels(scores, size), kind)

    @torch.no_grad()
    def flush(self, state: InterBMVState) -> list[Prediction]:
        """Frames without a next keyframe: forward propagation alone."""
        if not state.waiting or state.feature is None:
            return []
        moved = self._forward(state.feature, state.flows)
        answers = [
            self._answer(index, feature, state.size, "non_key")
            for index, feature in zip(state.waiting, moved, strict=True)
        ]
        state.waiting.clear()
        return answers

    def stages(self) -> list[Stage]:
        """'image' (network) and, for the learned fusion, 'fusion' (triplet)."""
        stages = super().stages()
        if self.fusion is not None:
            trained = ("fusion",) if self.options.trains == "fusion" else ("network", "fusion")
            stages.append(Stage("fusion", "triplet", trained, self._fusion_loss))
        return stages

    def _fusion_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Both keyframes' features at the labelled frame between them, fused and scored."""
        if not batch.window or not batch.after:
            raise ValueError("inter-bmv: stage 'fusion' needs batches of the recipe 'triplet'")
        frozen_network = self.options.trains == "fusion"
        with _without_graph(frozen_network):
            first, last = (
                self.network.partial(image, self.cut).feature for image in (batch.window[0], batch.after[-1])
            )
            before = self._forward(first, batch.window_flow)[-1]
            behind = [batch.image, *batch.after]
            link = (
                torch.zeros_like(batch.after_flow[-1])
                if self.options.missing_link == "zero"
                else match_blocks(behind[-2], behind[-1], radius=self.options.search_radius)
            )
            after = self._backward(last, batch.after_flow[:-1], link)[0]
        assert self.fusion is not None
        fused = self.fusion(before, after)
        size = (batch.image.shape[-2], batch.image.shape[-1])
        logits = self._through_task(fused, size, frozen_network)
        kind = self.options.loss_of(self.network)
        return segmentation_loss(kind, logits, batch.label, class_weights=batch.class_weights)

    def _through_task(self, feature: Tensor, size: tuple[int, int], frozen_network: bool) -> Tensor:
        with frozen(self.network) if frozen_network else nullcontext():
            return self.network.classify_from(feature, self.cut, size)


def _without_graph(wanted: bool) -> AbstractContextManager[Any]:
    return torch.no_grad() if wanted else nullcontext()
