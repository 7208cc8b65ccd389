"""Sequences whose frames come from a video file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vssbench.codec.video import Video
from vssbench.dataset import CodedFile, VideoSequence, safe_name
from vssbench.errors import InputError
from vssbench.picture_folders import LabelReader, files_identity

VIDEO_SUFFIXES = (
    ".mp4", ".mkv", ".mov", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".nut", ".mxf", ".flv",
    ".hevc", ".265", ".h265", ".264", ".h264",
)  # fmt: skip
_KEPT_FRAMES = 32


class VideoFileSequence(VideoSequence):
    """A video file with label pictures for some frames. Keeps the last few frames only.

    Going forwards decodes each frame once; going further back than the kept frames starts the file again.
    """

    def __init__(
        self,
        path: Path,
        video: Video,
        labels: Mapping[int, Path],
        frame_rate_hz: float,
        read_label: LabelReader,
    ) -> None:
        self.path = path
        self.name = safe_name(path.stem)
        self.frame_rate_hz = frame_rate_hz
        self.size = video.size
        self.label_paths = dict(sorted(labels.items()))
        self._video = video
        self._read_label = read_label
        self._recent: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._video.frame_count

    @property
    def labelled(self) -> Sequence[int]:
        """Ascending indices of the frames that have a label."""
        return list(self.label_paths)

    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB frame. Raises InputError if the index is outside the file or the file is damaged."""
        with self._lock:
            if index not in self._recent:
                self._recent[index] = self._video.frame(index)
            self._recent.move_to_end(index)
            while len(self._recent) > _KEPT_FRAMES:
                self._recent.popitem(last=False)
            return self._recent[index]

    def label(self, index: int) -> NDArray[np.uint8]:
        """Label map. Raises InputError if there is none, its size is not the video's, or a value is unknown."""
        path = self.label_paths.get(index)
        if path is None:
            raise InputError(f"sequence {self.name}: frame {index} has no label; see `labelled`")
        label = self._read_label(path)
        if label.shape != self.size:
            turned = label.shape == self.size[::-1] and self._video.orientation.transposed
            remedy = (
                "the video is shown turned; if labels were made on its pictures as they are coded, set orientation: stored"
                if turned
                else "expected equal sizes, export the labels again at the video's size"
            )
            raise InputError(
                f"{path}: label of {label.shape[1]}x{label.shape[0]} pixels for a video of {self.size[1]}x{self.size[0]}; {remedy}"
            )
        return label

    def frame_files(self) -> Sequence[Path]:
        """The video."""
        return [self.path]

    def label_files(self) -> Sequence[Path]:
        """The label pictures."""
        return list(self.label_paths.values())

    @property
    def coded_file(self) -> CodedFile:
        """The video file itself."""
        return CodedFile(self.path, self._video.stream, self._video.orientation_option, self._video.partial)

    def remarks(self) -> Sequence[str]:
        """How the file was read where that is a choice: turned upright, one of several streams, its colours."""
        return self._video.remarks

    @property
    def identity(self) -> str:
        """Hash over path, size and time of the file, and what else decides its pictures."""
        stream = f" stream {self._video.stream}" if self._video.stream else ""
        turned = f" {self._video.orientation}" if self._video.orientation else ""
        return f"video {files_identity([self.path])}{stream}{turned}"
