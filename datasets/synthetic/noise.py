"""Random numbers and textures that are the same on every machine: integer hashes, no libm, no BLAS, no state."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic import _sampling

_MASK = (1 << 64) - 1
_PI = 3.141592653589793

Real = TypeVar("Real", float, NDArray[np.float64])

TILE = 256
"""Side of a texture tile in texels at level 0."""
LEVELS = 8
"""Levels of a texture pyramid: 256, 128, ..., 2 texels."""
LAYERS = ("fbm", "brick", "slabs", "foliage", "asphalt", "planks", "stone")
"""Texture tiles, each in 0..1 with a mean near one half."""


def mix(value: int) -> int:
    """Scramble 64 bits (the finaliser of splitmix64, Steele et al. 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Draws:
    """A stream of reproducible draws named by integers: the same names give the same numbers, in any order of use."""

    def __init__(self, *names: int) -> None:
        state = 0x5DEECE66D
        for name in names:
            state = mix(state ^ (name & _MASK))
        self._root = self._state = state

    def child(self, *names: int) -> Draws:
        """Independent stream below this one, whatever was drawn from this one before."""
        return Draws(self._root, *names)

    def unit(self) -> float:
        """Next draw, uniform in [0, 1)."""
        self._state = mix(self._state)
        return (self._state >> 11) * 2.0**-53

    def between(self, low: float, high: float) -> float:
        """Next draw, uniform in [low, high)."""
        return low + (high - low) * self.unit()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.unit() < probability

    def index(self, count: int) -> int:
        """Next draw, uniform in 0..count-1."""
        return int(self.unit() * count)


def sine(angle: Real) -> Real:
    """Sine in radians from additions and products only, so that it rounds alike everywhere; error below 1e-9."""
    if isinstance(angle, float):
        x = (angle / (2 * _PI) + 0.5) % 1.0 * (2 * _PI) - _PI
        x = _PI - x if x > _PI / 2 else -_PI - x if x < -_PI / 2 else x
        return x * _sine_series(x * x)
    turns = angle / (2 * _PI)
    y = (turns - np.floor(turns + 0.5)) * (2 * _PI)
    y = np.where(y > _PI / 2, _PI - y, np.where(y < -_PI / 2, -_PI - y, y))
    return y * _sine_series(y * y)


def _sine_series(square: Real) -> Real:
    series = square * (1.0 / 6227020800) - 1.0 / 39916800
    for coefficient in (1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1.0):
        series = series * square + coefficient
    return series


def cosine(angle: Real) -> Real:
    """Cosine in radians, see `sine`."""
    return sine(angle + _PI / 2)


def wobble(seed: int, time_s: float, rate_hz: float) -> float:
    """Smooth random signal in [-1, 1] that changes about `rate_hz` times a second (1-D cubic value noise)."""
    position = time_s * rate_hz
    cell = int(position // 1.0)
    t = position - cell
    left = Draws(seed, cell).between(-1.0, 1.0)
    right = Draws(seed, cell + 1).between(-1.0, 1.0)
    return left + (right - left) * (t * t * (3 - 2 * t))


def hash_grid(seed: int, rows: int, columns: int) -> NDArray[np.float32]:
    """[rows, columns] independent values in [0, 1), one per cell."""
    keys = np.arange(rows * columns, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(
        mix(seed) & 0xFFFFFFFF
    )
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        keys ^= keys >> np.uint32(shift)
        keys *= np.uint32(factor)
    keys ^= keys >> np.uint32(16)
    return ((keys >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(rows, columns)


def value_noise(seed: int, cells: int) -> NDArray[np.float32]:
    """[TILE, TILE] smooth periodic noise with `cells` x `cells` lattice points, in [0, 1)."""
    lattice = hash_grid(seed, cells, cells)
    position = (np.arange(TILE, dtype=np.float32) + np.float32(0.5)) * np.float32(cells / TILE)
    low = np.floor(position).astype(np.int64)
    t = position - low.astype(np.float32)
    t = t * t * (np.float32(3) - np.float32(2) * t)
    low, high = low % cells, (low + 1) % cells
    rows = lattice[low] + (lattice[high] - lattice[low]) * t[:, None]
    return rows[:, low] + (rows[:, high] - rows[:, low]) * t[None, :]


def fractal_noise(seed: int, cells: int, octaves: int, gain: float = 0.5) -> NDArray[np.float32]:
    """Sum of octaves of `value_noise`, stretched to about 0..1 around one half."""
    total = np.zeros((TILE, TILE), np.float32)
    weight = 1.0
    for octave in range(octaves):
        total += np.float32(weight) * (value_noise(seed + 101 * octave, cells << octave) - np.float32(0.5))
        weight *= gain
    return np.clip(np.float32(0.5) + total * np.float32(0.75), 0, 1)


def _joints(coordinate: NDArray[np.float32], pitch: int, width: float) -> NDArray[np.float32]:
    """1 on the joint lines of a grid with the given pitch in texels, 0 between them."""
    offset = coordinate % pitch
    distance = np.minimum(offset, pitch - offset)
    return np.clip(np.float32(width) - distance, 0, 1)


def _masonry(seed: int, rows: int, columns: int, bond: bool, joint: float) -> NDArray[np.float32]:
    """Blocks with joints; `bond` shifts every second course by half a block."""
    y, x = np.meshgrid(np.arange(TILE, dtype=np.float32), np.arange(TILE, dtype=np.float32), indexing="ij")
    course = (y * np.float32(rows / TILE)).astype(np.int64)
    if bond:
        x = (x + (course % 2) * np.float32(TILE / columns / 2)) % TILE
    block = (x * np.float32(columns / TILE)).astype(np.int64) % columns
    shade = hash_grid(seed, rows, columns)[course, block]
    lines = np.maximum(_joints(x, TILE // columns, joint), _joints(y, TILE // rows, joint))
    grain = fractal_noise(seed + 7, 16, 4)
    return np.clip(
        np.float32(0.28) + np.float32(0.3) * shade + np.float32(0.3) * grain - np.float32(0.3) * lines, 0, 1
    )


def _tile(layer: str) -> NDArray[np.float32]:
    if layer == "fbm":
        return fractal_noise(11, 4, 6, 0.6)
    if layer == "brick":
        return _masonry(23, 16, 8, True, 1.2)
    if layer == "slabs":
        return _masonry(37, 4, 4, True, 1.4)
    if layer == "foliage":
        clumps = fractal_noise(53, 12, 4, 0.75)
        return np.clip(np.float32(0.5) + (clumps - np.float32(0.5)) * np.float32(1.5), 0, 1)
    if layer == "asphalt":
        return np.clip(
            fractal_noise(71, 32, 3, 0.9) * np.float32(0.7) + hash_grid(72, TILE, TILE) * np.float32(0.3),
            0,
            1,
        )
    if layer == "planks":
        x = np.arange(TILE, dtype=np.float32)[None, :]
        tone = np.repeat(hash_grid(97, 1, 16), TILE // 16, axis=1)
        gaps = _joints(x, TILE // 16, 2.2)
        return np.clip(
            np.float32(0.25)
            + np.float32(0.35) * tone
            - np.float32(0.4) * gaps
            + np.float32(0.3) * fractal_noise(98, 16, 3),
            0,
            1,
        ).astype(np.float32)
    return _masonry(113, 8, 4, True, 1.0)


class Textures:
    """All tiles with their box-filtered pyramids in one flat array, sampled bilinearly."""

    def __init__(self) -> None:
        parts: list[NDArray[np.float32]] = []
        offsets = np.zeros((len(LAYERS), LEVELS), np.int64)
        position = 0
        for number, layer in enumerate(LAYERS):
            tile = _tile(layer).astype(np.float32)
            tile += np.float32(0.5) - np.float32(float(tile.astype(np.float64).mean()))
            for level in range(LEVELS):
                offsets[number, level] = position
                parts.append(tile.ravel())
                position += tile.size
                tile = (
                    tile[0::2, 0::2] + tile[1::2, 0::2] + tile[0::2, 1::2] + tile[1::2, 1::2]
                ) * np.float32(0.25)
        self._texels = np.concatenate(parts)
        self._offsets = offsets.ravel()

    def sample(
        self,
        layer: int | NDArray[np.intp],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        footprint_squared: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Values in 0..1 at texel coordinates (u, v) of level 0, band-limited to pixels of that many texels.

        The pyramid level is floor((floor(log2(footprint_squared)) + 1) / 2). `layer` is a position in LAYERS, one for all or one
        for each.
        """
        result = np.empty(u.shape, np.float32)
        layers = np.asarray(layer, np.int64).ravel()
        _sampling.sample(
            self._texels,
            self._offsets,
            layers,
            u.ravel(),
            v.ravel(),
            footprint_squared.ravel(),
            result.ravel(),
        )
        return result

    def pick(self, layer: int, u: NDArray[np.float32], v: NDArray[np.float32]) -> NDArray[np.float32]:
        """Single texels at whole coordinates (u, v): a random number per cell."""
        number = ((v.astype(np.intp) & (TILE - 1)) << 8) + (u.astype(np.intp) & (TILE - 1))
        return self._texels.take(number + self._offsets[layer * LEVELS], mode="clip")


@lru_cache(maxsize=1)
def textures() -> Textures:
    """The process-wide textures; they depend on nothing, so every scene shares them."""
    return Textures()
