"""KITTI-STEP: KITTI's tracking videos with a label for every frame."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from vssbench.class_tables import named_table
from vssbench.dataset import FileOptions, Split
from vssbench.picture_layouts import LayoutDataset, PathPattern, PictureLayout
from vssbench.pictures import LABEL_SUFFIXES, PICTURE_SUFFIXES

__all__ = ["KittiStep", "KittiStepOptions"]

TRAIN = (0, 1, 3, 4, 5, 9, 11, 12, 15, 17, 19, 20)
VAL = (2, 6, 7, 8, 10, 13, 14, 16, 18)
SPLITS: dict[Split, tuple[str, ...]] = {
    "train": tuple(f"{n:04d}" for n in TRAIN),
    "val": tuple(f"{n:04d}" for n in VAL),
    "test": tuple(f"{n:04d}" for n in range(29)),
}


class KittiStepOptions(FileOptions):
    """Where KITTI-STEP lies."""

    root: Path
    """Folder that holds images (or KITTI's training and testing, unmoved) and panoptic_maps."""
    frame_rate_hz: float = Field(default=10.0, gt=0, le=240)
    """Of the videos; 10 in the official recordings."""


class KittiStep(LayoutDataset):
    """Classes of Cityscapes in the red channel of the panoptic maps; sizes differ between sequences."""

    Options = KittiStepOptions
    expected = {split: len(names) for split, names in SPLITS.items()}  # noqa: RUF012

    def __init__(self, options: KittiStepOptions) -> None:
        self.options = options
        layout = PictureLayout(
            frames=self._frame_pattern("val"),
            labels=PathPattern("panoptic_maps/{split}/{sequence}/{frame:06d}.png", "labels", LABEL_SUFFIXES),
            classes=named_table("cityscapes19"),
            frame_rate_hz=options.frame_rate_hz,
            channel="R",
            splits=SPLITS,
            every_frame_labelled=True,
        )
        super().__init__(options.root, layout, options.orientation)

    def _frame_pattern(self, split: Split) -> PathPattern:
        return PathPattern(_frames(self.options.root, split), "frames", PICTURE_SUFFIXES)


def _frames(root: Path, split: Split) -> str:
    """Moved as DeepLab2's set-up page asks (images/SPLIT), or as KITTI unpacks, in root or in root/images."""
    unmoved = "testing" if split == "test" else "training"
    for folder in ("images/", ""):
        if not (root / folder / split).is_dir() and (root / folder / unmoved / "image_02").is_dir():
            return f"{folder}{unmoved}/image_02/{{sequence}}/{{frame:06d}}.png"
    return "images/{split}/{sequence}/{frame:06d}.png"
