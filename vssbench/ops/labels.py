"""From network outputs to label maps."""

from __future__ import annotations

import torch
from torch import Tensor

from vssbench.ops.resize import resize


def predict_labels(output: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 [N, H, W]: most likely class of the output [N, K, h, w] after a bilinear resize (corners aligned) to `size`.

    Logits and log-probabilities give the same labels, and so does a softmax in between: what separates them is one
    number per pixel, equal for all classes, which linear interpolation keeps equal for all classes.
    Source: AR-Seg specification section 6.
    """
    return resize(output, size).argmax(dim=1).to(torch.uint8)
