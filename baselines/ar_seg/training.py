"""AR-Seg's training: the HR network, then the LR network alone, then LR network and CReFF with feature similarity.

Source: specification sections 5.1 and 5.2; training notes, point 2.
"""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from vssbench.baselines.ar_seg.creff import LOW_SHARE
from vssbench.baselines.ar_seg.fusion import FusionNetwork
from vssbench.baselines.ar_seg.options import ARSegOptions
from vssbench.baselines.ar_seg.variants import Variant
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import SegmentationNetwork, TrainingOutput
from vssbench.ops import normalise_image, predict_labels
from vssbench.ops.losses import feature_kl, feature_mse
from vssbench.records import Normalisation

KAIMING_LR_MULTIPLIER = 8.0
"""Without it a Kaiming-initialised CReFF leaves the reference unused in short trainings."""


class TwoBranches(Protocol):
    """What training asks of the method: both branches, and how their inputs are made."""

    options: ARSegOptions
    context: BuildContext
    variant: Variant
    hr: SegmentationNetwork
    lr: FusionNetwork
    normalisation: Normalisation

    def parts(self) -> dict[str, nn.Module]:
        """'hr' and 'lr'."""

    def lr_input(self, image: Tensor) -> Tensor:
        """Normalised images at lr_scale."""

    def warp_reference(self, reference: Tensor, flow: Tensor | None, *, training: bool = False) -> Tensor:
        """Reference map moved along the flow."""


class SingleNetwork(Method):
    """One branch of an AR-Seg method alone, frame by frame: what the stages before the fusion are validated with.

    Source: specification section 5.2 (validation of stage 1).
    """

    def __init__(self, method: TwoBranches, part: Literal["hr", "lr"]) -> None:
        super().__init__(method.options, method.context)
        self.method, self.part = method, part

    @property
    def needs(self) -> Needs:
        """Pixels of the scored frame only."""
        return Needs(every_frame=False, stateless=True)

    def parts(self) -> dict[str, nn.Module]:
        """The branch."""
        return {self.part: self.method.parts()[self.part]}

    def start(self, batch: int) -> None:
        """Frames do not depend on one another: there is no state."""
        return

    @torch.no_grad()
    def step(self, state: None, frame: Frame) -> list[Prediction]:
        """Segment the frame, at lr_scale by the LR network."""
        if frame.image is None:
            raise ValueError(f"ar-seg: frame {frame.index} carries no pixels")
        image = normalise_image(frame.image, self.method.normalisation)
        if self.part == "hr":
            logits = self.method.hr(image)
        else:
            logits = self.method.lr.network(self.method.lr_input(image))
        kind: Literal["key", "non_key"] = "key" if frame.is_key else "non_key"
        return [Prediction(frame.index, predict_labels(logits, frame.size), kind)]


class TrainingStages:
    """The stages of one AR-Seg method. HR features are those of the current frame, without gradients."""

    def __init__(self, method: TwoBranches) -> None:
        self.method = method
        self.cut = method.variant.cut
        self.shared = "shared" in method.options.fst
        self.balanced = method.options.initialisation == "balanced" and method.variant.direct

    def stages(self) -> list[Stage]:
        """'hr', and for variants with an LR network 'lr-image' and 'fusion'."""
        hr = Stage("hr", "image", ("hr",), self.hr_loss, predictor=SingleNetwork(self.method, "hr"))
        if not self.method.variant.uses_lr_network:
            return [hr]
        classifier = ("lr.network.classifier.",) if self.shared else ()
        prepare = self.share_classifier if self.shared else None
        lr_image = Stage(
            "lr-image",
            "image",
            ("lr",),
            self.lr_image_loss,
            frozen=(*classifier, "lr.fusion."),
            prepare=prepare,
            predictor=SingleNetwork(self.method, "lr"),
        )
        fusion = Stage(
            "fusion",
            "pair",
            ("lr",),
            self.fusion_loss,
            frozen=classifier,
            lr_multipliers=self.multipliers(),
            prepare=self.prepare_fusion if self.shared or self.balanced else None,
            monitors=self.feature_distances,
        )
        return [hr, lr_image, fusion]

    def multipliers(self) -> dict[str, float]:
        """Learning-rate factor of CReFF, where it has parameters."""
        options = self.method.options
        factor = options.fusion_lr_multiplier
        if factor is None:
            factor = KAIMING_LR_MULTIPLIER if options.initialisation == "kaiming" else 1.0
        trains = any(True for _ in self.method.lr.fusion.parameters())
        return {"lr.fusion": factor} if trains and factor != 1.0 else {}

    def share_classifier(self) -> None:
        """Copy the HR network's final 1x1 into the LR network (where it stays frozen). Section 5.2."""
        self.method.lr.network.classifier.load_state_dict(self.method.hr.classifier.state_dict())

    def prepare_fusion(self) -> None:
        """Share the classifier if the FST row says so, and give the LR feature its share of the fused one."""
        if self.shared:
            self.share_classifier()
        if self.balanced:
            self.method.lr.network.scale_feature(LOW_SHARE)

    def hr_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Segmentation loss of the HR network on full-resolution images. Section 5.1."""
        return self._segmentation(self.method.hr.forward_training(batch.image), batch)

    def lr_image_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Segmentation loss of the LR network alone, and its feature against the HR feature. Section 5.2, stage 1."""
        network = self.method.lr.network
        image = self.method.lr_input(batch.image)
        partial = network.partial(image, self.cut)
        final = network.resume(partial, self.cut)
        size = (image.shape[-2], image.shape[-1])
        auxiliary, class_logits = network.heads(final.side, size)
        output = TrainingOutput(
            network.training_scores(final.feature, size), auxiliary, partial.feature, class_logits
        )
        return {**self._segmentation(output, batch), **self._feature(output.feature, batch)}

    def fusion_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Segmentation loss behind CReFF, and the fused feature against the HR feature. Section 5.2, stage 2."""
        size = (batch.image.shape[-2], batch.image.shape[-1])
        output = self.method.lr.forward_training(
            self.method.lr_input(batch.image), self._reference(batch), size
        )
        return {**self._segmentation(output, batch), **self._feature(output.feature, batch)}

    def feature_distances(self, batch: TrainingBatch) -> dict[str, float]:
        """MSE of the LR, warped and fused features against the HR feature: shows whether the reference is used."""
        size = (batch.image.shape[-2], batch.image.shape[-1])
        with torch.no_grad():
            target, warped = self._hr_feature(batch, "image", batch.image), self._reference(batch)
            low = self.method.lr_input(batch.image)
            maps = {
                "lr": self.method.lr.network.partial(low, self.cut).feature,
                "warped": warped,
                "fused": self.method.lr(low, warped, size).feature,
            }
            return {
                f"{name}_feature_mse": float(feature_mse(target, feature)) for name, feature in maps.items()
            }

    def _hr_feature(self, batch: TrainingBatch, name: str, image: Tensor) -> Tensor:
        """Feature of the frozen HR network, from memory where samples come again."""
        return batch.without_gradient(
            f"hr-{name}", image, lambda images: self.method.hr.partial(images, self.cut).feature
        )

    def _reference(self, batch: TrainingBatch) -> Tensor:
        if batch.reference is None:
            raise ValueError(
                "ar-seg: stage 'fusion' needs batches of the recipe 'pair', which carry a reference"
            )
        feature = self._hr_feature(batch, "reference", batch.reference)
        if not self.method.variant.moves:
            return feature
        return self.method.warp_reference(feature, batch.flow_key, training=True)

    def _segmentation(self, output: TrainingOutput, batch: TrainingBatch) -> dict[str, Tensor]:
        kind = self.method.options.loss
        kind = self.method.hr.loss if kind == "network" else kind
        return output.losses(kind, batch.label, batch.class_weights)

    def _feature(self, feature: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        kind = self.method.options.fst
        if kind in ("none", "shared"):
            return {}
        compare = feature_kl if kind.startswith("kl") else feature_mse
        return {"feature": compare(self._hr_feature(batch, "image", batch.image), feature)}
