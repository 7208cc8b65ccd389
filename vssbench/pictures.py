"""Frames, label pictures and class tables on disk: reading them with checks, and sequences made of them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.dataset import VideoSequence
from vssbench.errors import InputError, spelled_out
from vssbench.records import IGNORE_INDEX, ClassTable, Finding

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable  # importlib.abc before Python 3.11

PICTURE_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".ppm")
LABEL_SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff")
"""Formats that can keep label values exactly; JPEG cannot."""
MAX_PIXELS = 1 << 26
"""Pictures that claim more pixels are refused before any is decoded."""

LabelReader = Callable[[Path], NDArray[np.uint8]]
"""Reads one label picture into class indices [H, W]."""


def _opened(path: Path) -> Image.Image:
    try:
        picture = Image.open(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the dataset's folder") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it; change its mode or owner") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not a readable picture ({error}); copy or export it again") from error
    if picture.width * picture.height > MAX_PIXELS:
        size = f"{picture.width}x{picture.height}"
        picture.close()
        raise InputError(
            f"{path}: claims {size} pixels, more than {MAX_PIXELS}; refused unread, scale it down"
        )
    return picture


def _loaded(path: Path, mode: Callable[[str], str | None]) -> NDArray[np.uint8]:
    """Pixels after conversion to `mode(own mode)` (None keeps them)."""
    with _opened(path) as picture:
        try:
            wanted = mode(picture.mode)
            return np.array(picture if wanted is None else picture.convert(wanted))
        except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
            raise InputError(
                f"{path}: damaged or truncated picture ({error}); expected {picture.width}x{picture.height} pixels, "
                "copy or export it again"
            ) from error


def read_image(path: Path) -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3]. Raises InputError if the file is missing, damaged or absurdly large."""
    return _loaded(path, lambda _: "RGB")


def picture_size(path: Path) -> tuple[int, int]:
    """(H, W) from the header, without decoding. Raises InputError."""
    with _opened(path) as picture:
        return picture.height, picture.width


def read_label_values(path: Path, *, colours: bool | None = None) -> NDArray[np.uint8]:
    """A label picture as stored: uint8 [H, W] values, or [H, W, 3] colours.

    `colours` False demands values (a palette picture gives its indices), True demands colours (a palette picture
    gives its palette's), None takes what the file has. Raises InputError naming the mode that was found.
    """
    found = ""

    def mode(own: str) -> str | None:
        nonlocal found
        found = own
        if colours is not False and own in ("RGB", "RGBA"):
            return "RGB"
        if colours and own == "P":
            return "RGB"
        if not colours and own in ("L", "P"):
            return None
        if not colours and own == "1":
            return "L"
        wanted = {
            True: "RGB or palette colours",
            False: "8-bit values or a palette",
            None: "8-bit values or RGB",
        }
        raise InputError(f"{path}: mode {own}, expected {wanted[colours]}; export the label in that form")

    values = _loaded(path, mode)
    if found == "1":
        values = (values > 0).astype(np.uint8)
    return values


class ValueTable:
    """Maps stored 8-bit label values to class indices."""

    def __init__(self, mapping: Mapping[int, int]) -> None:
        self._known = np.zeros(256, np.bool_)
        self._map = np.zeros(256, np.uint8)
        for value, index in mapping.items():
            self._known[value], self._map[value] = True, index

    def indices(self, values: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Class indices [H, W]. Raises InputError naming value, position and file of the first unknown value."""
        unknown = ~self._known[values]
        if unknown.any():
            row, column = (int(i) for i in np.unravel_index(int(np.argmax(unknown)), unknown.shape))
            known = np.flatnonzero(self._known).tolist()
            raise InputError(
                f"{path}: label value {int(values[row, column])} at column {column}, row {row} is not in the class "
                f"table; expected one of {_short(known)}; correct the label or the table (class-count mismatch?)"
            )
        return self._map[values]


class ColourTable:
    """Maps label colours to class indices; colours outside the table are an error, or `other` where given."""

    def __init__(self, mapping: Mapping[tuple[int, int, int], int], other: int | None = None) -> None:
        packed = sorted((r << 16 | g << 8 | b, index) for (r, g, b), index in mapping.items())
        self._codes = np.array([code for code, _ in packed], np.int32)
        self._indices = np.array([index for _, index in packed], np.uint8)
        self._other = other

    def indices(self, colours: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Class indices [H, W] of [H, W, 3]. Raises InputError naming colour, position and file of the first unknown."""
        found, unknown = self._looked_up(colours)
        if self._other is not None:
            found[unknown] = self._other
        elif unknown.any():
            row, column = (int(i) for i in np.unravel_index(int(np.argmax(unknown)), unknown.shape))
            raise InputError(
                f"{path}: label colour {tuple(colours[row, column].tolist())} at column {column}, row {row} is not in "
                f"the class table of {len(self._codes)} colours; expected exact colours: export the label without "
                "scaling or compression, or add the colour to the table"
            )
        return found

    def unknown(self, colours: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """[H, W] True where the colour is not in the table."""
        return self._looked_up(colours)[1]

    def _looked_up(self, colours: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        wide = colours.astype(np.int32)
        packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
        place = np.minimum(np.searchsorted(self._codes, packed), len(self._codes) - 1)
        return self._indices[place], self._codes[place] != packed


def _short(values: Sequence[int]) -> str:
    if len(values) > 6 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}..{values[-1]}"
    if len(values) > 6 and list(values[:-1]) == list(range(values[0], values[-2] + 1)):
        return f"{values[0]}..{values[-2]}, {values[-1]}"
    return ", ".join(str(value) for value in values)


def read_class_table(source: Path | Traversable) -> ClassTable:
    """Class table from CSV (name, red, green, blue[, index, category]) or JSON ({"names": [], "palette": []}).

    Rows are in index order; an index column must count from 0. JSON may add "categories" and "ignore_index".
    Raises InputError naming file, line and what was expected.
    """
    try:
        text = source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{source}: cannot read the class table ({error}); expected a CSV with the columns name, red, green, blue"
        ) from error
    try:
        return _table_from_json(text) if source.name.endswith(".json") else _table_from_csv(text)
    except (ValueError, KeyError, TypeError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise InputError(
            f"{source}: not a class table ({reason}); expected CSV columns name, red, green, blue, or JSON with "
            '"names" and "palette", one entry per class'
        ) from error


def _table_from_json(text: str) -> ClassTable:
    content = json.loads(text)
    names = tuple(str(name) for name in content["names"])
    palette = tuple(_colour(*colour) for colour in content["palette"])
    if "void" in content and len(palette) == len(names) + 1:
        palette = palette[: len(names)]
    categories = tuple(content["categories"]) if content.get("categories") else None
    return _checked(ClassTable(names, palette, int(content.get("ignore_index", IGNORE_INDEX)), categories))


def _table_from_csv(text: str) -> ClassTable:
    rows = list(csv.DictReader(io.StringIO(text)))
    for number, row in enumerate(rows):
        if row.get("index") not in (None, "") and int(row["index"]) != number:
            raise ValueError(f"line {number + 2} has index {row['index']}, expected {number}")
    categories = tuple(row["category"] for row in rows) if rows and "category" in rows[0] else None
    palette = tuple(_colour(row["red"], row["green"], row["blue"]) for row in rows)
    return _checked(ClassTable(tuple(row["name"] for row in rows), palette, IGNORE_INDEX, categories))


def _colour(red: object, green: object, blue: object) -> tuple[int, int, int]:
    values = (int(str(red)), int(str(green)), int(str(blue)))
    if not all(0 <= value <= 255 for value in values):
        raise ValueError(f"colour {values} is outside 0..255")
    return values


def _checked(table: ClassTable) -> ClassTable:
    if not 1 <= len(table) <= 255:
        raise ValueError(f"{len(table)} classes, expected 1 to 255")
    for kind, entries in (("name", table.names), ("colour", table.palette)):
        repeated = sorted({str(entry) for entry in entries if list(entries).count(entry) > 1})
        if repeated:
            raise ValueError(f"{kind} {', '.join(repeated)} is used twice")
    return table


def require_folder(path: Path, remedy: str) -> Path:
    """`path` itself. Raises InputError if it is not a folder that can be listed."""
    if not path.is_dir():
        what = "is a file" if path.exists() else "no such folder"
        raise InputError(f"{spelled_out(path)}: {what}; expected a folder: {remedy}")
    return path


def inside(root: Path, name: str) -> Path:
    """root/name. Raises InputError if `name` is absolute or climbs out with '..'."""
    parts = Path(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{name!r}: must stay inside {root}; give a relative path without '..'")
    return root / parts


def list_pictures(folder: Path, suffixes: Sequence[str] = PICTURE_SUFFIXES) -> dict[str, Path]:
    """Pictures in a folder by stem, sorted by name; hidden files are left out.

    Raises InputError if the folder is missing, unreadable, or holds two pictures of one stem.
    """
    require_folder(folder, "check the root and the layout in the dataset's README")
    found: dict[str, Path] = {}
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); change its mode or owner"
        ) from error
    for name in names:
        path = folder / name
        if path.suffix.lower() not in suffixes:
            continue
        if path.stem in found:
            raise InputError(
                f"{path}: a second picture named {path.stem} beside {found[path.stem].name}; remove one"
            )
        found[path.stem] = path
    return found


def safe_name(text: str) -> str:
    """A sequence name made of letters, digits, '-', '_' and '.' only."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".") or "sequence"


def files_identity(paths: Sequence[Path]) -> str:
    """Hash over name, size and modification time of files; reads no content. Raises InputError if one is missing."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror or error}; check the dataset's folder") from error
        digest.update(f"{path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
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
    ) -> None:
        if not frames:
            raise InputError(f"sequence {name} is empty; expected at least one frame")
        self.name = safe_name(name)
        self.frame_rate_hz = frame_rate_hz
        self.frame_paths = list(frames)
        self.label_paths = dict(sorted(labels.items()))
        self._read_label = read_label
        self._size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:  # type: ignore[override]
        """(H, W) of every frame, from the header of the first."""
        if self._size is None:
            self._size = picture_size(self.frame_paths[0])
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
        image = read_image(path)
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
            raise InputError(
                f"{path}: label of {label.shape[1]}x{label.shape[0]} pixels for a frame of {self.size[1]}x{self.size[0]} "
                f"({self.frame_paths[index].name}); expected equal sizes, rescale labels with nearest neighbour"
            )
        return label

    @property
    def identity(self) -> str:
        """Hash over paths, sizes and times of the frames."""
        return f"pictures {files_identity(self.frame_paths)}"


def verify_sequence(sequence: VideoSequence) -> Iterator[Finding]:
    """Read every frame and label once; yields an error per bad file and one line for the sequence."""
    bad = 0
    labelled = set(sequence.labelled)
    for index in range(len(sequence)):
        for read, wanted in ((sequence.image, True), (sequence.label, index in labelled)):
            if not wanted:
                continue
            try:
                read(index)
            except InputError as error:
                bad += 1
                subject, _, rest = str(error).partition(": ")
                yield Finding("error", subject, rest or str(error))
    if not labelled:
        yield Finding("warning", sequence.name, "no frame has a label", "it can be encoded, not scored")
    elif bad == 0:
        height, width = sequence.size
        text = f"{len(sequence)} frames of {width}x{height} at {sequence.frame_rate_hz:g} Hz, {len(labelled)} labelled"
        yield Finding("ok", sequence.name, text)
