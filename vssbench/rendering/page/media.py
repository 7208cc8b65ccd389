"""Pictures of kept frames as files beside the page, or as data URLs inside it.

Frames and label maps are handed on as the run stored them wherever that is possible: nothing is decoded and encoded
again. What the viewer lays over a frame is small: motion as an SVG of arrows, errors as a two-coloured mask.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.rendering.images.colours import IGNORED, WRONG, encode_photo
from vssbench.rendering.page.frames import Track, palette_bytes
from vssbench.results.frames import FrameCase

FOLDER = "media"
WIDEST_EMBEDDED = 640
"""Columns of frames inside the page; beside the page they keep their size."""
_TYPES = {"webp": "image/webp", "png": "image/png", "svg": "image/svg+xml"}
ARROWS_ACROSS = 32
"""Arrows in a row of the motion picture."""


@dataclass(frozen=True, slots=True)
class FrameMedia:
    """Addresses of the pictures of one frame, relative to the page or data: URLs."""

    decoded: str
    truth: str
    motion: str | None
    """Arrows on a transparent ground, to be laid over the frame."""
    predictions: dict[str, str]
    """Method -> label map in class colours."""
    errors: dict[str, str]
    """Method -> wrong pixels on a transparent ground."""
    width: int
    height: int


@dataclass(eq=False)
class MediaStore:
    """Collects pictures: as files to be written beside the page, or embedded."""

    embed: bool
    files: dict[str, bytes] = field(default_factory=dict)
    """Path relative to the report -> content."""

    def put(self, stem: str, kind: str, data: bytes) -> str:
        """Keep a picture and return its address."""
        if self.embed:
            return f"data:{_TYPES[kind]};base64,{base64.b64encode(data).decode('ascii')}"
        path = f"{FOLDER}/{stem}.{kind}"
        self.files[path] = data
        return path


def track_media(track: Track, number: int, store: MediaStore) -> list[FrameMedia]:
    """Pictures of all frames of a track; `number` keeps tracks apart."""
    return [
        _frame_media(case, f"{number}/{case.frame:06d}-d{case.distance:02d}", store) for case in track.cases
    ]


def _frame_media(case: FrameCase, stem: str, store: MediaStore) -> FrameMedia:
    truth, truth_picture = _label_picture(case, case.truth_name)
    height, width = truth.shape
    arrows = motion_svg(case, (height, width))
    predictions, errors = {}, {}
    for k, (title, name) in enumerate(case.prediction_names.items()):
        labels, picture = _label_picture(case, name)
        predictions[title] = store.put(f"{stem}-p{k}", "png", picture)
        errors[title] = store.put(f"{stem}-e{k}", "png", error_mask(truth, labels, case.ignore_index))
    return FrameMedia(
        decoded=store.put(f"{stem}-decoded", "webp", _photo(case, store.embed)),
        truth=store.put(f"{stem}-truth", "png", truth_picture),
        motion=None if arrows is None else store.put(f"{stem}-motion", "svg", arrows),
        predictions=predictions,
        errors=errors,
        width=width,
        height=height,
    )


def _photo(case: FrameCase, small: bool) -> bytes:
    """The stored WebP, or one made of what was stored otherwise or is too wide to be embedded."""
    data = case.read(case.decoded_name)
    with Image.open(io.BytesIO(data)) as picture:
        if picture.format == "WEBP" and not (small and picture.width > WIDEST_EMBEDDED):
            return data
        widest = WIDEST_EMBEDDED if small else picture.width
        return encode_photo(np.asarray(picture.convert("RGB")), widest)


def _label_picture(case: FrameCase, name: str) -> tuple[NDArray[np.uint8], bytes]:
    """Class indices [H, W] and the stored palette picture, or one made of grey values."""
    data = case.read(name)
    with Image.open(io.BytesIO(data)) as picture:
        labels = np.asarray(picture)
        if picture.mode == "P":
            return labels, data
    return labels, palette_png(labels, palette_bytes(case))


def palette_png(values: NDArray[np.uint8], palette: bytes, transparent: int | None = None) -> bytes:
    """Values [H, W] as a palette PNG; one value may be transparent."""
    picture = Image.frombytes("P", (values.shape[1], values.shape[0]), np.ascontiguousarray(values).tobytes())
    picture.putpalette(palette)
    buffer = io.BytesIO()
    options = {} if transparent is None else {"transparency": transparent}
    picture.save(buffer, "PNG", compress_level=1, **options)
    return buffer.getvalue()


def error_mask(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], ignore_index: int) -> bytes:
    """Wrong pixels in vermilion, ignored ones in black, right ones transparent."""
    mask = (predicted != truth).astype(np.uint8)
    mask[truth == ignore_index] = 2
    return palette_png(mask, bytes((0, 0, 0, *WRONG, *IGNORED)), transparent=0)


def motion_svg(case: FrameCase, size: tuple[int, int]) -> bytes | None:
    """Arrows to where the content was in the keyframe, and a tint where there is no motion; None without any.

    size: (H, W) of the frame. An arrow has the length of the motion; a dot is a block that rests.
    """
    found = case.motion()
    if found is None:
        return None
    flow, valid = found
    height, width = size
    step = case.motion_step
    every = max(1, round(width / ARROWS_ACROSS / step))
    rows = np.arange(every // 2, valid.shape[0], every)
    columns = np.arange(every // 2, valid.shape[1], every)
    picked = valid[np.ix_(rows, columns)]
    x, y = np.meshgrid(columns * step + step // 2, rows * step + step // 2)
    dx, dy = flow[0][np.ix_(rows, columns)], flow[1][np.ix_(rows, columns)]
    moving = picked & (np.hypot(dx, dy) >= 0.5)
    lines = "".join(
        f"M{a} {b}l{_short(u)} {_short(v)}"
        for a, b, u, v in zip(x[moving], y[moving], dx[moving], dy[moving], strict=True)
    )
    dots = "".join(f"M{a} {b}h0" for a, b in zip(x[picked], y[picked], strict=True))
    side = every * step
    holes = "".join(
        f"M{a - side // 2} {b - side // 2}h{side}v{side}h-{side}z"
        for a, b in zip(x[~picked], y[~picked], strict=True)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        f'<path d="{holes}" fill="#cc79a7" fill-opacity=".55"/>'
        f'<path d="{lines}" fill="none" stroke="#56c8ff" stroke-width="1.3"/>'
        f'<path d="{dots}" fill="none" stroke="#fff" stroke-width="2.4" stroke-linecap="round"/></svg>'
    ).encode()


def _short(value: float) -> str:
    """One decimal, without a trailing zero."""
    return f"{float(value):.1f}".removesuffix(".0")
