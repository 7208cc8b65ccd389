"""Reading the frames of any video file that FFmpeg knows, as RGB arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
from numpy.typing import NDArray

from vssbench.codec.colour import ToRgb
from vssbench.errors import BitstreamError, InputError

STRICT = {"err_detect": "crccheck+bitstream+buffer+explode"}
"""Decoder options: damaged data is an error, never a picture with concealed parts."""

SAFE_FORMATS = {
    "format_whitelist": "mov,mp4,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,m4v,vc1,av1,obu,ivf,flv,asf,ogg,mxf,nut,"
    "dv,yuv4mpegpipe,gif,mjpeg",
    "protocol_whitelist": "file",
}
"""Container options: files that hold their own pictures. Playlists, scripts and session descriptions, which would make
FFmpeg open other files or addresses, are refused."""

_BYTE_STREAMS = frozenset({"hevc", "h264"})

_REMEDY = "check the file with a player, or re-encode it with `vssbench encode`"


@contextmanager
def open_container(source: Any, name: str, **options: Any) -> Iterator[av.container.InputContainer]:
    """FFmpeg container of a path or binary file object, with FFmpeg's exceptions turned into ours.

    Raises InputError if the file is missing, unreadable or holds no video, BitstreamError if it is damaged.
    """
    try:
        container = av.open(source, mode="r", container_options=SAFE_FORMATS, **options)
    except FileNotFoundError as error:
        raise InputError(f"{name}: no such file; give the path of a video file") from error
    except IsADirectoryError as error:
        raise InputError(f"{name}: is a folder; expected a video file") from error
    except PermissionError as error:
        raise InputError(f"{name}: no permission to read it; change its mode or owner") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{name}: not a video that FFmpeg can open ({_reason(error)}); expected mp4, mkv, avi, an elementary "
            f"stream (.hevc, .265, .h264, .264, .m4v) or another video container; {_REMEDY}"
        ) from error
    try:
        if not container.streams.video:
            raise InputError(f"{name}: holds no video stream; expected a video file")
        if container.streams.video[0].codec_context is None:
            raise BitstreamError(
                f"{name}: the video's codec is unknown to FFmpeg, or its header is damaged; {_REMEDY}"
            )
        yield container
    except (av.FFmpegError, EOFError) as error:
        raise BitstreamError(f"{name}: damaged video data ({_reason(error)}); {_REMEDY}") from error
    finally:
        container.close()


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)


class Video:
    """Frames of one video file, read on demand; iterating again starts again. Made by `read_video`."""

    frame_rate_hz: float
    """Average rate; for elementary streams the one in the header, else FFmpeg's assumption of 25."""
    size: tuple[int, int]
    """(H, W) of every frame."""
    frame_count: int
    """Coded pictures found by reading the file through once without decoding."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._cursor: Iterator[NDArray[np.uint8]] | None = None
        self._next_index = 0
        if self.path.is_dir():
            raise InputError(f"{self.path}: is a folder; expected a video file")
        with open_container(str(self.path), str(self.path)) as container:
            stream = container.streams.video[0]
            # Byte streams have no container to tell; their header may, and FFmpeg assumes 25 where it does not.
            from_header = stream.codec_context.framerate if container.format.name in _BYTE_STREAMS else None
            rate = from_header or stream.average_rate or stream.base_rate
            self.frame_rate_hz = float(rate) if rate else 0.0
            self.size = (int(stream.codec_context.height), int(stream.codec_context.width))
            self.frame_count = sum(packet.size > 0 for packet in container.demux(stream))
        if self.frame_count == 0 or 0 in self.size:
            raise BitstreamError(f"{self.path}: the video stream holds no picture; {_REMEDY}")

    def __len__(self) -> int:
        return self.frame_count

    def __repr__(self) -> str:
        height, width = self.size
        return f"Video({str(self.path)!r}, {width}x{height}, {self.frame_count} frames, {self.frame_rate_hz:g} Hz)"

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """RGB uint8 [H, W, 3], display order.

        Raises BitstreamError if the frame size changes on the way or fewer pictures decode than the file promised.
        """
        decoded = 0
        to_rgb = ToRgb()
        with open_container(str(self.path), str(self.path)) as container:
            container.streams.video[0].codec_context.options = STRICT
            for picture in container.decode(video=0):
                if (picture.height, picture.width) != self.size:
                    raise BitstreamError(
                        f"{self.path}: frame {decoded} is {picture.width}x{picture.height}, but the file is "
                        f"{self.size[1]}x{self.size[0]}; expected one size, split the file where it changes"
                    )
                yield to_rgb(picture)
                decoded += 1
        if decoded < self.frame_count:
            raise BitstreamError(
                f"{self.path}: only {decoded} of {self.frame_count} pictures decode; the file is truncated or "
                f"damaged after frame {decoded - 1}; copy it again or cut it there"
            )

    def frame(self, index: int) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] of frame `index` (0 is the first).

        Reading in ascending order costs one decode per frame; going back starts over from the first frame, so the
        result never depends on a container's seek index. Raises InputError if the index is outside the file.
        """
        if not 0 <= index < self.frame_count:
            raise InputError(
                f"{self.path}: frame {index} does not exist; expected 0 to {self.frame_count - 1}"
            )
        if self._cursor is None or index < self._next_index:
            self._cursor, self._next_index = iter(self), 0
        for image in self._cursor:
            self._next_index += 1
            if self._next_index == index + 1:
                return image
        raise BitstreamError(f"{self.path}: frame {index} does not decode; {_REMEDY}")


def read_video(path: str | os.PathLike[str]) -> Video:
    """Open a video file (mp4, mkv, avi, .hevc, .h264, .m4v, ...): iterate it for RGB uint8 [H, W, 3] frames.

    The result carries `frame_rate_hz`, `size` and `frame_count`. Raises InputError if the path is missing, unreadable
    or not a video, BitstreamError (an InputError) if the data is damaged or truncated.
    """
    return Video(path)


def open_video_frames(path: str | os.PathLike[str]) -> Iterator[NDArray[np.uint8]]:
    """Frames of `read_video(path)` as an iterator."""
    return iter(read_video(path))
