"""Folders of pictures on disk: what lies in them, its order, the names of sequences, and sequences made of them."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vssbench.dataset import OrientationOption, VideoSequence, safe_name
from vssbench.errors import InputError, spelled_out
from vssbench.pictures import (
    LABEL_SUFFIXES,
    PICTURE_SUFFIXES,
    declared_turn,
    picture_size,
    read_image,
    stored_bits,
)
from vssbench.records import Finding

LabelReader = Callable[[Path], NDArray[np.uint8]]
"""Reads one label picture into class indices [H, W]."""

_CLUTTER = frozenset(
    ("__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information", "lost+found", "thumbs.db",
     "ehthumbs.db", "desktop.ini")
)  # fmt: skip
"""What file managers and storage boxes leave behind, in lower case."""
_UNREAD_SUFFIXES = frozenset(
    (
        ".jpe",
        ".jfif",
        ".jp2",
        ".j2k",
        ".jxl",
        ".gif",
        ".avif",
        ".heic",
        ".heif",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".tga",
        ".pcx",
        ".psd",
        ".eps",
        ".dds",
        ".exr",
        ".hdr",
        ".dng",
        ".raw",
        ".svg",
        ".npy",
        ".npz",
        ".mat",
    )
)
"""Pictures and arrays that are not read: named instead of passed over, so that no frame is missing without a word."""
_NUMBER = re.compile(r"([0-9]+)")


def is_clutter(name: str) -> bool:
    """True for hidden files and for what systems leave in folders: ._x, .DS_Store, __MACOSX, @eaDir, Thumbs.db."""
    return name.startswith(".") or name.lower() in _CLUTTER


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key by which numbers count as numbers: frame1, frame2, frame10."""
    parts = _NUMBER.split(name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def require_folder(path: Path, remedy: str) -> Path:
    """`path` itself. Raises InputError if it is not a folder."""
    if not path.is_dir():
        what = (
            "is a file" if path.is_file() else "is no folder" if os.path.lexists(path) else "no such folder"
        )
        raise InputError(f"{spelled_out(path)}: {what}; expected a folder: {remedy}")
    return path


def inside(root: Path, name: str) -> Path:
    """root/name. Raises InputError if `name` is absolute, climbs out with '..', or begins with ~."""
    parts = Path(name)
    if parts.is_absolute() or ".." in parts.parts or parts.parts[:1] == ("~",):
        raise InputError(f"{name!r}: must stay inside {root}; give a relative path without '..' or '~'")
    return root / parts


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder without clutter, in natural order. Raises InputError if it cannot be listed."""
    require_folder(folder, "check the root and the layout in the dataset's README")
    try:
        names = [name for name in os.listdir(folder) if not is_clutter(name)]
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); change its mode or owner"
        ) from error
    return [folder / name for name in sorted(names, key=natural_key)]


def list_pictures(folder: Path, suffixes: Sequence[str] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Pictures in a folder by stem, in natural order of their names; clutter and other files are left out.

    Raises InputError if the folder cannot be listed, holds two pictures of one stem, or a picture that is not read.
    """
    found: dict[str, Path] = {}
    for path in list_folder(folder):
        suffix = path.suffix.lower()
        if suffix not in suffixes:
            if suffix in _UNREAD_SUFFIXES or suffix in PICTURE_SUFFIXES:
                raise InputError(f"{path}: {_unread(suffix, suffixes)}")
            continue
        if path.stem in found:
            raise InputError(
                f"{path}: a second picture named {path.stem} beside {found[path.stem].name}; move one out of the folder"
            )
        found[path.stem] = path
    return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))


def _unread(suffix: str, suffixes: Sequence[str]) -> str:
    if suffixes == LABEL_SUFFIXES and suffix in (".jpg", ".jpeg", ".jpe", ".jfif", ".avif", ".heic", ".heif"):
        return (
            "labels cannot be stored with lossy compression, which changes their values; expected PNG, export them from "
            "their source again or move the file out of the folder"
        )
    return f"{suffix} is not read here; expected {', '.join(suffixes)}: convert it without loss or move it out of the folder"


def holds_pictures(folder: Path) -> bool:
    """True if a picture or an array lies directly in the folder. Raises InputError if it cannot be listed."""
    known = _UNREAD_SUFFIXES.union(PICTURE_SUFFIXES)
    return any(path.suffix.lower() in known for path in list_folder(folder))


def resembling(name: str, known: Iterable[str]) -> str:
    """'' or a remark on a known name that is the same but for case or the form of its Unicode letters."""

    def plain(text: str) -> str:
        return unicodedata.normalize("NFC", text).casefold()

    twin = next((other for other in known if plain(other) == plain(name)), None)
    return f" ({twin!a} differs from {name!a} in case or in the form of its letters only)" if twin else ""


def files_identity(paths: Sequence[Path]) -> str:
    """Hash over name, size and times of files; reads no content. Raises InputError if one is missing."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}; check the dataset's folder") from error
        text = f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_ctime_ns}\n"
        digest.update(text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


class PictureSequence(VideoSequence):
    """A sequence of picture files, some with a label picture. Files are opened when a frame is asked for."""

    def __init__(
        self,
        name: str,
        frames: Sequence[Path],
        labels: Mapping[int, Path],
        frame_rate_hz: float,
        read_label: LabelReader,
        orientation: OrientationOption = "upright",
    ) -> None:
        if not frames:
            raise InputError(f"sequence {name} is empty; expected at least one frame")
        self.name = safe_name(name)
        self.frame_rate_hz = frame_rate_hz
        self.frame_paths = list(frames)
        self.label_paths = dict(sorted(labels.items()))
        self.orientation = orientation
        self._read_label = read_label
        self._size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """(H, W) of every frame, from the header of the first."""
        if self._size is None:
            self._size = picture_size(self.frame_paths[0], orientation=self.orientation)
        return self._size

    def __len__(self) -> int:
        return len(self.frame_paths)

    @property
    def labelled(self) -> Sequence[int]:
        """Ascending indices of the frames that have a label."""
        return list(self.label_paths)

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB frame. Raises InputError if the file is damaged or its size differs from the first frame's."""
        if not 0 <= index < len(self):
            raise InputError(f"sequence {self.name} has frames 0..{len(self) - 1}, asked for {index}")
        path = self.frame_paths[index]
        image = read_image(path, orientation=self.orientation)
        if image.shape[:2] != self.size:
            raise InputError(
                f"{path}: {image.shape[1]}x{image.shape[0]} pixels, but {self.frame_paths[0].name} has "
                f"{self.size[1]}x{self.size[0]}; expected one size per sequence, split or rescale it"
            )
        return image

    def label(self, index: int) -> NDArray[np.uint8]:
        """Label map. Raises InputError if there is none, its size is not the frame's, or a value is unknown."""
        path = self.label_paths.get(index)
        if path is None:
            raise InputError(f"sequence {self.name}: frame {index} has no label; see `labelled`")
        label = self._read_label(path)
        if label.shape != self.size:
            turned = label.shape == self.size[::-1] and declared_turn(self.frame_paths[index]) != 1
            remedy = (
                "the frame is turned by its EXIF orientation: set orientation to stored if labels belong to stored pictures"
                if turned and self.orientation == "upright"
                else "expected equal sizes, export the label at the frame's size or rescale it with nearest neighbour"
            )
            raise InputError(
                f"{path}: label of {label.shape[1]}x{label.shape[0]} pixels for a frame of {self.size[1]}x{self.size[0]} "
                f"({self.frame_paths[index].name}); {remedy}"
            )
        return label

    def frame_files(self) -> Sequence[Path]:
        """The pictures."""
        return self.frame_paths

    def label_files(self) -> Sequence[Path]:
        """The label pictures."""
        return list(self.label_paths.values())

    def remarks(self) -> Sequence[str]:
        """Says that frames are, or are not, turned by their orientation; looks at the first frame only."""
        return list(self._turn_remark(self.frame_paths[:1]))

    def all_remarks(self) -> Iterator[str]:
        """The same about every frame, and what is odd about the numbers of the frames."""
        yield from self._turn_remark(self.frame_paths)
        yield from numbering_remarks([path.stem for path in self.frame_paths])

    def _turn_remark(self, paths: Sequence[Path]) -> Iterator[str]:
        turns = [(path, turn) for path in paths if (turn := declared_turn(path)) != 1]
        if not turns:
            return
        path, turn = turns[0]
        found = f"{path.name} declares EXIF orientation {turn}"
        if len(paths) > 1:
            found = f"{len(turns)} of {len(paths)} frames declare an EXIF orientation, the first is {path.name} with {turn}"
        if self.orientation == "upright":
            yield f"{found}; frames are turned as viewers show them, set orientation to stored if labels were made on stored pictures"
        else:
            yield f"{found}; frames are read as stored, because orientation is set to stored"

    @property
    def identity(self) -> str:
        """Hash over paths, sizes and times of the frames."""
        mark = "" if self.orientation == "upright" else f"{self.orientation} "
        return f"pictures {mark}{files_identity(self.frame_paths)}"


def numbering_remarks(stems: Sequence[str]) -> Iterator[str]:
    """Says where numbers of frames in order jump or repeat, and where text order would be another.

    f1 f2 f3 f7 -> a gap after f3; f0 f5 f10 -> nothing, every step is alike.
    """
    decimals = re.compile(r"[0-9]+\.([0-9]+)")
    digits = {len(match[1]) for stem in stems if (match := decimals.fullmatch(stem))}
    if len(digits) > 1:
        yield (
            "numbers behind the point are read as whole numbers (1.9 before 1.10); write them with equally many digits if "
            "they are fractions"
        )
    columns = list(zip(*(_NUMBER.findall(stem) for stem in stems), strict=False))
    counting = [column for column in columns if len(set(column)) > 1]
    if len(counting) != 1 or len({_NUMBER.sub("0", stem) for stem in stems}) > 1:
        return  # names that differ in more than one number
    numbers = [int(number) for number in counting[0]]
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    times = Counter(steps)
    usual = max(times, key=lambda step: (times[step], step > 0, -step), default=0)
    odd = [place for place, step in enumerate(steps) if step != usual or step < 1]
    if odd:
        place = odd[0]
        yield (
            f"frame numbers do not go on evenly at {len(odd)} place(s), the first is {stems[place]} before {stems[place + 1]}; "
            "motion and speed across a gap are not those of the camera: add the missing frames or split the sequence"
        )


def verify_sequence(sequence: VideoSequence) -> Iterator[Finding]:
    """Read every frame and label once; yields an error per bad file, remarks, and one line for the sequence."""
    bad, brightest = 0, 0
    labelled = set(sequence.labelled)
    for index in range(len(sequence)):
        for read, wanted in ((sequence.image, True), (sequence.label, index in labelled)):
            if not wanted:
                continue
            try:
                pixels = read(index)
            except InputError as error:
                bad += 1
                yield as_finding(error)
            else:
                brightest = max(brightest, int(pixels.max())) if read == sequence.image else brightest
    if bad:
        return
    remarks = list(sequence.remarks())
    if isinstance(sequence, PictureSequence):
        remarks = [*sequence.all_remarks(), *_darkness(brightest, sequence.frame_paths[0])]
    for remark in remarks:
        message, _, remedy = remark.partition("; ")
        yield Finding("warning", sequence.name, message, remedy)
    if not labelled:
        yield Finding("warning", sequence.name, "no frame has a label", "it can be encoded, not scored")
        return
    height, width = sequence.size
    text = f"{len(sequence)} frames of {width}x{height} at {sequence.frame_rate_hz:g} Hz, {len(labelled)} labelled"
    yield Finding("ok", sequence.name, text)


def _darkness(brightest: int, path: Path) -> Iterator[str]:
    if brightest < 16 and stored_bits(path) > 8:
        yield (
            f"frames of {stored_bits(path)} bits have no sample above {brightest} of 255; if samples of 8, 10 or 12 bits "
            "were put into them without scaling, store them with their own depth or scale them"
        )


def as_finding(error: InputError) -> Finding:
    """What `verify` says about an error that reading raises."""
    subject, _, rest = str(error).partition(": ")
    return Finding("error", subject, rest or str(error))
