"""The pictures that a video file shows, in display order, each known by the packet that carried it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import av

from vssbench.codec.bits.salvage import sound_contents
from vssbench.codec.bits.track_header import TrackHeader, read_track_header
from vssbench.codec.contents import Contents, ranked, read_contents
from vssbench.codec.media import STRICT, Media, VideoPacket, encrypted
from vssbench.codec.orientation import Orientation
from vssbench.dataset import OrientationOption
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import FrameType

_FRAME_TYPES: dict[int, FrameType] = {1: "I", 2: "P", 3: "B", 4: "P", 5: "I", 6: "P", 7: "I"}
_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
_CLOSING = -1
"""Time stamp of what is decoded behind the last picture and not shown."""
_LOG = logging.getLogger(__name__)

Sink = Callable[[int, VideoPacket], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """One decoded picture."""

    picture: av.VideoFrame
    packet: int
    """Rank of its packet in decoding order, from 0."""
    coded_bytes: int
    """Size of that packet."""

    @property
    def frame_type(self) -> FrameType:
        """Type of the picture as the decoder tells it."""
        return _FRAME_TYPES.get(int(self.picture.pict_type), "P")


def decode_packets(
    media: Media,
    contents: Contents,
    *,
    options: Mapping[str, str] | None = None,
    threads: int = 1,
    sink: Sink | None = None,
    until: int | None = None,
) -> Iterator[Shown]:
    """Decode from `contents.first` on (up to packet `until`) and yield what is shown, in display order.

    sink: is handed every packet with its rank before it is decoded. Raises BitstreamError at the first picture that
    does not decode, but for those of `contents.leading`.
    """
    count = 0
    closing: bytes | None = None
    with media.open() as (container, stream):
        context = stream.codec_context
        context.thread_count, context.thread_type = threads, "AUTO"
        context.options = {**STRICT, **(options or {})}
        sizes: dict[int, int] = {}
        try:
            for rank, packet in _with_flushes(ranked(container, stream), contents, until):
                if packet is not None:
                    sizes[rank] = packet.size
                    if sink is not None:
                        sink(rank, packet)
                    # Decoders hand the time stamp through, so the rank comes back with its picture.
                    packet.pts = rank
                    if closing is None and options and context.name == "mpeg2video":
                        closing = bytes(packet)
                pictures = _closed(context, closing) if packet is None and closing else []
                pictures += _decoded(context, packet, rank in contents.leading)
                for picture in pictures:
                    if picture.pts == _CLOSING:
                        continue
                    carrier = rank if picture.pts is None else int(picture.pts)
                    yield Shown(picture, carrier, sizes.pop(carrier, 0))
                    count += 1
        except av.FFmpegError as error:
            raise BitstreamError(
                f"{media.name}: picture {count} does not decode ({error.strerror}); the stream is truncated or damaged, "
                "encode or copy it again"
            ) from error


def _closed(context: av.VideoCodecContext, key: bytes) -> list[av.VideoFrame]:
    """The last picture of MPEG-2: FFmpeg attaches side data to it only if another one, here a key picture, follows."""
    packet = av.Packet(key)
    packet.pts = _CLOSING
    return context.decode(packet)


def _with_flushes(
    packets: Iterator[tuple[int, VideoPacket]], contents: Contents, until: int | None
) -> Iterator[tuple[int, VideoPacket | None]]:
    """Packets from the first to `until`; None at the end and before jumps: the decoder gives what it holds back."""
    rank = contents.first
    for rank, packet in packets:
        if rank in contents.jumps and rank > contents.first:
            yield rank, None
        if rank >= contents.first and rank not in contents.lost:
            yield rank, packet
        if rank == until:
            break
    yield rank, None


def _decoded(
    context: av.VideoCodecContext, packet: VideoPacket | None, may_fail: bool
) -> list[av.VideoFrame]:
    try:
        pictures = context.decode(packet)
    except av.FFmpegError:
        if may_fail:
            return []
        raise
    if packet is None:
        context.flush_buffers()  # ready to begin anew
    return pictures


@dataclass(frozen=True)
class Film:
    """A video file as it is shown: which pictures, how they lie, and what the user should know of it."""

    media: Media
    contents: Contents
    orientation: Orientation
    size: tuple[int, int]
    """(H, W) of the first picture as it is shown."""
    remarks: tuple[str, ...]

    @staticmethod
    def of(media: Media, orientation: OrientationOption = "upright", partial: bool = False) -> Film:
        """Look at a file: one pass over its packets, one picture decoded. Remarks are logged as warnings.

        partial: only the groups of pictures that are sound (codec/bits/salvage.py).

        Raises as `read_contents`; BitstreamError if the first picture does not decode.
        """
        header = _usable_header(media, orientation)
        read = sound_contents if partial else read_contents
        contents = _without_undecodable(media, read(media))
        first = next(decode_packets(media, contents), None)
        if first is None or contents.shown < 1:
            raise BitstreamError(f"{media.name}: holds no picture that can be decoded; expected at least one")
        picture = first.picture
        turned = Orientation.of(picture, media.name) if orientation == "upright" else Orientation()
        if header.crop:
            told = (
                f"{media.name}: is read as coded; players show it cropped by the container to {header.crop}"
            )
            media = replace(media, remarks=(*media.remarks, told))
        remarks = [*media.remarks, *_remarks(media.name, contents, picture, turned, orientation)]
        for remark in remarks:
            _LOG.warning("%s", remark)
        return Film(media, contents, turned, turned.size(picture.height, picture.width), tuple(remarks))

    @staticmethod
    def of_motion(media: Media, orientation: OrientationOption = "upright") -> Film:
        """`of` for those who need no pixels: a file whose pictures FFmpeg cannot decode counts as upright."""
        try:
            return Film.of(media, orientation)
        except BitstreamError:
            return Film(media, read_contents(media), Orientation(), (0, 0), ())

    def pictures(
        self, *, options: Mapping[str, str] | None = None, threads: int = 1, sink: Sink | None = None
    ) -> Iterator[Shown]:
        """What is shown, in display order.

        Raises BitstreamError if a picture does not decode, is missing, or lies otherwise than the first.
        """
        count = 0
        for shown in decode_packets(self.media, self.contents, options=options, threads=threads, sink=sink):
            yield shown
            count += 1
        if count != self.contents.shown:
            raise BitstreamError(
                f"{self.media.name}: {count} pictures decode, expected {self.contents.shown}; the stream is truncated or "
                "damaged, encode or copy it again"
            )


def _usable_header(media: Media, orientation: OrientationOption) -> TrackHeader:
    """The track's header. Raises CapabilityError if it is encrypted, or cropped and not wanted as stored."""
    header = read_track_header(media.payload, media.demuxer, media.stream)
    if header.encrypted:
        raise encrypted(media.name)
    if header.crop and orientation == "upright":
        raise CapabilityError(
            f"{media.name}: the container crops the pictures: {header.crop}; cropping by the container is not applied here. Set "
            "orientation: stored to read pictures and motion as they are coded, or re-encode what players show with "
            "another program"
        )
    return header


def _without_undecodable(media: Media, contents: Contents) -> Contents:
    """Contents that hide the leading pictures which the decoder leaves out, because their references precede the file.

    Those follow the first picture directly in decoding order (or begin with it, in a gradual refresh); a picture that
    fails behind one that came is damaged.
    """
    if not contents.leading:
        return contents
    came = {shown.packet for shown in decode_packets(media, contents, until=max(contents.leading))}
    order = sorted(contents.leading | {contents.first})
    lost = contents.leading - came
    if sorted(lost) not in (order[: len(lost)], order[1 : len(lost) + 1]):
        lost = frozenset()
    lost |= contents.leading & contents.hidden
    undecodable = contents.undecodable + len(lost - contents.hidden)
    return replace(contents, hidden=contents.hidden | lost, undecodable=undecodable, leading=lost)


def _remarks(
    name: str, contents: Contents, picture: av.VideoFrame, turned: Orientation, option: OrientationOption
) -> Iterator[str]:
    if contents.undecodable:
        yield (
            f"{name}: begins inside a group of pictures; {contents.undecodable} pictures that refer to what precedes "
            "the file are left out"
        )
    if contents.gaps_s:
        begin, end = contents.gaps_s[0]
        more = f" (nor at {len(contents.gaps_s) - 1} more places)" if len(contents.gaps_s) > 1 else ""
        yield (
            f"{name}: no picture between {begin:.2f} and {end:.2f} s{more}, while all others follow each other evenly; "
            "pictures may have been lost there"
        )
    if contents.left_out:
        yield f"{name}: {_damage(contents)}"
    if turned:
        yield f"{name}: pictures and motion are {turned}, as the file asks; orientation: stored reads them as they are coded"
    elif option == "stored" and (declared := _declared(picture, name)):
        yield f"{name}: is read as stored; players show it {declared}"
    if int(picture.color_trc) in _TRANSFERS:
        yield (
            f"{name}: has the transfer function {_TRANSFERS[int(picture.color_trc)]}; values are taken as coded, without tone "
            "mapping, so pictures look flat"
        )


def _damage(contents: Contents) -> str:
    """'is damaged: pictures 30 to 59 and 90 to 119 are left out, ...'."""
    told = [f"{first} to {first + count - 1}" for first, count in contents.left_out]
    more = f" and {len(told) - 6} stretches more" if len(told) > 6 else ""
    total = sum(count for _, count in contents.left_out)
    return (
        f"is damaged: pictures {', '.join(told[:6])}{more} are left out, {total} of {total + contents.shown}; what follows "
        "is numbered without a gap"
    )


def _declared(picture: av.VideoFrame, name: str) -> str:
    """How players turn a picture; '' where they do not."""
    try:
        return str(turned) if (turned := Orientation.of(picture, name)) else ""
    except CapabilityError:
        return "turned by an angle that is no multiple of 90 degrees"
