"""Losses against hand-computed values and torch's own where they coincide."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from vssbench.ops.losses import (
    cross_entropy,
    feature_kl,
    feature_mse,
    nll,
    ohem,
    presence,
    segmentation_loss,
)


def case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, 8, generator=generator, dtype=torch.float64)
    label = torch.randint(0, 4, (2, 6, 8), generator=generator)
    label[0, :2] = 255
    return logits, label


def test_cross_entropy_equals_torchs_with_and_without_weights():
    logits, label = case()
    weights = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    torch.testing.assert_close(cross_entropy(logits, label), F.cross_entropy(logits, label, ignore_index=255))
    torch.testing.assert_close(
        cross_entropy(logits, label, weights), F.cross_entropy(logits, label, weights, ignore_index=255)
    )


def test_log_probabilities_are_logits_too():
    logits, label = case(1)
    log_probabilities = torch.log_softmax(logits, 1)
    torch.testing.assert_close(nll(log_probabilities, label), cross_entropy(logits, label))
    torch.testing.assert_close(cross_entropy(log_probabilities, label), cross_entropy(logits, label))


def test_nothing_labelled_gives_zero_and_a_finite_gradient():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    label = torch.full((1, 4, 4), 255)
    total = cross_entropy(logits, label) + nll(logits, label) + ohem(logits, label)
    total.backward()
    assert total.item() == 0
    assert torch.isfinite(logits.grad).all()


def test_logits_are_resized_to_the_label():
    logits, _ = case(2)
    label = torch.randint(0, 4, (2, 12, 20))
    enlarged = F.interpolate(logits, size=(12, 20), mode="bilinear", align_corners=True)
    torch.testing.assert_close(cross_entropy(logits, label), F.cross_entropy(enlarged, label))


def two_class_logits(losses: list[float]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose cross-entropies against class 0 are `losses`."""
    probabilities = [math.exp(-loss) for loss in losses]
    logits = torch.tensor([[math.log(p), math.log(1 - p)] for p in probabilities], dtype=torch.float64)
    return logits.T.reshape(1, 2, 1, -1), torch.zeros(1, 1, len(losses), dtype=torch.long)


def test_ohem_keeps_losses_above_the_threshold():
    logits, label = two_class_logits([0.1, 0.2, 0.5, 1.0, *[0.05] * 12])
    assert ohem(logits, label).item() == pytest.approx((0.5 + 1.0) / 2)


def test_ohem_keeps_at_least_a_sixteenth_of_the_labelled_pixels():
    logits, label = two_class_logits([0.30, 0.25, *[0.1] * 30])  # none is above -ln 0.7 = 0.357
    assert ohem(logits, label).item() == pytest.approx((0.30 + 0.25) / 2)
    label[..., 20:] = 255  # 20 labelled: floor(20 / 16) = 1
    assert ohem(logits, label).item() == pytest.approx(0.30)


def test_presence_asks_which_classes_occur():
    label = torch.tensor([[[0, 2], [255, 2]], [[1, 1], [1, 1]]])
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0]])
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(logits, targets)
    torch.testing.assert_close(presence(logits, label), expected)


def test_feature_losses():
    target = torch.tensor([[[[1.0, 2.0]]]])
    feature = torch.tensor([[[[0.0, 4.0]]]])
    assert feature_mse(target, feature).item() == pytest.approx((1 + 4) / 2)
    expected = (math.exp(0) * (0 - 1) + math.exp(4) * (4 - 2)) / 2
    assert feature_kl(target, feature).item() == pytest.approx(expected)


def test_terms_and_weights_of_each_recipe():
    logits, label = case(3)
    extra, image_level = case(4)[0], torch.randn(2, 4, dtype=torch.float64)
    terms = segmentation_loss("nll+presence", torch.log_softmax(logits, 1), label, class_logits=image_level)
    assert set(terms) == {"segmentation", "presence"}
    terms = segmentation_loss("ce+aux", logits, label, auxiliary=[extra])
    torch.testing.assert_close(terms["auxiliary0"], 0.4 * cross_entropy(extra, label))
    terms = segmentation_loss("ohem", logits, label, auxiliary=[extra, extra])
    torch.testing.assert_close(terms["auxiliary1"], ohem(extra, label))
    assert set(segmentation_loss("cross-entropy", logits, label, auxiliary=[extra])) == {
        "segmentation",
        "auxiliary0",
    }
