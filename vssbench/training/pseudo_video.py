"""Pseudo-video: a clip whose last frame is a given still, for datasets without neighbouring frames.

The still is never changed. Each earlier frame is the still seen by a camera that stands further back on a straight
street: every pixel has an inverse depth (ground plane below the horizon, two walls at the sides, sky far away) and
moves towards the vanishing point as the camera steps back. On top come a yaw, per-frame shake (shift and roll) and
shifts of single objects. What the still does not show is mirrored in at the border. The clip is then coded by a real
encoder, so that the motion a method sees is real decoded motion with its errors, not this geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

Grid = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PseudoMotion:
    """Ranges of the invented camera motion, per frame interval and relative to the frame height where it is a length."""

    speed: tuple[float, float] = (0.01, 0.08)
    """Forward step in units of the camera height above ground; log-uniform."""
    yaw: float = 0.006
    """Largest horizontal shift."""
    shake: float = 0.003
    """Standard deviation of the shift of single frames."""
    roll_degrees: float = 0.25
    """Standard deviation of the roll of single frames."""
    object_speed: float = 0.006
    """Largest shift of an object."""
    objects: int = 3
    """Objects that move on their own."""


@dataclass(frozen=True, slots=True)
class _Scene:
    """What is fixed for one clip. Positions are pixels."""

    vanishing_point: tuple[float, float]
    inverse_depth: Grid
    speed: float
    yaw_pixels: float
    shifts: tuple[tuple[Grid, float, float], ...]


def pseudo_clip(
    still: NDArray[np.uint8],
    label: NDArray[np.uint8],
    length: int,
    seed: Sequence[int],
    *,
    movable: Sequence[int] = (),
    motion: PseudoMotion | None = None,
) -> list[NDArray[np.uint8]]:
    """`length` RGB frames uint8 [H, W, 3], oldest first; the last one is `still` itself.

    `movable` are the classes whose segments may move on their own. The same arguments give the same pixels.

    length = 4:   frame 0 1 2 3  is  the still 3 2 1 0 steps back
    """
    motion = motion or PseudoMotion()
    rng = np.random.default_rng(list(seed))
    scene = _draw_scene(label, movable, motion, rng)
    shake = _draw_shake(length, still.shape[0], motion, rng)
    source = torch.from_numpy(np.array(still)).permute(2, 0, 1)[None].float()
    frames = []
    for back in range(length - 1, 0, -1):
        x, y = _source_positions(scene, back, shake[back])
        frames.append(_sample(source, x, y))
    return [*frames, np.array(still)]


def _draw_scene(
    label: NDArray[np.uint8], movable: Sequence[int], motion: PseudoMotion, rng: np.random.Generator
) -> _Scene:
    height, width = label.shape
    vanishing = (width * rng.uniform(0.42, 0.58), height * rng.uniform(0.40, 0.52))
    speed = float(np.exp(rng.uniform(*np.log(motion.speed))))
    yaw = float(rng.uniform(-1, 1)) * motion.yaw * height
    shifts = []
    for mask in _segments(label, movable, motion.objects, rng):
        dx = float(rng.uniform(-1, 1)) * motion.object_speed * height
        shifts.append((mask, dx, dx * float(rng.uniform(-0.25, 0.25))))
    return _Scene(vanishing, _inverse_depth(height, width, vanishing), speed, yaw, tuple(shifts))


def _inverse_depth(height: int, width: int, vanishing: tuple[float, float]) -> Grid:
    """[H, W] camera heights per depth: a street of ground, two walls, and far sky.

    At the lower border the ground is about 1 away; the walls stand three camera heights to either side.
    """
    x = np.arange(width, dtype=np.float32)[None] - vanishing[0]
    y = np.arange(height, dtype=np.float32)[:, None] - vanishing[1]
    ground = np.maximum(y, 0) / np.float32(height * 0.55)
    walls = np.abs(x) / np.float32(width * 1.6)
    nearest: Grid = np.maximum(np.maximum(ground, walls), np.float32(0.01))
    return nearest


def _segments(
    label: NDArray[np.uint8], movable: Sequence[int], count: int, rng: np.random.Generator
) -> list[Grid]:
    """Soft masks of up to `count` connected segments of movable classes, largest first among a random few."""
    masks: list[Grid] = []
    for index in rng.permutation(np.asarray(list(movable), dtype=np.int64)):
        components, found = ndimage.label(label == index)
        if not found:
            continue
        sizes = np.bincount(components.ravel())[1:]
        segment = components == int(np.argmax(sizes)) + 1
        if sizes.max() < 40:
            continue
        grown = ndimage.binary_dilation(segment, iterations=4)
        masks.append(ndimage.gaussian_filter(grown.astype(np.float32), 5.0))
        if len(masks) == count:
            break
    return masks


def _draw_shake(
    length: int, height: int, motion: PseudoMotion, rng: np.random.Generator
) -> NDArray[np.float64]:
    """[length, 3] shift x, shift y in pixels and roll in radians of the frame `index` steps back; none for the still."""
    sigma = np.array([motion.shake * height, motion.shake * height, np.deg2rad(motion.roll_degrees)])
    shake: NDArray[np.float64] = rng.normal(size=(length, 3)) * sigma
    shake[0] = 0
    return shake


def _source_positions(scene: _Scene, back: int, shake: NDArray[np.float64]) -> tuple[Grid, Grid]:
    """Where each pixel of the frame `back` steps earlier lies in the still: x and y, [H, W] pixels."""
    height, width = scene.inverse_depth.shape
    cx, cy = scene.vanishing_point
    x = np.broadcast_to(np.arange(width, dtype=np.float32)[None], (height, width)) - np.float32(cx)
    y = np.broadcast_to(np.arange(height, dtype=np.float32)[:, None], (height, width)) - np.float32(cy)
    roll = np.float32(shake[2])
    x, y = x - roll * y, y + roll * x
    x = x + np.float32(shake[0] + scene.yaw_pixels * back)
    y = y + np.float32(shake[1])
    step = np.float32(scene.speed * back)
    # p = vp + (p' - vp) (1 + T w(p)): w is taken at the unknown p, so iterate; the limit keeps T w bounded at the border
    factor = np.ones_like(x)
    for _ in range(3):
        factor = 1 + step * _lookup(scene.inverse_depth, x * factor + cx, y * factor + cy)
    x, y = x * factor + np.float32(cx), y * factor + np.float32(cy)
    for mask, dx, dy in scene.shifts:
        weight = _lookup(mask, x, y) * np.float32(back)
        x, y = x + weight * np.float32(dx), y + weight * np.float32(dy)
    return x.astype(np.float32), y.astype(np.float32)


def _lookup(grid: Grid, x: Grid, y: Grid) -> Grid:
    height, width = grid.shape
    rows = np.clip(np.rint(y), 0, height - 1).astype(np.intp)
    columns = np.clip(np.rint(x), 0, width - 1).astype(np.intp)
    return grid[rows, columns]


def _sample(source: torch.Tensor, x: Grid, y: Grid) -> NDArray[np.uint8]:
    """Bilinear samples of [1, 3, H, W] at pixel positions, mirrored at the border."""
    height, width = source.shape[2:]
    position = torch.from_numpy(np.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], -1))[None]
    picked = torch.nn.functional.grid_sample(
        source, position, mode="bilinear", padding_mode="reflection", align_corners=True
    )
    return picked[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy()
