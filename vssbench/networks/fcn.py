"""FCN with skip scores on ResNet-18, the network of Clockwork. Source: baselines specification section 9.

FCN-8s adds class scores of three depths. Scores are linear in the last maps, so the depths are added here as narrow
linear features and classified once; with at least as many channels as classes nothing is lost.

    feature p (stride 8)  =  shallow(stage 2)  +  up2( middle(stage 3) + up2( top(stage 4) ) )
                             fresh every frame    the deep part, which Clockwork keeps between ticks
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.resnet import PLAIN, ResNet18
from vssbench.ops.losses import SegmentationLoss
from vssbench.ops.resize import resize


class FCN18(SegmentationNetwork):
    """ResNet-18 to stride 32 with linear skips at strides 16 and 8; logits are enlarged to the image.

    The feature p has 128 channels at full width, at least as many as there are classes.
    """

    name = "fcn18"
    feature_stride = 8
    loss: ClassVar[SegmentationLoss] = "cross-entropy"
    training_only = ()

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        self.backbone = ResNet18(PLAIN, width=width)
        _, _, at8, at16, at32 = self.backbone.channels
        channels = max(classes, scale_channels(128, width))
        self.shallow_score = nn.Conv2d(at8, channels, 1, bias=False)
        self.middle_score = nn.Conv2d(at16, channels, 1, bias=False)
        self.top_score = nn.Conv2d(at32, channels, 1, bias=False)
        self.classifier = nn.Conv2d(channels, classes, 1)

    def shallow(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The stage that runs every frame: its part of p, and the stage-2 map [N, C2, h, w] that `deep` goes on from."""
        second = self.backbone.stage2(self.backbone.stage1(self.backbone.stem(image)))
        return self.shallow_score(second), second

    def deep(self, second: Tensor) -> Tensor:
        """The stage that may pause: its part of p [N, C, h, w] from the stage-2 map."""
        third = self.backbone.stage3(second)
        top = resize(self.top_score(self.backbone.stage4(third)), _size(third), corners="half-pixel")
        return resize(self.middle_score(third) + top, _size(second), corners="half-pixel")

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p, with the shallow part as side map."""
        self.check_cut(cut)
        shallow, second = self.shallow(image)
        return Partial(shallow + self.deep(second), (shallow,))

    def heads(
        self, side: tuple[Tensor, ...], size: tuple[int, int]
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """The shallow part classified alone: what the adaptive clock compares is trained as an auxiliary output."""
        return (self.classify(side[0], size),), None

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size]; None leaves them at stride 8."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size, corners="half-pixel")


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]
