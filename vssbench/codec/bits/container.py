"""HEVC and H.264 in mp4, mov, mkv and ts files: PyAV finds the packets, this module takes the NAL units out of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from os import PathLike, fspath
from typing import Literal

import av

from vssbench.codec.media import SAFE_FORMATS
from vssbench.errors import BitstreamError, InputError

__all__ = [
    "ParsedCodec",
    "is_container",
    "parameter_sets_of",
    "read_units",
    "split_annex_b",
    "split_length_prefixed",
]

ParsedCodec = Literal["hevc", "h264"]
"""Codecs that vssbench parses itself, by FFmpeg's names."""

_TITLES: dict[ParsedCodec, str] = {"hevc": "HEVC", "h264": "H.264"}
_EBML = b"\x1a\x45\xdf\xa3"
_TS_PACKET = 188


def is_container(head: bytes) -> bool:
    """True if a file that begins with `head` (at least 189 bytes, if it has them) is a container, not Annex B."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"):
        return True
    transport = len(head) > _TS_PACKET and head[0] == 0x47 and head[_TS_PACKET] == 0x47
    return head.startswith(_EBML) or transport


def read_units(
    source: bytes | str | PathLike[str], codec: ParsedCodec, *, strict: bool = True
) -> Iterator[tuple[bytes, int]]:
    """Yield (NAL unit, byte offset in the file) of the first track of `codec`: parameter sets, then all packets.

    Raises InputError if there is no such track, BitstreamError if packets are damaged (strict only).
    """
    name = "<bytes>" if isinstance(source, bytes) else fspath(source)
    try:
        file = io.BytesIO(source) if isinstance(source, bytes) else name
        with av.open(file, "r", container_options=SAFE_FORMATS) as container:
            yield from _units_of(container, name, codec, strict)
    except av.error.FFmpegError as error:
        if strict:
            raise BitstreamError(f"{name}: the container cannot be read: {error}") from error


def _units_of(
    container: av.container.InputContainer, name: str, codec: ParsedCodec, strict: bool
) -> Iterator[tuple[bytes, int]]:
    known = [s for s in container.streams.video if s.codec_context is not None]
    stream = next((s for s in known if s.codec_context.name == codec), None)
    if stream is None:
        found = ", ".join(s.codec_context.name for s in known) or "no video"
        raise InputError(
            f"{name} has no {_TITLES[codec]} track (found: {found}); motion of other codecs comes with decode()"
        )
    extradata = stream.codec_context.extradata or b""
    length_size = 0
    at = 21 if codec == "hevc" else 4
    if len(extradata) > at + 1 and extradata[0] == 1:
        length_size = (extradata[at] & 3) + 1
        units = parameter_sets_of(extradata, codec)
    else:
        units = list(split_annex_b(extradata))
    for unit in units:
        yield unit, 0
    for packet in container.demux(stream):
        data = bytes(packet)
        offset = packet.pos or 0
        if length_size:
            yield from _length_prefixed(data, length_size, offset, name, strict)
        else:
            yield from ((unit, offset) for unit in split_annex_b(data))


def _length_prefixed(
    data: bytes, length_size: int, offset: int, name: str, strict: bool
) -> Iterator[tuple[bytes, int]]:
    for begin, size in split_length_prefixed(data, length_size):
        if begin + size > len(data):
            if strict:
                raise BitstreamError(
                    f"{name}: byte {offset + begin}: a NAL unit of {size} bytes exceeds its packet; "
                    "the file is damaged",
                    byte_offset=offset + begin,
                )
            return
        if size:
            yield data[begin : begin + size], offset + begin


def split_length_prefixed(data: bytes, length_size: int) -> Iterator[tuple[int, int]]:
    """Yield (position, size) of the units behind big-endian lengths of 1, 2 or 4 bytes (ISO/IEC 14496-15)."""
    position = 0
    while position + length_size <= len(data):
        size = int.from_bytes(data[position : position + length_size], "big")
        position += length_size
        yield position, size
        position += size


def parameter_sets_of(configuration: bytes, codec: ParsedCodec) -> list[bytes]:
    """NAL units of a decoder configuration record: hvcC or avcC box (ISO/IEC 14496-15, 8.3.3.1 and 5.3.3.1)."""
    units: list[bytes] = []
    position = 23 if codec == "hevc" else 5
    arrays = configuration[22] if codec == "hevc" and len(configuration) > 22 else 2 if codec == "h264" else 0
    for number in range(arrays):
        if codec == "hevc":
            count = int.from_bytes(configuration[position + 1 : position + 3], "big")
            position += 3
        else:  # SPS, whose count shares its byte with reserved bits, then PPS
            count = int.from_bytes(configuration[position : position + 1], "big") & (
                31 if number == 0 else 255
            )
            position += 1
        for _ in range(count):
            size = int.from_bytes(configuration[position : position + 2], "big")
            unit = configuration[position + 2 : position + 2 + size]
            if len(unit) < size or size == 0:
                return units
            units.append(unit)
            position += 2 + size
    return units


def split_annex_b(data: bytes) -> Iterator[bytes]:
    """NAL units between the start codes of one packet."""
    for piece in data.split(b"\0\0\1")[1:]:
        unit = piece.rstrip(b"\0")
        if unit:
            yield unit
