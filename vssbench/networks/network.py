"""What every segmentation network offers: pieces to cut, fuse and classify."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vssbench.errors import ConfigError
from vssbench.ops.losses import Scores, SegmentationLoss, segmentation_loss
from vssbench.ops.separable_resize import Enlarged

Cut = Literal["classifier", "task", "feat"]
"""Where a network is cut: before the final 1x1 ('classifier'), before N_task ('task') or before N_feat ('feat')."""


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """The map at a cut, with the maps that the auxiliary heads read."""

    feature: Tensor
    """[N, C, h, w] at the cut."""
    side: tuple[Tensor, ...] = ()
    """Inner maps for `SegmentationNetwork.heads`; empty while none has been computed."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingOutput:
    """Everything the losses of one forward pass look at."""

    scores: Scores
    """[N, K, h, w]: what `forward` returns (log-probabilities for the CamVid PSPNet), perhaps not enlarged yet."""
    auxiliary_scores: tuple[Scores, ...]
    """Logits [N, K, h, w] of the auxiliary heads, perhaps not enlarged yet."""
    feature: Tensor
    """[N, C, h, w], the feature p."""
    class_logits: Tensor | None = None
    """[N, K] image-level logits, for networks that have such a head."""

    @property
    def logits(self) -> Tensor:
        """`scores` as a tensor."""
        return _tensor(self.scores)

    @property
    def auxiliary(self) -> tuple[Tensor, ...]:
        """`auxiliary_scores` as tensors."""
        return tuple(_tensor(scores) for scores in self.auxiliary_scores)

    def losses(
        self, kind: SegmentationLoss, label: Tensor, class_weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Named terms of the segmentation loss `kind` against label int64 [N, H, W]; see ops.losses."""
        return segmentation_loss(
            kind,
            self.scores,
            label,
            auxiliary=self.auxiliary_scores,
            class_logits=self.class_logits,
            class_weights=class_weights,
        )


def _tensor(scores: Scores) -> Tensor:
    return scores.tensor() if isinstance(scores, Enlarged) else scores


def scale_channels(channels: int, width: int) -> int:
    """`channels` of the full network (64 base channels) in a network of `width` base channels."""
    return channels * width // 64


class DescribedNetwork(nn.Module):
    """A module whose weights are stored under a name: it knows its registered name, width and classes."""

    name: ClassVar[str]
    width: int
    classes: int
    """0 where there are none."""


class SegmentationNetwork(DescribedNetwork, ABC):
    """An image segmentation network in the pieces N_feat, N_task and final convolution, which is 1x1 but for few.

    Constructed as `Network(classes, width=64)`; every inner channel count is its published value times width / 64.
    Inputs are normalised float images [N, 3, H, W]; sizes need not be multiples of anything.
    """

    feature_stride: ClassVar[int]
    """Image pixels per pixel of the feature p, up to rounding (see `feature_size`)."""
    side_multiple: ClassVar[int] = 32
    """Images whose sides this divides give maps that lie exactly on one another; frames are padded to it."""
    loss: ClassVar[SegmentationLoss]
    """The paper's segmentation loss for this network."""
    training_only: ClassVar[tuple[str, ...]]
    """Modules that only training uses; stored inference weights may lack them."""
    cuts: ClassVar[tuple[Cut, ...]] = ("classifier",)
    fused_output: ClassVar[Literal["native", "reference-size"]] = "native"
    """What the released fused forward does with its logits: leaves them, or resizes them to the reference feature."""
    reference_forward: ClassVar[Literal["forward", "forward_training"]] = "forward"
    """Which of our calls runs the modules that the paper's GFLOPs count (rule thop-0.0.31)."""
    reference_aliases: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Module path -> number of names under which the released code registers it; that counter squares them."""
    feature_norm: ClassVar[str] = ""
    """Module path of the normalisation right before the feature p; empty where there is none."""
    classifier: nn.Conv2d
    has_weights: bool = False
    """True where it was built with trained values."""

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        if classes < 2:
            raise ConfigError(f"{self.name}: classes = {classes}, expected at least 2")
        if width < 1:
            raise ConfigError(
                f"{self.name}: width = {width}, expected a positive integer (64 is the full network)"
            )
        self.classes = classes
        self.width = width

    @property
    def feature_channels(self) -> int:
        """Channels of the feature p: what the final convolution reads."""
        return self.classifier.in_channels

    def cut_channels(self, cut: Cut) -> int:
        """Channels of the map at `cut`; here for networks whose only cut is the feature p."""
        self.check_cut(cut)
        return self.feature_channels

    def feature_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(h, w) of the feature p for images of `size` = (H, W); here each side over the stride, rounded up."""
        return -(-size[0] // self.feature_stride), -(-size[1] // self.feature_stride)

    @abstractmethod
    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Run the network up to `cut`."""

    def resume(self, partial: Partial, cut: Cut) -> Partial:
        """Run from `cut` to the feature p, which is the cut 'classifier' and here the only one."""
        self.check_cut(cut)
        return partial

    def heads(
        self, side: tuple[Tensor, ...], size: tuple[int, int]
    ) -> tuple[tuple[Scores, ...], Tensor | None]:
        """Auxiliary logits and image-level logits from the side maps of an image of `size`; here none."""
        return (), None

    @abstractmethod
    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Final 1x1 on the feature p and the network's own resize, as for an image of `size`.

        None leaves out a resize that depends on the image (where the network has one).
        """

    def training_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """As `classify`, for a loss; networks that end with an enlargement leave it to the loss."""
        return self.classify(feature, size)

    def inference_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """As `classify`, for `predict_labels`: networks that end with an enlargement leave it to that on a CPU."""
        return self.classify(feature, size)

    def scale_feature(self, factor: float) -> None:
        """Multiply the feature p by `factor` > 0 from now on, through the normalisation before it.

        Exact where only a (leaky) ReLU lies between. Raises ConfigError for networks without such a normalisation.
        """
        if not self.feature_norm:
            raise ConfigError(
                f"{self.name}: initialisation 'balanced' needs a normalisation before the feature, and there is none"
            )
        norm = self.get_submodule(self.feature_norm)
        with torch.no_grad():
            for parameter in norm.parameters():
                parameter.mul_(factor)

    def features(self, image: Tensor) -> Tensor:
        """Feature p [N, feature_channels, h, w] of normalised images [N, 3, H, W]."""
        return self.partial(image).feature

    def forward(self, image: Tensor) -> Tensor:
        """Output [N, classes, h, w] of normalised images [N, 3, H, W]; methods resize it to the frame."""
        return self.classify(self.features(image), (image.shape[-2], image.shape[-1]))

    def forward_training(self, image: Tensor) -> TrainingOutput:
        """Output, auxiliary outputs and feature; the auxiliary heads run in every mode when this is called."""
        size = (image.shape[-2], image.shape[-1])
        partial = self.partial(image)
        auxiliary, class_logits = self.heads(partial.side, size)
        return TrainingOutput(
            self.training_scores(partial.feature, size), auxiliary, partial.feature, class_logits
        )

    def classify_from(self, feature: Tensor, cut: Cut, size: tuple[int, int]) -> Tensor:
        """As `classify`, from the map [N, C, h, w] at `cut`."""
        return self.classify(self.resume(Partial(feature), cut).feature, size)

    def choose_cut(self, wanted: Cut | None) -> Cut:
        """`wanted`, or by default the cut before N_task where there is one, else before the final 1x1.

        Raises ConfigError if the network cannot be cut there.
        """
        cut: Cut = wanted or ("task" if "task" in self.cuts else "classifier")
        self.check_cut(cut)
        return cut

    def check_cut(self, cut: Cut) -> None:
        """Raise ConfigError if the network cannot be cut there."""
        if cut not in self.cuts:
            raise ConfigError(
                f"{self.name} cannot be fused before {cut!r}; it can be cut before {', '.join(self.cuts)} "
                "(the earlier cuts exist for the PSPNets)"
            )
