"""Class tables on disk, and what turns label values and colours into class indices."""

from __future__ import annotations

import codecs
import colorsys
import csv
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vssbench.errors import ConfigError, InputError, nearest
from vssbench.pictures import require_regular
from vssbench.records import IGNORE_INDEX, ClassTable

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

NAMED_TABLES = {
    "camvid11": "vssbench.datasets.synthetic",
    "cityscapes19": "vssbench.datasets.cityscapes",
    "vspw124": "vssbench.datasets.vspw",
}
"""Name of a packaged class table -> package whose classes.csv it is."""
MAX_TABLE_BYTES = 1 << 20
_SHORT_NAMES = {"r": "red", "g": "green", "b": "blue"}
_COLUMNS = ("name", "red", "green", "blue")


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


def named_table(name: str) -> ClassTable:
    """The packaged class table camvid11, cityscapes19 or vspw124. Raises ConfigError for another name."""
    if name not in NAMED_TABLES:
        raise ConfigError(f"no class table named {name!r}; {nearest(name, list(NAMED_TABLES))}")
    return read_class_table(files(NAMED_TABLES[name]) / "classes.csv")


def coloured(names: Sequence[str]) -> ClassTable:
    """Classes without a table, in colours that differ."""
    hues = [
        colorsys.hsv_to_rgb(i * 0.618 % 1, 0.85 - 0.3 * (i % 2), 1 - 0.25 * (i % 3))
        for i in range(len(names))
    ]
    return ClassTable(
        tuple(names), tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in hues)
    )


def _short(values: Sequence[int]) -> str:
    if len(values) > 6 and list(values) == list(range(values[0], values[-1] + 1)):
        return f"{values[0]}..{values[-1]}"
    if len(values) > 6 and list(values[:-1]) == list(range(values[0], values[-2] + 1)):
        return f"{values[0]}..{values[-2]}, {values[-1]}"
    return ", ".join(str(value) for value in values)


def read_class_table(source: Path | Traversable) -> ClassTable:
    """Class table from CSV (name, red, green, blue[, index, category]) or JSON ({"names": [], "palette": []}).

    CSV cells are parted by commas, semicolons or tabs; r, g, b may stand for the colours, columns may have any order;
    empty lines and lines that begin with # are passed over. Rows are in index order; an index column must count from
    0. JSON may add "categories" and "ignore_index". UTF-8, or UTF-16 with its mark, as spreadsheets save it.
    Raises InputError naming file, line and what was expected.
    """
    text = _text(source)
    try:
        return _table_from_json(text) if source.name.lower().endswith(".json") else _table_from_csv(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise InputError(
            f"{source}: not a class table ({error}); expected CSV columns name, red, green, blue, or JSON with "
            '"names" and "palette", one entry per class'
        ) from error


def _text(source: Path | Traversable) -> str:
    if isinstance(source, Path):
        require_regular(source)
    try:
        with source.open("rb") as file:
            data = file.read(MAX_TABLE_BYTES + 1)
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{source}: cannot read the class table ({error}); expected a CSV with the columns name, red, green, blue, "
            "saved as UTF-8"
        ) from error
    if len(data) > MAX_TABLE_BYTES:
        raise InputError(
            f"{source}: larger than {MAX_TABLE_BYTES} bytes; expected a class table, correct the path"
        )
    return text


def _table_from_json(text: str) -> ClassTable:
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError('no object with "names" and "palette"')
    names, palette = _listed(content, "names"), _listed(content, "palette")
    if "void" in content and len(palette) == len(names) + 1:
        palette = palette[:-1]
    for place, colour in enumerate(palette):
        if not isinstance(colour, list) or len(colour) != 3 or not all(type(part) is int for part in colour):
            raise ValueError(f"palette entry {place} is {colour!r:.60}, expected three whole numbers")
    categories = tuple(_listed(content, "categories")) if content.get("categories") else None
    return _checked(
        names, [tuple(colour) for colour in palette], categories, content.get("ignore_index", IGNORE_INDEX)
    )


def _listed(content: dict[str, Any], key: str) -> list[Any]:
    if not isinstance(content.get(key), list):
        raise ValueError(f"no list {key!r}")
    return list(content[key])


def _table_from_csv(text: str) -> ClassTable:
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip(" \t,;") and not line.lstrip().startswith("#")
    ]
    if not lines:
        raise ValueError("it is empty")
    delimiter = max(",;\t", key=lines[0][1].count)
    header, *rows = [(number, _cells(line, delimiter)) for number, line in lines]
    columns = [_SHORT_NAMES.get(cell.lower(), cell.lower()) for cell in header[1]]
    for column in _COLUMNS:
        if columns.count(column) != 1:
            found = "no" if column not in columns else "more than one"
            raise ValueError(f"{found} {column!r} in the header {delimiter.join(header[1])!r:.80}")
    entries = [_entry(number, cells, columns, place) for place, (number, cells) in enumerate(rows)]
    colours = [(int(entry["red"]), int(entry["green"]), int(entry["blue"])) for entry in entries]
    categories = tuple(entry["category"] for entry in entries) if "category" in columns else None
    return _checked([entry["name"] for entry in entries], colours, categories, IGNORE_INDEX)


def _cells(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))]


def _entry(number: int, cells: Sequence[str], columns: Sequence[str], place: int) -> dict[str, str]:
    """One row by column. Raises ValueError naming the line."""
    if len(cells) < len(columns) or any(cells[len(columns) :]):
        raise ValueError(f"line {number} has {len(cells)} cells, expected {len(columns)}")
    entry = dict(zip(columns, cells, strict=False))
    for column in ("red", "green", "blue"):
        if not re.fullmatch("[0-9]{1,9}", entry[column]):
            raise ValueError(f"line {number}: {column} is {entry[column]!r}, expected a whole number")
    if entry.get("index") and entry["index"] != str(place):
        raise ValueError(f"line {number} has index {entry['index']}, expected {place}")
    return entry


def _checked(
    names: Sequence[Any], palette: Sequence[Any], categories: tuple[Any, ...] | None, ignore_index: Any
) -> ClassTable:
    if not 1 <= len(names) <= 255:
        raise ValueError(f"{len(names)} classes, expected 1 to 255")
    for place, name in enumerate([*names, *(categories or ())]):
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ValueError(f"class {place % len(names)} is named {name!r:.60}, expected printable text")
    for colour in palette:
        if not all(0 <= value <= 255 for value in colour):
            raise ValueError(f"colour {colour} is outside 0..255")
    for kind, entries in (("name", names), ("colour", palette)):
        repeated = sorted({str(entry) for entry in entries if list(entries).count(entry) > 1})
        if repeated:
            raise ValueError(f"{kind} {', '.join(repeated)} is used twice")
    return ClassTable(tuple(names), tuple(palette), ignore_index, categories)
