"""Bilinear resizing by matrix products equals the native kernel, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from vssbench.ops.resize import resize
from vssbench.ops.separable_resize import resize_by_products


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
