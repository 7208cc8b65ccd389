"""Your own data: frame folders or video files with label pictures and a class table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vssbench.codec import read_video
from vssbench.dataset import Dataset, DatasetOptions, Split, VideoSequence
from vssbench.datasets.folder.video import VIDEO_SUFFIXES, VideoFileSequence
from vssbench.errors import InputError
from vssbench.pictures import (
    LABEL_SUFFIXES,
    ColourTable,
    PictureSequence,
    ValueTable,
    inside,
    list_pictures,
    read_class_table,
    read_label_values,
    require_folder,
    verify_sequence,
)
from vssbench.records import Finding

__all__ = ["FolderDataset", "FolderOptions"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class FolderOptions(DatasetOptions):
    """Where the data lies; names are relative to root (and to root/SPLIT where such folders exist)."""

    root: Path
    frames: str = "frames"
    """Folder of pictures, folder of sequence folders or video files, or one video file."""
    labels: str = "labels"
    """Folder of label pictures, laid out like frames; per sequence a folder of its name."""
    classes: str | None = None
    """Class table, CSV or JSON; by default classes.csv or classes.json in root."""
    label_format: Literal["auto", "index", "colour"] = "auto"
    """index: values (or palette indices) are classes. colour: RGB or palette colours. auto: by the picture's mode."""
    frame_rate_hz: float | None = Field(default=None, gt=0, le=1000)
    """By default the video file's own rate, 30 for folders of pictures."""


class FolderDataset(Dataset):
    """Frames or video files beside label pictures.

    Labels pair with pictures by name; with a video file by the number in their name (0 is the first frame). Where
    root holds train/, val/ or test/, those are the splits; otherwise all data is the split val.
    """

    Options = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        self.options = options
        self.classes = read_class_table(self._class_file())
        names, ignore = range(len(self.classes)), self.classes.ignore_index
        self._values = ValueTable({**{i: i for i in names}, ignore: ignore})
        self._colours = ColourTable({colour: i for i, colour in enumerate(self.classes.palette)})

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Sequences of a split, sorted by name. Raises InputError for missing or contradicting files."""
        base = self._base(split)
        frames = inside(base, self.options.frames)
        labels = inside(base, self.options.labels)
        if frames.is_file():
            return [self._video(frames, self._label_folder(labels, frames.stem))]
        require_folder(
            frames, "put pictures or videos there, or set frames to a folder or video file below the root"
        )
        folders = sorted(p for p in frames.iterdir() if p.is_dir() and not p.name.startswith("."))
        videos = sorted(p for p in frames.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
        if list_pictures(frames):
            if folders or videos:
                other = (folders + videos)[0].name
                raise InputError(
                    f"{frames}: holds pictures beside {other}; expected one kind, move the pictures"
                )
            return [self._pictures(frames, labels, self.options.root.resolve().name)]
        found: list[VideoSequence] = [self._pictures(p, labels / p.name, p.name) for p in folders]
        found += [
            self._video(p, self._label_folder(labels, p.stem, required=len(videos) > 1)) for p in videos
        ]
        if not found:
            raise InputError(f"{frames}: empty; expected pictures, folders of pictures, or video files")
        return sorted(found, key=lambda sequence: sequence.name)

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Read every frame and label."""
        for name in (split,) if split else self._splits():
            try:
                for sequence in self.sequences(name):
                    yield from verify_sequence(sequence)
            except InputError as error:
                subject, _, rest = str(error).partition(": ")
                yield Finding("error", subject, rest)

    def _splits(self) -> list[Split]:
        return [s for s in SPLITS if (self.options.root / s).is_dir()] or ["val"]

    def _base(self, split: Split) -> Path:
        root = require_folder(self.options.root, "set root to the folder that holds your frames and labels")
        if not any((root / s).is_dir() for s in SPLITS):
            if split != "val":
                raise InputError(
                    f"{root}: has no folder {split}; without split folders all data is the split val"
                )
            return root
        return require_folder(
            root / split, "put frames and labels of this split there, or choose another split"
        )

    def _class_file(self) -> Path:
        root = require_folder(self.options.root, "set root to the folder that holds your frames and labels")
        if self.options.classes is not None:
            return inside(root, self.options.classes)
        for name in ("classes.csv", "classes.json"):
            if (root / name).is_file():
                return root / name
        raise InputError(
            f"{root}: no classes.csv or classes.json; expected a class table with the columns name, red, green, blue"
        )

    def _label_folder(self, labels: Path, name: str, required: bool = False) -> Path:
        """labels/NAME where it exists (or must), else labels."""
        return labels / name if required or (labels / name).is_dir() else labels

    def _pictures(self, frames: Path, labels: Path, name: str) -> PictureSequence:
        pictures = list_pictures(frames)
        marks = list_pictures(labels, LABEL_SUFFIXES)
        place = {stem: index for index, stem in enumerate(pictures)}
        for stem, path in marks.items():
            if stem not in place:
                raise InputError(f"{path}: label without frame; expected a frame named {stem} in {frames}")
        rate = self.options.frame_rate_hz or 30.0
        paths = {place[stem]: path for stem, path in marks.items()}
        return PictureSequence(name, list(pictures.values()), paths, rate, self._read_label)

    def _video(self, path: Path, labels: Path) -> VideoFileSequence:
        video = read_video(path)
        marks: dict[int, Path] = {}
        for stem, label in list_pictures(labels, LABEL_SUFFIXES).items():
            match = re.search(r"(\d+)(?!.*\d)", stem)
            if match is None:
                raise InputError(
                    f"{label}: no frame number in its name; expected e.g. 000012.png for frame 12 (from 0)"
                )
            number = int(match[1])
            if number >= video.frame_count:
                raise InputError(
                    f"{label}: label without frame; {path.name} has frames 0..{video.frame_count - 1}"
                )
            if number in marks:
                raise InputError(
                    f"{label}: frame {number} is labelled twice, see {marks[number].name}; remove one"
                )
            marks[number] = label
        rate = self.options.frame_rate_hz or video.frame_rate_hz
        if not rate:
            raise InputError(f"{path}: does not tell its frame rate; set frame_rate_hz")
        return VideoFileSequence(path, video, marks, rate, self._read_label)

    def _read_label(self, path: Path) -> NDArray[np.uint8]:
        wanted = {"auto": None, "index": False, "colour": True}[self.options.label_format]
        values = read_label_values(path, colours=wanted)
        table = self._colours if values.ndim == 3 else self._values
        return table.indices(values, path)
