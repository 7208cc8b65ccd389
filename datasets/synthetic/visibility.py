"""Which surface each pixel sees: per-pixel depth for whole pixels, coverage for the pixels that edges cut."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.faces import FaceTable, Label, Shape
from vssbench.datasets.synthetic.geometry import Camera, homographies, image_boxes, inverse
from vssbench.datasets.synthetic.silhouettes import silhouette, unit
from vssbench.datasets.synthetic.street import PAVEMENT_ROW, ROAD_ROW, SKY_ROW

Image32 = NDArray[np.float32]

_SMALLEST_PX = 0.8
"""Faces both narrower and lower than this are left out."""
_FARTHEST_DETAIL_M = 130.0
"""Beyond this only buildings and the skyline are drawn."""
_FARTHEST_HOUSE_M = 220.0
_FARTHEST_M = 2000.0
_BATCHED_PX = 1500
"""Faces with smaller boxes are drawn together, pixel by pixel in one list."""
_BLOCK_PX = 12000
"""Pixels worked on at a time: their temporary arrays stay in the processor's cache."""
_WHOLE, _LEAST, _HALF, _ONE, _TINY, _ZERO = (np.float32(v) for v in (0.98, 0.02, 0.5, 1.0, 1e-6, 0.0))
_SAME_PLANE = np.float32(0.97)
"""Surfaces whose inverse depths differ by less than this ratio may meet at an edge."""


@dataclass(frozen=True, eq=False)
class View:
    """The surfaces seen by one camera: a pixel's own surface and, at edges, the one that shares the pixel with it."""

    camera: Camera
    faces: FaceTable
    surface: NDArray[np.intp]
    """[H, W] row of the face that covers more than half of the pixel."""
    inverse_depth: Image32
    """[H, W] 1 / depth in 1/m of that surface; 0 for the sky."""
    mixed: NDArray[np.intp]
    """[M] flat numbers of the pixels that two surfaces share."""
    second: NDArray[np.intp]
    """[M] row of the other surface in those pixels."""
    second_share: Image32
    """[M] share of the pixel that the other surface covers."""
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
        left = self.x.take(row, mode="clip")
        right = self.x.take(row + 1, mode="clip")
        result: Image32 = (x - left - (right - left) * share) * self.cosine.take(row, mode="clip")
        return result


def render_view(faces: FaceTable, camera: Camera, line: CentreLine, road_half_width: float) -> View:
    """Find the visible surfaces of every pixel."""
    distant = np.zeros(len(faces), np.bool_)
    distant[SKY_ROW] = True
    to_pixel = homographies(camera, faces.origin, faces.u_axis, faces.v_axis, distant)
    from_pixel, determinant = inverse(to_pixel)
    canvas = _Canvas(camera)
    canvas.ground(from_pixel[ROAD_ROW], line, road_half_width)
    rows, boxes, near = _in_view(faces, to_pixel, determinant, camera)
    edges = _edges(from_pixel[rows], faces.extent[rows])
    planes = from_pixel[rows].astype(np.float32)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    # near, plain faces first: they hide others early; the result does not depend on the order
    order = np.argsort(near + 1e6 * (faces.shape[rows] != Shape.RECTANGLE), kind="stable")
    for number in order[area[order] >= _BATCHED_PX].tolist():
        row = int(rows[number])
        x0, top, x1, bottom = boxes[number].tolist()
        lines = max(1, _BLOCK_PX // (x1 - x0))
        description = (
            edges[number].tolist(),
            planes[number].tolist(),
            int(faces.shape[row]),
            faces.parameters[row],
            faces.extent[row].astype(np.float32),
        )
        for y0 in range(top, bottom, lines):
            canvas.large(row, (x0, y0, x1, min(y0 + lines, bottom)), *description)
    small = order[(area[order] < _BATCHED_PX) & (area[order] > 0)]
    group = np.cumsum(area[small]) // _BLOCK_PX
    for start, stop in _runs(group):
        part = small[start:stop]
        canvas.small(rows[part], boxes[part], edges[part], planes[part], faces)
    mixed, second, share = canvas.resolve()
    distance = np.maximum(np.abs(determinant) / camera.focal_px**2, 1e-3).astype(np.float32)
    return View(
        camera,
        faces,
        canvas.surface.reshape(camera.size),
        canvas.depth.reshape(camera.size),
        mixed,
        second,
        share,
        canvas.lateral,
        to_pixel,
        from_pixel,
        distance,
    )


def _runs(group: NDArray[np.int64]) -> list[tuple[int, int]]:
    """[0 0 0 1 1 4]  ->  (0, 3), (3, 5), (5, 6)."""
    if len(group) == 0:
        return []
    borders = [0, *(np.flatnonzero(np.diff(group)) + 1).tolist(), len(group)]
    return list(itertools.pairwise(borders))


def _in_view(
    faces: FaceTable, to_pixel: NDArray[np.float64], determinant: NDArray[np.float64], camera: Camera
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """Rows that can be seen, their pixel boxes [n, 4] (x0, y0, x1, y1), and the depth of their nearest corner."""
    height, width = camera.size
    boxes, near, _ = image_boxes(to_pixel, faces.extent)
    inside = (boxes[:, 0] < width) & (boxes[:, 2] > -1) & (boxes[:, 1] < height) & (boxes[:, 3] > -1)
    span = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    lasting = (faces.label == Label.BUILDING) & (near < _FARTHEST_HOUSE_M) | (faces.shape == Shape.SKYLINE)
    drawn = (faces.extent[:, 1] < 1e8) & (span > _SMALLEST_PX) & (lasting | (near < _FARTHEST_DETAIL_M))
    facing = ~faces.one_sided | (determinant < 0)
    edge_on = np.abs(determinant) < 1e-4 * camera.focal_px**2
    rows = np.flatnonzero(drawn & inside & facing & ~edge_on)
    chosen = boxes[rows]
    low = np.floor(chosen[:, :2])
    high = np.ceil(chosen[:, 2:]) + 1
    limits = np.clip(np.concatenate([low, high], axis=1), 0, [width, height, width, height])
    return rows, limits.astype(np.int64), near[rows]


def _edges(from_pixel: NDArray[np.float64], extent: NDArray[np.float64]) -> Image32:
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
    result: Image32 = sides.astype(np.float32)
    return result


class _Canvas:
    """Depth and surface of the pixels that are covered whole, and the list of those covered in part."""

    def __init__(self, camera: Camera) -> None:
        height, width = self.size = camera.size
        self.focal = np.float32(camera.focal_px)
        self.surface = np.full(height * width, SKY_ROW, np.intp)
        self.depth = np.zeros(height * width, np.float32)
        self.lateral = np.zeros(self.size, np.float32)
        self.x = np.arange(width, dtype=np.float32)[None, :]
        self.y = np.arange(height, dtype=np.float32)[:, None]
        self.number = np.arange(height * width).reshape(self.size)
        self.partial: list[tuple[NDArray[np.intp], NDArray[np.intp], Image32, Image32]] = []

    def ground(self, plane: NDArray[np.float64], line: CentreLine, road_half_width: float) -> None:
        """Fill what lies below the horizon with road and pavement."""
        (a, b, c), (d, e, f), (g, h, i) = plane.astype(np.float32).tolist()
        q = (self.x * g + i) + self.y * h
        seen = q > 1 / _FARTHEST_M
        below = seen.any(axis=1)
        first = int(np.argmax(below)) if below.any() else self.size[0]
        x, y = self.x, self.y[first:]
        part = np.maximum(q[first:], np.float32(1 / _FARTHEST_M))
        across = ((x * a + c) + y * b) / part
        along = ((x * d + f) + y * e) / part
        self.lateral[first:] = line.lateral(across, along)
        rows = ROAD_ROW + (np.abs(self.lateral[first:]) > np.float32(road_half_width)) * (
            PAVEMENT_ROW - ROAD_ROW
        )
        np.copyto(self.surface.reshape(self.size)[first:], rows, where=seen[first:])
        np.copyto(self.depth.reshape(self.size)[first:], q[first:], where=seen[first:])

    def large(
        self,
        row: int,
        box: tuple[int, int, int, int],
        edges: list[list[float]],
        plane: list[list[float]],
        shape: int,
        parameters: Image32,
        extent: Image32,
    ) -> None:
        """Draw one face with array slices."""
        x0, y0, x1, y1 = box
        x, y = self.x[:, x0:x1], self.y[y0:y1]
        a, b, c = plane[2]
        q = (x * a + c) + y * b
        depth = self.depth.reshape(self.size)[y0:y1, x0:x1]
        nearer = q > depth
        lines = np.flatnonzero(nearer.any(axis=1))
        if len(lines) == 0:
            return
        if len(lines) < y1 - y0:  # what is hidden above and below needs no cover
            kept = slice(int(lines[0]), int(lines[-1]) + 1)
            q, depth, nearer, y = q[kept], depth[kept], nearer[kept], y[kept]
            y0, y1 = y0 + kept.start, y0 + kept.stop
        here = (slice(y0, y1), slice(x0, x1))
        cover = _between(
            (x * edges[0][0] + edges[0][2]) + y * edges[0][1],
            (x * edges[1][0] + edges[1][2]) + y * edges[1][1],
        )
        cover *= _between(
            (x * edges[2][0] + edges[2][2]) + y * edges[2][1],
            (x * edges[3][0] + edges[3][2]) + y * edges[3][1],
        )
        if shape != Shape.RECTANGLE:
            (a, b, c), (d, e, f) = plane[0], plane[1]
            safe = np.maximum(q, _TINY)
            u = np.divide((x * a + c) + y * b, safe)
            v = np.divide((x * d + f) + y * e, safe)
            cover *= silhouette(shape, parameters, extent, u, v, safe * self.focal)
        touched = cover > _LEAST
        touched &= nearer
        whole = cover >= _WHOLE
        whole &= nearer
        np.copyto(self.surface.reshape(self.size)[here], row, where=whole)
        np.copyto(depth, q, where=whole)
        touched ^= whole
        pixels = np.flatnonzero(touched)
        if len(pixels):
            number = self.number[here].ravel().take(pixels, mode="clip")
            self.partial.append(
                (
                    number,
                    np.full(len(pixels), row),
                    q.ravel().take(pixels, mode="clip"),
                    cover.ravel().take(pixels, mode="clip"),
                )
            )

    def small(
        self,
        rows: NDArray[np.intp],
        boxes: NDArray[np.int64],
        edges: Image32,
        planes: Image32,
        faces: FaceTable,
    ) -> None:
        """Draw many faces at once: one list of all pixels in all their boxes."""
        if len(rows) == 0:
            return
        pixels = _Fragments.of_boxes(boxes, self.size[1])
        q = pixels.affine(planes[:, 2])
        kept = np.flatnonzero(q > self.depth.take(pixels.number, mode="clip"))
        pixels, q = pixels.chosen(kept), q.take(kept, mode="clip")
        cover = _between(pixels.affine(edges[:, 0]), pixels.affine(edges[:, 1]))
        cover *= _between(pixels.affine(edges[:, 2]), pixels.affine(edges[:, 3]))
        kept = np.flatnonzero(cover > _LEAST)
        pixels, q, cover = pixels.chosen(kept), q.take(kept, mode="clip"), cover.take(kept, mode="clip")
        shapes = faces.shape[rows].take(pixels.member, mode="clip")
        for shape in np.unique(faces.shape[rows]).tolist():
            if shape == Shape.RECTANGLE:
                continue
            chosen = np.flatnonzero(shapes == shape)
            part = pixels.chosen(chosen)
            safe = np.maximum(q[chosen], _TINY)
            u = np.divide(part.affine(planes[:, 0]), safe)
            v = np.divide(part.affine(planes[:, 1]), safe)
            parameters = faces.parameters[rows][part.member].T
            extent = faces.extent[rows][part.member].T.astype(np.float32)
            cover[chosen] *= silhouette(shape, parameters, extent, u, v, safe * self.focal)
        self._scatter(pixels.number, rows.take(pixels.member, mode="clip"), q, cover)

    def _scatter(self, number: NDArray[np.intp], row: NDArray[np.intp], q: Image32, cover: Image32) -> None:
        whole = np.flatnonzero(cover >= _WHOLE)
        pixels, depths = number[whole], q[whole]
        before = self.depth.take(pixels, mode="clip")
        np.maximum.at(self.depth, pixels, depths)
        first = (self.depth.take(pixels, mode="clip") == depths) & (depths > before)
        self.surface[pixels[first]] = row[whole][first]
        part = np.flatnonzero((cover > _LEAST) & (cover < _WHOLE))
        self.partial.append((number[part], row[part], q[part], cover[part]))

    def resolve(self) -> tuple[NDArray[np.intp], NDArray[np.intp], Image32]:
        """Settle the pixels that are covered in part; returns the shared pixels, their other surface and its share."""
        if not self.partial:
            return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.float32)
        number, row, q, cover = (np.concatenate(column) for column in zip(*self.partial, strict=True))
        kept = np.flatnonzero(q > self.depth.take(number, mode="clip"))
        number, row, q, cover = number[kept], row[kept], q[kept], cover[kept]
        second = self.surface.copy()
        share = np.zeros(len(second), np.float32)
        most = np.flatnonzero(cover > _HALF)
        np.maximum.at(self.depth, number[most], q[most])
        wins = most[q[most] == self.depth.take(number[most], mode="clip")]
        self.surface[number[wins]] = row[wins]
        share[number[wins]] = _ONE - cover[wins]
        rest = np.flatnonzero(
            (q >= _SAME_PLANE * self.depth.take(number, mode="clip"))
            & (row != self.surface.take(number, mode="clip"))
            & (cover <= _HALF)
        )
        rest = rest[np.argsort(cover[rest], kind="stable")]  # the largest share is written last and stays
        rest = rest[cover[rest] >= _HALF * share.take(number[rest], mode="clip")]
        second[number[rest]] = row[rest]
        share[number[rest]] = np.maximum(cover[rest], share.take(number[rest], mode="clip"))
        mixed = np.flatnonzero(share > _ZERO)
        return mixed, second[mixed], share[mixed]


@dataclass(frozen=True, eq=False)
class _Fragments:
    """Pixels of many boxes in one list, all arrays of one length."""

    member: NDArray[np.intp]
    """Which box."""
    number: NDArray[np.intp]
    """Flat pixel number."""
    x: Image32
    y: Image32

    @classmethod
    def of_boxes(cls, boxes: NDArray[np.int64], width: int) -> _Fragments:
        """Every pixel of every box (x0, y0, x1, y1) of an image of the given width."""
        wide = boxes[:, 2] - boxes[:, 0]
        count = wide * (boxes[:, 3] - boxes[:, 1])
        tall = boxes[:, 3] - boxes[:, 1]
        of_line = np.repeat(np.arange(len(boxes)), tall)  # box of each line of pixels
        long = wide[of_line]
        y = np.arange(len(of_line)) - np.repeat(np.cumsum(tall) - tall - boxes[:, 1], tall)
        # what leads from a place in the list to a column of the image, and on to its pixel
        shift = boxes[:, 0][of_line] - (np.cumsum(long) - long)
        column = np.arange(int(count.sum()))
        column += np.repeat(shift, long)
        number = np.repeat(y * width, long)
        number += column
        line = np.repeat(y.astype(np.float32), long)
        return cls(np.repeat(of_line, long), number, column.astype(np.float32), line)

    def chosen(self, index: NDArray[np.intp]) -> _Fragments:
        """The pixels at the given places of the list."""
        return _Fragments(
            self.member.take(index, mode="clip"),
            self.number.take(index, mode="clip"),
            self.x.take(index, mode="clip"),
            self.y.take(index, mode="clip"),
        )

    def affine(self, table: Image32) -> Image32:
        """a x + b y + c with each box's own row (a, b, c) of the table [boxes, 3]."""
        total: Image32 = np.ascontiguousarray(table[:, 0]).take(self.member, mode="clip") * self.x
        total += np.ascontiguousarray(table[:, 1]).take(self.member, mode="clip") * self.y
        total += np.ascontiguousarray(table[:, 2]).take(self.member, mode="clip")
        return total


def _between(low: Image32, high: Image32) -> Image32:
    """Covered share of each pixel between two sides; right for strips thinner than a pixel too."""
    result = unit(low)
    result += unit(high)
    result -= _ONE
    np.maximum(result, _ZERO, out=result)
    return result
