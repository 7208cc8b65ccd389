"""Block motion drawn over a frame: colour wheel for direction and length, arrows every few blocks."""

from __future__ import annotations

import colorsys
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vssbench.records import MODE_INTRA, NO_REFERENCE, MotionField

__all__ = ["block_velocity", "draw_motion"]

_ARROW_SPACING = 16
_LEGEND_SIDE = 64


def block_velocity(field: MotionField) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Displacement per picture of every 4x4 block, in luma samples, towards the past.

    Returns (velocity float32 [H4, W4, 2] as x, y; valid bool [H4, W4]). List 0 is taken where it is used, else
    list 1; vectors are divided by the distance to their reference, whose sign turns those that point forwards.
    """
    first = field.reference_poc[..., 0] != NO_REFERENCE
    second = field.reference_poc[..., 1] != NO_REFERENCE
    vectors = np.where(first[..., None], field.vectors_qpel[..., 0, :], field.vectors_qpel[..., 1, :])
    reference = np.where(first, field.reference_poc[..., 0], field.reference_poc[..., 1]).astype(np.int64)
    distance = np.where(first | second, field.poc - reference, 1)
    distance = np.where(distance == 0, 1, distance)
    velocity = vectors.astype(np.float32) / (4 * distance[..., None])
    return velocity.astype(np.float32), first | second


def _wheel(velocity: NDArray[np.float32], full_length: float) -> NDArray[np.uint8]:
    """Hue from direction, saturation from length / full_length."""
    angle = np.arctan2(velocity[..., 1], velocity[..., 0])
    hue = np.mod(np.round(angle / (2 * math.pi) * 360), 360).astype(np.int64)
    table = np.array([colorsys.hsv_to_rgb(degree / 360, 1.0, 1.0) for degree in range(360)])
    saturation = np.clip(np.hypot(velocity[..., 0], velocity[..., 1]) / full_length, 0, 1)[..., None]
    return ((table[hue] * saturation + (1 - saturation)) * 255).astype(np.uint8)


def draw_motion(image: NDArray[np.uint8], field: MotionField, *, opacity: float = 0.45) -> NDArray[np.uint8]:
    """Draw the motion of a picture over it.

    image: uint8 [H, W, 3] RGB, the cropped picture that `field` belongs to. Returns an image of the same size:
    hue says where the content came from, colourless blocks rest, dark ones are intra; arrows every 16 samples
    point to where the content was one picture earlier; the wheel at the top right is the legend (its rim is the
    95th percentile length, at least one sample).
    Raises ValueError if the image has not the size of the field.
    """
    if image.shape[:2] != field.size:
        raise ValueError(f"the image is {image.shape[:2]}, the motion field belongs to {field.size}")
    velocity, valid = block_velocity(field)
    lengths = np.hypot(velocity[..., 0], velocity[..., 1])[valid]
    full_length = max(1.0, float(np.percentile(lengths, 95))) if lengths.size else 1.0
    colours = _wheel(velocity, full_length)
    colours[field.mode == MODE_INTRA] = 30
    left, top = field.crop_left_top
    height, width = field.size
    dense = colours.repeat(4, axis=0).repeat(4, axis=1)[top : top + height, left : left + width]
    blended = Image.fromarray(((1 - opacity) * image + opacity * dense).astype(np.uint8))
    pen = ImageDraw.Draw(blended)
    for y in range(_ARROW_SPACING // 2, height, _ARROW_SPACING):
        for x in range(_ARROW_SPACING // 2, width, _ARROW_SPACING):
            row, column = (y + top) // 4, (x + left) // 4
            if valid[row, column]:
                _arrow(pen, x, y, float(velocity[row, column, 0]), float(velocity[row, column, 1]))
    if min(height, width) > 2 * _LEGEND_SIDE:
        blended.paste(Image.fromarray(_legend()), (width - _LEGEND_SIDE - 4, 4))
    return np.asarray(blended).copy()


def _arrow(pen: ImageDraw.ImageDraw, x: int, y: int, dx: float, dy: float) -> None:
    if math.hypot(dx, dy) < 0.5:
        return
    tip = (x + dx, y + dy)
    pen.line([(x, y), tip], fill=(0, 0, 0), width=1)
    pen.ellipse([tip[0] - 1, tip[1] - 1, tip[0] + 1, tip[1] + 1], fill=(255, 255, 255), outline=(0, 0, 0))


def _legend() -> NDArray[np.uint8]:
    axis = np.linspace(-1, 1, _LEGEND_SIDE, dtype=np.float32)
    velocity = np.stack(np.meshgrid(axis, axis), axis=-1)
    wheel = _wheel(velocity, 1.0)
    wheel[np.hypot(velocity[..., 0], velocity[..., 1]) > 1] = 30
    return wheel
