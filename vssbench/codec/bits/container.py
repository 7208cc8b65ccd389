"""HEVC and H.264 in mp4, mkv, ts and other containers: FFmpeg finds the packets, this module takes the NAL units out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from vssbench.codec.media import Media
from vssbench.errors import BitstreamError, InputError

__all__ = [
    "END_OF_SEQUENCE",
    "PacketUnits",
    "ParsedCodec",
    "is_container",
    "parameter_sets_of",
    "read_units",
    "split_annex_b",
    "split_length_prefixed",
]

ParsedCodec = Literal["hevc", "h264"]
"""Codecs that vssbench parses itself, by FFmpeg's names."""

END_OF_SEQUENCE: dict[ParsedCodec, bytes] = {"hevc": b"\x48\x01", "h264": b"\x0a"}
"""NAL unit after which decoding begins anew."""

_TITLES: dict[ParsedCodec, str] = {"hevc": "HEVC", "h264": "H.264"}
_MAGIC = (
    b"\x1a\x45\xdf\xa3",
    b"RIFF",
    b"nut/",
    b"FLV",
    b"OggS",
    b"0&\xb2u",
    b"\x06\x0e\x2b\x34",
    b"\0\0\1\xba",
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp")
_TRANSPORT_PACKETS = (188, 192, 204)


def is_container(head: bytes) -> bool:
    """True if a file that begins with `head` (512 bytes, if it has them) is a container, not Annex B."""
    if head[4:8] in _BOXES or head.startswith(_MAGIC):
        return True
    if head.startswith((b"\0\0\1", b"\0\0\0\1")):
        return False
    return any(  # a transport stream may begin inside a packet
        head[begin::length].count(0x47) == len(head[begin::length]) > 1
        for length in _TRANSPORT_PACKETS
        for begin in range(min(length, len(head)))
    )


class PacketUnits:
    """Takes NAL units out of packets: behind start codes, or behind lengths where the configuration says so."""

    def __init__(self, codec: ParsedCodec, extradata: bytes | None, name: str) -> None:
        """extradata: the stream's hvcC or avcC record, or its parameter sets behind start codes."""
        self._codec, self._name = codec, name
        self._length_size = 0
        self.parameter_sets: list[bytes] = []
        """Those of the configuration; more may come in the packets."""
        self.configure(bytes(extradata or b""))

    def configure(self, extradata: bytes) -> None:
        """Take a configuration: at the beginning, and where a container changes it on the way."""
        at = 21 if self._codec == "hevc" else 4
        if len(extradata) > at + 1 and extradata[0] == 1:
            self._length_size = (extradata[at] & 3) + 1
            self.parameter_sets = parameter_sets_of(extradata, self._codec)
        else:
            self._length_size = 0
            self.parameter_sets = list(split_annex_b(extradata))

    def __call__(self, packet: bytes, offset: int = 0, strict: bool = True) -> Iterator[tuple[bytes, int]]:
        """(NAL unit, byte offset in the file) of a packet that lies at `offset`.

        Raises BitstreamError where a unit is longer than its packet (strict only; else the packet ends there).
        """
        if not self._length_size:
            yield from ((unit, offset) for unit in split_annex_b(packet))
            return
        for begin, size in split_length_prefixed(packet, self._length_size):
            if begin + size > len(packet):
                if strict:
                    raise BitstreamError(
                        f"{self._name}: byte {offset + begin}: a NAL unit of {size} bytes exceeds its packet; "
                        "the file is damaged",
                        byte_offset=offset + begin,
                    )
                return
            if size:
                yield packet[begin : begin + size], offset + begin


def read_units(
    source: bytes | str | os.PathLike[str], codec: ParsedCodec, *, strict: bool = True
) -> Iterator[tuple[bytes, int]]:
    """Yield (NAL unit, byte offset in the file) of a file's video: parameter sets, then all packets.

    Raises InputError if the video is not of `codec`, BitstreamError if packets are damaged (strict only).
    """
    try:
        media = Media.of(source)
    except InputError as error:  # it begins like a container
        raise BitstreamError(f"the container cannot be read: {error}") from error
    if media.codec != codec:
        raise InputError(
            f"{media.name} has no {_TITLES[codec]} track (found: {media.codec}); motion of other codecs comes with decode()"
        )
    try:
        with media.open() as (container, stream):
            units = PacketUnits(codec, stream.codec_context.extradata, media.name)
            for unit in units.parameter_sets:
                yield unit, 0
            for packet in container.demux(stream):
                yield from units(bytes(packet), packet.pos or 0, strict)
    except BitstreamError:
        if strict:
            raise


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
