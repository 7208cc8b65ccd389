"""Planar faces in a street world, the camera, and the homographies between them.

World: x to the right, y down (the ground is y = 0, heights are negative y), z along the street; metres.
Camera: x right, y down, z forward. Pixel centres lie at whole coordinates. A face is a rectangle with in-plane
coordinates (u, v) in metres; its homography H maps (u, v, 1) to depth * (x, y, 1), so the third row of its inverse
gives 1/depth, which is affine in the image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vssbench.datasets.synthetic.noise import cosine, sine

Floats = NDArray[np.float64]

NEAR_M = 0.4
"""Faces are cut at this depth before their image box is taken."""


@dataclass(frozen=True)
class Camera:
    """Pose and lens of one frame."""

    position: tuple[float, float, float]
    rotation: tuple[tuple[float, float, float], ...]
    """World to camera, row by row."""
    focal_px: float
    centre: tuple[float, float]
    """Principal point (x, y) in pixels."""
    size: tuple[int, int]
    """(H, W)."""

    @classmethod
    def looking(
        cls,
        position: tuple[float, float, float],
        yaw: float,
        pitch: float,
        roll: float,
        size: tuple[int, int],
        focal_px: float,
    ) -> Camera:
        """Camera at `position` turned right by yaw, down by pitch, clockwise by roll (radians)."""
        cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (cosine, sine))
        right = (cy, 0.0, -sy)
        ahead = (sy * cp, sp, cy * cp)
        down = (-sy * sp, cp, -cy * sp)
        rows = (
            tuple(cr * r + sr * d for r, d in zip(right, down, strict=True)),
            tuple(cr * d - sr * r for r, d in zip(right, down, strict=True)),
            ahead,
        )
        height, width = size
        centre = ((width - 1) / 2, (height - 1) * 0.47)
        return cls(position, rows, focal_px, centre, size)  # type: ignore[arg-type]

    def project(self, vectors: Floats) -> Floats:
        """K R a for world vectors [N, 3] (directions or points minus the camera position)."""
        x, y, z = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        rows = [row[0] * x + row[1] * y + row[2] * z for row in self.rotation]
        f, (cx, cy) = self.focal_px, self.centre
        return np.stack([f * rows[0] + cx * rows[2], f * rows[1] + cy * rows[2], rows[2]], axis=1)


def homographies(
    camera: Camera, origin: Floats, u_axis: Floats, v_axis: Floats, distant: NDArray[np.bool_]
) -> Floats:
    """[N, 3, 3] maps (u, v, 1) -> depth * (x, y, 1).

    For `distant` faces `origin` is relative to the camera wherever it stands: they show rotation only (the sky).
    """
    position = np.array(camera.position)
    offset = np.where(distant[:, None], origin, origin - position[None, :])
    columns = (camera.project(u_axis), camera.project(v_axis), camera.project(offset))
    return np.stack(columns, axis=2)


def inverse(matrices: Floats) -> tuple[Floats, Floats]:
    """Inverses [N, 3, 3] and determinants [N]; written out so that no BLAS or LAPACK decides the rounding."""
    m = matrices
    cofactor = np.empty_like(m)
    for i in range(3):
        a, b = (i + 1) % 3, (i + 2) % 3
        for j in range(3):
            c, d = (j + 1) % 3, (j + 2) % 3
            cofactor[:, j, i] = m[:, a, c] * m[:, b, d] - m[:, a, d] * m[:, b, c]
    determinant = (
        m[:, 0, 0] * cofactor[:, 0, 0] + m[:, 0, 1] * cofactor[:, 1, 0] + m[:, 0, 2] * cofactor[:, 2, 0]
    )
    safe = np.where(np.abs(determinant) < 1e-12, 1.0, determinant)
    return cofactor / safe[:, None, None], determinant


def product(left: Floats, right: Floats) -> Floats:
    """Matrix products of [N, 3, 3] stacks, written out for the same reason as `inverse`."""
    result = np.empty_like(left)
    for i in range(3):
        for j in range(3):
            result[:, i, j] = (
                left[:, i, 0] * right[:, 0, j]
                + left[:, i, 1] * right[:, 1, j]
                + left[:, i, 2] * right[:, 2, j]
            )
    return result


def image_boxes(maps: Floats, extent: Floats) -> tuple[Floats, Floats, Floats]:
    """Boxes [N, 4] (x0, y0, x1, y1) in pixels of the part of each face beyond NEAR_M, and the least
    and the largest depth [N] of their corners.

    A face wholly behind NEAR_M gets an empty box (x0 > x1).
    """
    u0, u1, v0, v1 = (extent[:, i] for i in range(4))
    corners = [(u0, v0), (u1, v0), (u1, v1), (u0, v1)]
    points = [maps[:, :, 0] * u[:, None] + maps[:, :, 1] * v[:, None] + maps[:, :, 2] for u, v in corners]
    boxes = np.empty((len(maps), 4))
    boxes[:, :2], boxes[:, 2:] = np.inf, -np.inf
    for i in range(4):
        here, there = points[i], points[(i + 1) % 4]
        _grow(boxes, here, here[:, 2] >= NEAR_M)
        crossing = (here[:, 2] >= NEAR_M) != (there[:, 2] >= NEAR_M)
        step = np.where(crossing, there[:, 2] - here[:, 2], 1.0)
        share = (NEAR_M - here[:, 2]) / step
        _grow(boxes, here + (there - here) * share[:, None], crossing)
    depths = [point[:, 2] for point in points]
    return boxes, np.minimum.reduce(depths), np.maximum.reduce(depths)


def _grow(boxes: Floats, points: Floats, where: NDArray[np.bool_]) -> None:
    depth = np.where(where, points[:, 2], 1.0)
    for axis in range(2):
        position = points[:, axis] / depth
        boxes[:, axis] = np.where(where, np.minimum(boxes[:, axis], position), boxes[:, axis])
        boxes[:, axis + 2] = np.where(where, np.maximum(boxes[:, axis + 2], position), boxes[:, axis + 2])
