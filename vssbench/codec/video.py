"""The frames of any video file that FFmpeg knows, as RGB arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vssbench.codec.colour import ToRgb
from vssbench.codec.media import REMEDY, Media
from vssbench.codec.orientation import Orientation
from vssbench.codec.shown import Film
from vssbench.dataset import OrientationOption
from vssbench.errors import BitstreamError, InputError

_BYTE_STREAMS = frozenset({"hevc", "h264"})


class Video:
    """Frames of one video file, read on demand; iterating again starts again. Made by `read_video`."""

    path: Path
    frame_rate_hz: float
    """Average rate; for elementary streams the one in the header, else FFmpeg's assumption of 25."""
    size: tuple[int, int]
    """(H, W) of every frame."""
    frame_count: int
    """Pictures that are shown, found by reading the file through once without decoding."""
    orientation: Orientation
    """How the frames are turned against the coded pictures."""
    orientation_option: OrientationOption
    """The choice that led to it."""
    partial: bool
    """Whether damaged groups of pictures are left out."""
    stream: int
    """Index of the video stream in the file."""
    remarks: tuple[str, ...]
    """What the user should know: pictures that are left out, turned or chosen; also logged as warnings."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        orientation: OrientationOption = "upright",
        stream: int | None = None,
        partial: bool = False,
    ) -> None:
        self.path = Path(path)
        self._cursor: Iterator[NDArray[np.uint8]] | None = None
        self._next_index = 0
        self.orientation_option, self.partial = orientation, partial
        self._film = film = Film.of(Media.of(str(self.path), stream), orientation, partial)
        self.frame_rate_hz = frame_rate(film)
        self.size, self.orientation, self.remarks = film.size, film.orientation, film.remarks
        self.frame_count, self.stream = film.contents.shown, film.media.stream

    def __len__(self) -> int:
        return self.frame_count

    def __repr__(self) -> str:
        height, width = self.size
        return f"Video({str(self.path)!r}, {width}x{height}, {self.frame_count} frames, {self.frame_rate_hz:g} Hz)"

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        """RGB uint8 [H, W, 3], display order.

        Raises BitstreamError if the frame size changes on the way or fewer pictures decode than the file promised.
        """
        to_rgb = ToRgb(str(self.path))
        for index, shown in enumerate(self._film.pictures()):
            image = self.orientation.turn(to_rgb(shown.picture))
            if image.shape[:2] != self.size:
                raise BitstreamError(
                    f"{self.path}: frame {index} is {image.shape[1]}x{image.shape[0]}, but the file begins with "
                    f"{self.size[1]}x{self.size[0]}; expected one size, split the file where it changes"
                )
            yield image

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
        raise BitstreamError(f"{self.path}: frame {index} does not decode; {REMEDY}")


def frame_rate(film: Film) -> float:
    """Average rate in Hz, as the container tells it, else the stream's header; 0 where neither does."""
    if film.media.demuxer == "avi" and film.contents.mean_rate_hz:
        return film.contents.mean_rate_hz  # the header counts empty entries as pictures
    with film.media.open() as (_, stream):
        # Byte streams have no container to tell; their header may, and FFmpeg assumes 25 where it does not.
        from_header = stream.codec_context.framerate if film.media.demuxer in _BYTE_STREAMS else None
        rate = from_header or stream.average_rate or stream.base_rate
        return float(rate) if rate else 0.0


def read_video(
    path: str | os.PathLike[str],
    *,
    orientation: OrientationOption = "upright",
    stream: int | None = None,
    partial: bool = False,
) -> Video:
    """Open a video file (mp4, mkv, avi, .hevc, .h264, .m4v, ...): iterate it for RGB uint8 [H, W, 3] frames.

    Frames are those that a player shows: inside the edit list, cropped, and turned upright unless `orientation` is
    'stored', for labels made on pictures as they are coded. `stream` is the index of the video stream, by default the
    file's main one, never a cover picture. `partial` leaves damaged groups of pictures out (codec/bits/salvage.py). The result carries `frame_rate_hz`, `size`, `frame_count` and `remarks`.

    Raises InputError if the path is missing, unreadable or not a video, BitstreamError (an InputError) if the data is
    damaged or truncated, CapabilityError if it is encrypted, ConfigError if there is no such stream.
    """
    return Video(path, orientation, stream, partial)


def open_video_frames(path: str | os.PathLike[str]) -> Iterator[NDArray[np.uint8]]:
    """Frames of `read_video(path)` as an iterator."""
    return iter(read_video(path))
