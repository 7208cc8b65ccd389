"""Cityscapes-VPS: Cityscapes' validation snippets with a label for every fifth frame."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import Field

from vssbench.class_tables import named_table
from vssbench.dataset import FileOptions, Split
from vssbench.errors import InputError
from vssbench.picture_folders import list_folder, list_pictures, require_folder
from vssbench.picture_layouts import LayoutDataset, PathPattern, PictureLayout
from vssbench.pictures import LABEL_SUFFIXES, PICTURE_SUFFIXES

__all__ = ["CityscapesVPS", "CityscapesVPSOptions"]

FRAMES, BEFORE_LABEL = 30, 4
"""Of a snippet; and before its first label."""
VOID_COLOURS = (
    (0, 0, 0), (111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180), (150, 100, 100),
    (150, 120, 90), (0, 0, 90), (0, 0, 110),
)  # fmt: skip
"""Colours of Cityscapes' labels outside the 19 classes: unlabelled, dynamic, ground, parking, rail track, guard rail, bridge,
tunnel, caravan, trailer."""
_NAME = re.compile(
    r"(?:(?P<video>\d{4})_(?P<label>\d{4})_)?(?P<city>[a-z-]+)_(?P<take>\d{6})_(?P<number>\d{6})"
    r"(?:_(?:leftImg8bit|newImg8bit|gtFine_color|final_mask))?"
)

_Take = tuple[str, str]


class CityscapesVPSOptions(FileOptions):
    """Where Cityscapes-VPS lies."""

    root: Path
    """Folder that holds train, val and test with img_all and cls."""
    sequences_root: Path | None = None
    """Cityscapes' own leftImg8bit_sequence/val, read where a split has no img_all."""
    gtfine_root: Path | None = None
    """Cityscapes' own gtFine/val: labels of frames that cls does not hold are taken from there."""
    frame_rate_hz: float = Field(default=17.0, gt=0, le=240)
    """Of the snippets; 17 in the official recordings."""


class CityscapesVPS(LayoutDataset):
    """Snippets of 30 frames, six of them labelled in Cityscapes' colours; the classes and rules of `cityscapes`."""

    Options = CityscapesVPSOptions
    expected = {"train": 400}  # noqa: RUF012

    def __init__(self, options: CityscapesVPSOptions) -> None:
        self.options = options
        layout = PictureLayout(
            frames=PathPattern("{split}/img_all/{frame}.png", "frames", PICTURE_SUFFIXES),
            labels=PathPattern("{split}/cls/{frame}.png", "labels", LABEL_SUFFIXES),
            classes=named_table("cityscapes19"),
            frame_rate_hz=options.frame_rate_hz,
            void_colours=VOID_COLOURS,
        )
        super().__init__(options.root, layout, options.orientation)

    def _files(
        self, root: Path, split: Split
    ) -> tuple[dict[str, dict[int, Path]], dict[str, dict[int, Path]]]:
        labels: dict[str, dict[int, Path]] = defaultdict(dict)
        takes: dict[str, _Take] = {}
        folder = require_folder(
            root / split / "cls", "put the labels of Cityscapes-VPS there, those of gtFine merged in"
        )
        for match, path in _named(folder, LABEL_SUFFIXES):
            video, take, number = match["video"], (match["city"], match["take"]), int(match["number"])
            if video is None:
                raise InputError(
                    f"{path}: no number of a video in its name; expected SSSS_FFFF_CITY_TAKE_NUMBER_final_mask.png"
                )
            if takes.setdefault(video, take) != take:
                raise InputError(
                    f"{path}: video {video} is {'_'.join(takes[video])} elsewhere; sort the labels of one video together"
                )
            if number in labels[video]:
                raise InputError(
                    f"{path}: frame {number} is labelled twice, see {labels[video][number].name}; remove one"
                )
            labels[video][number] = path
        if not labels:
            raise InputError(
                f"{folder}: no label; expected SSSS_FFFF_CITY_TAKE_NUMBER_final_mask.png or _gtFine_color.png"
            )
        frames = {video: self._frames(takes[video], sorted(labels[video]), split) for video in sorted(labels)}
        for video, numbers in frames.items():
            labels[video] = {**self._official(takes[video], numbers), **labels[video]}
        self._refuse_orphans(frames, labels)
        return frames, labels

    def _official(self, take: _Take, numbers: Iterable[int]) -> dict[int, Path]:
        """Labels of gtFine for frames of a take, where its root is given."""
        root, (city, number_of_take) = self.options.gtfine_root, take
        if root is None:
            return {}
        folder = require_folder(root, "set gtfine_root to Cityscapes' gtFine/val") / city
        paths = {n: folder / f"{city}_{number_of_take}_{n:06d}_gtFine_color.png" for n in numbers}
        return {n: path for n, path in paths.items() if path.is_file()}

    def _frames(self, take: _Take, labelled: list[int], split: Split) -> dict[int, Path]:
        """The frames of the snippet around its labels, as far as they follow one another."""
        there = self._takes(split).get(take, {})
        first = labelled[0]
        while first > max(0, labelled[0] - BEFORE_LABEL) and first - 1 in there:
            first -= 1
        numbers = range(first, max(first + FRAMES, labelled[-1] + 1))
        return {number: there[number] for number in numbers if number in there}

    def _takes(self, split: Split) -> dict[_Take, dict[int, Path]]:
        """Every frame of a split by city and take."""
        folder, cities = self.options.root / split / "img_all", self.options.sequences_root
        if not folder.is_dir() and cities is not None:
            folders = [path for path in list_folder(cities) if path.is_dir()]
        else:
            folders = [
                require_folder(
                    folder, "put all frames there, or set sequences_root to leftImg8bit_sequence/val"
                )
            ]
        key = (split, tuple(folders))
        if self._listed is None or self._listed[0] != key:
            found: dict[_Take, dict[int, Path]] = defaultdict(dict)
            for one in folders:
                for match, path in _named(one, PICTURE_SUFFIXES):
                    found[match["city"], match["take"]][int(match["number"])] = path
            self._listed = key, found
        return self._listed[1]

    _listed: tuple[tuple[Split, tuple[Path, ...]], dict[_Take, dict[int, Path]]] | None = None

    def _splits(self) -> list[Split]:
        every: tuple[Split, ...] = ("train", "val", "test")
        return [split for split in every if (self.options.root / split / "cls").is_dir()] or ["val"]


def _named(folder: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[re.Match[str], Path]]:
    for stem, path in list_pictures(folder, suffixes).items():
        match = _NAME.fullmatch(stem)
        if match is None:
            raise InputError(
                f"{path}: not a name of Cityscapes-VPS; expected SSSS_FFFF_CITY_TAKE_NUMBER_...; move it elsewhere"
            )
        yield match, path
