"""The one conversion between RGB arrays and the 4:2:0 pictures that encoders and decoders work on.

Everything that changes a value is pinned: swscale's bit-exact integer paths with bilinear chroma, one thread, ITU-R
BT.601 with limited range for what we encode. Pictures from elsewhere are read with the matrix and range they declare;
where they declare none, BT.601 and limited range are meant, as FFmpeg's own tools assume.
"""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

CONVERSION = "bt601-limited-bilinear-accurate-bitexact"
"""Name of the pinned RGB to YUV conversion; part of every cache key."""

# AVColorSpace numbers of a decoded picture -> matrix that swscale knows.
_MATRIX = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_RGB_MATRIX = 0
_FULL_RANGE = 2


class ToYuv:
    """Converts RGB arrays to yuv420p pictures; odd sides are padded to even ones by repeating the last line."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, image: NDArray[np.uint8]) -> av.VideoFrame:
        """Picture of uint8 [H, W, 3] RGB; the result has even sides."""
        height, width = image.shape[:2]
        if height % 2 or width % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        converted: av.VideoFrame = self._reformatter.reformat(
            picture,
            format="yuv420p",
            src_colorspace=Colorspace.ITU601,
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=_EXACT,
            threads=1,
        )
        return converted


class ToRgb:
    """Converts decoded pictures of any pixel format to RGB arrays."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] that owns its memory; `size` (H, W) cuts padding off at the right and bottom."""
        full_range = picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj")
        is_rgb = picture.format.is_rgb or int(picture.colorspace) == _RGB_MATRIX
        matrix = Colorspace.ITU601 if is_rgb else _MATRIX.get(int(picture.colorspace), Colorspace.ITU601)
        converted = self._reformatter.reformat(
            picture,
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full_range or is_rgb else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=_EXACT,
            threads=1,
        )
        height, width = size or (picture.height, picture.width)
        return np.array(converted.to_ndarray()[:height, :width], dtype=np.uint8, order="C", copy=True)
