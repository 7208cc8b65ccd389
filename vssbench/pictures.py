"""Pixels of frames and label pictures: the format that the suffix promises, the file's own depth, turned as viewers do.

Nothing is ever clipped: a frame is scaled from its depth to 8 bits, a label keeps the values that were written, and
what cannot be read so is refused by name. No other program is started, whatever a file holds.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vssbench.dataset import OrientationOption
from vssbench.errors import InputError
from vssbench.files import content_of

FORMATS = {
    ".png": "PNG", ".webp": "WEBP", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF",
    ".ppm": "PPM",
}  # fmt: skip
"""What a file of each suffix must hold."""
PICTURE_SUFFIXES = tuple(FORMATS)
LABEL_SUFFIXES = (".png", ".webp", ".bmp", ".tif", ".tiff")
"""Formats that can keep label values exactly; JPEG cannot."""
MAX_PIXELS = 1 << 26
"""Pictures that claim more pixels are refused before any is decoded."""

_DAMAGE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError,
    ArithmeticError, struct.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged files."""
_READABLE_MODES = ("1", "L", "P", "RGB", "RGBX", "YCbCr", "LA", "PA", "RGBA")
_TAG_BITS, _TAG_WHITE_IS, _TAG_ORIENTATION, _TAG_SAMPLE_FORMAT = 258, 262, 274, 339
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_INVERSE_TURN = {6: 8, 8: 6}


def read_image(path: Path, *, orientation: OrientationOption = "upright") -> NDArray[np.uint8]:
    """RGB uint8 [H, W, 3].

    Samples of 1, 2 and 4 bits are spread over 0..255; of more than 8 bits the highest 8 count, as in OpenCV and FFmpeg.
    Colour profiles and gamma are not applied. Raises InputError if the file is missing, damaged, absurdly large, or
    holds what has no exact RGB: floats, 32-bit integers, CMYK, transparent pixels, several pictures.
    """
    with _decoded(path) as picture:
        turn = _declared_turn(picture, path)
        return _turned(_rgb(picture, path), turn, picture, orientation)


def read_label_values(
    path: Path, *, colours: bool | None = None, orientation: OrientationOption = "upright"
) -> NDArray[np.uint8]:
    """A label picture as written: uint8 [H, W] values, or [H, W, 3] colours.

    Values are the samples of 1, 2, 4, 8 or 16 bits themselves. `colours` False demands values (a palette picture gives
    its indices), True demands colours (a palette picture gives its palette's), None takes what the file has. Raises
    InputError naming what was found, for values above 255, and for lossy compression.
    """
    with _decoded(path) as picture:
        turn = _declared_turn(picture, path)
        _refuse_lossy(picture, path)
        colour = picture.mode in ("RGB", "RGBA") or (bool(colours) and picture.mode in ("P", "PA"))
        value = picture.mode in ("1", "L", "LA", "P", "PA") or picture.mode.startswith("I")
        if colours is (not colour) or not (colour or value):
            wanted = {
                True: "RGB or palette colours",
                False: "whole numbers or a palette",
                None: "whole numbers or RGB",
            }
            raise InputError(
                f"{path}: mode {picture.mode}, expected {wanted[colours]}; export the label in that form"
            )
        read = _label_colours if colour else _label_values
        return _turned(read(picture, path), turn, picture, orientation)


def picture_size(path: Path, *, orientation: OrientationOption = "upright") -> tuple[int, int]:
    """(H, W) from the header. Raises InputError."""
    with _decoded(path) as picture:
        width, height = picture.size
        if picture.format == "TIFF" and _tag(picture, _TAG_ORIENTATION, 1) in (5, 6, 7, 8):
            width, height = height, width  # Pillow tells the size after turning
        sideways = orientation == "upright" and _declared_turn(picture, path) >= 5
        return (width, height) if sideways else (height, width)


def stored_bits(path: Path) -> int:
    """Bits of a sample in the file. Raises InputError."""
    with _decoded(path) as picture:
        return _bits(picture, path)


def declared_turn(path: Path) -> int:
    """The EXIF orientation that a picture declares, 1 (upright) to 8. Raises InputError."""
    with _decoded(path) as picture:
        return _declared_turn(picture, path)


def require_regular(path: Path) -> None:
    """Raises InputError unless `path` is a file whose bytes can be read without waiting for another program."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; check the dataset's folder") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({reason}); check the link, its mode and owner") from error
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        what = kinds.get(stat.S_IFMT(mode), "a device")
        raise InputError(f"{path}: is {what}; expected a regular file, move it out of the dataset")


@contextmanager
def _decoded(path: Path) -> Iterator[Image.Image]:
    """The opened picture; what goes wrong while it is in use becomes one InputError."""
    with _opened(path) as picture:
        try:
            yield picture
        except MemoryError as error:
            raise InputError(
                f"{path}: no memory for {picture.width}x{picture.height} pixels; free some or scale the picture down"
            ) from error
        except _DAMAGE as error:
            raise InputError(
                f"{path}: damaged or truncated picture ({error}); expected {picture.width}x{picture.height} pixels, "
                "copy or export it again"
            ) from error


def _opened(path: Path) -> Image.Image:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: not a picture's suffix; expected one of {', '.join(PICTURE_SUFFIXES)}")
    require_regular(path)
    try:
        picture = Image.open(path, formats=(kind,))
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it; change its mode or owner") from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{path}: not a readable picture of the kind {kind}, which its name promises ({_content(path)}); "
            "copy it again, or export it as what it is named"
        ) from error
    except _DAMAGE as error:
        raise InputError(f"{path}: not a readable picture ({error}); copy or export it again") from error
    try:
        _refuse_size_and_count(picture, path)
    except BaseException:
        picture.close()
        raise
    return picture


def _content(path: Path) -> str:
    with open(path, "rb") as file:
        return content_of(file.read(32)) or "its header is damaged or of another format"


def _refuse_size_and_count(picture: Image.Image, path: Path) -> None:
    if picture.width * picture.height > MAX_PIXELS:
        raise InputError(
            f"{path}: claims {picture.width}x{picture.height} pixels, more than {MAX_PIXELS}; refused unread, scale it down"
        )
    several = picture.format in ("PNG", "WEBP") and getattr(picture, "is_animated", False)
    if picture.format == "TIFF":
        try:
            picture.seek(1)
            several = True
        except _DAMAGE:
            picture.seek(0)
    if several:
        raise InputError(
            f"{path}: holds several pictures (an animation or pages); expected one a file, save each on its own"
        )


def _tag(picture: Image.Image, tag: int, default: int) -> int:
    """The largest number of a TIFF tag."""
    value: Any = picture.tag_v2.get(tag, default)  # type: ignore[attr-defined]
    return max(value) if isinstance(value, tuple) and value else value if isinstance(value, int) else default


def _bits(picture: Image.Image, path: Path) -> int:
    """Bits of a sample as stored."""
    if picture.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]  # IHDR is the first chunk
    if picture.format == "TIFF":
        return _tag(picture, _TAG_BITS, 1)
    return 16 if picture.mode.startswith("I") else 8


def _declared_turn(picture: Image.Image, path: Path) -> int:
    """The orientation that the file declares, from 1 to 8; to be asked before decoding, which makes Pillow forget it."""
    if picture.format == "PNG":
        if not _png_describes_itself(path):
            return 1
        picture.load()  # the description may lie behind the samples
    try:
        turn = picture.getexif().get(_TAG_ORIENTATION)
    except _DAMAGE:
        return 1  # viewers pass over EXIF data that they cannot read
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _png_describes_itself(path: Path) -> bool:
    """True if a chunk may hold EXIF or XMP data; saves decoding a PNG for its size."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            if head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(int.from_bytes(head[:4]) + 4, os.SEEK_CUR)
    return False


def _turned(
    pixels: NDArray[np.uint8], turn: int, picture: Image.Image, orientation: OrientationOption
) -> NDArray[np.uint8]:
    """Pixels in the wanted orientation. Pillow has turned a TIFF while decoding it, and nothing else."""
    done = picture.format == "TIFF"
    if done == (orientation == "upright"):
        return pixels
    if done:
        turn = _INVERSE_TURN.get(turn, turn)
    if turn >= 5:
        pixels = pixels.swapaxes(0, 1)
    if turn in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _rgb(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    bits = _bits(picture, path)
    if picture.format == "TIFF" and _tag(picture, _TAG_SAMPLE_FORMAT, 1) != 1:
        raise _without_rgb(path, f"signed or floating-point samples of {bits} bits")
    if picture.mode.startswith("I"):
        return _highest_bits(picture, path, bits)
    if picture.mode not in _READABLE_MODES:
        raise _without_rgb(path, f"mode {picture.mode}")
    if _has_transparent_pixels(picture, bits):
        raise InputError(
            f"{path}: has transparent pixels, whose colour depends on what lies behind; lay it on a background first"
        )
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _without_rgb(path: Path, found: str) -> InputError:
    return InputError(
        f"{path}: no exact RGB of 8 bits follows from {found}; expected grey, RGB or a palette of 1 to 16 bits, convert it to "
        "8-bit RGB with the scale or colour profile that belongs to it"
    )


def _highest_bits(picture: Image.Image, path: Path, bits: int) -> NDArray[np.uint8]:
    """Grey of more than 8 bits: the highest 8, in three channels."""
    if not 8 < bits <= 16:
        raise _without_rgb(path, f"mode {picture.mode} of {bits} bits")
    if "transparency" in picture.info:
        raise InputError(f"{path}: has a transparent grey of {bits} bits; lay it on a background first")
    grey = (np.asarray(picture) >> (bits - 8)).astype(np.uint8)
    if picture.format == "TIFF" and bits == 16 and _tag(picture, _TAG_WHITE_IS, 1) == 0:
        grey = 255 - grey  # Pillow turns white-is-zero round for fewer bits only
    return np.repeat(grey[..., None], 3, axis=2)


def _has_transparent_pixels(picture: Image.Image, bits: int) -> bool:
    if "transparency" in picture.info and bits <= 8:
        picture = picture.convert("RGBA")
    elif "transparency" in picture.info:
        return True  # the key has 16 bits, the decoded samples have 8
    if "A" not in picture.getbands():
        return False
    return bool(picture.getchannel("A").getextrema()[0] != 255)


def _label_colours(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    if _bits(picture, path) > 8:
        raise InputError(
            f"{path}: a colour label of 16 bits a channel cannot be read exactly; expected 8 bits, save it so"
        )
    return np.array(picture.convert("RGB"))


def _label_values(picture: Image.Image, path: Path) -> NDArray[np.uint8]:
    """The samples as written, whatever Pillow makes of their depth."""
    bits = _bits(picture, path)
    values = np.asarray(picture)
    if picture.mode in ("LA", "PA"):
        if bits > 8:
            raise InputError(
                f"{path}: a label of 16 bits with alpha cannot be read exactly; save it without alpha"
            )
        values = values[..., 0]
    if picture.mode == "1":
        values = values.astype(np.uint8)
    elif picture.mode in ("L", "LA") and bits in (2, 4):
        values = values // (255 // (2**bits - 1))  # Pillow spreads them over 0..255
    if picture.format == "TIFF":
        values = _tiff_values(picture, path, values, bits)
    outside = (values < 0) | (values > 255)
    if outside.any():
        row, column = np.unravel_index(int(np.argmax(outside)), outside.shape)
        raise InputError(
            f"{path}: label value {int(values[row, column])} at column {column}, row {row}; expected 0..255, class "
            "indices or the ignored value: export class indices, not instance numbers"
        )
    return values.astype(np.uint8)


def _tiff_values(picture: Image.Image, path: Path, values: NDArray[Any], bits: int) -> NDArray[Any]:
    if bits <= 8 and _tag(picture, _TAG_SAMPLE_FORMAT, 1) == 2:
        raise InputError(f"{path}: a label of signed bytes; expected unsigned numbers, export it so")
    if picture.mode in ("1", "L") and _tag(picture, _TAG_WHITE_IS, 1) == 0:
        values = np.subtract(2**bits - 1, values)  # Pillow turned white-is-zero round
    return values


def _refuse_lossy(picture: Image.Image, path: Path) -> None:
    lossy = path.suffix.lower() not in LABEL_SUFFIXES or picture.info.get("compression") in _LOSSY_TIFF
    if lossy or (picture.format == "WEBP" and _webp_is_lossy(path)):
        raise InputError(
            f"{path}: is stored in a form that does not keep label values exactly; expected PNG or another format without "
            "loss, export the labels from their source again"
        )


def _webp_is_lossy(path: Path) -> bool:
    """True if a RIFF file has a chunk 'VP8 ' (lossy) and not 'VP8L'."""
    with open(path, "rb") as file:
        file.seek(12)
        while len(head := file.read(8)) == 8:
            if head[:4] == b"VP8 ":
                return True
            size = int.from_bytes(head[4:], "little")
            file.seek(size + size % 2, os.SEEK_CUR)
    return False
