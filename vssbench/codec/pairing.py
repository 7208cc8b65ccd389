"""Motion from the native parsers, paired with decoded pictures by the packet that both come from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from vssbench.codec.bits.container import END_OF_SEQUENCE, PacketUnits
from vssbench.codec.bits.reading import Parser
from vssbench.codec.contents import ranked
from vssbench.codec.media import VideoPacket
from vssbench.codec.shown import Film, Shown
from vssbench.errors import BitstreamError
from vssbench.records import MotionField


class MotionReader(Protocol):
    """Takes packets in decoding order and gives the motion of the pictures that come out of them."""

    @property
    def options(self) -> Mapping[str, str]:
        """What the decoder of the pixels must be told."""

    def push(self, rank: int, packet: VideoPacket) -> None:
        """One more packet, with its rank in decoding order."""

    def ready(self, shown: Shown) -> MotionField | None:
        """Motion of a picture; None if more packets are needed."""

    def finish(self) -> None:
        """No packet will follow."""


class ParsedMotion:
    """Motion as a parser of vssbench reads it from the packets that the decoder gets."""

    options: Mapping[str, str] = {}

    def __init__(self, parser: Parser, film: Film, threads: int = 1, details: bool = False) -> None:
        self._film, self._codec = film, parser.codec
        self._session = parser.session(film.media.name, threads=threads, details=details)
        self._units: PacketUnits | None = None
        self._fields: dict[int, MotionField] = {}

    def push(self, rank: int, packet: VideoPacket) -> None:
        """One more packet: parse it."""
        self._keep(self._parsed(rank, packet))

    def ready(self, shown: Shown) -> MotionField | None:
        """Motion of a picture; None if more packets are needed. Raises BitstreamError if sizes differ."""
        field = self._fields.pop(shown.packet, None)
        height, width = shown.picture.height, shown.picture.width
        if field is not None and field.size != (height, width):
            raise BitstreamError(
                f"{self._film.media.name}: the decoded picture of packet {shown.packet} of {width}x{height} has a motion "
                f"field of {field.size[1]}x{field.size[0]}; the stream is damaged, encode it again"
            )
        return field

    def finish(self) -> None:
        """Take what the parser held back."""
        self._keep(self._session.finish())

    def alone(self) -> Iterator[tuple[int, MotionField]]:
        """(rank of the packet, field) of the pictures that are shown, in display order, without decoding any."""
        contents, count = self._film.contents, 0
        with self._film.media.open() as (container, stream):
            used = ((r, p) for r, p in ranked(container, stream) if r >= contents.first)
            packets = ((r, p) for r, p in used if r not in contents.lost)
            for carrier, field in self._all(packets):
                if carrier not in contents.hidden:
                    count += 1
                    yield carrier, field
        if count != contents.shown:
            raise BitstreamError(
                f"{self._film.media.name}: {count} motion fields for {contents.shown} pictures; the stream is truncated or "
                "damaged, encode or copy it again"
            )

    def _all(self, packets: Iterable[tuple[int, VideoPacket]]) -> Iterator[tuple[int, MotionField]]:
        for rank, packet in packets:
            yield from self._parsed(rank, packet)
        yield from self._session.finish()

    def _parsed(self, rank: int, packet: VideoPacket) -> Iterator[tuple[int, MotionField]]:
        if self._units is None:
            extradata = packet.stream.codec_context.extradata
            self._units = PacketUnits(self._codec, extradata, self._film.media.name)
            self._session.push(((unit, 0) for unit in self._units.parameter_sets), rank)
        if rank in self._film.contents.jumps:
            self._session.push([(END_OF_SEQUENCE[self._codec], 0)], rank)
        self._session.push(self._units(bytes(packet), packet.pos or 0), rank)
        return self._session.carried()

    def _keep(self, carried: Iterable[tuple[int, MotionField]]) -> None:
        """Set fields aside for their pictures, unless those are not shown."""
        for carrier, field in carried:
            if carrier not in self._film.contents.hidden:
                self._fields[carrier] = field
