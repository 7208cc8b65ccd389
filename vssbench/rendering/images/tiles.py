"""Sheets of pictures for papers: titled tiles in rows, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vssbench.rendering.images.colours import Rgb, error_image, label_image, motion_image
from vssbench.results.frames import PictureCase

Tile = tuple[str, Rgb]
"""Title and picture uint8 [H, W, 3]."""


@dataclass(frozen=True, slots=True, eq=False)
class TileSheet:
    """Rows of tiles, each with a title."""

    rows: tuple[tuple[Tile, ...], ...]
    row_titles: tuple[str, ...] = ()
    """Written upright at the left."""
    title: str = ""
    legend: tuple[tuple[str, tuple[float, float, float]], ...] = ()
    """Class names and colours 0..1 at the foot."""
    tile_inches: float = 2.0
    """Width of a tile."""


def strip(case: PictureCase, truth: str = "truth") -> TileSheet:
    """Decoded frame, motion and what is called `truth` above; every method's prediction over its errors below, four in a row."""
    first = (
        ("decoded frame", case.decoded),
        ("motion to the keyframe", motion_image(case)),
        (truth, label_image(case.truth, case)),
    )
    rows: list[tuple[Tile, ...]] = [tuple((title, image) for title, image in first if image is not None)]
    predictions = [
        (f"{m} ({100 * case.frame_miou(m):.1f} %)", label_image(p, case)) for m, p in case.predictions.items()
    ]
    errors = [(f"errors of {m}", error_image(case, m)) for m in case.predictions]
    for start in range(0, len(predictions), 4):
        rows += [tuple(predictions[start : start + 4]), tuple(errors[start : start + 4])]
    legend = [
        (name, (float(red) / 255, float(green) / 255, float(blue) / 255))
        for name, (red, green, blue) in zip(case.class_names, case.palette, strict=False)
    ]
    return TileSheet(tuple(rows), title=case.name, legend=tuple(legend))


def answer_sheet(cases: Sequence[tuple[str, PictureCase]]) -> TileSheet:
    """A row per (title, frame): the decoded frame, the truth, every method's answer."""
    rows = [
        (
            ("image", case.decoded),
            ("ground truth", label_image(case.truth, case)),
            *((title, label_image(labels, case)) for title, labels in case.predictions.items()),
        )
        for _, case in cases
    ]
    return TileSheet(tuple(rows), tuple(title for title, _ in cases), tile_inches=1.7)
