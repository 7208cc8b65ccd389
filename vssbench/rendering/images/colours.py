"""Pictures of a run as images: colours for labels, errors and motion."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vssbench.results.frames import PictureCase

Rgb = NDArray[np.uint8]
WRONG = (213, 94, 0)
IGNORED = (0, 0, 0)


def label_image(labels: NDArray[np.uint8], case: PictureCase) -> Rgb:
    """Class colours [H, W, 3]; ignored pixels are black."""
    colours = case.palette.copy()
    colours[case.ignore_index] = IGNORED
    return np.asarray(colours[labels])


def error_image(case: PictureCase, method: str) -> Rgb:
    """Wrong pixels in vermilion on the pale grey frame [H, W, 3]; ignored pixels are black."""
    grey = 165 + 12 * (_luma(case.decoded) / 36).astype(
        np.uint8
    )  # eight levels: small when stored without loss
    image = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    image[case.predictions[method] != case.truth] = WRONG
    image[case.truth == case.ignore_index] = IGNORED
    return image


def _luma(rgb: Rgb) -> NDArray[np.float64]:
    return np.asarray(rgb @ np.array([0.299, 0.587, 0.114]))


def motion_image(case: PictureCase) -> Rgb | None:
    """Arrows to where the content was in the keyframe, over the dimmed frame; blocks without motion are hatched.

    None without motion. An arrow has the length of the motion.
    """
    if case.flow is None or case.valid is None:
        return None
    height, width = case.valid.shape
    dim = 0.45 * _luma(case.decoded) + 20
    image = np.repeat(dim[..., None], 3, axis=2)
    rows, columns = np.mgrid[:height, :width]
    image[~case.valid & ((rows + columns) % 6 < 2)] = (204, 121, 167)
    step = max(8, round(width / 36))
    return _with_arrows(image.astype(np.uint8), case, step)


def _with_arrows(image: Rgb, case: PictureCase, step: int) -> Rgb:
    assert case.flow is not None
    assert case.valid is not None
    height, width = case.valid.shape
    canvas = Image.fromarray(image)
    draw = ImageDraw.Draw(canvas)
    for y in range(step // 2, height, step):
        for x in range(step // 2, width, step):
            if not case.valid[y, x]:
                continue
            dx, dy = (float(v) for v in case.flow[:, y, x])
            if np.hypot(dx, dy) < 0.5:
                draw.point((x, y), fill=(255, 255, 255))
                continue
            draw.line((x, y, x + dx, y + dy), fill=(86, 200, 255), width=1)
            draw.ellipse((x - 1, y - 1, x + 1, y + 1), fill=(255, 255, 255))
    return np.asarray(canvas)


def encode_photo(image: Rgb, widest: int) -> bytes:
    """Lossy WebP, shrunk to `widest` columns at most."""
    picture = Image.fromarray(image)
    if picture.width > widest:
        height = max(1, round(picture.height * widest / picture.width))
        picture = picture.resize((widest, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()
