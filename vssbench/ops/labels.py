"""From network outputs to label maps."""

from __future__ import annotations

import torch
from torch import Tensor

from vssbench.ops import accounting
from vssbench.ops.resize import resize
from vssbench.ops.separable_resize import Enlarged


def predict_labels(output: Tensor | Enlarged, size: tuple[int, int]) -> Tensor:
    """uint8 [N, H, W]: most likely class of the output [N, K, h, w] after a bilinear resize (corners aligned) to `size`.

    An output that only stands for its enlargement goes to `size` in one step; the scores differ from those of two steps
    by rounding (1e-6 of their size), so labels can differ where two classes are that close.

    Logits and log-probabilities give the same labels, and so does a softmax in between: what separates them is one
    number per pixel, equal for all classes, which linear interpolation keeps equal for all classes.
    Source: AR-Seg specification section 6.
    """
    with accounting.span("upsample"):
        resized = _resized_in_one_step(output, size) if isinstance(output, Enlarged) else resize(output, size)
        if resized.device.type == "cpu":
            return _argmax_by_class(resized)
        return resized.argmax(dim=1).to(torch.uint8)


def _resized_in_one_step(output: Enlarged, size: tuple[int, int]) -> Tensor:
    # matrix products are how it is done, not what is asked for: a ledger lists a resize as it does any other
    with accounting.operation("resize", macs=4 * output.maps.shape[1] * size[0] * size[1], kind="resize"):
        return output.resized(size)


def _argmax_by_class(scores: Tensor) -> Tensor:
    """argmax over dimension 1 as uint8: torch's CPU argmax over an outer dimension takes 20 times as long.

    The class k that reaches the maximum is marked with K - k, so that of equal scores the first class wins, as with
    argmax. Scores that are NaN give the last class.
    """
    classes = scores.shape[1]
    marks = torch.arange(classes, 0, -1, dtype=torch.uint8).view(1, classes, 1, 1)
    reached = (scores >= scores.amax(dim=1, keepdim=True)).view(torch.uint8)
    return (classes - reached.mul_(marks).amax(dim=1)).clamp_(max=classes - 1)
