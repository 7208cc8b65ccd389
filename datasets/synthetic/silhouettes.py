"""Outlines of what is not a rectangle: how much of each pixel a shape covers.

All functions take plane coordinates in metres and the pixels per metre there, as arrays of one shape; `extent` and
`parameters` hold the face's numbers, each a scalar or an array of that shape.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.faces import Shape
from vssbench.datasets.synthetic.noise import LAYERS, textures

Image32 = NDArray[np.float32]

_FBM, _FOLIAGE = LAYERS.index("fbm"), LAYERS.index("foliage")
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)
_TWIGS_PER_METRE = np.float32(12.0)


def unit(values: Image32) -> Image32:
    """Clip to 0..1 in place; the plain ufuncs are much quicker than np.clip on small arrays."""
    np.minimum(values, _ONE, out=values)
    np.maximum(values, _ZERO, out=values)
    return values


def silhouette(
    shape: int, parameters: Image32, extent: Image32, u: Image32, v: Image32, scale: Image32
) -> Image32:
    """Covered share of each pixel, 0..1."""
    if shape == Shape.FOLIAGE:
        return _foliage(parameters, extent[1], u, v, scale)
    if shape == Shape.SKYLINE:
        return _skyline(parameters, extent[3], u, v, scale)
    return unit(_outline(shape, extent, u, v) * scale + _HALF)


def _skyline(parameters: Image32, top: Image32, u: Image32, v: Image32, scale: Image32) -> Image32:
    """Distant roofs and crowns: a ridge along u."""
    footprint = np.square(np.float32(6.0) / np.maximum(scale, np.float32(1e-3)))
    ridge = textures().sample(_FBM, u * np.float32(6.0) + parameters[9], np.full_like(u, 40.0), footprint)
    return unit((top * (np.float32(0.1) + np.float32(0.9) * ridge) - v) * scale + _HALF)


def _foliage(parameters: Image32, size: Image32, u: Image32, v: Image32, scale: Image32) -> Image32:
    """Leaves and twigs: a disc with a noisy edge and holes that grow with bareness (parameter 8)."""
    radius = np.sqrt(u * u + v * v) / size
    footprint = np.square(_TWIGS_PER_METRE / scale)
    noise = textures().sample(
        _FOLIAGE, u * _TWIGS_PER_METRE + parameters[6], v * _TWIGS_PER_METRE + parameters[7], footprint
    )
    bias = np.float32(0.9) + np.float32(0.42) * parameters[8]
    gain = np.minimum(np.maximum(scale * np.float32(0.12), np.float32(1.5)), np.float32(14.0))
    value = (noise - _HALF) * np.float32(1.1) + (np.float32(1.6) - bias) - np.float32(1.1) * radius
    return unit(value * gain + _HALF)


def _box(u: Image32, v: Image32, u0: float, v0: float, half_u: float, half_v: float) -> Image32:
    return np.minimum(
        np.float32(half_u) - np.abs(u - np.float32(u0)), np.float32(half_v) - np.abs(v - np.float32(v0))
    )


def _disc(
    u: Image32, v: Image32, v0: Image32 | float, radius_u: Image32 | float, radius_v: Image32 | float
) -> Image32:
    du, dv = u / np.float32(radius_u), (v - np.float32(v0)) / np.float32(radius_v)
    result: Image32 = (_ONE - np.sqrt(du * du + dv * dv)) * np.minimum(
        np.float32(radius_u), np.float32(radius_v)
    )
    return result


def _outline(shape: int, extent: Image32, u: Image32, v: Image32) -> Image32:
    """Signed distance in metres to the outline, positive inside (approximate away from it)."""
    half, top = extent[1], extent[3]
    if shape == Shape.ELLIPSE:
        return _disc(u, v, 0.0, half, top)
    if shape == Shape.TRIANGLE:
        return (top - v) * np.float32(0.45) - np.abs(u) * np.float32(0.9)
    if shape == Shape.TRAPEZIUM:
        return half - np.abs(u) - v * (np.float32(0.35) / top)
    if shape == Shape.CAR_SIDE:
        wheels = np.maximum(
            _disc(u + np.float32(0.62) * half, v, 0.31, 0.31, 0.31),
            _disc(u - np.float32(0.6) * half, v, 0.31, 0.31, 0.31),
        )
        return np.maximum(wheels, v - np.float32(0.2))
    if shape == Shape.PERSON:
        head = _disc(u, v, top - np.float32(0.12), 0.10, 0.125)
        body = np.maximum(_disc(u, v, 0.33, 0.25, 0.42), _box(u, v, 0.0, 0.27, 0.17, 0.30))
        return np.maximum(head, body)
    parts = (
        _box(u, v, 0.0, 0.34, 0.035, 0.34),
        _disc(u, v, 1.14, 0.25, 0.36),
        _disc(u, v, 1.6, 0.10, 0.13),
        _box(u, v, 0.0, 1.0, 0.31, 0.028),
        _box(u, v, 0.0, 0.85, 0.12, 0.18),
    )
    result: Image32 = np.maximum.reduce(parts)
    return result
