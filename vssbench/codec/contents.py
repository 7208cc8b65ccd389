"""What a video file holds, read from its packets without decoding: which coded pictures are shown, and whether all are there."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container
import numpy as np
from av.video.stream import VideoStream

from vssbench.codec.bits.container import END_OF_SEQUENCE, PacketUnits
from vssbench.codec.h264._motion import Visibility as H264Visibility
from vssbench.codec.media import Media, VideoPacket, refuse_encrypted
from vssbench.codec.syntax import HevcVisibility, Mpeg4Visibility, Visibility
from vssbench.errors import BitstreamError

_INDEXED = frozenset({"mov", "mp4"})
"""Containers whose index lists every packet."""
_TIMED = frozenset({"matroska", "webm", "avi", "flv", "asf"})
"""Containers whose header says how long they last."""
_TRANSPORT_PACKETS = (188, 192, 204)
_HEAD_BYTES = 8 * max(_TRANSPORT_PACKETS)

_MISSING = 3
"""What the H.264 core tells of a picture before which reference pictures are missing."""

_TRUNCATED = "the file is truncated; copy it again, or remux it to keep what is there"


@dataclass(frozen=True)
class Contents:
    """Coded pictures of a file by the rank of their packet in decoding order, from 0."""

    packets: int
    first: int = 0
    """Rank at which decoding begins: what precedes it refers to pictures that the file lacks."""
    hidden: frozenset[int] = frozenset()
    """Never shown, from `first` on: outside the edit list, marked so by the codec, or referring to what the file lacks."""
    undecodable: int = 0
    """Pictures inside the edit list that are left out because they refer to what the file lacks."""
    leading: frozenset[int] = frozenset()
    """May refer to what precedes the file; of those that are not hidden it is not decided without decoding."""
    jumps: frozenset[int] = frozenset()
    """Ranks at which an edit list goes on elsewhere: decoding begins anew there."""
    lost: frozenset[int] = frozenset()
    """Damaged and given to no decoder; part of `hidden`."""
    left_out: tuple[tuple[int, int], ...] = ()
    """(number of the first, count) of the shown pictures among them, numbered as if the file were whole."""
    mean_rate_hz: float | None = None
    """Packets per second between the first and the last, where they have times."""
    gaps_s: tuple[tuple[float, float], ...] = ()
    """Seconds of the pictures before and behind each place where some may have been lost (`gaps_in_time`)."""

    @property
    def shown(self) -> int:
        """Number of pictures that are shown."""
        return self.packets - self.first - len(self.hidden)


def ranked(container: av.container.InputContainer, stream: VideoStream) -> Iterator[tuple[int, VideoPacket]]:
    """Packets that hold something, numbered in decoding order."""
    rank = 0
    for packet in container.demux(stream):
        if packet.size:
            yield rank, packet
            rank += 1


class _Pass:
    """State of one pass over the packets."""

    def __init__(self, name: str, stream: VideoStream, places: dict[int, int]) -> None:
        """places: position in the file -> index among all coded pictures, where an edit list may have taken some out."""
        self.jumps: set[int] = set()
        self.first: int | None = None
        self.hidden: set[int] = set()
        self.undecodable = 0
        self.leading: set[int] = set()
        self.packets = 0
        self.times: list[int] = []
        self.begin: int | None = None
        self.last = self.end = 0
        """When the first and last packets are decoded and the last picture ends, in the stream's time base."""
        self._name = name
        self._first_time: int | None = None
        self._in_lead = False
        self._codec = stream.codec_context.name
        self._units = (
            PacketUnits("h264", stream.codec_context.extradata, name) if self._codec == "h264" else None
        )
        self._visibility = _visibility(name, stream)
        self._places, self._place = places, -1

    def see(self, rank: int, packet: VideoPacket) -> None:
        """Take one more packet."""
        if rank == 0:
            refuse_encrypted(packet, self._name)
        if packet.is_corrupt:
            raise BitstreamError(f"{self._name}: packet {rank} is incomplete; {_TRUNCATED}")
        self.packets = rank + 1
        if packet.dts is not None:
            self.begin = packet.dts if self.begin is None else self.begin
            self.last = packet.dts
        time = packet.dts if packet.pts is None else packet.pts
        self.end = max(self.end, (time or 0) + (packet.duration or 0))
        if packet.pts is not None and not packet.is_discard:
            self.times.append(packet.pts)
        jumped = self._has_jumped(packet)
        if jumped:
            self.jumps.add(rank)
        visibility = self._visibility(packet, jumped or (self.first is None and packet.is_keyframe))
        if packet.is_discard or visibility != "shown":
            self.hidden.add(rank)
        if visibility == "undecodable":
            self.leading.add(rank)
        self._find_start(rank, packet, jumped)
        if not packet.is_discard and (self.first is None or visibility == "undecodable"):
            self.undecodable += 1

    def _has_jumped(self, packet: VideoPacket) -> bool:
        before, self._place = self._place, self._places.get(packet.pos or 0, -1)
        return before >= 0 and self._place >= 0 and self._place != before + 1

    def _find_start(self, rank: int, packet: VideoPacket, jumped: bool) -> None:
        if self.first is None or jumped:
            if packet.is_keyframe:
                self.first = rank if self.first is None else self.first
                self._first_time, self._in_lead = packet.pts, self._is_open(packet)
                if self._units is not None and self._in_lead:
                    self.leading.add(rank)  # a gradual refresh is whole only some pictures later
        elif not self._in_lead or packet.is_keyframe:
            self._in_lead = False
        elif self._may_lead(packet):
            self.leading.add(rank)

    def _is_open(self, packet: VideoPacket) -> bool:
        """Whether pictures behind a key picture may refer to what precedes it; an IDR picture of H.264 forbids it."""
        return self._units is None or all(unit[0] & 0x1F != 5 for unit, _ in self._units(bytes(packet)))

    def _may_lead(self, packet: VideoPacket) -> bool:
        if self._units is not None:
            return True
        if self._first_time is None or packet.pts is None:
            return self._codec != "hevc"  # whose headers tell
        return packet.pts < self._first_time


def _visibility(name: str, stream: VideoStream) -> Callable[[VideoPacket, bool], Visibility]:
    """What the codec makes of each packet, and whether decoding begins anew there; takes all in decoding order."""
    codec, extradata = stream.codec_context.name, bytes(stream.codec_context.extradata or b"")
    if codec == "hevc":
        units = PacketUnits("hevc", extradata, name)
        hevc = HevcVisibility(units.parameter_sets)
        return lambda packet, anew: hevc(
            [
                *([END_OF_SEQUENCE["hevc"]] if anew else []),
                *(unit for unit, _ in units(bytes(packet), packet.pos or 0)),
            ]
        )
    if codec == "h264":
        return _h264_visibility(name, extradata)
    if codec == "mpeg4":
        mpeg4 = Mpeg4Visibility(extradata)
        return lambda packet, _: mpeg4(bytes(packet))
    if codec == "vp8":
        return lambda packet, _: (
            "shown" if bytes(packet)[0] >> 4 & 1 else "hidden"
        )  # show_frame, RFC 6386, 9.1
    return lambda packet, _: "shown"


def _h264_visibility(name: str, extradata: bytes) -> Callable[[VideoPacket, bool], Visibility]:
    """Raises BitstreamError where reference pictures are missing, which FFmpeg replaces by others without a word."""
    units, see = PacketUnits("h264", extradata, name), H264Visibility()
    see(units.parameter_sets)
    kinds: tuple[Visibility, ...] = ("shown", "hidden", "undecodable", "shown")

    def look(packet: VideoPacket, anew: bool) -> Visibility:
        seen = see(
            [
                *([END_OF_SEQUENCE["h264"]] if anew else []),
                *(unit for unit, _ in units(bytes(packet), packet.pos or 0)),
            ]
        )
        if seen == _MISSING and not packet.is_keyframe:  # spliced streams begin anew at a key picture
            raise BitstreamError(
                "reference pictures are missing before this picture; expected a whole stream, copy or encode it again"
            )
        return kinds[seen]

    return look


def read_contents(media: Media, partial: bool = False) -> Contents:
    """One pass over a file's packets.

    partial: packets that cannot be read are `lost`, and the file need not be complete. Raises BitstreamError if the
    container says that more was there, or if nothing in it can be decoded, CapabilityError if it is encrypted.
    """
    places, lost = _places(media), set()
    with media.open() as (container, stream):
        seen = _Pass(media.name, stream, places)
        for rank, packet in ranked(container, stream):
            try:
                seen.see(rank, packet)
            except BitstreamError as error:
                if partial:
                    lost.add(rank)
                    seen.packets = rank + 1
                    continue
                if media.name in str(error):
                    raise
                raise BitstreamError(f"{media.name}: packet {rank}: {error}") from error
        if seen.packets == 0:
            raise BitstreamError(f"{media.name}: holds no picture; expected at least one")
        if not partial:
            _check_complete(media, container, stream, seen)
        base = stream.time_base or Fraction(0)
        span = (seen.last - (seen.begin or 0)) * base
    first = seen.first or 0
    hidden = frozenset(rank for rank in seen.hidden if rank >= first)
    undecodable = 0 if seen.first is None else seen.undecodable
    return Contents(
        packets=seen.packets,
        first=first,
        hidden=hidden,
        undecodable=undecodable,
        leading=frozenset(rank for rank in seen.leading if rank >= first),
        jumps=frozenset(seen.jumps),
        lost=frozenset(lost),
        mean_rate_hz=float((seen.packets - 1) / span) if span > 0 else None,
        gaps_s=gaps_in_time(seen.times, base),
    )


def gaps_in_time(times: Sequence[int], time_base: Fraction) -> tuple[tuple[float, float], ...]:
    """Seconds (from, to) of steps of at least 1.75 times the usual one, in a file whose other steps are all equal.

    times: presentation times of the pictures in any order, in units of `time_base` seconds. A file of variable rate
    (less than 90 % of its steps within a tenth of the median) and one of fewer than ten steps have no gaps.
    """
    ordered = np.unique(np.asarray(times, dtype=np.int64))
    steps = np.diff(ordered)
    if len(steps) < 10:
        return ()
    usual = np.median(steps)
    if np.mean(np.abs(steps - usual) <= 0.1 * usual + 1) < 0.9:
        return ()
    return tuple(
        (float(ordered[k] * time_base), float(ordered[k + 1] * time_base))
        for k in np.flatnonzero(steps >= 1.75 * usual).tolist()
    )


def _places(media: Media) -> dict[int, int]:
    """Position in the file -> index of every coded picture that the index of an mp4 lists."""
    if media.demuxer not in _INDEXED:
        return {}
    with media.open({"ignore_editlist": "1"}) as (_, stream):
        return {entry.pos: index for index, entry in enumerate(stream.index_entries)}


def _check_complete(
    media: Media, container: av.container.InputContainer, stream: VideoStream, seen: _Pass
) -> None:
    if media.demuxer in _INDEXED and seen.packets < len(stream.index_entries):
        raise BitstreamError(
            f"{media.name}: holds {seen.packets} of the {len(stream.index_entries)} pictures that its index lists; {_TRUNCATED}"
        )
    head, size = _head_and_size(media)
    if media.demuxer == "mpegts":
        _check_transport_stream(media.name, head, size)
    if media.demuxer == "avi" and int.from_bytes(head[4:8], "little") + 8 > size:
        raise BitstreamError(
            f"{media.name}: has {size} bytes of the {int.from_bytes(head[4:8], 'little') + 8} that its header promises; {_TRUNCATED}"
        )
    if media.demuxer in _TIMED and seen.packets > 1 and stream.time_base is not None:
        promised = _promised_seconds(container, stream)
        found = float((seen.end - min(0, stream.start_time or 0)) * stream.time_base)
        each = found / seen.packets
        if promised is not None and promised - found > 1.5 * each + 0.01:
            raise BitstreamError(
                f"{media.name}: its pictures end at {found:.2f} s, but its header promises {promised:.2f} s; {_TRUNCATED}"
            )


def _promised_seconds(container: av.container.InputContainer, stream: VideoStream) -> float | None:
    """Duration that the header gives this stream; the file's own only where no other stream could be the longer one."""
    tag = stream.metadata.get("DURATION")
    if tag is not None:
        return _seconds(tag)
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    alone = len(container.streams) == 1
    return container.duration / 1e6 if alone and container.duration is not None else None


def _seconds(tag: str) -> float | None:
    """'00:00:01.040000000' -> 1.04; None if the text is no time."""
    try:
        hours, minutes, seconds = tag.strip("\0 ").split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


def _head_and_size(media: Media) -> tuple[bytes, int]:
    """The first few kilobytes, and how many there are."""
    if isinstance(media.payload, bytes):
        return media.payload[:_HEAD_BYTES], len(media.payload)
    with open(media.payload, "rb") as file:
        return file.read(_HEAD_BYTES), os.fstat(file.fileno()).st_size


def _check_transport_stream(name: str, head: bytes, size: int) -> None:
    """A transport stream consists of whole packets; a time code of four bytes may stand before each."""
    for length in _TRANSPORT_PACKETS:
        for begin in range(length):
            if head[begin::length][:5] != b"G" * 5:
                continue
            if (size - begin) % length not in (0, 188):
                raise BitstreamError(
                    f"{name}: ends inside a transport packet of {length} bytes; {_TRUNCATED}"
                )
            return
