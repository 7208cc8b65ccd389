"""Elementary streams and video files in, pictures and motion fields out, one pass, a few pictures in memory."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import av.container

from vssbench.codec.colour import ToRgb
from vssbench.codec.encode import Bitstream
from vssbench.codec.exported import EXPORT, ExportedMotion, refuse_many_references
from vssbench.codec.media import STRICT, open_container
from vssbench.codec.settings import Codec
from vssbench.codec.syntax import h264_reference_count
from vssbench.errors import BitstreamError, CapabilityError, InputError
from vssbench.records import DecodedFrame, FrameType, MotionField

Source = Bitstream | str | os.PathLike[str] | bytes
"""What can be decoded: our own bitstream, the path of a video file, or the bytes of either."""

_RAW_FORMATS: dict[Codec, str] = {"hevc": "hevc", "h264": "h264", "mpeg4": "m4v"}
_RAW_HEVC_SUFFIXES = frozenset({".hevc", ".265", ".h265"})
_FRAME_TYPES: dict[int, FrameType] = {1: "I", 2: "P", 3: "B", 4: "P", 5: "I", 6: "P", 7: "I"}
_MOTION_CODECS = ("hevc", "h264", "mpeg4")


def decode(source: Source, motion: bool = True, *, threads: int = 1) -> Iterator[DecodedFrame]:
    """Pictures of a stream in display order, with their motion fields if `motion`.

    source: `Bitstream`, path of a video file (elementary stream, mp4, mkv, ...) or its bytes. Odd sides that were
    padded for encoding are cut back. `threads` changes the speed and never the pixels; 0 means all cores.

    Raises CapabilityError at once where motion was asked for and the codec cannot give it (`CodecSettings.check_motion`);
    while iterating InputError if the source is missing or not a video, BitstreamError if it is damaged, truncated, or
    holds fewer or more pictures than its `Bitstream` record says.
    """
    opened = _Opened.of(source)
    if motion:
        _check_motion_known(opened)
    return _decoded(opened, motion, threads)


def read_motion(source: Source) -> Iterator[MotionField]:
    """Motion fields in display order, without pixels.

    HEVC (.hevc, .265, mp4, mkv) is only parsed; H.264 and MPEG-4 are decoded, without conversion to RGB. Raises as `decode`.
    """
    opened = _Opened.of(source)
    _check_motion_known(opened)
    if opened.codec == "hevc":
        return (_resized(field, opened) for field in _hevc_motion(opened))
    return (field for _, field in _pictures(opened, True, 1) if field is not None)


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

    name: str
    codec: str
    payload: str | bytes
    """Path or bytes."""
    format: str | None
    """FFmpeg demuxer to force; None lets FFmpeg look."""
    bitstream: Bitstream | None = None

    @staticmethod
    def of(source: Source) -> _Opened:
        if isinstance(source, Bitstream):
            codec = source.settings.codec
            if len(source.data) != sum(source.packet_bytes):
                raise BitstreamError(
                    f"{codec} bitstream: has {len(source.data)} bytes, expected {sum(source.packet_bytes)}; it is "
                    "truncated or damaged, encode the clip again"
                )
            return _Opened(f"{codec} bitstream", codec, source.data, _RAW_FORMATS[codec], source)
        if isinstance(source, bytes | bytearray | memoryview):
            payload: str | bytes = bytes(source)
            name = f"{len(payload)} bytes of video"
        else:
            payload = name = os.fspath(source)
            if Path(payload).is_dir():
                raise InputError(f"{name}: is a folder; expected a video file")
            if Path(payload).suffix.lower() in _RAW_HEVC_SUFFIXES and Path(payload).is_file():
                return _Opened(name, "hevc", payload, "hevc")
        with open_container(_file(payload), name) as container:
            codec_name = container.streams.video[0].codec_context.name
            return _Opened(name, codec_name, payload, container.format.name.split(",")[0])

    def container(self) -> AbstractContextManager[av.container.InputContainer]:
        return open_container(_file(self.payload), self.name, format=self.format)


def _file(payload: str | bytes) -> Any:
    return io.BytesIO(payload) if isinstance(payload, bytes) else payload


def _check_motion_known(opened: _Opened) -> None:
    """Refuse up front, before anything is decoded, what cannot be had."""
    if opened.bitstream is not None:
        opened.bitstream.settings.check_motion()
    if opened.codec not in _MOTION_CODECS:
        raise CapabilityError(
            f"{opened.name}: motion of codec {opened.codec!r} cannot be read; expected hevc, h264 or mpeg4, "
            "re-encode with `vssbench encode`"
        )
    if opened.codec == "hevc":
        _hevc_reader()
    elif opened.codec == "h264" and opened.bitstream is None:
        with opened.container() as container:
            refuse_many_references(opened.name, _reference_count(container))


def _reference_count(container: av.container.InputContainer) -> int | None:
    stream = container.streams.video[0]
    count = h264_reference_count(stream.codec_context.extradata or b"")
    if count is None:
        for packet in container.demux(stream):
            return h264_reference_count(bytes(packet))
    return count


def _hevc_reader() -> Any:
    try:
        import vssbench.codec.hevc as parser
    except ImportError:
        reader = None
    else:
        reader = getattr(parser, "read_motion", None)
    if reader is None:
        raise CapabilityError(
            "HEVC motion is not available in this build of vssbench; use codec: h264 with references=1, "
            "or install a build with the motion parser"
        )
    return reader


def _hevc_motion(opened: _Opened) -> Iterator[MotionField]:
    """The parser's fields; it reads byte streams and containers piece by piece."""
    fields: Iterator[MotionField] = iter(_hevc_reader()(opened.payload))
    return fields


def _resized(field: MotionField, opened: _Opened) -> MotionField:
    """The field with the size of the frames that were encoded, where padding made the picture larger."""
    if opened.bitstream is None or field.size == opened.bitstream.size:
        return field
    return replace(field, size=opened.bitstream.size)


def _decoded(opened: _Opened, motion: bool, threads: int) -> Iterator[DecodedFrame]:
    to_rgb = ToRgb()
    size = opened.bitstream.size if opened.bitstream else None
    for index, (coded, field) in enumerate(_pictures(opened, motion, threads)):
        yield DecodedFrame(
            index=index,
            image=to_rgb(coded.picture, size),
            frame_type=coded.frame_type if field is None else field.frame_type,
            coded_bytes=coded.coded_bytes,
            motion=field,
        )


@dataclass(frozen=True)
class _Coded:
    picture: av.VideoFrame
    frame_type: FrameType
    coded_bytes: int
    decode_order: int


def _pictures(opened: _Opened, motion: bool, threads: int) -> Iterator[tuple[_Coded, MotionField | None]]:
    """Decoded pictures in display order, each with its motion field."""
    exporting = motion and opened.codec != "hevc"
    parsed = _hevc_motion(opened) if motion and not exporting else None
    exported = ExportedMotion(opened.name) if exporting else None
    count = 0
    for coded in _display_order(opened, exporting, threads):
        field = None
        if exported is not None:
            size = (coded.picture.height, coded.picture.width)
            field = _resized(exported(coded.picture, coded.frame_type, size, coded.decode_order), opened)
        elif parsed is not None:
            field = _resized(_paired(parsed, coded, count, opened.name), opened)
        count += 1
        yield coded, field
    expected = opened.bitstream.frame_count if opened.bitstream else max(count, 1)
    if count != expected:
        raise BitstreamError(
            f"{opened.name}: {count} pictures decode, expected {expected}; the stream is truncated or damaged, "
            "encode the clip again"
        )
    if parsed is not None and next(parsed, None) is not None:
        raise BitstreamError(
            f"{opened.name}: more motion fields than decoded pictures ({count}); the stream is damaged"
        )


def _paired(parsed: Iterator[MotionField], coded: _Coded, index: int, name: str) -> MotionField:
    """Motion of picture `index`: parser and decoder both deliver display order."""
    field = next(parsed, None)
    size = (coded.picture.height, coded.picture.width)
    if field is None or field.size != size:
        found = "no motion field" if field is None else f"a motion field of {field.size[1]}x{field.size[0]}"
        raise BitstreamError(
            f"{name}: decoded picture {index} of {size[1]}x{size[0]} has {found}; the stream is damaged, encode it again"
        )
    return field


def _display_order(opened: _Opened, exporting: bool, threads: int) -> Iterator[_Coded]:
    with opened.container() as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        context.thread_count, context.thread_type = threads, "AUTO"
        context.options = {**STRICT, **(EXPORT if exporting else {})}
        packet_bytes: dict[int, int] = {}
        count = 0
        try:
            for order, packet in enumerate(container.demux(stream)):
                # Decoders hand the time stamp through, so the rank in coding order comes back with its picture.
                packet_bytes[order] = packet.size
                packet.pts = order
                for picture in packet.decode():
                    rank = order if picture.pts is None else int(picture.pts)
                    frame_type = _FRAME_TYPES.get(int(picture.pict_type), "P")
                    yield _Coded(picture, frame_type, packet_bytes.pop(rank, 0), rank)
                    count += 1
        except av.FFmpegError as error:
            raise BitstreamError(
                f"{opened.name}: picture {count} does not decode ({error.strerror}); the stream is truncated or damaged, "
                "encode or copy it again"
            ) from error
    if count == 0:
        raise BitstreamError(f"{opened.name}: holds no picture; expected at least one")
