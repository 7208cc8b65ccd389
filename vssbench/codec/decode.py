"""Elementary streams and video files in, pictures and motion fields out, one pass, a few pictures in memory."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vssbench.codec.bits.reading import Parser
from vssbench.codec.colour import ToRgb
from vssbench.codec.contents import Contents
from vssbench.codec.encode import Bitstream
from vssbench.codec.exported import ExportedMotion
from vssbench.codec.media import Media
from vssbench.codec.orientation import Orientation
from vssbench.codec.pairing import MotionReader, ParsedMotion
from vssbench.codec.settings import Codec
from vssbench.codec.shown import Film, Shown
from vssbench.dataset import CodedFile, OrientationOption
from vssbench.errors import BitstreamError, CapabilityError
from vssbench.records import DecodedFrame, MotionField

Block = TypeVar("Block", bound=np.generic)
Source = Bitstream | CodedFile | str | os.PathLike[str] | bytes
"""What can be decoded: our own bitstream, a video file, its path, or the bytes of either."""

_RAW_FORMATS: dict[Codec, str] = {"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}
_MOTION_CODECS = ("hevc", "h264", "mpeg2video", "mpeg4")
PARSED_CODECS = ("hevc", "h264")
"""Codecs whose motion vssbench parses itself; that of the others is what FFmpeg exports."""
_TITLES = {"hevc": "HEVC", "h264": "H.264"}


def decode(
    source: Source,
    motion: bool = True,
    *,
    threads: int = 1,
    orientation: OrientationOption = "upright",
    stream: int | None = None,
    qp: bool = False,
) -> Iterator[DecodedFrame]:
    """Pictures of a stream in display order, with their motion fields if `motion`.

    source: `Bitstream`, path of a video file (elementary stream, mp4, mkv, ...), its bytes, or a `CodedFile`, which has
    orientation and stream with it. Of files the pictures come
    that a player shows: inside the edit list, cropped, and turned upright unless `orientation` is 'stored'; their motion
    is turned and cropped with them. `stream` is the index of the video stream, by default the file's main one. Odd sides
    that were padded for encoding are cut back. `qp`: also the quantiser of every block, which comes with the motion of HEVC
    and H.264. `threads` changes the speed and never the pixels; 0 means all cores.

    Raises CapabilityError at once where motion was asked for and the codec cannot give it;
    while iterating InputError if the source is missing or not a video, BitstreamError if it is damaged, truncated, or
    holds fewer or more pictures than its `Bitstream` record says.
    """
    sound_only = False
    if isinstance(source, CodedFile):
        stream, orientation, sound_only = source.stream, source.orientation, source.partial
        source = source.path
    opened = _Opened.of(source, stream, sound_only)
    if motion or qp:
        check_motion_known(opened.media)
    if qp and opened.media.codec not in PARSED_CODECS:
        raise CapabilityError(
            f"{opened.media.name}: quantisers of codec {opened.media.codec!r} are not read by block; expected hevc or h264"
        )
    return _decoded(opened, motion or qp, threads, orientation, qp)


def read_motion(
    source: Bitstream | str | os.PathLike[str] | bytes,
    *,
    threads: int = 1,
    orientation: OrientationOption = "upright",
    stream: int | None = None,
) -> Iterator[MotionField]:
    """Motion fields of the pictures that `decode` gives, in display order, without pixels.

    HEVC and H.264 are only parsed, `threads` pictures at the same time; MPEG-2 and MPEG-4 are decoded, without conversion to RGB.
    Raises as `decode`.
    """
    opened = _Opened.of(source, stream)
    check_motion_known(opened.media)
    return _motion_alone(opened, threads, orientation)


def digest_decoded(frames: Iterable[DecodedFrame]) -> str:
    """SHA-256 over pixels, frame types and motion arrays: the identity of the data that methods see."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(f"{frame.index} {frame.frame_type} {frame.image.shape} ".encode())
        digest.update(frame.image.tobytes())
        if frame.motion is not None:
            field = frame.motion
            digest.update(f"{field.poc} {field.coded_sequence} {field.mode.shape} ".encode())
            for array in (field.vectors_qpel, field.reference_poc, field.mode):
                digest.update(array.tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class _Opened:
    """A source whose codec is known."""

    media: Media
    bitstream: Bitstream | None = None
    partial: bool = False

    @staticmethod
    def of(
        source: Bitstream | str | os.PathLike[str] | bytes, stream: int | None, partial: bool = False
    ) -> _Opened:
        if not isinstance(source, Bitstream):
            payload = (
                bytes(source) if isinstance(source, bytes | bytearray | memoryview) else os.fspath(source)
            )
            return _Opened(Media.of(payload, stream), partial=partial)
        codec = source.settings.codec
        if len(source.data) != sum(source.packet_bytes):
            raise BitstreamError(
                f"{codec} bitstream: has {len(source.data)} bytes, expected {sum(source.packet_bytes)}; it is "
                "truncated or damaged, encode the clip again"
            )
        media = Media(f"{codec} bitstream", source.data, _RAW_FORMATS[codec], 0, codec)
        return _Opened(media, source)

    def film(self, orientation: OrientationOption, look: Callable[[Media, OrientationOption], Film]) -> Film:
        """How it is shown. A bitstream of ours needs no look at its packets: its record tells."""
        if self.bitstream is None:
            return look(self.media, orientation)
        count = self.bitstream.frame_count
        return Film(self.media, Contents(count), Orientation(), self.bitstream.size, ())


def check_motion_known(media: Media) -> None:
    """Refuse up front, before anything is decoded, what cannot be had. Raises CapabilityError."""
    if media.codec not in _MOTION_CODECS:
        raise CapabilityError(
            f"{media.name}: motion of codec {media.codec!r} cannot be read; expected hevc, h264, mpeg2video or mpeg4, "
            "re-encode with `vssbench encode`"
        )
    if media.codec in PARSED_CODECS:
        _parser(media.codec)


def _parser(codec: str) -> Parser:
    """vssbench's own parser of a codec's motion."""
    # imported by name, so that the modules a run rests on are found
    try:
        from vssbench.codec import h264, hevc

        parser: Parser = (hevc if codec == "hevc" else h264).PARSER
    except (ImportError, AttributeError) as error:
        raise CapabilityError(
            f"{_TITLES[codec]} motion is not available in this build of vssbench; use codec: mpeg4, or install a build with "
            "the motion parsers"
        ) from error
    return parser


def _motion_reader(film: Film, details: bool) -> MotionReader:
    if film.media.codec in PARSED_CODECS:
        return ParsedMotion(_parser(film.media.codec), film, details=details)
    return ExportedMotion(film.media.name, film.media.codec)


def _decoded(
    opened: _Opened, motion: bool, threads: int, orientation: OrientationOption, qp: bool
) -> Iterator[DecodedFrame]:
    film = opened.film(orientation, partial(Film.of, partial=opened.partial))
    to_rgb = ToRgb(film.media.name)
    size = opened.bitstream.size if opened.bitstream else None
    pictures = (
        _with_motion(film, threads, qp) if motion else ((s, None) for s in film.pictures(threads=threads))
    )
    for index, (shown, field) in enumerate(pictures):
        laid = None if field is None else _laid_down(replace(field, details=None), opened, film)
        details = field.details if field is not None else None
        yield DecodedFrame(
            index=index,
            image=film.orientation.turn(to_rgb(shown.picture, size)),
            frame_type=shown.frame_type if field is None else field.frame_type,
            coded_bytes=shown.coded_bytes,
            motion=laid,
            qp=window(laid, film.orientation.turn(details.qp)) if laid and details else None,
            decode_order=shown.packet,
        )


def _motion_alone(opened: _Opened, threads: int, orientation: OrientationOption) -> Iterator[MotionField]:
    film = opened.film(orientation, Film.of_motion)
    if film.media.codec in PARSED_CODECS:
        fields = (field for _, field in motion_alone(film, threads=threads))
    else:
        fields = (field for _, field in _with_motion(film, threads))
    return (_laid_down(field, opened, film) for field in fields)


def motion_alone(film: Film, *, threads: int = 1, details: bool = False) -> Iterator[tuple[int, MotionField]]:
    """(rank of the packet, motion as coded) of the pictures of an HEVC or H.264 file that are shown, in display order."""
    return ParsedMotion(_parser(film.media.codec), film, threads, details).alone()


def window(field: MotionField, blocks: NDArray[Block]) -> NDArray[Block]:
    """[ceil(H/4), ceil(W/4)] of what a coded picture has by block: the part that is shown."""
    left, top = field.crop_left_top
    rows, columns = -(-field.size[0] // 4), -(-field.size[1] // 4)
    return blocks[top // 4 : top // 4 + rows, left // 4 : left // 4 + columns]


def _laid_down(field: MotionField, opened: _Opened, film: Film) -> MotionField:
    """The field as its picture is shown: without padding that was made for encoding, and turned."""
    if opened.bitstream is not None and field.size != opened.bitstream.size:
        field = replace(field, size=opened.bitstream.size)
    return film.orientation.turn_motion(field)


def _with_motion(film: Film, threads: int, details: bool = False) -> Iterator[tuple[Shown, MotionField]]:
    """Pictures in display order with their motion, which the parser may have ready only a few packets later."""
    reader = _motion_reader(film, details)
    waiting: deque[Shown] = deque()
    for shown in film.pictures(options=reader.options, threads=threads, sink=reader.push):
        waiting.append(shown)
        while waiting and (field := reader.ready(waiting[0])) is not None:
            yield waiting.popleft(), field
    reader.finish()
    for shown in waiting:
        field = reader.ready(shown)
        if field is None:
            raise BitstreamError(
                f"{film.media.name}: the picture of packet {shown.packet} has no motion field; the stream is damaged, "
                "encode it again"
            )
        yield shown, field
