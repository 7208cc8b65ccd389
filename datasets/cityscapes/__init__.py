"""Cityscapes: 30-frame snippets of leftImg8bit_sequence with one gtFine label each."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vssbench.class_tables import ValueTable, read_class_table
from vssbench.dataset import Dataset, FileOptions, Split, VideoSequence
from vssbench.errors import InputError
from vssbench.picture_folders import (
    PictureSequence,
    as_finding,
    list_folder,
    list_pictures,
    require_folder,
    verify_sequence,
)
from vssbench.pictures import read_label_values
from vssbench.records import IGNORE_INDEX, Finding

__all__ = ["Cityscapes", "CityscapesOptions"]

BEFORE_LABEL, AFTER_LABEL = 19, 10
"""Frames of an official snippet before and after its labelled frame (index 19 of 30)."""
LABEL_IDS = 34
"""label ids run from 0 to 33 (the licence plate, -1, does not occur in labelIds pictures)."""
_FRAME = re.compile(r"(?P<city>[A-Za-z-]+)_(?P<take>\d{6})_(?P<number>\d{6})_leftImg8bit")
_LABEL = re.compile(
    r"(?P<city>[A-Za-z-]+)_(?P<take>\d{6})_(?P<number>\d{6})_gtFine_"
    r"(?P<kind>labelIds|labelTrainIds|instanceIds|instanceTrainIds|color)"
)

Key = tuple[str, int]
"""Take and frame number inside a city."""


class CityscapesOptions(FileOptions):
    """Where Cityscapes lies."""

    root: Path
    """Folder that holds leftImg8bit_sequence and gtFine."""
    frame_rate_hz: float = Field(default=17.0, gt=0, le=240)
    """Of the snippets; 17 in the official recordings."""


class Cityscapes(Dataset):
    """Cityscapes video snippets. Labels come from labelIds; from labelTrainIds where a frame has only that."""

    Options = CityscapesOptions
    classes = read_class_table(files("vssbench.datasets.cityscapes") / "classes.csv")

    def __init__(self, options: CityscapesOptions) -> None:
        self.options = options
        rows = csv.DictReader(
            (files("vssbench.datasets.cityscapes") / "classes.csv").read_text("utf-8").splitlines()
        )
        ids = dict.fromkeys(range(LABEL_IDS), IGNORE_INDEX)
        ids.update({int(row["label_id"]): int(row["index"]) for row in rows})
        self._ids = ValueTable(ids)
        self._train_ids = ValueTable({**{i: i for i in range(len(self.classes))}, IGNORE_INDEX: IGNORE_INDEX})

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """One sequence per labelled frame: the consecutive frames around it, at most 19 before and 10 after.

        Raises InputError if a folder is missing, or a label has no frame.
        """
        found = [s for city in self._cities(split) for s in self._city(split, city)]
        if not found:
            raise self._without_labels(split)
        return sorted(found, key=lambda sequence: sequence.name)

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Read every frame and label of the snippets; warns of short snippets and of frames that no label uses."""
        for name in (split,) if split else self._splits():
            try:
                cities = self._cities(name)
            except InputError as error:
                yield as_finding(error)
                continue
            labelled = 0
            for city in cities:
                for finding in self._verify_city(name, city):
                    labelled += finding.level != "warning"
                    yield finding
            if not labelled:
                yield as_finding(self._without_labels(name))

    def _without_labels(self, split: Split) -> InputError:
        return InputError(
            f"{self.options.root / 'gtFine' / split}: no labelled frame; expected *_gtFine_labelIds.png"
        )

    def _verify_city(self, split: Split, city: str) -> Iterator[Finding]:
        try:
            sequences = self._city(split, city)
            frames = self._frames(split, city)
        except InputError as error:
            yield as_finding(error)
            return
        used = {path for sequence in sequences for path in sequence.frame_paths}
        unused = [path for path in frames.values() if path not in used]
        if unused:
            yield Finding(
                "warning",
                str(unused[0].parent),
                f"{len(unused)} frames belong to no labelled snippet, the first is {unused[0].name}",
                "add the missing labels or remove the frames",
            )
        for sequence in sequences:
            before = sequence.labelled[0]
            if before != BEFORE_LABEL or len(sequence) != BEFORE_LABEL + AFTER_LABEL + 1:
                yield Finding(
                    "warning",
                    sequence.name,
                    f"{len(sequence)} frames with the label at index {before}, an "
                    "official snippet has 30 with index 19",
                    "large keyframe distances cannot be scored here",
                )
            yield from verify_sequence(sequence)

    def _splits(self) -> list[Split]:
        every: tuple[Split, ...] = ("train", "val", "test")
        found = [s for s in every if (self.options.root / "leftImg8bit_sequence" / s).is_dir()]
        return found or ["val"]

    def _cities(self, split: Split) -> list[str]:
        root = require_folder(self.options.root, "set root to the Cityscapes folder")
        remedy = "download leftImg8bit_sequence_trainvaltest and gtFine_trainvaltest into the root"
        frames = require_folder(root / "leftImg8bit_sequence" / split, remedy)
        labels = require_folder(root / "gtFine" / split, remedy)
        found = {path.name for folder in (frames, labels) for path in list_folder(folder) if path.is_dir()}
        return sorted(found)

    def _frames(self, split: Split, city: str) -> dict[Key, Path]:
        folder = self.options.root / "leftImg8bit_sequence" / split / city
        found = {}
        for stem, path in list_pictures(folder, (".png", ".webp")).items():
            match = _FRAME.fullmatch(stem)
            if match is None or match["city"] != city:
                raise InputError(
                    f"{path}: not a Cityscapes name; expected {city}_TAKE_NUMBER_leftImg8bit.png"
                )
            found[match["take"], int(match["number"])] = path
        return found

    def _labels(self, split: Split, city: str) -> dict[Key, Path]:
        """labelIds pictures, and labelTrainIds where there is no other; none for a city without a folder of labels."""
        folder = self.options.root / "gtFine" / split / city
        found: dict[Key, Path] = {}
        for stem, path in sorted(list_pictures(folder, (".png",)).items()) if folder.is_dir() else ():
            match = _LABEL.fullmatch(stem)
            if match is None or match["city"] != city:
                raise InputError(
                    f"{path}: not a Cityscapes label; expected {city}_TAKE_NUMBER_gtFine_labelIds.png (or labelTrainIds, "
                    "instanceIds, instanceTrainIds, color): rename it or move it out of the folder"
                )
            key = match["take"], int(match["number"])
            if match["kind"] == "labelIds" or (match["kind"] == "labelTrainIds" and key not in found):
                found[key] = path
        return found

    def _city(self, split: Split, city: str) -> list[PictureSequence]:
        labels, frames = self._labels(split, city), self._frames(split, city)
        found = []
        for (take, number), label in sorted(labels.items()):
            if (take, number) not in frames:
                raise InputError(
                    f"{label}: label without frame; expected {city}_{take}_{number:06d}_leftImg8bit.png or .webp in "
                    f"leftImg8bit_sequence/{split}/{city}"
                )
            first, last = number, number
            while number - first < BEFORE_LABEL and (take, first - 1) in frames:
                first -= 1
            while last - number < AFTER_LABEL and (take, last + 1) in frames:
                last += 1
            paths = [frames[take, n] for n in range(first, last + 1)]
            name = f"{city}_{take}_{number:06d}"
            found.append(
                PictureSequence(
                    name,
                    paths,
                    {number - first: label},
                    self.options.frame_rate_hz,
                    self._read_label,
                    self.options.orientation,
                )
            )
        return found

    def _read_label(self, path: Path) -> NDArray[np.uint8]:
        table = self._train_ids if path.stem.endswith("labelTrainIds") else self._ids
        values = read_label_values(path, colours=False, orientation=self.options.orientation)
        return table.indices(values, path)
