"""VSPW: 3,536 videos of everyday scenes with a label for every frame."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field

from vssbench.class_tables import named_table
from vssbench.dataset import FileOptions, Split
from vssbench.errors import InputError
from vssbench.picture_folders import require_folder
from vssbench.picture_layouts import LayoutDataset, PathPattern, PictureLayout, read_split_list
from vssbench.pictures import LABEL_SUFFIXES, PICTURE_SUFFIXES
from vssbench.records import ClassTable

__all__ = ["VSPW", "VSPWOptions"]

NAMES_FILE = "label_num_dic_final.json"
OTHERS, VOID = 0, (254, 255)
"""Label value of what has no class, and of what was not labelled; both are ignored."""
SPLIT_SIZES: dict[Split, int] = {"train": 2806, "val": 343, "test": 387}


class VSPWOptions(FileOptions):
    """Where VSPW lies."""

    root: Path
    """Folder that holds data, train.txt, val.txt and test.txt: the release of 480 rows, or the full one."""
    frame_rate_hz: float = Field(default=15.0, gt=0, le=240)
    """Of the labelled pictures; 15 in the official release."""
    skip_damaged: bool = False
    """Leave out pictures of 0 bytes; the release holds some in 988_f_Xvy_DCPt8."""


class VSPW(LayoutDataset):
    """124 classes, written in the masks as 1..124."""

    Options = VSPWOptions
    expected = SPLIT_SIZES

    def __init__(self, options: VSPWOptions) -> None:
        self.options = options
        root = require_folder(options.root, "set root to the folder of VSPW")
        splits: tuple[Split, ...] = ("train", "val", "test")
        lists = [split for split in splits if (root / f"{split}.txt").is_file()] or ["val"]
        layout = PictureLayout(
            frames=PathPattern("data/{sequence}/origin/{frame}.jpg", "frames", PICTURE_SUFFIXES),
            labels=PathPattern("data/{sequence}/mask/{frame}.png", "labels", LABEL_SUFFIXES),
            classes=_classes(root),
            frame_rate_hz=options.frame_rate_hz,
            void=(OTHERS, *VOID),
            first_value=1,
            splits={split: read_split_list(root, f"{split}.txt") for split in lists},
            every_frame_labelled=True,
            skip_damaged=options.skip_damaged,
        )
        super().__init__(root, layout, options.orientation)


def _classes(root: Path) -> ClassTable:
    """The packaged table with the names of the file that comes with the data, where it is there.

    Raises InputError if the file does not number 124 classes from 1.
    """
    packaged, path = named_table("vspw124"), root / NAMES_FILE
    if not path.is_file():
        return packaged
    try:
        listed = {int(value): str(name) for name, value in json.loads(path.read_text("utf-8")).items()}
        names = tuple(listed[value] for value in range(1, len(packaged) + 1))
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: does not name the classes 1..{len(packaged)} ({type(error).__name__}: {error}); expected the file that comes "
            "with VSPW, fetch it again"
        ) from error
    return ClassTable(names, packaged.palette)
