"""The repairing network: copies classes into holes from cells that look alike, smooths them along edges, and blends.

Source: baselines specification section 13, of which everything but the three ingredients is reconstructed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks import DescribedNetwork
from vssbench.ops import resize

COARSE = 4
"""Side of an attention cell in cells of the class maps."""
LEAST = 1e-4
"""Smallest probability whose logarithm is taken."""


class PixelAdaptiveConvolution(nn.Module):
    """A 3x3 convolution [N, C, h, w] -> [N, C', h, w] whose weights fade with the distance of the guidance.

    A neighbour q of p counts exp(-|g(p) - g(q)|^2 / 2) times its weight; outside the map there is nothing. With equal
    guidance everywhere it is the plain convolution.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.kernel = nn.Conv2d(channels_in, channels_out, 3)

    def forward(self, features: Tensor, guidance: Tensor) -> Tensor:
        """features [N, C, h, w], guidance [N, G, h, w]."""
        batch, channels, height, width = features.shape

        def neighbours(maps: Tensor) -> Tensor:
            return F.unfold(maps, 3, padding=1).view(batch, maps.shape[1], 9, height * width)

        centre = guidance.flatten(2).unsqueeze(2)
        closeness = torch.exp(-(neighbours(guidance) - centre).square().sum(1, keepdim=True) / 2)
        columns = (neighbours(features) * closeness).view(batch, channels * 9, height * width)
        out = torch.matmul(self.kernel.weight.flatten(1), columns)
        if self.kernel.bias is not None:
            out = out + self.kernel.bias.view(1, -1, 1)
        return out.view(batch, -1, height, width)


class GuidedRepair(DescribedNetwork):
    """Fills holes of moved class maps with the guidance of the current frame."""

    name = "tanujaya-repair"

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.classes, self.width = classes, width
        self.guidance = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.query, self.key = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.enter = nn.Conv2d(classes + 1 + width, width, 3, padding=1)
        self.adaptive = PixelAdaptiveConvolution(width, width)
        self.leave = nn.Conv2d(width, classes, 3, padding=1)
        self.blend = nn.Conv2d(2 * classes + 1 + width, 1, 3, padding=1)

    def forward(self, moved: Tensor, holes: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """The repaired probabilities, and those of the inpainting alone, both [N, K, h, w].

        moved: carried probabilities [N, K, h, w]; holes [N, 1, h, w]: 1 where they are not to be trusted, else 0;
        image: normalised frame [N, 3, h, w] at the size of the class maps.
        """
        guidance = self.guidance(image)
        seen = moved * (1 - holes) + holes * self.copied(moved, holes, guidance)
        hidden = torch.relu(self.enter(torch.cat([seen, holes, guidance], 1)))
        hidden = torch.relu(self.adaptive(hidden, guidance))
        inpainted = torch.softmax(self.leave(hidden) + seen.clamp(min=LEAST).log(), 1)
        share = torch.sigmoid(self.blend(torch.cat([moved, inpainted, holes, guidance], 1)))
        return share * moved + (1 - share) * inpainted, inpainted

    def copied(self, moved: Tensor, holes: Tensor, guidance: Tensor) -> Tensor:
        """Class maps [N, K, h, w] made of the known cells that look like each cell: guided non-local attention.

        Where no cell is known all count alike.
        """

        def coarse(maps: Tensor) -> Tensor:
            return F.avg_pool2d(maps, COARSE, ceil_mode=True)

        look, known = coarse(guidance), coarse(1 - holes)
        classes = coarse(moved * (1 - holes)) / known.clamp(min=LEAST)
        classes = torch.where(known > 0, classes, torch.full_like(classes, 1 / moved.shape[1]))
        query, key = self.query(look).flatten(2), self.key(look).flatten(2)
        scores = torch.matmul(query.transpose(1, 2), key) / query.shape[1] ** 0.5
        weights = torch.softmax(scores + known.clamp(min=LEAST).log().flatten(2), -1)
        read = torch.matmul(classes.flatten(2), weights.transpose(1, 2)).view(classes.shape)
        return resize(read, (moved.shape[-2], moved.shape[-1]))
