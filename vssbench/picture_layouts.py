"""Datasets of frames and label pictures whose paths follow a pattern.

    frames: images/{split}/{sequence}/{frame:06d}.png      labels: maps/{split}/{sequence}/{frame:06d}.png

`{sequence}` and `{frame}` stand for a name and a number, `{split}` for train, val or test, `*` for anything inside one name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vssbench.class_tables import ColourTable, ValueTable
from vssbench.dataset import Dataset, OrientationOption, Split, VideoSequence, distinct_names
from vssbench.errors import ConfigError, InputError, nearest
from vssbench.picture_folders import (
    PictureSequence,
    as_finding,
    inside,
    list_folder,
    natural_key,
    require_folder,
    verify_sequence,
)
from vssbench.pictures import read_label_values
from vssbench.records import ClassTable, Finding

SPLITS: tuple[Split, ...] = ("train", "val", "test")
Channel = Literal["R", "G", "B"]
_PLACEHOLDER = re.compile(r"(\{[^{}]*\}|\*)")
_FIELDS = {"{split}", "{sequence}", "{frame}"}


class PathPattern:
    """A relative path with placeholders, matched against the files below a folder."""

    def __init__(self, text: str, option: str, suffixes: Sequence[str]) -> None:
        """Raises ConfigError naming the option for unknown placeholders, a missing {frame}, or a suffix that is not read."""
        self.text = text
        self._parts = [self._expression(part, option) for part in text.split("/")]
        if sum("{frame" in part for part in text.split("/")[:-1]) or "{frame" not in text.split("/")[-1]:
            raise ConfigError(
                f"{option} {text!r}: expected {{frame}} in the file name, such as images/{{sequence}}/{{frame}}.png"
            )
        if Path(text).suffix.lower() not in suffixes:
            raise ConfigError(
                f"{option} {text!r}: expected a file name that ends in one of {', '.join(suffixes)}"
            )
        if Path(text).is_absolute() or ".." in text.split("/"):
            raise ConfigError(f"{option} {text!r}: expected a path below root, without '..'")

    def holds(self, placeholder: str) -> bool:
        """Whether a placeholder such as '{split}' occurs."""
        return placeholder in self.text

    def matches(
        self, root: Path, split: Split, wanted: Container[str] | None
    ) -> Iterator[tuple[str, int, Path]]:
        """(sequence, frame number, path) of every file that the pattern fits, folder by folder in natural order.

        wanted: names of sequences to look into; None: all. Raises InputError if a folder above the sequences is missing.
        """
        yield from self._below(root, _Search(split, wanted), 0, {})

    def _below(
        self, folder: Path, search: _Search, depth: int, found: Mapping[str, str]
    ) -> Iterator[tuple[str, int, Path]]:
        last = depth == len(self._parts) - 1
        fixed = self.text.split("/")[depth].replace("{split}", search.split)
        if not last and not _PLACEHOLDER.search(fixed):
            below = folder / fixed
            if "sequence" not in found:
                require_folder(below, f"the layout is {self.text}; correct root or the pattern")
            if below.is_dir():
                yield from self._below(below, search, depth + 1, found)
            return
        for path in list_folder(folder):
            match = self._parts[depth](search.split).fullmatch(path.name)
            if match is None:
                continue
            known = {**match.groupdict(), **found}
            if any(known[key] != value for key, value in match.groupdict().items()):
                continue  # named twice in the path, differently
            if (
                search.wanted is not None
                and known.get("sequence", "") not in search.wanted
                and "sequence" in known
            ):
                continue
            if path.is_dir() is last:
                continue
            if last:
                yield known.get("sequence", ""), int(known["frame"]), path
            else:
                yield from self._below(path, search, depth + 1, known)

    def _expression(self, part: str, option: str) -> _Expression:
        pieces = []
        for piece in _PLACEHOLDER.split(part):
            digits = re.fullmatch(r"\{frame:0(\d+)d\}", piece)
            if digits:
                pieces.append(rf"(?P<frame>\d{{{digits[1]},}})")
            elif piece in _FIELDS:
                pieces.append(
                    {"{split}": "{split}", "{sequence}": "(?P<sequence>.+?)", "{frame}": r"(?P<frame>\d+)"}[
                        piece
                    ]
                )
            elif piece == "*":
                pieces.append(".*")
            elif piece.startswith("{"):
                raise ConfigError(
                    f"{option} {self.text!r}: unknown placeholder {piece}; expected {{split}}, {{sequence}}, {{frame}}, "
                    "{frame:06d} or *"
                )
            else:
                pieces.append(re.escape(piece))
        return _Expression(tuple(pieces))


@dataclass(frozen=True)
class _Search:
    """What `PathPattern.matches` was asked for."""

    split: Split
    wanted: Container[str] | None


@dataclass(frozen=True)
class _Expression:
    """The regular expression of one name in a path; the split is filled in when it is known."""

    pieces: tuple[str, ...]

    def __call__(self, split: Split) -> re.Pattern[str]:
        return re.compile("".join(re.escape(split) if piece == "{split}" else piece for piece in self.pieces))


@dataclass(frozen=True)
class PictureLayout:
    """Where frames and labels lie, and what label pictures hold."""

    frames: PathPattern
    labels: PathPattern
    classes: ClassTable
    frame_rate_hz: float
    channel: Channel | None = None
    """Which channel of a colour picture holds the values; None: grey values, or colours of the class table."""
    void: tuple[int, ...] = (255,)
    """Values that are ignored."""
    first_value: int = 0
    """Value of the first class."""
    void_colours: tuple[tuple[int, int, int], ...] = ()
    """Colours that are ignored, in label pictures of colours."""
    splits: Mapping[Split, tuple[str, ...]] = field(default_factory=dict)
    """Sequences of each split, where the path does not tell."""
    every_frame_labelled: bool = False
    """A frame without label is an error of `verify`."""
    skip_damaged: bool = False
    """Leave out frames and labels of 0 bytes, which are an error otherwise."""

    def label_reader(self, orientation: OrientationOption) -> LabelReader:
        """What turns a label picture into class indices."""
        return LabelReader(self, orientation)


class LabelReader:
    """Label pictures of a layout as class indices uint8 [H, W]."""

    def __init__(self, layout: PictureLayout, orientation: OrientationOption) -> None:
        """Raises ConfigError if classes and ignored values overlap or exceed 8 bits."""
        table = layout.classes
        values = range(layout.first_value, layout.first_value + len(table))
        both = sorted(set(values) & set(layout.void))
        if both or values[-1] > 255 or any(not 0 <= value <= 255 for value in layout.void):
            raise ConfigError(
                f"label values {values[0]}..{values[-1]} of the classes and the ignored values {list(layout.void)}: expected "
                "different values in 0..255; correct void or first_value"
            )
        self._layout, self._orientation = layout, orientation
        self._values = ValueTable(
            {**dict.fromkeys(layout.void, table.ignore_index), **{v: v - layout.first_value for v in values}}
        )
        self._colours = ColourTable(
            {
                **dict.fromkeys(layout.void_colours, table.ignore_index),
                **{colour: index for index, colour in enumerate(table.palette)},
            }
        )

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        """Raises InputError naming file and place for what the class table does not hold."""
        channel = self._layout.channel
        if channel is not None:
            return self._values.indices(self.channels(path)[..., "RGB".index(channel)], path)
        values = read_label_values(path, orientation=self._orientation)
        return (self._colours if values.ndim == 3 else self._values).indices(values, path)

    def channels(self, path: Path) -> NDArray[np.uint8]:
        """[H, W, 3] as stored. Raises InputError if the picture is not one of colours."""
        return read_label_values(path, colours=True, orientation=self._orientation)

    def classes_by_channel(self, path: Path) -> list[set[int] | None]:
        """Which classes the red, green and blue values would be; None where a value is outside the table."""
        found: list[set[int] | None] = []
        for channel in np.moveaxis(self.channels(path), -1, 0):
            try:
                indices = self._values.indices(np.ascontiguousarray(channel), path)
            except InputError:
                found.append(None)
            else:
                found.append(set(np.unique(indices).tolist()) - {self._layout.classes.ignore_index})
        return found


class LayoutDataset(Dataset):
    """Base of datasets whose frames and labels follow a `PictureLayout`."""

    expected: Mapping[Split, int] = {}
    """Sequences that the official splits have."""

    def __init__(self, root: Path, layout: PictureLayout, orientation: OrientationOption) -> None:
        self._root, self._layout, self._orientation = root, layout, orientation
        self.classes = layout.classes
        self._read_label = layout.label_reader(orientation)

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Sequences of a split, sorted by name.

        Raises InputError for missing folders and sequences, labels without a frame, frames of 0 bytes.
        """
        root = require_folder(self._root, "set root to the folder of the dataset")
        frames, labels = self._files(root, split)
        titles = sorted(frames, key=natural_key)
        names = distinct_names([title or root.resolve().name for title in titles], titles)
        found = [
            self._sequence(name, frames[title], labels.get(title, {}))
            for name, title in zip(names, titles, strict=True)
        ]
        return sorted(found, key=lambda sequence: sequence.name)

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Read everything; compares with the official splits and looks for values taken from a wrong channel."""
        for name in (split,) if split else self._splits():
            try:
                sequences = self.sequences(name)
            except InputError as error:
                yield as_finding(error)
                continue
            yield from self._against_official(name, len(sequences))
            for sequence in sequences:
                assert isinstance(sequence, PictureSequence)
                yield from self._unlabelled(sequence, name)
                yield from self._channels(sequence)
                yield from verify_sequence(sequence)

    def _splits(self) -> list[Split]:
        if self._layout.splits:
            return [split for split in SPLITS if split in self._layout.splits]
        if not self._layout.frames.holds("{split}"):
            return ["val"]
        there = [s for s in SPLITS if (self._root / _fixed_start(self._layout.frames.text, s)).is_dir()]
        return there or ["val"]

    def _files(
        self, root: Path, split: Split
    ) -> tuple[dict[str, dict[int, Path]], dict[str, dict[int, Path]]]:
        """Frames and labels of a split by sequence and number."""
        wanted = self._layout.splits.get(split)
        if self._layout.splits and wanted is None:
            raise InputError(
                f"{root}: has no split {split}; expected one of {', '.join(self._layout.splits)}"
            )
        if not self._layout.splits and not self._layout.frames.holds("{split}") and split != "val":
            raise InputError(f"{root}: the layout tells no splits, all data is the split val; got {split}")
        frames = self._grouped(self._frame_pattern(split), root, split, wanted)
        if not frames:
            raise InputError(
                f"{root}: no file fits {self._layout.frames.text} in split {split}; correct root or the pattern"
            )
        if missing := [name for name in wanted or () if name not in frames]:
            raise InputError(
                f"{root}: {len(missing)} of {len(wanted or ())} sequences of split {split} are missing, the first is {missing[0]}; "
                "unpack the dataset again, or name those that are there with the key `only`"
                if len(missing) < len(wanted or ())
                else f"{root}: no sequence of split {split} is there, such as {missing[0]}; unpack the dataset again"
            )
        labels = (
            self._grouped(self._layout.labels, root, split, wanted) if self._has_labels(root, split) else {}
        )
        self._refuse_orphans(frames, labels)
        return frames, labels

    def _frame_pattern(self, split: Split) -> PathPattern:
        return self._layout.frames

    def _has_labels(self, root: Path, split: Split) -> bool:
        """False where the labels of the split test are withheld, as official ones often are."""
        return split != "test" or (root / _fixed_start(self._layout.labels.text, split)).is_dir()

    def _grouped(
        self, pattern: PathPattern, root: Path, split: Split, wanted: Sequence[str] | None
    ) -> dict[str, dict[int, Path]]:
        found: dict[str, dict[int, Path]] = {}
        for title, number, path in pattern.matches(root, split, None if wanted is None else set(wanted)):
            numbers = found.setdefault(title, {})
            if number in numbers:
                raise InputError(
                    f"{path}: frame {number} is there twice, see {numbers[number].name}; move one out of the folder"
                )
            if self._is_empty(path):
                continue
            numbers[number] = path
        return {title: dict(sorted(numbers.items())) for title, numbers in found.items()}

    def _is_empty(self, path: Path) -> bool:
        """True for a picture of 0 bytes that is left out on request. Raises InputError for one that is not."""
        if path.stat().st_size:
            return False
        if not self._layout.skip_damaged:
            raise InputError(
                f"{path}: has 0 bytes; expected a picture, fetch it again or set skip_damaged: true to leave it out"
            )
        return True

    def _refuse_orphans(
        self, frames: Mapping[str, Mapping[int, Path]], labels: Mapping[str, Mapping[int, Path]]
    ) -> None:
        for title, numbers in labels.items():
            if title not in frames:
                path = next(iter(numbers.values()), Path(title))
                raise InputError(
                    f"{path}: label of a sequence without frames; {nearest(title, list(frames))}"
                )
            for number, path in numbers.items():
                if number not in frames[title] and not self._layout.skip_damaged:
                    raise InputError(
                        f"{path}: label without frame {number} of sequence {title}; add the frame or remove the label"
                    )

    def _sequence(self, name: str, frames: Mapping[int, Path], labels: Mapping[int, Path]) -> PictureSequence:
        place = {number: index for index, number in enumerate(frames)}
        marks = {place[number]: path for number, path in labels.items() if number in place}
        return PictureSequence(
            name,
            list(frames.values()),
            marks,
            self._layout.frame_rate_hz,
            self._read_label,
            self._orientation,
        )

    def _against_official(self, split: Split, count: int) -> Iterator[Finding]:
        official = self.expected.get(split)
        if official is not None and official != count:
            message = f"{count} sequences in split {split}, the official split has {official}"
            yield Finding(
                "warning", str(self._root), message, "numbers of other papers are for the whole split"
            )

    def _unlabelled(self, sequence: PictureSequence, split: Split) -> Iterator[Finding]:
        missing = sorted(set(range(len(sequence))) - set(sequence.labelled))
        if self._layout.every_frame_labelled and missing and (sequence.labelled or split != "test"):
            yield Finding(
                "error",
                str(sequence.frame_paths[missing[0]]),
                f"{len(missing)} of {len(sequence)} frames of sequence {sequence.name} have no label, this is the first",
                "fetch the labels again; every frame of this dataset has one",
            )

    def _channels(self, sequence: PictureSequence) -> Iterator[Finding]:
        """Whether another channel looks more like classes than the one that is read."""
        channel = self._layout.channel
        if channel is None or not sequence.labelled:
            return
        found: list[set[int] | None] = [set(), set(), set()]
        for path in sequence.label_paths.values():
            try:
                here = self._read_label.classes_by_channel(path)
            except InputError:
                return  # said by verify_sequence
            found = [
                a | b if a is not None and b is not None else None for a, b in zip(found, here, strict=True)
            ]
        counts = Counter({name: len(classes or ()) for name, classes in zip("RGB", found, strict=True)})
        best, number = counts.most_common(1)[0]
        if best != channel and number > 1:
            yield Finding(
                "error" if counts[channel] <= 1 else "warning",
                sequence.name,
                f"channel {channel} of its labels holds {counts[channel]} classes, channel {best} holds {number}",
                f"set channel: {best} if that one has the classes",
            )


def _fixed_start(pattern: str, split: Split) -> Path:
    """The folders of a pattern before its first placeholder."""
    parts = pattern.replace("{split}", split).split("/")[:-1]
    until = next((i for i, part in enumerate(parts) if _PLACEHOLDER.search(part)), len(parts))
    return Path(*parts[:until])


def read_split_list(root: Path, name: str) -> tuple[str, ...]:
    """Names of sequences in a text file, one a line. Raises InputError if it cannot be read or is empty."""
    path = inside(root, name)
    try:
        names = tuple(line.strip() for line in path.read_text("utf-8-sig").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); expected a list of sequences, one name a line"
        ) from error
    if not names:
        raise InputError(f"{path}: is empty; expected a list of sequences, one name a line")
    doubled = [entry for entry, times in Counter(names).items() if times > 1]
    if doubled:
        raise InputError(f"{path}: names {doubled[0]!r} twice; remove one")
    return names
