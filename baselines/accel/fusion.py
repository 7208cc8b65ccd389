"""The learned 1x1 convolution that joins the two branches' scores. Source: baselines specification section 4."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from vssbench.networks import DescribedNetwork

Initialisation = Literal["released", "average"]


class ScoreFusion(DescribedNetwork):
    """out = conv1x1([reference scores; update scores]), 2K -> K channels.

    'released' draws the weights from N(0, 0.01); 'average' starts as the mean of both scores, for short trainings.
    """

    name = "accel-score-fusion"
    width = 1

    def __init__(self, classes: int, initialisation: Initialisation = "released") -> None:
        super().__init__()
        self.classes = classes
        self.join = nn.Conv2d(2 * classes, classes, 1)
        nn.init.zeros_(self.join.bias)  # type: ignore[arg-type]
        if initialisation == "released":
            nn.init.normal_(self.join.weight, 0.0, 0.01)
        else:
            mean = 0.5 * torch.eye(classes).repeat(1, 2)
            with torch.no_grad():
                self.join.weight.copy_(mean.view(classes, 2 * classes, 1, 1))

    def forward(self, reference: Tensor, update: Tensor) -> Tensor:
        """Scores [N, K, h, w] of both branches -> fused scores [N, K, h, w]."""
        fused: Tensor = self.join(torch.cat([reference, update], dim=1))
        return fused
