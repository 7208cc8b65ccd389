"""What can be used of a damaged file: the groups of pictures that decode and parse without an error, on their own."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import av
from av.video.stream import VideoStream

from vssbench.codec.bits.container import PacketUnits
from vssbench.codec.contents import Contents, ranked, read_contents
from vssbench.codec.media import STRICT, Media, VideoPacket
from vssbench.codec.syntax import random_access
from vssbench.errors import BitstreamError


def sound_contents(media: Media) -> Contents:
    """Contents of a file without its damaged groups, which reach from one IDR picture (MPEG-4: I picture) to the next.

    A group is used whole or not at all: every picture of it must decode, and its motion must parse, without an error.
    Found once per process and state of the file. Raises BitstreamError where no group is sound, and as `read_contents`.
    """
    if isinstance(media.payload, bytes):
        return _sound(media)
    status = os.stat(media.payload)
    return _sound_once(media, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=64)
def _sound_once(media: Media, size: int, mtime_ns: int) -> Contents:
    return _sound(media)


@dataclass(frozen=True, slots=True)
class _Group:
    """Packets by rank, [start, stop)."""

    start: int
    stop: int
    sound: bool


def _sound(media: Media) -> Contents:
    seen = read_contents(media, partial=True)
    groups = list(_tried(media, seen))
    sound = [group for group in groups if group.sound]
    if not sound:
        raise BitstreamError(
            f"{media.name}: none of its {len(groups)} groups of pictures decodes without an error; record or copy it again"
        )
    lost = frozenset(rank for group in groups if not group.sound for rank in range(group.start, group.stop))
    first = sound[0].start
    anew = {after.start for before, after in itertools.pairwise(groups) if after.sound and not before.sound}
    return replace(
        seen,
        first=first,
        lost=lost,
        left_out=tuple(_stretches(seen, groups)),
        hidden=frozenset(rank for rank in seen.hidden | lost if rank >= first),
        leading=frozenset(rank for rank in seen.leading - lost if rank >= first),
        jumps=seen.jumps | anew,
    )


def _stretches(seen: Contents, groups: list[_Group]) -> Iterator[tuple[int, int]]:
    """(number of the first, count) of pictures that are left out, numbered as if the file were whole."""
    number = begin = 0
    for group in groups:
        count = sum(rank not in seen.hidden for rank in range(group.start, group.stop))
        if group.sound:
            if number > begin:
                yield begin, number - begin
            begin = number + count
        number += count
    if number > begin:
        yield begin, number - begin


def _tried(media: Media, seen: Contents) -> Iterator[_Group]:
    """All groups in decoding order, each tried."""
    with media.open() as (container, stream):
        trial, start, rank = _Trial(media, stream, seen), -1, -1
        for rank, packet in ranked(container, stream):
            if rank < seen.first:
                continue
            if start < 0 or rank in seen.jumps or trial.begins(packet):
                if start >= 0:
                    yield _Group(start, rank, trial.close())
                start = rank
            trial.push(rank, packet)
        if start >= 0:
            yield _Group(start, rank + 1, trial.close())


class _Trial:
    """Decodes and parses one group after another."""

    def __init__(self, media: Media, stream: VideoStream, seen: Contents) -> None:
        self._media, self._seen, self._context = media, seen, stream.codec_context
        self._context.options, self._context.thread_count = STRICT, 1
        parsed = media.codec in ("hevc", "h264")
        self._parser: Any = import_module(f"vssbench.codec.{media.codec}").PARSER if parsed else None
        extradata = self._context.extradata
        self._units = PacketUnits(media.codec, extradata, media.name) if parsed else None  # type: ignore[arg-type]
        self._begin()

    def _begin(self) -> None:
        self._failed, self._expected, self._decoded, self._fields = False, 0, 0, 0
        self._session: Any = None
        if self._units is not None:
            self._session = self._parser.session(self._media.name)
            self._session.push(((unit, 0) for unit in self._units.parameter_sets), 0)

    def begins(self, packet: VideoPacket) -> bool:
        """Whether a packet begins a group that refers to nothing before it."""
        if self._units is None:
            return bool(packet.is_keyframe)
        try:
            units = [unit for unit, _ in self._units(bytes(packet), packet.pos or 0) if unit]
        except BitstreamError:
            return False
        return random_access(self._media.codec, units) == "idr"

    def push(self, rank: int, packet: VideoPacket) -> None:
        """One more packet of the group."""
        self._expected += rank not in self._seen.hidden
        if self._failed or rank in self._seen.lost:
            self._failed = True
            return
        try:
            self._decoded += len(self._context.decode(packet))
            if self._units is not None:
                self._session.push(self._units(bytes(packet), packet.pos or 0), rank)
                self._count(self._session.carried())
        except (av.FFmpegError, BitstreamError):
            self._failed = True

    def close(self) -> bool:
        """Whether the group is sound: all its pictures came, with their motion. The next one may begin."""
        try:
            if not self._failed:
                self._decoded += len(self._context.decode(None))
                if self._session is not None:
                    self._count(self._session.finish())
        except (av.FFmpegError, BitstreamError):
            self._failed = True
        self._context.flush_buffers()
        whole = self._decoded == self._expected and self._fields in (
            self._expected,
            0 if self._units is None else -1,
        )
        sound = not self._failed and whole and self._expected > 0
        self._begin()
        return sound

    def _count(self, carried: Iterator[tuple[int, Any]]) -> None:
        self._fields += sum(rank not in self._seen.hidden for rank, _ in carried)
