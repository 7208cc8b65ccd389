"""The Triton kernels: on the CPU through Triton's interpreter, on a GPU where there is one.

Triton is no dependency of the tests (its wheel has 286 MB): without it everything here skips.
`pip install triton && TRITON_INTERPRET=1 pytest tests/ops/test_triton_attention.py` runs the interpreted part.
"""

from __future__ import annotations

import os

import pytest
import torch

from vssbench.ops import local_attention

pytest.importorskip("triton")

TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}


def interpreter() -> str:
    if os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("set TRITON_INTERPRET=1 before Python starts to interpret the kernels on the CPU")
    return "cpu"


def compare(device: str, dtype: torch.dtype, shape: tuple[int, ...], window: int, border: str) -> None:
    """Output and all gradients against the reference in float64."""
    generator = torch.Generator().manual_seed(5)
    inputs = [
        (0.7 * torch.randn(*shape, generator=generator)).to(dtype).to(device).requires_grad_()
        for _ in range(3)
    ]
    outer = torch.randn(*shape, generator=generator).to(dtype).to(device)
    exact = [m.detach().double().requires_grad_() for m in inputs]
    ours = local_attention(*inputs, window, scale=0.8, border=border, backend="triton")
    expected = local_attention(*exact, window, scale=0.8, border=border, backend="eager")
    assert ours.dtype == dtype
    both = zip(
        (ours, *torch.autograd.grad(ours, inputs, outer)),
        (expected, *torch.autograd.grad(expected, exact, outer.double())),
        strict=True,
    )
    for got, wanted in both:
        limit = TOLERANCE[dtype] * max(1.0, float(wanted.detach().abs().max()))
        assert float((got.double() - wanted).detach().abs().max()) < limit


@pytest.mark.parametrize("border", ["zero", "exclude"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_interpreted_kernels_equal_the_reference(dtype, border):
    compare(interpreter(), dtype, (2, 20, 9, 11), 5, border)


@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((1, 16, 5, 19), 3),
        ((1, 33, 9, 7), 7),
        ((1, 16, 12, 9), 9),
        ((1, 16, 11, 13), 11),
        ((1, 160, 4, 9), 7),
    ],
)
def test_interpreted_kernels_take_any_size_window_and_width(shape, window):
    compare(interpreter(), torch.float32, shape, window, "zero")


def test_interpreted_kernels_read_channels_last_maps():
    interpreter()
    maps = [torch.randn(1, 16, 9, 11).contiguous(memory_format=torch.channels_last) for _ in range(3)]
    torch.testing.assert_close(
        local_attention(*maps, 3, backend="triton"),
        local_attention(*maps, 3, backend="eager"),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.needs_cuda
@pytest.mark.parametrize("border", ["zero", "exclude"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("channels", "window"), [(16, 3), (64, 7), (256, 7), (512, 7), (64, 11), (100, 5)])
def test_kernels_on_the_gpu_equal_the_reference(cuda, dtype, border, channels, window):
    compare(cuda, dtype, (2, channels, 37, 45), window, border)


@pytest.mark.needs_cuda
def test_the_gpu_takes_triton_by_itself(cuda):
    from vssbench.ops.local_attention import choose_backend

    assert choose_backend(torch.zeros(1, 64, 32, 32, device=cuda), 7) == "triton"
