"""Opening video files: which kinds are read, which of several video streams, and errors that say what is wrong."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import av
import av.container
from av.stream import Disposition
from av.video.stream import VideoStream

from vssbench.errors import BitstreamError, CapabilityError, ConfigError, InputError
from vssbench.files import content_of

VideoPacket: TypeAlias = "av.Packet[VideoStream]"

SAFE_FORMATS = {
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,vc1,av1,obu,ivf,flv,asf,ogg,mxf,nut,"
    "dv,yuv4mpegpipe,gif,mjpeg",
    "protocol_whitelist": "file",
}
"""Container options: files that hold their own pictures. Playlists, scripts and session descriptions, which would make
FFmpeg open other files or addresses, are refused."""

BYTE_STREAMS = {
    **dict.fromkeys((".hevc", ".265", ".h265"), "hevc"),
    **dict.fromkeys((".h264", ".264", ".avc", ".jsv"), "h264"),
    ".m4v": "m4v",
}
"""Suffix -> FFmpeg demuxer of elementary streams, for those that FFmpeg does not recognise by their content."""

REMEDY = "check the file with a player, or re-encode it with `vssbench encode`"

_NOT_THE_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails


@contextmanager
def open_container(
    source: Any, name: str, demuxer: str | None = None, options: Mapping[str, str] | None = None
) -> Iterator[av.container.InputContainer]:
    """FFmpeg container of a path or binary file object, with FFmpeg's exceptions turned into ours.

    Raises InputError if the file is missing, unreadable or holds no video, BitstreamError if it is damaged.
    """
    container = _opened(source, name, demuxer, {**SAFE_FORMATS, **(options or {})})
    try:
        yield container
    except (av.FFmpegError, EOFError) as error:
        raise BitstreamError(f"{name}: damaged video data ({_reason(error)}); {REMEDY}") from error
    finally:
        container.close()


def _opened(
    source: Any, name: str, demuxer: str | None, options: dict[str, str]
) -> av.container.InputContainer:
    try:
        # Titles in another encoding than UTF-8 are no reason to refuse the pictures.
        opened: av.container.InputContainer = av.open(
            source, mode="r", format=demuxer, container_options=options, metadata_errors="replace"
        )
        return opened
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; give the path of a video file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; expected a video file") from error
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it; change its mode or owner") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        suffix = Path(source).suffix.lower() if isinstance(source, str) else ""
        if demuxer is None and suffix in BYTE_STREAMS:
            return _opened(source, name, BYTE_STREAMS[suffix], options)
        raise InputError(
            f"{name}: not a video that FFmpeg can open ({_content(source) or _reason(error)}); expected mp4, mkv, avi, an elementary "
            f"stream (.hevc, .265, .h264, .264, .m4v) or another video container; {REMEDY}"
        ) from error


def _content(source: Any) -> str:
    if isinstance(source, str):
        with open(source, "rb") as file:
            return content_of(file.read(32))
    source.seek(0)
    return content_of(source.read(32))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)


STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "flags": "+unaligned"}
"""Decoder options: damaged data is an error, never a picture with concealed parts; cropping is exact at the left too."""


@dataclass(frozen=True)
class Media:
    """A video file, or the bytes of one, with the stream that is read from it."""

    name: str
    payload: str | bytes
    """Path or bytes."""
    demuxer: str
    """FFmpeg's short name of the container, 'mp4' and 'mov' alike being 'mov'."""
    stream: int
    """Index of the video stream in the file."""
    codec: str
    remarks: tuple[str, ...] = ()
    """What was chosen where the file leaves a choice."""

    @staticmethod
    def of(source: str | os.PathLike[str] | bytes, stream: int | None = None) -> Media:
        """Look at a file. `stream`: index of the video stream to read; by default the file's main one.

        Raises InputError if it is missing, unreadable or no video, ConfigError if it has no such stream,
        CapabilityError if it is encrypted.
        """
        payload = source if isinstance(source, bytes) else os.fspath(source)
        name = f"{len(payload)} bytes of video" if isinstance(payload, bytes) else payload
        if isinstance(payload, str):
            _require_plain_file(payload)
        with open_container(_file(payload), name) as container:
            chosen, remarks = _choose(container, name, stream)
            demuxer = container.format.name.split(",")[0]
            return Media(name, payload, demuxer, chosen.index, chosen.codec_context.name, remarks)

    @contextmanager
    def open(
        self, options: Mapping[str, str] | None = None
    ) -> Iterator[tuple[av.container.InputContainer, VideoStream]]:
        """The file opened anew, with further `options` of its demuxer, and its video stream."""
        with open_container(_file(self.payload), self.name, self.demuxer, options) as container:
            stream = container.streams[self.stream]
            assert isinstance(stream, VideoStream)
            yield container, stream


def _file(payload: str | bytes) -> Any:
    # an absolute path is never taken for an address, as http:x.mp4 would be
    return io.BytesIO(payload) if isinstance(payload, bytes) else os.path.abspath(payload)


def _require_plain_file(name: str) -> None:
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name}: is a folder; expected a video file")
    if path.exists() and not path.is_file():
        raise InputError(
            f"{name}: is a pipe, socket or device; expected a video file, copy its content to one"
        )


def _choose(
    container: av.container.InputContainer, name: str, wanted: int | None
) -> tuple[VideoStream, tuple[str, ...]]:
    """The stream that is read, and what the user should know about the choice."""
    streams = list(container.streams.video)
    if not streams:
        raise InputError(f"{name}: holds no video stream; expected a video file")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise BitstreamError(
            f"{name}: the video's codec is unknown to FFmpeg, or its header is damaged; {REMEDY}"
        )
    if wanted is not None:
        found = next((stream for stream in known if stream.index == wanted), None)
        if found is None:
            raise ConfigError(
                f"{name}: stream {wanted} is no video stream of the file; expected one of {_listed(known)}"
            )
        return found, ()
    videos = [stream for stream in known if not stream.disposition & _NOT_THE_VIDEO]
    if not videos:
        raise InputError(
            f"{name}: holds cover pictures only, no video; expected a video file, or choose one of {_listed(known)} "
            "with the option stream"
        )
    best = container.streams.best("video")
    chosen = next((s for s in videos if best is not None and s.index == best.index), None) or max(
        videos, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height, -s.index)
    )
    if len(videos) == 1:
        return chosen, ()
    remark = f"{name}: of {len(videos)} video streams {_listed(videos)} number {chosen.index} is read; the option stream chooses another"
    return chosen, (remark,)


def _listed(streams: list[VideoStream]) -> str:
    return ", ".join(
        f"{s.index} ({s.codec_context.name} {s.codec_context.width}x{s.codec_context.height})"
        for s in streams
    )


def encrypted(name: str) -> CapabilityError:
    """The error for video that needs a key."""
    return CapabilityError(
        f"{name}: the video is encrypted; expected plain video, decrypt it with the keys of its owner first"
    )


def refuse_encrypted(packet: VideoPacket, name: str) -> None:
    """Raise CapabilityError if the container says that a packet is encrypted."""
    if packet.has_sidedata("encryption_info"):
        raise encrypted(name)
