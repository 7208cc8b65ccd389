"""Synthetic content that the codec tests encode. Nothing here comes from a dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Frames = list[NDArray[np.uint8]]


def _smooth_noise(shape: tuple[int, int], seed: int) -> NDArray[np.float64]:
    """Texture with detail at all scales, so that motion search finds the true vector; 0..255."""
    generator = np.random.default_rng(seed)
    spectrum = np.fft.rfft2(generator.normal(size=shape))
    y, x = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    texture = np.fft.irfft2(spectrum / (1 + 2000 * (x**2 + y**2)), s=shape)
    return ((texture - texture.mean()) / texture.std() * 45 + 128).clip(0, 255)


@pytest.fixture(scope="session")
def pan() -> Callable[..., Frames]:
    """pan(size, count, step, seed): a texture of which frame n shows the part at n * step (x, y), whole samples.

    Content at (x, y) of a frame was at (x, y) + step in the frame before: that is the flow to expect.
    """

    def make(size: tuple[int, int], count: int, step: tuple[int, int] = (5, 3), seed: int = 0) -> Frames:
        height, width = size
        room = (height + abs(step[1]) * count, width + abs(step[0]) * count)
        luma, tint = _smooth_noise(room, 2 * seed), _smooth_noise(room, 2 * seed + 1)
        bands = [
            0.8 * luma + share * tint for share in (0.05, 0.1, 0.2)
        ]  # chroma is coded at half resolution
        scene = np.stack(bands, axis=-1).astype(np.uint8)
        frames = []
        for index in range(count):
            y = index * step[1] if step[1] >= 0 else (count - 1 - index) * -step[1]
            x = index * step[0] if step[0] >= 0 else (count - 1 - index) * -step[0]
            frames.append(scene[y : y + height, x : x + width].copy())
        return frames

    return make


@pytest.fixture(scope="session")
def cut(pan: Callable[..., Frames]) -> Callable[..., Frames]:
    """cut(size, count, at): like pan, but all content changes at frame `at`: a scene cut."""

    def make(size: tuple[int, int], count: int, at: int) -> Frames:
        return pan(size, count)[:at] + pan(size, count, seed=7)[at:]

    return make
