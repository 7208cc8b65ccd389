"""The contract a dataset implements: labelled frame sequences with a class table."""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator

from vssbench.records import ClassTable, Finding, FlowField, Normalisation

Split = Literal["train", "val", "test"]

OrientationOption = Literal["upright", "stored"]
"""upright: turned as the file asks its viewers to (EXIF, XMP, display matrix). stored: as the samples lie in the file."""

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class DatasetOptions(BaseModel):
    """Base of every dataset's options; unknown keys are refused, and a leading ~ of a path means the home folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*")
    @classmethod
    def _without_tilde(cls, value: object) -> object:
        try:
            return value.expanduser() if isinstance(value, Path) else value
        except RuntimeError as error:
            raise ValueError(f"{value}: {error}") from error


class FileOptions(DatasetOptions):
    """Options that all datasets of files share."""

    root: Path
    """Folder that holds the dataset."""
    orientation: OrientationOption = "upright"
    """upright: frames and labels are turned as their files ask viewers to. stored: they are left as they lie there."""


def safe_name(title: str) -> str:
    """The name of a sequence with this title: letters, digits, '-', '_' and '.' only, at most 100 of them.

    A title that is such a name stays as it is; any other gets a checksum, so that different titles give different
    names, whatever else the dataset holds: 'drive' -> 'drive', 'a b' -> 'a-b-...', 'улица' -> 'sequence-...'.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip(".")
    if plain == title and 0 < len(title) <= 100:
        return title
    return _with_checksum(plain[:60].strip("-.") or "sequence", title)


def distinct_names(titles: Sequence[str], full_titles: Sequence[str]) -> list[str]:
    """Names of the sequences of a dataset, different even where a file system takes capitals for small letters.

    `titles` name the sequences; where two names are alike, `full_titles` (with the file's suffix) decide, and where
    these are alike too, a checksum of them: drive.mp4 drive.mkv -> drive.mp4 drive.mkv; Drive drive -> Drive-... drive.
    """
    names = [safe_name(title) for title in titles]
    for rename in (safe_name, lambda full: _with_checksum(safe_name(full)[:80], full)):
        times = Counter(name.lower() for name in names)
        names = [
            rename(full) if times[name.lower()] > 1 and name != full.lower() else name
            for name, full in zip(names, full_titles, strict=True)
        ]
    return names


def _with_checksum(name: str, title: str) -> str:
    return f"{name}-{hashlib.sha256(title.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}"


@dataclass(frozen=True, slots=True)
class CodedFile:
    """The video file that a sequence's frames are decoded from, and how."""

    path: Path
    stream: int | None = None
    """Index of the video stream; None: the file's main one."""
    orientation: OrientationOption = "upright"
    partial: bool = False
    """Of a damaged file, use the groups of pictures that are sound."""


class VideoSequence(ABC):
    """Ordered frames of one camera take. Frames are read on demand; nothing large is kept."""

    name: str
    """Unique inside its dataset and split; see `safe_name` (it becomes a file name)."""
    frame_rate_hz: float
    size: tuple[int, int]
    """(H, W) of every frame."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @property
    @abstractmethod
    def labelled(self) -> Sequence[int]:
        """Ascending indices of the frames that have a label."""

    @abstractmethod
    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB frame uint8 [H, W, 3]. Raises InputError naming the file if it cannot be read."""

    @abstractmethod
    def label(self, index: int) -> NDArray[np.uint8]:
        """Label map uint8 [H, W]: class index or `ClassTable.ignore_index`. Raises InputError."""

    def frame_files(self) -> Sequence[Path] | None:
        """The files that, with the dataset's options, decide the frames; None: `identity` says all of them."""
        return None

    def label_files(self) -> Sequence[Path] | None:
        """The file of each frame in `labelled`; (): `identity` decides the labels too; None: the label maps are read."""
        return None

    def flow_to_previous(self, index: int) -> FlowField | None:
        """Exact motion towards frame index-1 with its occlusion mask, where the dataset knows it."""
        return None

    @property
    def coded_file(self) -> CodedFile | None:
        """Where `image` takes its frames from, if that is a video file, which the codec source then reads as it is.

        Frame i of the sequence must be picture i that `decode` gives of it.
        """
        return None

    def remarks(self) -> Sequence[str]:
        """What a user must know about how the frames were read, one sentence each with the choice there is."""
        return ()

    @property
    @abstractmethod
    def identity(self) -> str:
        """Stable text that changes whenever the frames could: generator version and seed, or path, size and time.

        It keys the bitstream cache, so it must be cheap and need no decoding.
        """


class Dataset(ABC):
    """A named collection of sequences. Constructed as `Dataset(options)` from its validated options."""

    Options: ClassVar[type[DatasetOptions]]
    classes: ClassTable
    normalisation: Normalisation = IMAGENET
    """For networks trained on this dataset, and for weights that do not say theirs."""
    protocol_mark: str = ""
    """Label convention, '' where there is only one; any but 'standard', the field's usual one, is a warning of reports."""

    @abstractmethod
    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Sequences of a split, sorted by name. Raises InputError if the files are not there."""

    @abstractmethod
    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Check files, sizes, label values and pairing; yields findings as it goes."""
