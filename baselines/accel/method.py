"""Accel as a method. Source: baselines specification section 4."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from vssbench.baselines.accel.fusion import Initialisation, ScoreFusion
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import SegmentationNetwork, create, create_flow_network
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import FlowNetworkOptions
from vssbench.ops import normalise_image, predict_labels, resize, scale_flow, warp
from vssbench.ops.losses import segmentation_loss

WINDOW = 4
"""Frames before the labelled one in the fusion's training sequences of n = 5."""


class AccelOptions(FlowNetworkOptions):
    """Options of Accel. Parts for `weights`: 'reference', 'update', 'fusion', and 'flow' unless the codec's is used."""

    reference_network: NetworkChoice = Field("deeplab101", description="registered network of keyframes")
    update_network: NetworkChoice = Field("deeplab18", description="registered network of the frames between")
    reference_width: int | None = Field(None, ge=1, description="of the reference; default: width")
    update_width: int | None = Field(None, ge=1, description="of the update branch; default: width")
    propagation: Literal["recursive", "composed"] = Field(
        "recursive",
        description="recursive: one step per frame (published); composed: one warp from the keyframe",
    )
    fusion_at: Literal["frame", "update"] = Field(
        "frame",
        description="where scores are joined: at frame size (published) or at the update network's grid",
    )
    initialisation: Initialisation = Field(
        "released", description="of the fusion; average suits short trainings"
    )
    trains: Literal["fusion", "all"] = Field(
        "fusion", description="what stage 'fusion' trains: the 1x1 alone (released) or every part"
    )

    @property
    def networks(self) -> tuple[tuple[str, int | None], ...]:
        """The update network, which runs on every frame, then the keyframes' network."""
        return (
            (str(self.update_network), self.update_width or self.width),
            (str(self.reference_network), self.reference_width or self.width),
        )

    @model_validator(mode="after")
    def _composed_codec_flow_ends_at_the_streams_keyframe(self) -> AccelOptions:
        if self.flow == "codec" and self.propagation == "composed" and self.key_interval is not None:
            raise ValueError(
                f"key_interval {self.key_interval} needs propagation: recursive or flow: network; the codec's composed "
                "flow leads to the stream's keyframes"
            )
        return self


@dataclass(slots=True, eq=False)
class AccelState:
    """What a clip carries."""

    feature: Tensor | None = None
    """[N, C, h, w] reference map: of the keyframe ('composed') or already moved to the last frame ('recursive')."""
    image: Tensor | None = None
    """[N, 3, H, W] normalised frame that `feature` belongs to, for the flow network."""


class Accel(Method):
    """Reference branch on keyframes, carried on; update branch on all other frames; scores joined by a learned 1x1.

    On keyframes only the reference branch runs. Raises ConfigError if the reference network cannot be cut where `cut`
    says.
    """

    Options = AccelOptions
    budget_knob = ("key_interval",)
    options: AccelOptions

    def __init__(self, options: AccelOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.reference = create(
            options.reference_network, context.classes, width=options.reference_width or options.width
        )
        self.update = create(
            options.update_network, context.classes, width=options.update_width or options.width
        )
        self.cut = self.reference.choose_cut(options.cut)
        self.fusion = ScoreFusion(context.classes, options.initialisation)
        self._parts: dict[str, nn.Module] = {"reference": self.reference, "update": self.update}
        if options.flow == "network":
            self.flow = create_flow_network(options.flow_network, width=options.flow_width or options.width)
            self._parts["flow"] = self.flow
        self._parts["fusion"] = self.fusion
        for part in self._parts.values():
            part.to(context.device).eval()
        self._recursive = options.propagation == "recursive"

    @property
    def needs(self) -> Needs:
        """Pixels; the codec's flow, to the previous frame or to the keyframe, if it is used."""
        codec = self.options.flow == "codec"
        return Needs(
            flow_previous=codec and self._recursive,
            flow_key=codec and not self._recursive,
            flow_rule=self.options.flow_rule,
            every_frame=self._recursive or self.options.key_interval is not None,
        )

    def parts(self) -> dict[str, nn.Module]:
        """'reference', 'update', 'fusion', and 'flow' if motion is estimated."""
        return dict(self._parts)

    def start(self, batch: int) -> AccelState:
        """Nothing is known before the keyframe."""
        return AccelState()

    @torch.no_grad()
    def step(self, state: AccelState, frame: Frame) -> list[Prediction]:
        """Reference branch on a keyframe; otherwise carry its map, run the update branch and join the scores."""
        if frame.image is None:
            raise ValueError(f"accel: frame {frame.index} carries no pixels although `needs` asks for them")
        image = normalise_image(frame.image, self.normalisation)
        if frame.is_key_every(self.options.key_interval):
            state.feature, state.image = self.reference.partial(image, self.cut).feature, image
            labels = predict_labels(self._reference_scores(state.feature, frame.size), frame.size)
            return [Prediction(frame.index, labels, "key")]
        if state.feature is None or state.image is None:
            raise ValueError(f"accel: frame {frame.index} came before any keyframe of its clip")
        flow = frame.flow_previous if self._recursive else frame.flow_key
        moved = self._carry(state.feature, image, state.image, flow)
        if self._recursive:
            state.feature, state.image = moved, image
        at_frame = self.options.fusion_at == "frame"
        scores = self.fusion(*self._both_scores(moved, image, frame.size, at_frame=at_frame))
        return [Prediction(frame.index, predict_labels(scores, frame.size), "non_key")]

    def _carry(self, feature: Tensor, image: Tensor, earlier: Tensor, flow: Tensor | None) -> Tensor:
        """The reference map of `earlier`, moved to `image`; flow [N, 2, H, W] is the codec's, in pixels."""
        size = (feature.shape[-2], feature.shape[-1])
        if self.options.flow == "network":
            return warp(feature, self.flow(image, earlier, size).flow, sampling="exact")
        if flow is None:
            raise ValueError("accel: a frame between keyframes carries no flow although `needs` asks for it")
        scaled = scale_flow(flow, size, resample=self.options.flow_resample)
        return warp(feature, scaled, sampling="exact")

    def _reference_scores(self, feature: Tensor, size: tuple[int, int]) -> Tensor:
        return self.reference.classify_from(feature, self.cut, size)

    def _both_scores(
        self, feature: Tensor, image: Tensor, size: tuple[int, int], *, at_frame: bool
    ) -> tuple[Tensor, Tensor]:
        """Scores of the moved reference map and of the update branch, at frame size or at the update branch's own."""
        update = self.update.classify(self.update.features(image), size if at_frame else None)
        at = size if at_frame else (update.shape[-2], update.shape[-1])
        return resize(self._reference_scores(feature, size), at), resize(update, at)

    def stages(self) -> list[Stage]:
        """'reference' and 'update' (image), 'flow' (against the codec's motion) if estimated, 'fusion'."""
        recipe: Literal["window", "pair"] = "window" if self._recursive else "pair"
        window = WINDOW if self._recursive else 0
        everything = tuple(self._parts)
        stages = [
            Stage("reference", "image", ("reference",), lambda b: self._image_loss(self.reference, b)),
            Stage("update", "image", ("update",), lambda b: self._image_loss(self.update, b)),
        ]
        if self.options.flow == "network":
            stages.append(Stage("flow", recipe, ("flow",), self._flow_loss, window=1 if window else 0))
        trained = ("fusion",) if self.options.trains == "fusion" else everything
        stages.append(Stage("fusion", recipe, trained, self._fusion_loss, window=window))
        return stages

    def _image_loss(self, network: SegmentationNetwork, batch: TrainingBatch) -> dict[str, Tensor]:
        output = network.forward_training(batch.image)
        return output.losses(self.options.loss_of(network), batch.label, batch.class_weights)

    def _flow_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Distance to the codec's motion in cells: stands in for a flow network trained elsewhere."""
        frames, flows = self._sequence(batch)
        size = self.reference.feature_size((batch.image.shape[-2], batch.image.shape[-1]))
        estimate = self.flow(frames[-1], frames[-2], size).flow
        return {"flow": F.smooth_l1_loss(estimate, scale_flow(flows[-1], size).to(estimate.dtype))}

    def _fusion_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Keyframe, as many steps as the sequence has, loss on its last frame."""
        frames, flows = self._sequence(batch)
        size = (batch.image.shape[-2], batch.image.shape[-1])
        with torch.no_grad() if self.options.trains == "fusion" else nullcontext():
            feature = self.reference.partial(frames[0], self.cut).feature
            for earlier, image, flow in zip(frames[:-1], frames[1:], flows, strict=True):
                feature = self._carry(feature, image, earlier, flow)
            # a 1x1 convolution and a bilinear resize commute, so the coarse grid trains the same weights for less
            reference, update = self._both_scores(feature, batch.image, size, at_frame=False)
        fused = self.fusion(reference, update)
        kind = self.options.loss_of(self.update)
        return segmentation_loss(kind, fused, batch.label, class_weights=batch.class_weights)

    def _sequence(self, batch: TrainingBatch) -> tuple[list[Tensor], list[Tensor]]:
        """Frames from the keyframe to the labelled one, and the flow of each but the first to the one before it."""
        if not self._recursive:
            if batch.reference is None or batch.flow_key is None:
                raise ValueError("accel: stages of propagation 'composed' need batches of the recipe 'pair'")
            return [batch.reference, batch.image], [batch.flow_key]
        if not batch.window or len(batch.window_flow) != len(batch.window):
            raise ValueError("accel: stages of propagation 'recursive' need batches of the recipe 'window'")
        return [*batch.window, batch.image], list(batch.window_flow)
