"""Bilinear resizing by matrix products equals the native kernel, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vssbench.networks import TrainingOutput, create
from vssbench.ops.resize import resize
from vssbench.ops.separable_resize import Enlarged, resize_by_products


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize(
    ("size", "wanted"), [((5, 7), (20, 28)), ((6, 4), (9, 11)), ((3, 3), (1, 8)), ((1, 2), (4, 4))]
)
def test_products_equal_the_native_kernel(
    size: tuple[int, int], wanted: tuple[int, int], align_corners: bool
) -> None:
    maps = torch.randn(2, 3, *size, dtype=torch.float32, requires_grad=True)
    ours = resize_by_products(maps, wanted, align_corners=align_corners)
    native = F.interpolate(maps, size=wanted, mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(ours, native, atol=1e-5, rtol=1e-5)
    seed = torch.randn_like(native)
    (mine,) = torch.autograd.grad(ours, maps, seed)
    (theirs,) = torch.autograd.grad(native, maps, seed)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


def test_a_row_of_weights_mixes_the_two_neighbours() -> None:
    maps = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    enlarged = resize_by_products(maps, (1, 3), align_corners=True)
    assert enlarged.flatten().tolist() == [0.0, 0.5, 1.0]


def test_evaluation_keeps_the_native_kernel_bit_for_bit() -> None:
    maps = torch.randn(1, 2, 5, 6)
    native = F.interpolate(maps, size=(13, 11), mode="bilinear", align_corners=True)
    assert torch.equal(resize(maps, (13, 11)), native)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("label", [(16, 24), (11, 17), (32, 48), (37, 50)])
def test_an_enlargement_and_the_resize_behind_it_are_one_map(
    label: tuple[int, int], align_corners: bool
) -> None:
    maps = torch.randn(2, 3, 4, 6, requires_grad=True)
    enlarged = F.interpolate(maps, size=(32, 48), mode="bilinear", align_corners=align_corners)
    native = F.interpolate(enlarged, size=label, mode="bilinear", align_corners=True)
    ours = Enlarged(maps, (32, 48), align_corners).resized(label)
    torch.testing.assert_close(ours, native, atol=1e-5, rtol=1e-5)
    seed = torch.randn_like(native)
    (mine,) = torch.autograd.grad(ours, maps, seed)
    (theirs,) = torch.autograd.grad(native, maps, seed)
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        Enlarged(maps, (32, 48), align_corners).tensor(), enlarged, atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["cross-entropy", "ohem"])
@pytest.mark.parametrize("label_size", [(40, 56), (20, 28)])
def test_a_training_step_that_enlarges_in_the_loss_has_the_same_loss_and_gradient(
    kind: str, label_size: tuple[int, int]
) -> None:
    network = create("bisenet18", 5, width=8).train()
    image, label = torch.randn(2, 3, 40, 56), torch.randint(0, 5, (2, *label_size))
    output = network.forward_training(image)
    assert isinstance(output.scores, Enlarged)
    assert output.logits.shape == (2, 5, 48, 64)
    materialised = TrainingOutput(output.logits, output.auxiliary, output.feature)
    gradients = []
    for either in (output, materialised):
        terms = either.losses(kind, label)
        gradients.append(
            torch.autograd.grad(
                sum(terms.values()), network.parameters(), retain_graph=True, allow_unused=True
            )
        )
    assert output.losses(kind, label)["segmentation"].item() == pytest.approx(
        materialised.losses(kind, label)["segmentation"].item(), rel=1e-5
    )
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=2e-3)


def test_without_gradients_nothing_is_left_to_the_loss() -> None:
    network = create("bisenet18", 5, width=8)
    with torch.no_grad():
        assert torch.is_tensor(network.train().forward_training(torch.randn(2, 3, 40, 56)).scores)


def test_weights_first_made_without_gradients_serve_a_backward_pass():
    maps = torch.randn(1, 2, 7, 9, requires_grad=True)
    with torch.inference_mode():
        resize_by_products(maps, (23, 31), align_corners=True)
        Enlarged(maps, (14, 18), False).resized((29, 37))
    resize_by_products(maps, (23, 31), align_corners=True).sum().backward()
    Enlarged(maps, (14, 18), False).resized((29, 37)).sum().backward()
    assert maps.grad is not None
