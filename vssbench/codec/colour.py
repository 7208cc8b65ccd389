"""The one conversion between RGB arrays and the pictures that encoders and decoders work on.

Everything that changes a value is pinned: swscale's bit-exact integer paths with bilinear chroma, one thread, ITU-R
BT.601 with limited range for what we encode. Pictures from elsewhere are read with the matrix and range they declare;
where they declare none, BT.601 and limited range are meant (full for RGB), as FFmpeg's own tools assume. Where swscale
is not within half a step of the definition (grey, deep full range, RGB of more than 8 bits or limited range, YCgCo),
Rec. ITU-T H.273, 8.3, is computed as it stands. Matrices that need the transfer function are refused.
"""

from __future__ import annotations

import re
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vssbench.errors import CapabilityError

_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

CONVERSION = "bt601-limited-bilinear-accurate-bitexact"
"""Name of the pinned RGB to YUV conversion; part of every cache key."""

# AVColorSpace numbers of a decoded picture (H.273, table 4) -> matrix that swscale knows, and its KR, KB.
_MATRIX = {
    1: (Colorspace.ITU709, 0.2126, 0.0722),
    4: (Colorspace.FCC, 0.30, 0.11),
    5: (Colorspace.ITU601, 0.299, 0.114),
    6: (Colorspace.ITU601, 0.299, 0.114),
    7: (Colorspace.SMPTE240M, 0.212, 0.087),
    9: (Colorspace.BT2020, 0.2627, 0.0593),
}
_RGB, _UNSPECIFIED, _RESERVED, _YCGCO = 0, 2, 3, 8
_REFUSED = {
    10: "BT.2020 with constant luminance",
    11: "Y'D'zD'x (SMPTE ST 2085)",
    12: "derived from the primaries, non-constant luminance",
    13: "derived from the primaries, constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_LIMITED_RANGE, _FULL_RANGE = 1, 2
_PLANAR = re.compile(r"(?:yuv[aj]?4\d\dp|gbra?p|gray)(\d\d)?(?:le)?")


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

    def __init__(self, name: str) -> None:
        """`name` of the source, for errors."""
        self._name = name
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] that owns its memory; `size` (H, W) cuts padding off at the right and bottom.

        Raises CapabilityError for colour matrices that are not read.
        """
        image = self._by_definition(picture) if self._is_special(picture) else self._scaled(picture)
        height, width = size or (picture.height, picture.width)
        return np.array(image[:height, :width], dtype=np.uint8, order="C", copy=True)

    def _is_special(self, picture: av.VideoFrame) -> bool:
        matrix = int(picture.colorspace)
        if matrix in _REFUSED and not picture.format.is_rgb:
            raise CapabilityError(
                f"{self._name}: its colour matrix is {_REFUSED[matrix]} (number {matrix}), which is not read; convert the "
                "video to BT.709 or BT.2020 with non-constant luminance"
            )
        planar = _PLANAR.fullmatch(picture.format.name)
        if planar is None:
            return False
        deep = planar[1] is not None
        if picture.format.name.startswith("gray"):
            return deep or not _is_full(picture)
        if _is_rgb(picture):
            return deep or not _is_full(picture)
        return matrix == _YCGCO or (deep and _is_full(picture))

    def _scaled(self, picture: av.VideoFrame) -> NDArray[Any]:
        matrix = _MATRIX.get(int(picture.colorspace), _MATRIX[6])[0]
        converted = self._reformat(picture, "rgb24", matrix, _is_full(picture), full=True)
        return converted.to_ndarray()

    def _by_definition(self, picture: av.VideoFrame) -> NDArray[np.float64]:
        planes = self._normalised(picture)
        if picture.format.name.startswith("gray"):
            colours = [planes[0]] * 3
        elif _is_rgb(picture):
            green, blue, red = planes
            colours = [red, green, blue]
        elif int(picture.colorspace) == _YCGCO:
            luma, green, orange = planes
            rest = luma - green
            colours = [rest + orange, luma + green, rest - orange]
        else:
            luma, blue, red = planes
            _, kr, kb = _MATRIX.get(int(picture.colorspace), _MATRIX[6])
            r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
            colours = [r, (luma - kr * r - kb * b) / (1 - kr - kb), b]
        return np.clip(np.floor(np.stack(colours, axis=-1) * 255 + 0.5), 0, 255)

    def _normalised(self, picture: av.VideoFrame) -> list[NDArray[np.float64]]:
        """Planes at full resolution: luma, grey and RGB 0..1, chroma -0.5..0.5."""
        name, full, is_rgb = picture.format.name, _is_full(picture), _is_rgb(picture)
        depth = picture.format.components[0].bits
        if not name.startswith(("gray", "gbrp")):
            wanted = "yuv444p" + ("" if depth == 8 else f"{depth}le")
            picture = (
                picture if name == wanted else self._reformat(picture, wanted, _MATRIX[6][0], full, full)
            )
        step = 1 << (depth - 8)
        planes = []
        for index, plane in enumerate(list(picture.planes)[: 1 if name.startswith("gray") else 3]):
            samples = np.frombuffer(bytes(plane), "u1" if depth == 8 else "<u2").reshape(plane.height, -1)
            values = samples[:, : plane.width].astype(np.float64)
            if index and not is_rgb:
                planes.append((values - 128 * step) / ((1 << depth) - 1 if full else 224 * step))
            else:
                planes.append(values / ((1 << depth) - 1) if full else (values - 16 * step) / (219 * step))
        return planes

    def _reformat(
        self, picture: av.VideoFrame, pixels: str, matrix: Colorspace, from_full: bool, full: bool
    ) -> av.VideoFrame:
        converted: av.VideoFrame = self._reformatter.reformat(
            picture,
            format=pixels,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if from_full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            interpolation=_EXACT,
            threads=1,
        )
        return converted


def _is_rgb(picture: av.VideoFrame) -> bool:
    return bool(picture.format.is_rgb) or int(picture.colorspace) == _RGB


def _is_full(picture: av.VideoFrame) -> bool:
    if _is_rgb(picture):
        return picture.color_range != _LIMITED_RANGE
    return picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj")
