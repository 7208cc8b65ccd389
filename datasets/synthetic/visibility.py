"""Which surface each pixel sees: painter's order, per-pixel depth, and coverage at the edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from vssbench.datasets.synthetic.faces import FaceTable, Shape
from vssbench.datasets.synthetic.geometry import Camera, homographies, image_boxes, inverse
from vssbench.datasets.synthetic.noise import LAYERS, mip_level, textures
from vssbench.datasets.synthetic.street import PAVEMENT_ROW, ROAD_ROW, SKY_ROW

Image32 = NDArray[np.float32]

_FOLIAGE = LAYERS.index("foliage")
_SMALLEST_PX = 0.35
"""Faces thinner and lower than this are left out."""
_FARTHEST_M = 2000.0


@dataclass(frozen=True, eq=False)
class View:
    """The surfaces seen by one camera: a pixel's own surface and, at edges, the one that shares the pixel with it."""

    camera: Camera
    faces: FaceTable
    surface: NDArray[np.int32]
    """[H, W] row of the face that covers the pixel centre's half."""
    inverse_depth: Image32
    """[H, W] 1 / depth in 1/m of that surface; 0 for the sky."""
    second: NDArray[np.int32]
    """[H, W] row of the surface that covers the rest of the pixel."""
    second_share: Image32
    """[H, W] covered share of `second`, 0 in the interior of surfaces."""
    lateral: Image32
    """[H, W] metres right of the street's centre line where the ground plane is seen or hidden, 0 above the horizon."""
    to_pixel: NDArray[np.float64]
    """[N, 3, 3] maps (u, v, 1) to depth * (x, y, 1)."""
    from_pixel: NDArray[np.float64]
    """[N, 3, 3] their inverses."""
    plane_distance: NDArray[np.float32]
    """[N] distance of the camera from each face's plane, metres."""


@dataclass(frozen=True)
class CentreLine:
    """The street's centre line as tables over z, for lookups per pixel."""

    start: float
    step: float
    x: NDArray[np.float32]
    cosine: NDArray[np.float32]
    shadow: NDArray[np.float32]
    """Lateral position up to which buildings shade the ground."""

    def rows(self, z: Image32) -> tuple[NDArray[np.intp], Image32]:
        """Table row below each z and the share of the next row."""
        position = np.clip((z - np.float32(self.start)) * np.float32(1 / self.step), 0, len(self.x) - 2)
        row = position.astype(np.intp)
        return row, position - row.astype(np.float32)

    def lateral(self, x: Image32, z: Image32) -> Image32:
        """Metres to the right of the centre line."""
        row, share = self.rows(z)
        left = self.x[row]
        result: Image32 = (x - left - (self.x[row + 1] - left) * share) * self.cosine[row]
        return result


def render_view(faces: FaceTable, camera: Camera, line: CentreLine, road_half_width: float) -> View:
    """Find the visible surface of every pixel."""
    distant = np.zeros(len(faces), np.bool_)
    distant[SKY_ROW] = True
    to_pixel = homographies(camera, faces.origin, faces.u_axis, faces.v_axis, distant)
    from_pixel, determinant = inverse(to_pixel)
    plane_distance = np.abs(determinant) / camera.focal_px**2
    canvas = _Canvas(camera.size)
    canvas.ground(from_pixel[ROAD_ROW], line, road_half_width)
    _draw(canvas, faces, to_pixel, from_pixel, determinant, camera)
    return View(
        camera,
        faces,
        canvas.surface,
        canvas.inverse_depth,
        canvas.second,
        canvas.share,
        canvas.lateral,
        to_pixel,
        from_pixel,
        np.maximum(plane_distance, 1e-3).astype(np.float32),
    )


def _draw(
    canvas: _Canvas,
    faces: FaceTable,
    to_pixel: NDArray[np.float64],
    from_pixel: NDArray[np.float64],
    determinant: NDArray[np.float64],
    camera: Camera,
) -> None:
    height, width = camera.size
    bounded = faces.extent[:, 1] < 1e8
    boxes, depth = image_boxes(to_pixel, faces.extent)
    inside = (boxes[:, 0] < width) & (boxes[:, 2] > -1) & (boxes[:, 1] < height) & (boxes[:, 3] > -1)
    large = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) > _SMALLEST_PX
    facing = ~faces.one_sided | (determinant < 0)
    edge_on = np.abs(determinant) < 1e-4 * camera.focal_px**2
    rows = np.flatnonzero(bounded & inside & large & facing & ~edge_on)
    rows = rows[np.argsort(-depth[rows], kind="stable")]
    limits = (
        np.stack(
            [
                np.clip(np.floor(boxes[rows, 0]), 0, width),
                np.clip(np.floor(boxes[rows, 1]), 0, height),
                np.clip(np.ceil(boxes[rows, 2]) + 1, 0, width),
                np.clip(np.ceil(boxes[rows, 3]) + 1, 0, height),
            ],
            axis=1,
        )
        .astype(np.int64)
        .tolist()
    )
    edges = _edges(from_pixel[rows], faces.extent[rows])
    planes = from_pixel[rows].astype(np.float32)
    for number, row in enumerate(rows.tolist()):
        canvas.face(
            row,
            limits[number],
            edges[number],
            planes[number],
            Shape(faces.shape[row]),
            faces.parameters[row],
            faces.extent[row],
            camera.focal_px,
        )


def _edges(from_pixel: NDArray[np.float64], extent: NDArray[np.float64]) -> NDArray[np.float32]:
    """[n, 4, 3] signed distances in pixels, plus one half, of the four sides as affine functions of (x, y, 1)."""
    u, v, w = (from_pixel[:, i] for i in range(3))
    sides = np.stack(
        [
            u - extent[:, 0, None] * w,
            extent[:, 1, None] * w - u,
            v - extent[:, 2, None] * w,
            extent[:, 3, None] * w - v,
        ],
        axis=1,
    )
    slope = np.sqrt(sides[:, :, 0] ** 2 + sides[:, :, 1] ** 2)
    sides = sides / np.maximum(slope, 1e-30)[:, :, None]
    sides[:, :, 2] += 0.5
    result: NDArray[np.float32] = sides.astype(np.float32)
    return result


class _Canvas:
    """The buffers of one view while it is painted from far to near."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.surface = np.full(size, SKY_ROW, np.int32)
        self.second = np.full(size, SKY_ROW, np.int32)
        self.inverse_depth = np.zeros(size, np.float32)
        self.share = np.zeros(size, np.float32)
        self.lateral = np.zeros(size, np.float32)
        self.x = np.arange(size[1], dtype=np.float32)[None, :]
        self.y = np.arange(size[0], dtype=np.float32)[:, None]

    def ground(self, plane: NDArray[np.float64], line: CentreLine, road_half_width: float) -> None:
        """Fill what lies below the horizon with road and pavement."""
        (a, b, c), (d, e, f), (g, h, i) = plane.astype(np.float32).tolist()
        q = (self.x * g + i) + self.y * h
        seen = q > 1 / _FARTHEST_M
        first = int(np.argmax(seen.any(axis=1))) if seen.any() else self.size[0]
        x, y = self.x, self.y[first:]
        part = np.maximum(q[first:], np.float32(1 / _FARTHEST_M))
        across = ((x * a + c) + y * b) / part
        along = ((x * d + f) + y * e) / part
        self.lateral[first:] = line.lateral(across, along)
        rows = np.where(np.abs(self.lateral[first:]) > np.float32(road_half_width), PAVEMENT_ROW, ROAD_ROW)
        np.copyto(self.surface[first:], rows.astype(np.int32), where=seen[first:])
        np.copyto(self.inverse_depth[first:], q[first:], where=seen[first:])

    def face(
        self,
        row: int,
        limits: list[int],
        edges: NDArray[np.float32],
        plane: NDArray[np.float32],
        shape: Shape,
        parameters: NDArray[np.float32],
        extent: NDArray[np.float64],
        focal_px: float,
    ) -> None:
        """Paint one face inside its box."""
        x0, y0, x1, y1 = limits
        x, y = self.x[:, x0:x1], self.y[y0:y1]
        (ga, gb, gc) = plane[2].tolist()
        q = (x * ga + gc) + y * gb
        here = (slice(y0, y1), slice(x0, x1))
        depth = self.inverse_depth[here]
        nearer = q > depth
        if not nearer.any():
            return
        cover = _inside(edges[0], edges[1], x, y)
        cover *= _inside(edges[2], edges[3], x, y)
        if shape is not Shape.RECTANGLE:
            (a, b, c), (d, e, f) = plane[0].tolist(), plane[1].tolist()
            safe = np.maximum(q, np.float32(1e-6))
            u = ((x * a + c) + y * b) / safe
            v = ((x * d + f) + y * e) / safe
            cover *= _silhouette(shape, parameters, extent, u, v, safe * np.float32(focal_px))
        np.minimum(cover, 1, out=cover)
        nearer &= cover > 0.02
        wins = nearer & (cover > 0.5)
        surface = self.surface[here]
        np.copyto(self.second[here], np.where(wins, surface, row), where=nearer)
        np.copyto(self.share[here], np.where(wins, 1 - cover, cover), where=nearer)
        np.copyto(surface, row, where=wins)
        np.copyto(depth, q, where=wins)


def _inside(low: NDArray[np.float32], high: NDArray[np.float32], x: Image32, y: Image32) -> Image32:
    """Covered share of each pixel between two sides; right for strips thinner than a pixel too."""
    a, b, c = low.tolist()
    result = (x * a + c) + y * b
    np.clip(result, 0, 1, out=result)
    a, b, c = high.tolist()
    other = (x * a + c) + y * b
    np.clip(other, 0, 1, out=other)
    result += other
    result -= 1
    np.maximum(result, 0, out=result)
    return result


def _box(u: Image32, v: Image32, u0: float, v0: float, half_u: float, half_v: float) -> Image32:
    return np.minimum(
        np.float32(half_u) - np.abs(u - np.float32(u0)), np.float32(half_v) - np.abs(v - np.float32(v0))
    )


def _disc(u: Image32, v: Image32, u0: float, v0: float, radius_u: float, radius_v: float) -> Image32:
    du, dv = (u - np.float32(u0)) * np.float32(1 / radius_u), (v - np.float32(v0)) * np.float32(1 / radius_v)
    result: Image32 = (1 - np.sqrt(du * du + dv * dv)) * np.float32(min(radius_u, radius_v))
    return result


def _silhouette(
    shape: Shape,
    parameters: NDArray[np.float32],
    extent: NDArray[np.float64],
    u: Image32,
    v: Image32,
    pixels_per_metre: Image32,
) -> Image32:
    """Covered share of each pixel by the shape inside its rectangle."""
    if shape is Shape.FOLIAGE:
        return _foliage(parameters, float(extent[1]), u, v, pixels_per_metre)
    if shape is Shape.SKYLINE:
        level = mip_level(np.float32(float(parameters[7]) / np.maximum(pixels_per_metre, 1e-3)) ** 2)
        ridge = textures().sample(0, u * np.float32(6) + parameters[9], np.full_like(u, 40.0), level)
        signed = (np.float32(extent[3]) * (np.float32(0.1) + np.float32(0.9) * ridge)) - v
    else:
        signed = _outline(shape, extent, u, v)
    result: Image32 = np.clip(signed * pixels_per_metre + np.float32(0.5), 0, 1)
    return result


def _outline(shape: Shape, extent: NDArray[np.float64], u: Image32, v: Image32) -> Image32:
    """Signed distance in metres to the outline, positive inside (approximate away from it)."""
    half, top = float(extent[1]), float(extent[3])
    if shape is Shape.ELLIPSE:
        return _disc(u, v, 0.0, 0.0, half, top)
    if shape is Shape.TRIANGLE:
        return (np.float32(top) - v) * np.float32(0.45) - np.abs(u) * np.float32(0.9)
    if shape is Shape.TRAPEZIUM:
        return np.float32(half) - np.abs(u) - v * np.float32(0.35 / top)
    if shape is Shape.CAR_SIDE:
        wheels = np.maximum(
            _disc(u, v, -0.62 * half, 0.31, 0.31, 0.31), _disc(u, v, 0.6 * half, 0.31, 0.31, 0.31)
        )
        return np.maximum(wheels, _box(u, v, 0.0, (0.2 + top) / 2, half, (top - 0.2) / 2))
    if shape is Shape.PERSON:
        body = np.maximum(_disc(u, v, 0.0, top - 0.12, 0.10, 0.125), _disc(u, v, 0.0, 0.33, 0.25, 0.42))
        return np.maximum(body, _box(u, v, 0.0, 0.27, 0.17, 0.30))
    parts = (
        _box(u, v, 0.0, 0.34, 0.035, 0.34),
        _disc(u, v, 0.0, 1.14, 0.25, 0.36),
        _disc(u, v, 0.0, 1.6, 0.10, 0.13),
        _box(u, v, 0.0, 1.0, 0.31, 0.028),
        _box(u, v, 0.0, 0.85, 0.12, 0.18),
    )
    return np.maximum.reduce(parts)


def _foliage(parameters: NDArray[np.float32], size: float, u: Image32, v: Image32, scale: Image32) -> Image32:
    """Leaves and twigs: a disc with a noisy edge and holes that grow with bareness."""
    typical = float(scale[scale.shape[0] // 2, scale.shape[1] // 2])
    density = 24.0
    level = int(mip_level(np.array([(density / max(typical, 1e-3)) ** 2], np.float32))[0])
    noise = textures().sample(
        _FOLIAGE,
        u * np.float32(density) + parameters[6],
        v * np.float32(density) + parameters[7],
        np.array(level),
    )
    radius = np.sqrt(u * u + v * v) * np.float32(1 / size)
    bias = 0.9 + 0.42 * float(parameters[8])
    gain = min(max(typical * 0.12, 1.5), 14.0)
    value = (
        (noise - np.float32(0.5)) * np.float32(1.6) + np.float32(0.5 + 1.1 - bias) - np.float32(1.1) * radius
    )
    result: Image32 = np.clip(value * np.float32(gain) + np.float32(0.5), 0, 1)
    return result
