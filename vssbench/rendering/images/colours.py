"""Pictures of a run as images: colours for labels, errors and motion."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vssbench.errors import InputError
from vssbench.metrics.confusion import count_pairs, mean_iou
from vssbench.analysis.run import Run

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

    @property
    def largest_motion(self) -> float:
        """Longest valid flow vector, pixels; 0 without motion."""
        if self.flow is None or self.valid is None or not self.valid.any():
            return 0.0
        return float(np.hypot(*self.flow)[self.valid].max())

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


def picture_cases(run: Run) -> list[PictureCase]:
    """All complete pictures of a run, in the order of its datasets and codecs. Raises InputError if one is damaged."""
    titles = run.plan["titles"]
    files = sorted((run.path / "pictures").glob("*/*/*/case.json"))
    found = [_load(path.parent, path, titles["methods"]) for path in files]

    def place(case: PictureCase) -> tuple[int, int]:
        return (_rank(titles["datasets"], case.dataset), _rank(titles["codecs"], case.codec))

    return sorted(found, key=place)


def _rank(titles: Sequence[str], title: str) -> int:
    return titles.index(title) if title in titles else len(titles)


def _load(base: Path, described_in: Path, methods: Sequence[str]) -> PictureCase:
    try:
        described = json.loads(described_in.read_text(encoding="utf-8"))
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(described["palette"])] = described["palette"]
        answers = sorted(described["predictions"].items(), key=lambda item: _rank(methods, item[0]))
        flow, valid = None, None
        if described["motion"]:
            with np.load(base / Path(described["motion"]).name) as motion:
                flow, valid = motion["flow"].astype(np.float32), motion["valid"]
        return PictureCase(
            **{
                key: described[key]
                for key in ("dataset", "codec", "sequence", "frame", "distance", "frame_type")
            },
            coded_bytes=described["coded_bytes"],
            class_names=tuple(described["class_names"]),
            palette=palette,
            ignore_index=described["ignore_index"],
            decoded=_image(base, described["decoded"]),
            truth=_image(base, described["truth"]),
            predictions={title: _image(base, name) for title, name in answers},
            flow=flow,
            valid=valid,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{described_in}: this picture cannot be read ({type(error).__name__}: {error}); "
            "delete its folder and run the experiment again to make it anew"
        ) from error


def _image(base: Path, name: str) -> NDArray[np.uint8]:
    with Image.open(base / Path(name).name) as image:  # .name: a record cannot point outside its folder
        return np.asarray(image)


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
    picture = _shrunk(Image.fromarray(image), widest, Image.Resampling.LANCZOS)
    return _saved(picture, "WEBP", quality=82, method=4)


def encode_flat(image: Rgb, widest: int) -> bytes:
    """Lossless WebP for few-coloured pictures, shrunk to `widest` columns at most without mixing colours."""
    picture = _shrunk(Image.fromarray(image), widest, Image.Resampling.NEAREST)
    return _saved(picture, "WEBP", lossless=True, quality=80, method=4)


def _shrunk(picture: Image.Image, widest: int, filter_: Image.Resampling) -> Image.Image:
    if picture.width <= widest:
        return picture
    return picture.resize((widest, max(1, round(picture.height * widest / picture.width))), filter_)


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
