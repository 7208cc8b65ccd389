"""Training losses that method stages combine. All take logits or log-probabilities at any size and resize them.

Source: AR-Seg specification sections 5.1 and 5.2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.ops.resize import resize
from vssbench.ops.separable_resize import Enlarged
from vssbench.records import IGNORE_INDEX

Scores = Tensor | Enlarged
"""Logits or log-probabilities [N, K, h, w]; an `Enlarged` map goes to the label's size in one step."""

SegmentationLoss = Literal["cross-entropy", "nll+presence", "ce+aux", "ohem"]

AUXILIARY_WEIGHT = 0.4
"""Weight of the Cityscapes PSPNet's auxiliary head."""
OHEM_THRESHOLD = -math.log(0.7)
"""Per-pixel loss above which a pixel counts as hard."""
OHEM_MINIMUM_SHARE = 16
"""At least one pixel in this many valid ones is kept."""


def _weighted_mean(losses: Tensor, label: Tensor, class_weights: Tensor | None) -> Tensor:
    """Mean of per-pixel losses over labelled pixels, weighted by the class of each; 0 where none is labelled."""
    valid = label != IGNORE_INDEX
    if class_weights is None:
        weights = valid.to(losses.dtype)
    else:
        weights = class_weights.to(losses)[torch.where(valid, label, 0)] * valid
    return (losses * weights).sum() / weights.sum().clamp(min=torch.finfo(losses.dtype).tiny)


def cross_entropy(logits: Scores, label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits [N, K, h, w], resized (corners aligned) to label [N, H, W], over labelled pixels.

    class_weights [K] weights every pixel by its class and divides by the sum of weights. Log-probabilities are
    accepted as well: they are logits whose normaliser is 0. Without any labelled pixel the loss is 0.
    """
    return nll(F.log_softmax(_to_label(logits, label), dim=1), label, class_weights)


def nll(log_probabilities: Scores, label: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of log-probabilities [N, K, h, w], resized to label [N, H, W]; see `cross_entropy`."""
    resized = _to_label(log_probabilities, label)
    losses = F.nll_loss(resized, label, ignore_index=IGNORE_INDEX, reduction="none")
    return _weighted_mean(losses, label, class_weights)


def ohem(logits: Scores, label: Tensor) -> Tensor:
    """Cross-entropy over hard pixels only: losses above -ln 0.7, but at least floor(labelled / 16) of the largest.

    logits [N, K, h, w] are resized to label [N, H, W]. Source: specification section 5.1 (OHEM).
    """
    losses = F.cross_entropy(_to_label(logits, label), label, ignore_index=IGNORE_INDEX, reduction="none")
    losses = losses.reshape(-1)
    least = int((label != IGNORE_INDEX).sum()) // OHEM_MINIMUM_SHARE
    hard = losses[losses > OHEM_THRESHOLD]
    if hard.numel() < least:
        hard = torch.topk(losses, least).values
    return hard.mean() if hard.numel() else losses.sum() * 0.0


def presence(class_logits: Tensor, label: Tensor) -> Tensor:
    """Binary cross-entropy of image-level logits [N, K] against which classes occur in label [N, H, W]."""
    classes = class_logits.shape[1]
    flat = torch.where(label == IGNORE_INDEX, classes, label).reshape(label.shape[0], -1)
    present = torch.zeros(label.shape[0], classes + 1, dtype=class_logits.dtype, device=label.device)
    present.scatter_(1, flat, 1.0)
    return F.binary_cross_entropy_with_logits(class_logits, present[:, :classes])


def feature_mse(target: Tensor, feature: Tensor) -> Tensor:
    """Mean squared difference over all elements; `feature` is resized (corners aligned) to the target's size."""
    return F.mse_loss(resize(feature, _size(target)), target)


def feature_kl(target: Tensor, feature: Tensor) -> Tensor:
    """The paper's KL variant on raw features: mean of exp(feature) * (feature - target). Source: section 5.2."""
    resized = resize(feature, _size(target))
    return (resized.exp() * (resized - target)).mean()


def segmentation_loss(
    kind: SegmentationLoss,
    logits: Scores,
    label: Tensor,
    *,
    auxiliary: Sequence[Scores] = (),
    class_logits: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> dict[str, Tensor]:
    """Named loss terms of one network output, to be summed.

    'cross-entropy'  class-weighted cross-entropy of the output and, at weight 0.4 each, of the auxiliary heads
    'nll+presence'   CamVid PSPNet: NLL of log-probabilities + BCE of `class_logits`
    'ce+aux'         Cityscapes PSPNet: cross-entropy + 0.4 cross-entropy of the auxiliary head
    'ohem'           BiSeNet: OHEM of the output and of every auxiliary head, weight 1 each

    logits [N, K, h, w] (log-probabilities for 'nll+presence'), label int64 [N, H, W], class_logits [N, K].
    """
    if kind == "ohem":
        terms = {"segmentation": ohem(logits, label)}
        terms.update({f"auxiliary{i}": ohem(extra, label) for i, extra in enumerate(auxiliary)})
        return terms
    if kind == "nll+presence":
        terms = {"segmentation": nll(logits, label, class_weights)}
        if class_logits is not None:
            terms["presence"] = presence(class_logits, label)
        return terms
    terms = {"segmentation": cross_entropy(logits, label, class_weights)}
    for i, extra in enumerate(auxiliary):
        terms[f"auxiliary{i}"] = AUXILIARY_WEIGHT * cross_entropy(extra, label, class_weights)
    return terms


def _size(maps: Tensor) -> tuple[int, int]:
    return maps.shape[-2], maps.shape[-1]


def _to_label(logits: Scores, label: Tensor) -> Tensor:
    if isinstance(logits, Enlarged):
        return logits.resized(_size(label))
    return resize(logits, _size(label))
