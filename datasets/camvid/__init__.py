"""CamVid: the Kaggle release (colour-coded labels) and the 480x360 layout with index labels."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from vssbench.class_tables import ColourTable, ValueTable
from vssbench.dataset import Dataset, FileOptions, Split, VideoSequence
from vssbench.errors import InputError
from vssbench.picture_folders import (
    PictureSequence,
    as_finding,
    list_pictures,
    require_folder,
    verify_sequence,
)
from vssbench.pictures import LABEL_SUFFIXES, read_image, read_label_values
from vssbench.records import IGNORE_INDEX, ClassTable, Finding, Normalisation

__all__ = ["CamVid", "CamVidOptions"]

Layout = Literal["kaggle", "index"]

NAMES = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
VOID = 11
SPLITS: tuple[Split, ...] = ("train", "val", "test")

FIRST_NUMBERS = {"0001TP": (31, 6690), "0006R0": (932, 930), "0016E5": (392, 390), "Seq05VD": (32, 30)}
"""Per drive: number of a decoded frame, and the dataset's number of the same picture."""
SAME_DRIVE = (("0016E5", 7680, 7920), ("0016E5", 8190, 8430))
"""Train stills within 10 s of the validation clip: drive, first and last number."""
_NAME = re.compile(r"(?P<drive>[A-Za-z0-9]+)_f?(?P<number>\d+)(?:_L)?")


class CamVidOptions(FileOptions):
    """Where CamVid lies and which label convention is used."""

    root: Path
    """Folder with train, val, test and *_labels (Kaggle), or with train and val_sequence (480x360, index labels)."""
    layout: Literal["auto", "kaggle", "index"] = "auto"
    """Folder tree of the files; auto looks at the root."""
    protocol: Literal["standard", "paper"] = "standard"
    """standard: 11 classes, void ignored. paper: AR-Seg's 12 outputs with void scored and merged colours ignored."""
    decoded: Path | None = None
    """Kaggle layout: folder of the drives' decoded frames, SEQ_%06d.png or SEQ/SEQ_%06d.png; default root/sequences."""
    strict: bool = False
    """Drop the train stills of drive 0016E5 within 10 s of the validation clip."""
    frame_rate_hz: float | None = Field(default=None, gt=0, le=240)
    """By default 30 (Kaggle) or 15 (480x360 layout)."""


@dataclass(frozen=True)
class _Picture:
    """One dataset picture whose name tells drive and number."""

    path: Path
    drive: str
    number: int


class CamVid(Dataset):
    """CamVid with its label conventions kept apart by `protocol_mark`."""

    Options = CamVidOptions
    normalisation = Normalisation((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369))

    def __init__(self, options: CamVidOptions) -> None:
        self.options = options
        self.protocol_mark = options.protocol
        paper = options.protocol == "paper"
        table, self._all_colours = _colour_tables(options.protocol)
        self._colours = ColourTable(table, other=IGNORE_INDEX if paper else None)
        self._values = ValueTable({**{i: i for i in range(VOID)}, VOID: VOID if paper else IGNORE_INDEX})
        by_index = {index: colour for colour, index in reversed(table.items())}
        names = (*NAMES, "void") if paper else NAMES
        self.classes = ClassTable(names, tuple(by_index[i] for i in range(len(names))))

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Kaggle with decoded drives: one sequence per drive; otherwise stills, and the val clip of the 480x360 layout.

        Raises InputError if folders are missing or frames and labels do not pair up.
        """
        root = require_folder(self.options.root, "set root to the CamVid folder")
        found = self._kaggle(root, split) if self.layout() == "kaggle" else self._index(root, split)
        if not found:
            raise InputError(f"{root}: no labelled frame for split {split!r}; expected at least one")
        return sorted(found, key=lambda sequence: sequence.name)

    def layout(self) -> Layout:
        """The layout in use. Raises InputError if neither is recognised."""
        if self.options.layout != "auto":
            return self.options.layout
        root = self.options.root
        if any((root / f"{split}_labels").is_dir() for split in SPLITS):
            return "kaggle"
        if (root / "val_sequence" / "frames").is_dir() or (root / "train" / "frames").is_dir():
            return "index"
        raise InputError(
            f"{root}: neither CamVid layout found; expected train/ beside train_labels/ (Kaggle release) or "
            "train/frames and val_sequence/frames (480x360 index labels); set root to the folder that holds them"
        )

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Read every frame and label; in the paper protocol also warn of colours that CamVid does not have."""
        for name in (split,) if split else self._splits():
            try:
                found = self.sequences(name)
            except InputError as error:
                yield as_finding(error)
                continue
            for sequence in found:
                yield from verify_sequence(sequence)
                if isinstance(sequence, PictureSequence) and self.layout() == "kaggle":
                    if self.options.protocol == "paper":
                        yield from self._strange_colours(sequence)
                    yield from self._misnumbered(sequence, name)

    def _splits(self) -> list[Split]:
        if self.layout() == "index":
            return ["train", "val"]
        return [split for split in SPLITS if (self.options.root / f"{split}_labels").is_dir()]

    def _strange_colours(self, sequence: PictureSequence) -> Iterator[Finding]:
        for path in sequence.label_paths.values():
            try:
                share = float(np.mean(self._all_colours.unknown(read_label_values(path, colours=True))))
            except InputError:
                continue  # reported by verify_sequence
            if share > 0:
                yield Finding(
                    "warning",
                    str(path),
                    f"{share:.2%} of the pixels have none of CamVid's 32 colours",
                    "the paper protocol ignores them; was the label scaled or stored as JPEG?",
                )

    def _misnumbered(self, sequence: PictureSequence, split: Split) -> Iterator[Finding]:
        """Decoded drives: a label must lie on the picture that its still shows, not on a neighbour."""
        if len(sequence.frame_paths) == 1:
            return
        stills = _pictures(self.options.root / split)
        labels = _pictures(self.options.root / f"{split}_labels", LABEL_SUFFIXES)
        still_of = {picture.path: stills[key].path for key, picture in labels.items()}
        for index, label in sequence.label_paths.items():
            still = still_of[label]
            try:
                offset = _nearest_offset(sequence, index, read_image(still))
            except InputError:
                continue  # reported by verify_sequence
            if offset:
                yield Finding(
                    "warning",
                    str(sequence.frame_paths[index]),
                    f"the still {still.name} looks like the picture {abs(offset)} {'after' if offset > 0 else 'before'} it",
                    "the decoded numbers are off; decode the whole drive again, numbers as in the dataset's README",
                )

    def _sequence(
        self, name: str, frames: Sequence[Path], labels: dict[int, Path], rate: float
    ) -> PictureSequence:
        return PictureSequence(name, frames, labels, rate, self._read_label, self.options.orientation)

    def _read_label(self, path: Path) -> NDArray[np.uint8]:
        colours = self.layout() == "kaggle"
        values = read_label_values(path, colours=colours, orientation=self.options.orientation)
        return (self._colours if colours else self._values).indices(values, path)

    def _kept(self, picture: _Picture, split: Split) -> bool:
        if split != "train" or not self.options.strict:
            return True
        return not any(
            picture.drive == drive and first <= picture.number <= last for drive, first, last in SAME_DRIVE
        )

    def _kaggle(self, root: Path, split: Split) -> list[PictureSequence]:
        frames = _pictures(root / split)
        labels = _pictures(root / f"{split}_labels", LABEL_SUFFIXES)
        _check_pairs(frames, labels)
        kept = {key: labels[key] for key, picture in frames.items() if self._kept(picture, split)}
        rate = self.options.frame_rate_hz or 30.0
        decoded = self.options.decoded or root / "sequences"
        if self.options.decoded is not None or decoded.is_dir():
            require_folder(decoded, "set decoded to the folder of decoded frames (see the dataset's README)")
            return [
                sequence
                for drive in sorted({key[0] for key in kept})
                for sequence in self._drives(
                    decoded, drive, {k: v for k, v in kept.items() if k[0] == drive}, rate
                )
            ]
        return [
            self._sequence(frames[key].path.stem, [frames[key].path], {0: label.path}, rate)
            for key, label in kept.items()
        ]

    def _drives(
        self, decoded: Path, drive: str, labels: dict[tuple[str, int], _Picture], rate: float
    ) -> list[PictureSequence]:
        """The runs of consecutive decoded frames of one drive that hold labelled frames."""
        if drive not in FIRST_NUMBERS:
            raise InputError(
                f"{next(iter(labels.values())).path}: unknown drive {drive!r}; expected one of {', '.join(FIRST_NUMBERS)}"
            )
        folder = decoded / drive if (decoded / drive).is_dir() else decoded
        numbered = {p.number: p.path for p in _pictures(folder).values() if p.drive == drive}
        first_decoded, first_number = FIRST_NUMBERS[drive]
        wanted = {key[1] - first_number + first_decoded: label.path for key, label in labels.items()}
        for number, path in wanted.items():
            if number not in numbered:
                raise InputError(
                    f"{path}: its frame {drive}_{number:06d} is not in {folder}; expected the decoded frames of the "
                    "whole drive, decode it again (see the dataset's README)"
                )
        runs = _runs(sorted(numbered), 1)
        found = []
        for run in runs:
            marks = {number - run[0]: path for number, path in wanted.items() if run[0] <= number <= run[-1]}
            if marks:
                name = drive if len(runs) == 1 else f"{drive}-{run[0]:06d}"
                found.append(self._sequence(name, [numbered[n] for n in run], marks, rate))
        return found

    def _index(self, root: Path, split: Split) -> list[PictureSequence]:
        if split == "test":
            raise InputError(f"{root}: the 480x360 layout holds no test split; use split val or train")
        folder = root / ("train" if split == "train" else "val_sequence")
        frames = _pictures(folder / "frames")
        labels = _pictures(folder / "labels", LABEL_SUFFIXES)
        _check_pairs(frames, labels)
        rate = self.options.frame_rate_hz or 15.0
        if split == "train":
            return [
                self._sequence(f.path.stem, [f.path], {0: labels[key].path}, rate)
                for key, f in frames.items()
                if self._kept(f, split)
            ]
        found = []
        for drive in sorted({key[0] for key in frames}):
            numbers = sorted(number for d, number in frames if d == drive)
            step = min((b - a for a, b in itertools.pairwise(numbers)), default=1)
            for run in _runs(numbers, step):
                found.append(
                    self._sequence(
                        frames[drive, run[0]].path.stem,
                        [frames[drive, n].path for n in run],
                        {i: labels[drive, n].path for i, n in enumerate(run)},
                        rate,
                    )
                )
        return found


def _nearest_offset(sequence: PictureSequence, index: int, still: NDArray[np.uint8]) -> int:
    """Which of the pictures around `index` the still is: 0 unless another is clearly nearer."""
    wanted = _thumbnail(still)
    if _thumbnail(sequence.image(index)).shape != wanted.shape:
        return 0
    errors = {
        near - index: float(np.mean((_thumbnail(sequence.image(near)) - wanted) ** 2))
        for near in range(max(0, index - 2), min(len(sequence), index + 3))
    }
    best = min(errors, key=lambda offset: (errors[offset], abs(offset)))
    return best if errors[best] < 0.7 * errors[0] else 0


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey means of blocks of at most 1/64 of the width; stills and drives may differ in compression and size."""
    side = max(1, image.shape[1] // 64)
    rows, columns = image.shape[0] // side, image.shape[1] // side
    grey = image[: rows * side, : columns * side].mean(axis=2, dtype=np.float32)
    return np.asarray(grey.reshape(rows, side, columns, side).mean(axis=(1, 3)), np.float32)


def _colour_tables(protocol: str) -> tuple[dict[tuple[int, int, int], int], ColourTable]:
    """Colours and their class under a protocol (ignored ones left out for 'paper'), and all colours of CamVid."""
    rows = list(
        csv.DictReader((files("vssbench.datasets.camvid") / "classes.csv").read_text("utf-8").splitlines())
    )
    colours = {(int(r["red"]), int(r["green"]), int(r["blue"])): int(r[protocol]) for r in rows}
    everything = ColourTable(dict.fromkeys(colours, 0))
    if protocol == "paper":
        colours = {colour: index for colour, index in colours.items() if index != IGNORE_INDEX}
    return colours, everything


def _pictures(folder: Path, suffixes: Sequence[str] | None = None) -> dict[tuple[str, int], _Picture]:
    """Pictures of a folder by (drive, number), sorted by name."""
    listed = list_pictures(folder, suffixes) if suffixes else list_pictures(folder)
    found: dict[tuple[str, int], _Picture] = {}
    for stem, path in listed.items():
        match = _NAME.fullmatch(stem)
        if match is None:
            raise InputError(
                f"{path}: not a CamVid name; expected DRIVE_NUMBER such as 0016E5_07959 or Seq05VD_f00030"
            )
        key = (match["drive"], int(match["number"]))
        if key in found:
            raise InputError(f"{path}: same drive and number as {found[key].path.name}; remove one of them")
        found[key] = _Picture(path, *key)
    return found


def _check_pairs(frames: dict[tuple[str, int], _Picture], labels: dict[tuple[str, int], _Picture]) -> None:
    """Raise InputError for the first frame without label or label without frame."""
    for key, picture in frames.items():
        if key not in labels:
            raise InputError(
                f"{picture.path}: frame without label; expected a label of the same name, add or remove"
            )
    for key, picture in labels.items():
        if key not in frames:
            raise InputError(
                f"{picture.path}: label without frame; expected a frame of the same name, add or remove"
            )


def _runs(numbers: list[int], step: int) -> list[list[int]]:
    """Split ascending numbers where they do not go on by `step`: 1 2 3 7 8 -> [1 2 3] [7 8]."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + step:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
