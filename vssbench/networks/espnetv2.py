"""ESPNetv2 for segmentation, as its authors released it for Cityscapes.

Depth-wise dilated convolutions in four parallel branches whose sums go from branch to branch; the picture itself is fed
in again at every stride; the decoder filters each map at five sizes. Source: Mehta et al., ESPNetv2 (CVPR 2019), and
the released weights, whose shapes and outputs decide where the paper is silent.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.errors import ConfigError
from vssbench.networks.network import Cut, Partial, SegmentationNetwork
from vssbench.ops.losses import Scores, SegmentationLoss
from vssbench.ops.resize import enlarge_later, resize

BRANCHES = 4
WIDE, NARROW = (1, 2, 3, 4), (1, 1, 2, 3)
"""Dilations of the four branches: down to and at stride 8 and down to 16, and at stride 16."""
REPEATS = (3, 7)
"""Units at strides 8 and 16."""
SIZES = (2.0, 1.5, 1.0, 0.5, 0.1)
"""Sizes, relative to the map, at which a pyramid filters it."""
FEWEST_PIXELS = 5
"""Shortest side of a resized map in a pyramid."""
DECODER = (64, 48, 32)
"""Channels of the decoder at strides 16, 8 and 4."""
MOST_FILTERED = 16
"""Largest number of channels of a pyramid; with fewer classes it is half of them, a background counted."""


class ConvNormPReLU(nn.Module):
    """Convolution without bias, normalisation, PReLU with a slope for each channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs)
        self.activation = nn.PReLU(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)]."""
        activated: Tensor = self.activation(self.norm(self.conv(maps)))
        return activated


class Expansion(nn.Module):
    """1x1 convolution without bias and normalisation."""

    def __init__(self, inputs: int, outputs: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        normed: Tensor = self.norm(self.conv(maps))
        return normed


class NormPReLU(nn.Module):
    """Normalisation and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.PReLU(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        activated: Tensor = self.activation(self.norm(maps))
        return activated


class DilatedBranches(nn.Module):
    """Grouped 1x1 to a quarter, four dilated depth-wise convolutions summed from branch to branch, grouped 1x1."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...], stride: int = 1) -> None:
        super().__init__()
        inner = outputs // BRANCHES
        self.reduce = ConvNormPReLU(inputs, inner, 1, groups=BRANCHES)
        self.branches = nn.ModuleList(
            nn.Conv2d(inner, inner, 3, stride, rate, rate, groups=inner, bias=False) for rate in dilations
        )
        self.joined = NormPReLU(outputs)
        self.expand = Expansion(outputs, outputs, BRANCHES)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, ceil(h / stride), ceil(w / stride)], not activated."""
        reduced = self.reduce(maps)
        sums = [self.branches[0](reduced)]
        for branch in self.branches[1:]:
            sums.append(branch(reduced) + sums[-1])
        expanded: Tensor = self.expand(self.joined(torch.cat(sums, 1)))
        return expanded


class Unit(nn.Module):
    """Dilated branches with a shortcut around them."""

    def __init__(self, channels: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = DilatedBranches(channels, channels, dilations)
        self.activation = nn.PReLU(channels)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, h, w] -> the same shape."""
        activated: Tensor = self.activation(self.inner(maps) + maps)
        return activated


class Downsampling(nn.Module):
    """Half the size: averages beside dilated branches, plus the picture, averaged to that size."""

    def __init__(self, inputs: int, outputs: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.inner = DilatedBranches(inputs, outputs - inputs, dilations, stride=2)
        self.picture = nn.Sequential(ConvNormPReLU(3, 3, 3), Expansion(3, outputs))
        self.activation = nn.PReLU(outputs)

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """[N, inputs, h, w] and the picture [N, 3, H, W] -> [N, outputs, ceil(h / 2), ceil(w / 2)]."""
        averaged = F.avg_pool2d(maps, 3, stride=2, padding=1)
        while image.shape[-2] > averaged.shape[-2]:
            image = F.avg_pool2d(image, 3, stride=2, padding=1)
        activated: Tensor = self.activation(torch.cat([averaged, self.inner(maps)], 1) + self.picture(image))
        return activated


class PyramidFilter(nn.Module):
    """1x1 to few channels, depth-wise 3x3 at five sizes, and a grouped 3x3 over what the sizes say of each channel."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        self.project = ConvNormPReLU(inputs, inner, 1)
        self.stages = nn.ModuleList(
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False) for _ in SIZES
        )
        self.joined = NormPReLU(inner * len(SIZES))
        self.merge = ConvNormPReLU(inner * len(SIZES), inner, 3, groups=inner)

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, inner, h, w]."""
        maps = self.project(maps)
        size = (maps.shape[-2], maps.shape[-1])
        filtered = []
        for factor, stage in zip(SIZES, self.stages, strict=True):
            rows, columns = (max(FEWEST_PIXELS, math.ceil(side * factor)) for side in size)
            if factor > 1:
                filtered.append(F.adaptive_avg_pool2d(stage(resize(maps, (rows, columns))), size))
            elif factor < 1:
                filtered.append(resize(stage(F.adaptive_avg_pool2d(maps, (rows, columns))), size))
            else:
                filtered.append(stage(maps))
        joined = self.joined(torch.cat(filtered, 1))
        by_channel = joined.unflatten(1, (len(SIZES), -1)).transpose(1, 2).flatten(1, 2)
        merged: Tensor = self.merge(by_channel)
        return merged


class Skip(nn.Module):
    """A map of the encoder in the decoder's channels, each weighted by what the whole map says."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.gate = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.expand = ConvNormPReLU(inputs, outputs, 3, groups=math.gcd(inputs, outputs))

    def forward(self, maps: Tensor) -> Tensor:
        """[N, inputs, h, w] -> [N, outputs, h, w]."""
        gate = torch.sigmoid(self.gate(F.adaptive_avg_pool2d(maps, 1)))
        weighted: Tensor = self.expand(maps) * gate
        return weighted


class Encoder(nn.Module):
    """Maps of strides 2, 4, 8 and 16."""

    def __init__(self, width: int) -> None:
        super().__init__()
        first = min(32, width // 2)
        self.channels = (first, width, 2 * width, 4 * width)
        self.stem = ConvNormPReLU(3, first, 3, stride=2)
        self.down = nn.ModuleList(
            Downsampling(before, after, WIDE)
            for before, after in zip(self.channels[:-1], self.channels[1:], strict=True)
        )
        self.stages = nn.ModuleList(
            nn.Sequential(*(Unit(channels, rates) for _ in range(count)))
            for channels, rates, count in zip(self.channels[2:], (WIDE, NARROW), REPEATS, strict=True)
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four maps of images [N, 3, H, W]."""
        at2 = self.stem(image)
        at4 = self.down[0](at2, image)
        at8 = self.stages[0](self.down[1](at4, image))
        return at2, at4, at8, self.stages[1](self.down[2](at8, image))


class ESPNetv2(SegmentationNetwork):
    """ESPNetv2 of width factor width / 64. The feature p has stride 2 and few channels (10 for Cityscapes).

    `width` is 32 (factor 0.5), 64, or a multiple of 16 up to 128 (factor 2.0): four groups must divide every map.
    """

    name = "espnetv2"
    feature_stride = 2
    side_multiple = 16
    loss: ClassVar[SegmentationLoss] = "cross-entropy"
    training_only = ()

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__(classes, width=width)
        if width != 32 and not (64 <= width <= 128 and width % 16 == 0):
            raise ConfigError(
                f"{self.name}: width = {width}, expected 32 (factor 0.5), 64 (1.0), 80, 96, 112 or 128 (2.0)"
            )
        inner = min((classes + 1) // 2, MOST_FILTERED)
        self.encoder = Encoder(width)
        at2, at4, at8, at16 = self.encoder.channels
        self.pyramids = nn.ModuleList(PyramidFilter(inputs, inner) for inputs in (at16, *DECODER))
        self.expand = nn.ModuleList(ConvNormPReLU(inner, outputs, 1) for outputs in DECODER)
        self.skips = nn.ModuleList(
            Skip(inputs, outputs) for inputs, outputs in zip((at8, at4, at2), DECODER, strict=True)
        )
        self.sums = nn.ModuleList(NormPReLU(channels) for channels in DECODER)
        self.classifier = nn.Conv2d(inner, classes, 1)

    def partial(self, image: Tensor, cut: Cut = "classifier") -> Partial:
        """Feature p; there are no side maps."""
        self.check_cut(cut)
        *skipped, maps = self.encoder(image)
        steps = zip(self.pyramids, self.expand, self.skips, self.sums, reversed(skipped), strict=False)
        for pyramid, expand, skip, total, source in steps:
            upper = expand(pyramid(maps))
            maps = total(skip(source) + resize(upper, (source.shape[-2], source.shape[-1])))
        return Partial(self.pyramids[-1](maps))

    def classify(self, feature: Tensor, size: tuple[int, int] | None) -> Tensor:
        """Logits [N, classes, *size], corners aligned; None leaves them at stride 2."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else resize(logits, size)

    def training_scores(self, feature: Tensor, size: tuple[int, int] | None) -> Scores:
        """The same logits; while gradients are taken on a CPU the loss enlarges them."""
        logits: Tensor = self.classifier(feature)
        return logits if size is None else enlarge_later(logits, size)
