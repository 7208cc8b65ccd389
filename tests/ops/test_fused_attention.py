"""The C++ back end of local attention: against the reference, layouts, threads, gradients, choice of back end."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vssbench.errors import CapabilityError, ConfigError, OutOfMemoryError
from vssbench.ops import local_attention
from vssbench.ops import local_attention as operator
from vssbench.ops.local_attention import backend_problem, choose_backend


def maps(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(3)]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.tuples(st.integers(1, 2), st.integers(1, 21), st.integers(6, 19), st.integers(6, 71)),
    st.sampled_from([1, 3, 5, 7, 9, 11]),
    st.sampled_from(["zero", "exclude"]),
    st.booleans(),
    st.sampled_from([1, 2, 3]),
)
def test_strips_equal_the_reference(seed, shape, window, border, channels_last, threads):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    inputs = [m.contiguous(memory_format=layout) for m in maps(seed, *shape)]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        attended = local_attention(*inputs, window, scale=0.6, border=border, backend="fused")
    finally:
        torch.set_num_threads(before)
    exact = [m.double() for m in inputs]
    expected = local_attention(*exact, window, scale=0.6, border=border, backend="eager")
    torch.testing.assert_close(attended.double(), expected, rtol=1e-5, atol=2e-5)
    assert attended.stride() == torch.empty_like(inputs[0]).stride()


def test_the_number_of_threads_and_the_layout_change_no_bit():
    inputs = maps(3, 2, 10, 37, 45)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(local_attention(*inputs, backend="fused"))
    finally:
        torch.set_num_threads(before)
    swapped = [m.contiguous(memory_format=torch.channels_last) for m in inputs]
    results.append(local_attention(*swapped, backend="fused"))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_gradients_equal_the_reference():
    inputs = [m.requires_grad_() for m in maps(7, 1, 6, 11, 35)]
    outer = torch.randn(1, 6, 11, 35)
    fused, eager = (
        torch.autograd.grad(local_attention(*inputs, backend=backend), inputs, outer)
        for backend in ("fused", "eager")
    )
    for ours, reference in zip(fused, eager, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)


def test_large_scores_neither_overflow_nor_lose_the_winner():
    query, key, value = maps(17, 1, 4, 12, 40)
    attended = local_attention(query * 3000, key * 3000, value, backend="fused")
    torch.testing.assert_close(attended, local_attention(query * 3000, key * 3000, value, backend="eager"))


def test_automatic_choice_is_fused_for_float32_and_tiled_for_float64():
    single, double = torch.zeros(1, 4, 16, 16), torch.zeros(1, 4, 16, 16, dtype=torch.float64)
    assert choose_backend(single, 7) == "fused"
    assert choose_backend(double, 7) == "tiled"
    assert choose_backend(single, 13) == "tiled"  # beyond what the strips are built for


def test_a_forced_back_end_that_cannot_is_refused_and_says_why():
    double = maps(1, 1, 2, 16, 16, dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"computes in float32.*float64.*backend='tiled'"):
        local_attention(*double, backend="fused")
    with pytest.raises(ConfigError, match=r"window 13 is above 11.*backend='tiled'"):
        local_attention(*maps(1, 1, 2, 16, 16), 13, backend="fused")
    with pytest.raises(ConfigError, match=r"unknown backend 'cuda'; known: auto, eager"):
        local_attention(*maps(1, 1, 2, 16, 16), backend="cuda")


def test_triton_is_refused_where_it_is_missing_or_the_maps_are_on_the_cpu(monkeypatch):
    module = __import__("sys").modules["vssbench.ops.local_attention"]
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(module, "_has_triton", lambda: False)
    with pytest.raises(CapabilityError, match=r"Triton is not installed; pip install 'vssbench\[triton\]'"):
        local_attention(*maps(1, 1, 2, 16, 16), backend="triton")
    monkeypatch.setattr(module, "_has_triton", lambda: True)
    with pytest.raises(CapabilityError, match=r"needs maps on a CUDA device, they are on cpu"):
        local_attention(*maps(1, 1, 2, 16, 16), backend="triton")


def test_triton_names_the_types_and_channels_it_knows(monkeypatch):
    module = __import__("sys").modules["vssbench.ops.local_attention"]
    monkeypatch.setattr(module, "_has_triton", lambda: True)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    wide = torch.zeros(1, 513, 16, 16)
    assert "up to 512 channels" in str(backend_problem("triton", wide, 7))
    assert "float32, float16 and bfloat16" in str(backend_problem("triton", wide.double(), 7))
    assert backend_problem("triton", wide[:, :512], 7) is None


def test_too_little_memory_names_the_size_and_the_option(monkeypatch):
    module = __import__("sys").modules["vssbench.ops.local_attention"]

    def exhausted(*_, **__):
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried"
        )

    monkeypatch.setattr(module, "attend_eagerly", exhausted)
    with pytest.raises(OutOfMemoryError, match=r"about 0\.1 GiB: does not fit .* use backend='auto'"):
        operator(*maps(1, 1, 64, 64, 64), backend="eager")
