"""Pictures of a run as images: colours for labels, errors and motion."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vssbench.metrics.confusion import count_pairs, mean_iou

Rgb = NDArray[np.uint8]
WRONG = (213, 94, 0)
IGNORED = (0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class PictureCase:
    """One scored frame with everything that was seen and said about it."""

    dataset: str
    codec: str
    sequence: str
    frame: int
    distance: int
    frame_type: str
    coded_bytes: int | None
    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    """[256, 3] RGB by label value; unused values are black."""
    ignore_index: int
    decoded: Rgb
    """[H, W, 3]."""
    truth: NDArray[np.uint8]
    """[H, W] class indices."""
    predictions: dict[str, NDArray[np.uint8]]
    """Method -> [H, W] class indices."""
    flow: NDArray[np.float32] | None
    """[2, H, W] pixels towards the keyframe, None where the codec gives no motion."""
    valid: NDArray[np.bool_] | None

    @property
    def name(self) -> str:
        """How the report calls it."""
        return f"{self.dataset}, {self.codec}: {self.sequence}, frame {self.frame}, d = {self.distance}"

    def frame_miou(self, method: str) -> float:
        """mIoU of this single frame: a hint where to look, not the benchmark's number."""
        counts = count_pairs(self.truth, self.predictions[method], len(self.class_names), self.ignore_index)
        return float(mean_iou(counts))


def motion_dense(
    motion: tuple[NDArray[np.float32], NDArray[np.bool_]] | None, step: int, size: tuple[int, ...]
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Flow [2, H, W] and validity [H, W] from vectors kept at every `step`-th sample."""
    if motion is None or step == 1:
        return motion or (None, None)
    rows, columns = (
        np.minimum(np.arange(side) // step, motion[1].shape[i] - 1) for i, side in enumerate(size)
    )
    return motion[0][:, rows[:, None], columns], motion[1][rows[:, None], columns]


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
