"""What the header of a track says and PyAV does not tell: cropping by the container, and encryption.

Cropping on top of the codec's own is `clap` of MP4 and QuickTime and PixelCrop of Matroska, which FFmpeg's libraries leave to the
player. Sources: ISO/IEC 14496-12 (CleanApertureBox, ProtectionSchemeInfoBox), RFC 9559 (Matroska), section 5.1.4.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

_VISUAL_ENTRY = 78
"""Bytes of a VisualSampleEntry before its boxes."""
_SEGMENT, _TRACKS, _TRACK, _VIDEO, _CLUSTER = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x1F43B675
_ENCRYPTION = (0x6D80, 0x6240, 0x5035)
"""ContentEncodings, ContentEncoding, ContentEncryption."""
_PIXEL_CROPS = {0x54CC: "left", 0x54BB: "top", 0x54DD: "right", 0x54AA: "bottom"}
_LARGEST_NAME = 8


@dataclass(frozen=True)
class TrackHeader:
    """What is said of one track."""

    crop: str = ""
    """What it is cropped to, in words; '' where it is not."""
    encrypted: bool = False


def read_track_header(payload: str | bytes, demuxer: str, stream: int) -> TrackHeader:
    """The header of stream number `stream`.

    payload: path or the bytes themselves. demuxer: FFmpeg's short name; containers without such headers say nothing, and so do
    damaged ones, which FFmpeg judges by itself.
    """
    readers = {"mov": _of_mp4, "mp4": _of_mp4, "matroska": _of_matroska, "webm": _of_matroska}
    if demuxer not in readers:
        return TrackHeader()
    with io.BytesIO(payload) if isinstance(payload, bytes) else open(payload, "rb") as file:
        try:
            tracks = list(readers[demuxer](file))
        except (struct.error, ZeroDivisionError, EOFError):
            return TrackHeader()
    return tracks[stream] if stream < len(tracks) else TrackHeader()


def _of_mp4(file: BinaryIO) -> Iterator[TrackHeader]:
    end = file.seek(0, io.SEEK_END)
    for start, stop in _boxes(file, 0, end, b"moov"):
        for spans in _boxes(file, start, stop, b"trak"):
            descriptions = [spans]
            for kind in (b"mdia", b"minf", b"stbl", b"stsd"):
                descriptions = [inner for span in descriptions for inner in _boxes(file, *span, kind)]
            yield TrackHeader(
                next(
                    (crop for first, last in descriptions for crop in _apertures(file, first + 8, last)), ""
                ),
                any(next(_boxes(file, first + 8, last, b"encv"), ()) for first, last in descriptions),
            )


def _apertures(file: BinaryIO, start: int, stop: int) -> Iterator[str]:
    for entry, entry_stop in _boxes(file, start, stop):
        file.seek(entry + 24)
        width, height = struct.unpack(">HH", file.read(4))
        for clap, _ in _boxes(file, entry + _VISUAL_ENTRY, entry_stop, b"clap"):
            file.seek(clap)
            wide, high, x, y = (
                Fraction(*struct.unpack(">iI" if i > 1 else ">II", file.read(8))) for i in range(4)
            )
            if wide != width or high != height or x or y:
                yield f"{float(wide):g}x{float(high):g} of {width}x{height} (box clap)"


def _boxes(file: BinaryIO, start: int, stop: int, wanted: bytes | None = None) -> Iterator[tuple[int, int]]:
    """(first byte of the content, end) of the boxes between two places."""
    while start + 8 <= stop:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if size == 1:
            size, content = struct.unpack(">Q", file.read(8))[0], start + 16
        end = stop if size == 0 else min(start + size, stop)
        if end < content:
            return
        if wanted in (None, kind):
            yield content, end
        start = end


def _of_matroska(file: BinaryIO) -> Iterator[TrackHeader]:
    end = file.seek(0, io.SEEK_END)
    for _, start, stop in (e for e in _elements(file, 0, end) if e[0] == _SEGMENT):
        for name, first, last in _elements(file, start, stop):
            if name == _CLUSTER:
                return
            found = _elements(file, first, last) if name == _TRACKS else ()
            for track in (e[1:] for e in found if e[0] == _TRACK):
                encodings = [track]
                for inner in _ENCRYPTION:
                    encodings = [e[1:] for span in encodings for e in _elements(file, *span) if e[0] == inner]
                yield TrackHeader(next(_pixel_crops(file, *track), ""), bool(encodings))


def _pixel_crops(file: BinaryIO, start: int, stop: int) -> Iterator[str]:
    for name, first, last in _elements(file, start, stop):
        if name == _VIDEO:
            sides = {}
            for inner, begin, end in _elements(file, first, last):
                if inner in _PIXEL_CROPS:
                    file.seek(begin)
                    sides[_PIXEL_CROPS[inner]] = int.from_bytes(file.read(end - begin), "big")
            if any(sides.values()):
                yield (
                    ", ".join(f"{count} less at the {side}" for side, count in sides.items() if count)
                    + " (PixelCrop)"
                )


def _elements(file: BinaryIO, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(name, first byte of the content, end) of the EBML elements between two places."""
    while start < stop:
        file.seek(start)
        name, width = _number(file, keep_marker=True)
        size, more = _number(file)
        content = start + width + more
        unknown = size == (1 << 7 * more) - 1
        end = stop if unknown else min(content + size, stop)
        yield name, content, end
        start = end


def _number(file: BinaryIO, keep_marker: bool = False) -> tuple[int, int]:
    """A number of EBML's variable length, and its bytes."""
    first = file.read(1)
    if not first or not first[0]:
        raise EOFError
    length = _LARGEST_NAME + 1 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big")
    return value if keep_marker else value & (1 << 7 * length) - 1, length
