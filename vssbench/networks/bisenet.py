"""BiSeNet V1 with ResNet-18. Source: specification section 1.4."""

from __future__ import annotations

from types import MappingProxyType
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.blocks import ConvNormReLU
from vssbench.networks.network import Cut, Partial, SegmentationNetwork, scale_channels
from vssbench.networks.resnet import PLAIN, ResNet18
from vssbench.ops.losses import Scores, SegmentationLoss
from vssbench.ops.resize import enlarge_later, resize
from vssbench.ops.separable_resize import Enlarged


class ChannelGate(nn.Module):
    """Per-channel factors in 0..1 from the spatial mean of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> [N, C, 1, 1]."""
        return torch.sigmoid(self.norm(self.conv(maps.mean(dim=(2, 3), keepdim=True))))


class AttentionRefinement(nn.Module):
    """3x3 convolution whose result is scaled per channel by its gate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = ConvNormReLU(inputs, outputs)
        self.gate = ChannelGate(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        refined = self.block(maps)
        gated: Tensor = refined * self.gate(refined)
        return gated


class FeatureFusion(nn.Module):
    """1x1 convolution on both paths, plus its own gated copy."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block = ConvNormReLU(channels, channels, 1)
        self.gate = ChannelGate(channels)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        """Two maps [N, C / 2, h, w] -> [N, C, h, w]."""
        fused = self.block(torch.cat([spatial, context], dim=1))
        summed: Tensor = fused * self.gate(fused) + fused
        return summed


class SpatialPath(nn.Module):
    """Three stride-2 convolutions and a 1x1: stride 8 with little context."""

    def __init__(self, inner: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = ConvNormReLU(3, inner, 7, 2)
        self.conv2 = ConvNormReLU(inner, inner, 3, 2)
        self.conv3 = ConvNormReLU(inner, inner, 3, 2)
        self.out = ConvNormReLU(inner, outputs, 1)

    def forward(self, image: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, outputs, ceil(H / 8), ceil(W / 8)]."""
        maps: Tensor = self.out(self.conv3(self.conv2(self.conv1(image))))
        return maps


class ContextPath(nn.Module):
    """ResNet-18 with attention refinement at strides 16 and 32 and the global mean added at the top."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = ResNet18(PLAIN, width=width)
        _, _, _, at16, at32 = self.backbone.channels
        inner = scale_channels(128, width)
        self.refine16 = AttentionRefinement(at16, inner)
        self.refine32 = AttentionRefinement(at32, inner)
        self.head32 = ConvNormReLU(inner, inner)
        self.head16 = ConvNormReLU(inner, inner)
        self.average = ConvNormReLU(at32, inner, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Context at stride 8, [N, 128, 2 ceil(H / 16), 2 ceil(W / 16)], and at stride 16."""
        _, at16, at32 = self.backbone(image)
        top = self.refine32(at32) + self.average(at32.mean(dim=(2, 3), keepdim=True))
        doubled = F.interpolate(top, scale_factor=2, mode="nearest")
        context16 = self.head32(resize(doubled, (at16.shape[-2], at16.shape[-1])))
        joined = self.refine16(at16) + context16
        # not resized afterwards: with an odd number of /8 rows the context path is one row larger (section 1.6)
        return self.head16(F.interpolate(joined, scale_factor=2, mode="nearest")), context16


class OutputHead(nn.Module):
    """3x3 convolution, 1x1 classifier, bilinear upsampling; used by the auxiliary outputs."""

    def __init__(self, inputs: int, inner: int, classes: int, factor: int) -> None:
        super().__init__()
        self.block = ConvNormReLU(inputs, inner)
        self.classifier = nn.Conv2d(inner, classes, 1)
        self.factor = factor

    def forward(self, maps: Tensor) -> Scores:
        """[N, inputs, h, w] -> logits [N, classes, factor * h, factor * w]."""
        return _enlarge(self.classifier(self.block(maps)), self.factor)


def _enlarge(maps: Tensor, factor: int) -> Scores:
    return enlarge_later(maps, (factor * maps.shape[-2], factor * maps.shape[-1]), corners="half-pixel")


class BiSeNet18(SegmentationNetwork):
    """BiSeNet V1: the feature p has stride 8, size 2 ceil(H / 16) x 2 ceil(W / 16).

    `forward` returns logits of 8 times the feature's size, which may exceed the image (368 rows for 360).
    """

    name = "bisenet18"
    feature_stride = 8
    loss: ClassVar[SegmentationLoss] = "ohem"
    feature_norm = "head.norm"
    training_only = ("auxiliary16", "auxiliary32")
    reference_aliases = MappingProxyType({"head": 2, "classifier": 2, "enlarge": 2})

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        shallow, inner, wide = (scale_channels(c, width) for c in (64, 128, 256))
        self.spatial = SpatialPath(shallow, inner)
        self.context = ContextPath(width)
        self.fusion = FeatureFusion(wide)
        self.head = ConvNormReLU(wide, wide)
        self.classifier = nn.Conv2d(wide, classes, 1)
        self.enlarge = nn.Upsample(scale_factor=8, mode="bilinear", align_corners=False)
        self.auxiliary16 = OutputHead(inner, shallow, classes, 8)
        self.auxiliary32 = OutputHead(inner, shallow, classes, 16)

    @property
    def feature_channels(self) -> int:
        """256 at full width."""
        return self.classifier.in_channels

    def cut_channels(self, cut: Cut) -> int:
        """Channels of the feature p, the only cut."""
        self.check_cut(cut)
        return self.feature_channels

    def feature_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(2 ceil(H / 16), 2 ceil(W / 16))."""
        return -(-size[0] // 16) * 2, -(-size[1] // 16) * 2

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p with the context maps at strides 8 and 16 as side maps."""
        self.check_cut(cut)
        context8, context16 = self.context(image)
        spatial = resize(self.spatial(image), (context8.shape[-2], context8.shape[-1]))
        return Partial(self.head(self.fusion(spatial, context8)), (context8, context16))

    def resume(self, partial: Partial, cut: Cut) -> Partial:
        """The only cut is the feature p itself."""
        self.check_cut(cut)
        return partial

    def heads(
        self, side: tuple[Tensor, ...], size: tuple[int, int]
    ) -> tuple[tuple[Scores, ...], Tensor | None]:
        """Auxiliary logits from the context at strides 8 and 16, in 8 and 16 times their size."""
        return (self.auxiliary16(side[0]), self.auxiliary32(side[1])), None

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits of 8 times the feature's size, whatever `size` is."""
        logits: Tensor = self.enlarge(self.classifier(feature))
        return logits

    def inference_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """The same logits, on a CPU in float32 not enlarged yet."""
        if feature.device.type != "cpu" or feature.dtype != torch.float32 or torch.is_grad_enabled():
            return self.classify(feature, size)
        logits: Tensor = self.classifier(feature)
        return Enlarged(logits, (8 * logits.shape[-2], 8 * logits.shape[-1]), align_corners=False)

    def training_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """The same logits; while it trains on a CPU the loss enlarges them."""
        if self.training:
            return _enlarge(self.classifier(feature), 8)
        return self.classify(feature, size)
