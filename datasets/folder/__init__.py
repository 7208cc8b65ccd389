"""Your own data: frame folders or video files with label pictures and a class table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vssbench.class_tables import ColourTable, ValueTable, coloured, read_class_table
from vssbench.codec import read_video
from vssbench.dataset import Dataset, FileOptions, Split, VideoSequence, distinct_names
from vssbench.datasets.folder.video import VIDEO_SUFFIXES, VideoFileSequence
from vssbench.errors import InputError, nearest
from vssbench.picture_folders import (
    PictureSequence,
    as_finding,
    holds_pictures,
    inside,
    list_folder,
    list_pictures,
    require_folder,
    resembling,
    verify_sequence,
)
from vssbench.pictures import LABEL_SUFFIXES, read_label_values, require_regular
from vssbench.records import Finding

__all__ = ["FolderDataset", "FolderOptions"]

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class FolderOptions(FileOptions):
    """Where the data lies; names are relative to root (and to root/SPLIT where such folders exist)."""

    frames: str = "frames"
    """Folder of pictures, folder of sequence folders or video files, or one video file."""
    labels: str | None = "labels"
    """Folder of label pictures, laid out like frames; per sequence a folder of its name. null: there are none, for
    experiments in which the answers of a method are the truth."""
    classes: str | tuple[str, ...] | None = None
    """Class table, CSV or JSON; by default classes.csv or classes.json in root. Or the names of the classes in the order
    of their indices, which get colours of their own."""
    label_format: Literal["auto", "index", "colour"] = "auto"
    """index: values (or palette indices) are classes. colour: RGB or palette colours. auto: by the picture's mode."""
    frame_rate_hz: float | None = Field(default=None, gt=0, le=1000)
    """By default the video file's own rate, 30 for folders of pictures."""
    stream: int | None = Field(default=None, ge=0)
    """Index of the video stream to read in files that hold several; by default the main one."""
    partial: bool = False
    """Of damaged video files without labels, use the groups of pictures that are sound; reports tell what is left out."""


@dataclass(frozen=True)
class _Source:
    """Where one sequence lies."""

    path: Path
    """Folder of pictures or video file."""
    labels: Path | None
    """Its folder of label pictures; None where the dataset has no labels."""
    title: str


class FolderDataset(Dataset):
    """Frames or video files beside label pictures.

    Labels pair with pictures by name; with a video file by the number in their name (0 is the first frame). Where
    root holds train/, val/ or test/, those are the splits; otherwise, and where frames is one file in root, all data is
    the split val.
    """

    Options = FolderOptions

    def __init__(self, options: FolderOptions) -> None:
        self.options = options
        named = options.classes
        self.classes = coloured(named) if isinstance(named, tuple) else read_class_table(self._class_file())
        names, ignore = range(len(self.classes)), self.classes.ignore_index
        self._values = ValueTable({**{i: i for i in names}, ignore: ignore})
        self._colours = ColourTable({colour: i for i, colour in enumerate(self.classes.palette)})

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Sequences of a split, sorted by name. Raises InputError for missing or contradicting files."""
        sources = self._sources(split)
        names = distinct_names([s.title for s in sources], [s.path.name for s in sources])
        found = [self._sequence(source, name) for source, name in zip(sources, names, strict=True)]
        return sorted(found, key=lambda sequence: sequence.name)

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Read every frame and label."""
        for name in (split,) if split else self._splits():
            try:
                sequences = self.sequences(name)
                shared: Counter[Path | None] = Counter(source.labels for source in self._sources(name))
            except InputError as error:
                yield as_finding(error)
                continue
            for sequence in sequences:
                yield from verify_sequence(sequence)
            shared.pop(None, None)
            if shared and not any(sequence.labelled for sequence in sequences):
                remedy = "put label pictures there, named like their frames, or correct the option labels"
                yield Finding("error", str(next(iter(shared))), "no frame of the split has a label", remedy)
            for labels, times in shared.items():
                if labels and times > 1:
                    remedy = f"give each its own, such as {labels.name}.mp4, if their frames are not the same"
                    yield Finding("warning", str(labels), f"labels of {times} sequences", remedy)

    def _splits(self) -> list[Split]:
        if (self.options.root / self.options.frames).is_file():
            return ["val"]
        return [s for s in SPLITS if (self.options.root / s).is_dir()] or ["val"]

    def _base(self, split: Split) -> Path:
        root = require_folder(self.options.root, "set root to the folder that holds your frames and labels")
        if inside(root, self.options.frames).is_file() or not any((root / s).is_dir() for s in SPLITS):
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
        if isinstance(self.options.classes, str):
            return inside(root, self.options.classes)
        found = [root / name for name in ("classes.csv", "classes.json") if (root / name).is_file()]
        if len(found) == 1:
            return found[0]
        what = "both classes.csv and classes.json" if found else "no classes.csv or classes.json"
        raise InputError(
            f"{root}: {what}; expected one class table with the columns name, red, green, blue: set classes to its name"
        )

    def _sources(self, split: Split) -> list[_Source]:
        """What the folders hold. Raises InputError for folders of labels that belong to nothing."""
        base = self._base(split)
        frames, labels = inside(base, self.options.frames), inside(base, self.options.labels or ".")
        if frames.is_file():
            found = [_Source(frames, _label_folder(labels, frames, needed=False), frames.stem)]
        else:
            folders, videos = _folders_and_videos(frames)
            found = [_Source(path, labels / path.name, path.name) for path in folders]
            found += [
                _Source(path, _label_folder(labels, path, needed=len(folders) + len(videos) > 1), path.stem)
                for path in videos
            ]
            if not found:
                found = [_Source(frames, labels, self.options.root.resolve().name)]
        if self.options.labels is None:
            return [replace(source, labels=None) for source in found]
        _refuse_orphans(labels, found)
        return found

    def _sequence(self, source: _Source, name: str) -> VideoSequence:
        if not source.path.is_dir():
            return self._video(source, name)
        pictures = _frames(source.path)
        marks = list_pictures(source.labels, LABEL_SUFFIXES) if source.labels else {}
        place = {stem: index for index, stem in enumerate(pictures)}
        for stem, path in marks.items():
            if stem not in place:
                raise InputError(
                    f"{path}: label without frame; expected a frame named {stem} in {source.path}{resembling(stem, place)}"
                )
        rate = self.options.frame_rate_hz or 30.0
        paths = {place[stem]: path for stem, path in marks.items()}
        frames = list(pictures.values())
        return PictureSequence(name, frames, paths, rate, self._read_label, self.options.orientation)

    def _video(self, source: _Source, name: str) -> VideoFileSequence:
        path = source.path
        require_regular(path)
        how = self.options
        video = read_video(path, orientation=how.orientation, stream=how.stream, partial=how.partial)
        if how.partial and source.labels and list_pictures(source.labels, LABEL_SUFFIXES):
            raise InputError(
                f"{path}: partial numbers pictures anew, so labels would be of others; set labels: null"
            )
        marks: dict[int, Path] = {}
        for label in list_pictures(source.labels, LABEL_SUFFIXES).values() if source.labels else ():
            number = _frame_number(label, path.stem)
            if number >= video.frame_count:
                raise InputError(
                    f"{label}: label without frame; {path.name} has frames 0..{video.frame_count - 1}"
                )
            if number in marks:
                raise InputError(
                    f"{label}: frame {number} is labelled twice, see {marks[number].name}; move one out of the folder"
                )
            marks[number] = label
        rate = self.options.frame_rate_hz or video.frame_rate_hz
        if not rate:
            raise InputError(f"{path}: does not tell its frame rate; set frame_rate_hz")
        sequence = VideoFileSequence(path, video, marks, rate, self._read_label)
        sequence.name = name
        return sequence

    def _read_label(self, path: Path) -> NDArray[np.uint8]:
        wanted = {"auto": None, "index": False, "colour": True}[self.options.label_format]
        values = read_label_values(path, colours=wanted, orientation=self.options.orientation)
        table = self._colours if values.ndim == 3 else self._values
        return table.indices(values, path)


def _folders_and_videos(frames: Path) -> tuple[list[Path], list[Path]]:
    """Sequence folders and video files in the folder of frames; none where it holds pictures itself."""
    require_folder(
        frames, "put pictures or videos there, or set frames to a folder or video file below the root"
    )
    entries = list_folder(frames)
    folders = [path for path in entries if path.is_dir()]
    videos = [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and path not in folders]
    if not list_pictures(frames):
        if not folders and not videos:
            raise InputError(f"{frames}: empty; expected pictures, folders of pictures, or video files")
        return folders, videos
    if folders or videos:
        other = (folders + videos)[0].name
        raise InputError(f"{frames}: holds pictures beside {other}; expected one kind, move the pictures")
    return [], []


def _frames(folder: Path) -> dict[str, Path]:
    """Pictures of one sequence by stem. Raises InputError if there are none, or more in folders below."""
    pictures = list_pictures(folder)
    below = [path.name for path in list_folder(folder) if path.is_dir() and holds_pictures(path)]
    if below or not pictures:
        found = f"pictures in {', '.join(below)} below it" if below else "no picture"
        raise InputError(
            f"{folder}: holds {found}; expected the pictures of one sequence in it and no other folder of pictures: move "
            "them, or set frames to the folder above"
        )
    return pictures


def _label_folder(labels: Path, video: Path, *, needed: bool) -> Path:
    """labels/drive.mp4 where it exists, else labels/drive where it exists or must, else labels."""
    if (labels / video.name).is_dir():
        return labels / video.name
    return labels / video.stem if needed or (labels / video.stem).is_dir() else labels


def _refuse_orphans(labels: Path, sources: Sequence[_Source]) -> None:
    """Raise InputError for label pictures, or folders of them, that no sequence would read."""
    used = {source.labels for source in sources if source.labels}
    known = [source.title for source in sources]
    for folder in sorted(path for path in {labels, *used} if path.is_dir()):
        for path in list_folder(folder):
            if path.is_dir() and path not in used and holds_pictures(path):
                raise InputError(
                    f"{path}: labels without a sequence of that name; {nearest(path.name, known)}. Rename the folder, or move "
                    "it out of the labels"
                )
    if labels not in used and labels.is_dir():
        for path in list_pictures(labels, LABEL_SUFFIXES).values():
            raise InputError(
                f"{path}: label outside the sequences' folders; expected {labels.name}/SEQUENCE/{path.name}, move it there"
            )


def _frame_number(label: Path, video: str) -> int:
    """Number of the frame that a label of a video belongs to: the one number in its name, the video's own name aside."""
    own = re.match(rf"{re.escape(video)}[-_. ](?=.*[0-9])", label.stem)
    numbers = re.findall("[0-9]+", label.stem[own.end() :] if own else label.stem)
    if len(numbers) != 1:
        found = f"{len(numbers)} numbers" if numbers else "no frame number"
        raise InputError(
            f"{label}: {found} in its name; expected one, such as 000012.png or {video}_000012.png for frame 12 (from 0): "
            "rename it, or move it out of the folder"
        )
    return int(numbers[0])
