"""Deep Feature Flow as a method. Source: baselines specification section 3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vssbench.method import BuildContext, Frame, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import FlowEstimate, create, create_flow_network
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import FlowNetworkOptions, NetworkMethod
from vssbench.ops import normalise_image, predict_labels, scale_flow, warp
from vssbench.ops.gradients import frozen
from vssbench.ops.losses import segmentation_loss


class DFFOptions(FlowNetworkOptions):
    """Options of Deep Feature Flow. Parts for `weights`: 'network' and, unless flow is the codec's, 'flow'."""

    network: NetworkChoice = Field("deeplab101", description="registered network of the keyframes")
    scale_field: Literal["channels", "single", "none"] = Field(
        "channels", description="factor on the carried map: one per channel (published), one for all, or none"
    )
    trains: Literal["all", "flow"] = Field(
        "all", description="what stage 'pair' trains: both networks (published) or the flow network alone"
    )

    @model_validator(mode="after")
    def _codec_flow_ends_at_the_streams_keyframe(self) -> DFFOptions:
        if self.flow == "codec" and self.key_interval is not None:
            raise ValueError(
                f"key_interval {self.key_interval} needs flow: network; the codec's flow leads to the stream's keyframes "
                "(set protocol.keyframe_interval instead)"
            )
        return self


@dataclass(slots=True, eq=False)
class DFFState:
    """What a clip carries from its last keyframe on."""

    feature: Tensor | None = None
    """[N, C, h, w] at the cut; None before the first keyframe."""
    image: Tensor | None = None
    """[N, 3, H, W] normalised keyframe; None if the flow is the codec's."""


class DeepFeatureFlow(NetworkMethod):
    """Keyframes through the whole network; other frames reuse the keyframe's map, warped and scaled.

    The flow always leads from the current frame to the keyframe, in one step. Raises ConfigError if the network cannot
    be cut where `cut` says.
    """

    Options = DFFOptions
    budget_knob = ("key_interval",)
    options: DFFOptions

    def __init__(self, options: DFFOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width)
        self.cut = self.network.choose_cut(options.cut)
        self._parts: dict[str, nn.Module] = {"network": self.network}
        if options.flow == "network":
            channels = {"channels": self.network.cut_channels(self.cut), "single": 1, "none": 0}
            self.flow = create_flow_network(
                options.flow_network,
                width=options.flow_width or options.width,
                scale_field=channels[options.scale_field],
            )
            self._parts["flow"] = self.flow
        for part in self._parts.values():
            part.to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of every frame for the flow network, else the codec's flow to the keyframe."""
        estimated = self.options.flow == "network"
        return Needs(
            pixels=estimated,
            flow_key=not estimated,
            flow_rule=self.options.flow_rule,
            every_frame=self.options.key_interval is not None,
        )

    def parts(self) -> dict[str, nn.Module]:
        """'network', and 'flow' if motion is estimated."""
        return dict(self._parts)

    def start(self, batch: int) -> DFFState:
        """Nothing is known before the keyframe."""
        return DFFState()

    @torch.no_grad()
    def step(self, state: DFFState, frame: Frame) -> list[Prediction]:
        """The network on a keyframe; otherwise flow, warp, scale and the rest of the network."""
        is_key = frame.is_key_every(self.options.key_interval)
        image = self._pixels(frame, is_key)
        if is_key and image is not None:
            state.feature = self.network.partial(image, self.cut).feature
            state.image = image if self.options.flow == "network" else None
            logits = self.network.classify_from(state.feature, self.cut, frame.size)
        elif state.feature is None:
            raise ValueError(f"dff: frame {frame.index} came before any keyframe of its clip")
        else:
            logits = self.network.classify_from(
                self.carry(state.feature, self._estimate(state, frame, image)), self.cut, frame.size
            )
        return [Prediction(frame.index, predict_labels(logits, frame.size), "key" if is_key else "non_key")]

    def _pixels(self, frame: Frame, is_key: bool) -> Tensor | None:
        if frame.image is not None:
            return normalise_image(frame.image, self.normalisation)
        if is_key or self.options.flow == "network":
            raise ValueError(f"dff: frame {frame.index} carries no pixels although `needs` asks for them")
        return None

    def _estimate(self, state: DFFState, frame: Frame, image: Tensor | None) -> FlowEstimate:
        assert state.feature is not None
        size = (state.feature.shape[-2], state.feature.shape[-1])
        if self.options.flow == "codec":
            if frame.flow_key is None:
                raise ValueError(f"dff: frame {frame.index} carries no flow_key although `needs` asks for it")
            return FlowEstimate(scale_flow(frame.flow_key, size, resample=self.options.flow_resample))
        assert image is not None
        assert state.image is not None
        estimate: FlowEstimate = self.flow(image, state.image, size)
        return estimate

    @staticmethod
    def carry(feature: Tensor, estimate: FlowEstimate) -> Tensor:
        """The keyframe's map [N, C, h, w] moved along the flow and multiplied by the scale field."""
        moved = warp(feature, estimate.flow, sampling="exact")
        return moved if estimate.scale is None else moved * estimate.scale

    def stages(self) -> list[Stage]:
        """'image' (network), and for estimated motion 'flow' (against the codec's) and 'pair' (end to end)."""
        image = Stage("image", "image", ("network",), self.image_loss)
        if self.options.flow == "codec":
            return [image]
        trained = ("network", "flow") if self.options.trains == "all" else ("flow",)
        return [
            image,
            Stage("flow", "pair", ("flow",), self._flow_loss),
            Stage("pair", "pair", trained, self._pair_loss),
        ]

    def _flow_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Distance to the codec's motion in cells: stands in for the pre-training on synthetic flow."""
        reference, flow_key = _paired(batch)
        size = self.network.feature_size((batch.image.shape[-2], batch.image.shape[-1]))
        estimate: FlowEstimate = self.flow(batch.image, reference, size)
        return {"flow": F.smooth_l1_loss(estimate.flow, scale_flow(flow_key, size).to(estimate.flow.dtype))}

    def _pair_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        reference, _ = _paired(batch)
        if self.options.trains == "flow":
            with frozen(self.network):
                logits = self._pair_logits(batch.image, reference)
        else:
            logits = self._pair_logits(batch.image, reference)
        kind = self.options.loss_of(self.network)
        return segmentation_loss(kind, logits, batch.label, class_weights=batch.class_weights)

    def _pair_logits(self, image: Tensor, reference: Tensor) -> Tensor:
        feature = self.network.partial(reference, self.cut).feature
        estimate: FlowEstimate = self.flow(image, reference, (feature.shape[-2], feature.shape[-1]))
        return self.network.classify_from(
            self.carry(feature, estimate), self.cut, (image.shape[-2], image.shape[-1])
        )


def _paired(batch: TrainingBatch) -> tuple[Tensor, Tensor]:
    if batch.reference is None or batch.flow_key is None:
        raise ValueError("dff: stages 'flow' and 'pair' need batches of the recipe 'pair'")
    return batch.reference, batch.flow_key
