"""Local attention: both back ends against a per-pixel loop, borders, gradients, memory."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vssbench.errors import ConfigError
from vssbench.ops import local_attention
from vssbench.ops.accounting import listening


def loop(query, key, value, window, scale, border):
    """The specification's steps 3 to 5, one pixel at a time."""
    channels, height, width = query.shape
    radius = window // 2
    out = np.zeros_like(query)
    for y in range(height):
        for x in range(width):
            scores, values = [], []
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    inside = 0 <= y + dy < height and 0 <= x + dx < width
                    if inside:
                        scores.append(scale * (query[:, y, x] * key[:, y + dy, x + dx]).sum())
                        values.append(value[:, y + dy, x + dx])
                    elif border == "zero":
                        scores.append(0.0)
                        values.append(np.zeros(channels))
            weights = np.exp(np.array(scores) - max(scores))
            out[:, y, x] = (weights / weights.sum()) @ np.array(values)
    return out


def maps(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(3)]


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.integers(4, 19),
    st.integers(4, 19),
    st.sampled_from([1, 3, 7]),
    st.sampled_from(["zero", "exclude"]),
    st.sampled_from(["eager", "tiled"]),
)
def test_both_back_ends_equal_the_loop(seed, channels, height, width, window, border, backend):
    query, key, value = maps(seed, 1, channels, height, width)
    attended = local_attention(query, key, value, window, scale=0.6, border=border, backend=backend)
    expected = loop(query[0].numpy(), key[0].numpy(), value[0].numpy(), window, 0.6, border)
    np.testing.assert_allclose(attended[0].numpy(), expected, atol=1e-12)


def test_phantom_neighbours_pull_a_corner_to_zero():
    ones = torch.ones(1, 1, 9, 9)
    zero = torch.zeros_like(ones)
    attended = local_attention(zero, ones, ones, 7)  # all scores 0: the weights are 1/49 each
    assert attended[0, 0, 0, 0].item() == pytest.approx(16 / 49)
    assert attended[0, 0, 4, 4].item() == pytest.approx(1.0)
    excluded = local_attention(zero, ones, ones, 7, border="exclude")
    assert excluded.flatten().tolist() == pytest.approx([1.0] * 81)


@pytest.mark.parametrize("border", ["zero", "exclude"])
@pytest.mark.parametrize(("shape", "window"), [((2, 3, 9, 13), 7), ((1, 2, 4, 18), 5)])
def test_hand_written_gradients_equal_autodiff(shape, window, border):
    inputs = [m.requires_grad_() for m in maps(7, *shape)]
    outer = torch.randn(*shape, dtype=torch.float64)
    gradients = [
        torch.autograd.grad(
            local_attention(*inputs, window, scale=0.8, border=border, backend=backend), inputs, outer
        )
        for backend in ("eager", "tiled")
    ]
    for eager, tiled in zip(*gradients, strict=True):
        torch.testing.assert_close(tiled, eager, rtol=1e-12, atol=1e-12)


def test_gradcheck_of_the_tiled_back_end():
    inputs = [m.requires_grad_() for m in maps(11, 1, 2, 5, 9)]
    assert torch.autograd.gradcheck(lambda q, k, v: local_attention(q, k, v, 3, backend="tiled"), inputs)


def test_float32_agrees_with_float64_and_half_precision_keeps_its_type():
    query, key, value = maps(13, 1, 16, 24, 30)
    exact = local_attention(query, key, value)
    single = local_attention(query.float(), key.float(), value.float())
    assert (single - exact).abs().max() < 2e-5
    assert local_attention(query.bfloat16(), key.bfloat16(), value.bfloat16()).dtype == torch.bfloat16


def test_large_scores_do_not_overflow():
    query, key, value = maps(17, 1, 4, 12, 12, dtype=torch.float32)
    attended = local_attention(query * 3000, key * 3000, value)
    assert torch.isfinite(attended).all()
    torch.testing.assert_close(attended, local_attention(query * 3000, key * 3000, value, backend="eager"))


@pytest.mark.parametrize("window", [0, 2, 8, -3])
def test_an_even_window_is_refused(window):
    with pytest.raises(ConfigError, match="odd"):
        local_attention(*maps(1, 1, 1, 9, 9), window)


def test_a_window_beyond_the_map_is_refused():
    with pytest.raises(ConfigError, match="larger than the 4x9 map"):
        local_attention(*maps(1, 1, 1, 4, 9), 9)


def test_maps_of_different_shapes_are_refused():
    query, key, value = maps(1, 1, 2, 9, 9)
    with pytest.raises(ValueError, match="one shape"):
        local_attention(query, key[..., :8], value)


class LiveBytes(TorchDispatchMode):
    """Follows every storage that torch allocates inside the block, beyond those already known."""

    def __init__(self, known: list[torch.Tensor]) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self._follow(leaf.untyped_storage())
        return out

    def _follow(self, storage) -> None:
        if storage.data_ptr() in self.seen:
            return
        self.seen.add(storage.data_ptr())
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage.data_ptr(), storage.nbytes())

    def _forget(self, pointer: int, size: int) -> None:
        self.seen.discard(pointer)
        self.live -= size


def test_tiles_stay_below_three_times_the_inputs():
    inputs = maps(19, 1, 48, 46, 60, dtype=torch.float32)
    own = sum(m.numel() * 4 for m in inputs)
    with LiveBytes(inputs) as tiled:
        local_attention(*inputs, backend="tiled")
    with LiveBytes(inputs) as eager:
        local_attention(*inputs, backend="eager")
    assert tiled.peak <= 3 * own
    assert eager.peak > 30 * own


def test_a_ledger_hears_two_products_per_neighbour_and_channel():
    heard = []

    class Listener:
        def begin(self, operation):
            heard.append(operation)

        def end(self, operation):
            pass

    with listening(Listener()):
        local_attention(*maps(1, 2, 3, 8, 9), 7)
        meta = [m.to("meta") for m in maps(1, 1, 64, 90, 120)]
        assert local_attention(*meta).shape == (1, 64, 90, 120)
    assert [operation.macs for operation in heard] == [2 * 49 * 2 * 3 * 8 * 9, 2 * 49 * 64 * 90 * 120]
