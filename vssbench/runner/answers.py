"""A folder of what one method sees in a video: label pictures, and films made of them. Resumable, never overwritten unasked."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench import __version__
from vssbench.codec import decode
from vssbench.engine.streams import Segmentation
from vssbench.errors import ConfigError, InputError
from vssbench.files import digest_file, write_atomically
from vssbench.networks.weights import locate_weights
from vssbench.pictures import read_label_values
from vssbench.records import ClassTable

NOTE = "answers.json"
FILMS = ("overlay.mp4", "labels.mkv")
OPACITY = 0.5
"""Of class colours over the picture."""

Progress = Callable[[int], None]
"""Called with the number of pictures that are done."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The folder; whoever writes must hold it (`engine.ownership.owned`)."""

    path: Path
    work: Segmentation
    classes: ClassTable

    def claim(self, force: bool) -> None:
        """Note what is made here, or see that it is the same as before.

        force: replace the answers of another call. Raises ConfigError where the folder holds something else.
        """
        note, now = self.path / NOTE, self._description()
        before = note.read_bytes() if note.is_file() else None
        others = sorted(path.name for path in self.path.iterdir() if not path.name.startswith("."))
        if before is None and others:
            raise ConfigError(
                f"{self.path}: holds {others[0]} and was not made by `vssbench segment`; choose another folder with -o"
            )
        if before not in (None, now):
            if not force:
                raise ConfigError(
                    f"{self.path}: holds answers of another video, method, weights or option; choose another folder with -o, "
                    "or replace them with --force"
                )
            shutil.rmtree(self.path / "labels", ignore_errors=True)
            for name in FILMS:
                (self.path / name).unlink(missing_ok=True)
        write_atomically(note, now)

    def _description(self) -> bytes:
        """What decides the answers, as JSON."""
        work = self.work
        weights = work.spec.options().weights
        parts = {
            "vssbench": __version__,
            "video": {"packets_sha256": work.source.digest, "orientation": work.source.file.orientation},
            "method": work.spec.model_dump(mode="json"),
            "weights_sha256": {part: digest_file(locate_weights(one)) for part, one in weights.items()},
            "settings": work.settings.model_dump(mode="json", include={"keyframes", "keyframe_interval"}),
            "classes": {"names": self.classes.names, "palette": self.classes.palette},
            "pictures": [work.frames[0], work.frames[-1]],
        }
        if work.source.left_out:
            parts["left_out"] = work.source.left_out
        return (json.dumps(parts, indent=1) + "\n").encode()

    def label_path(self, index: int) -> Path:
        """Where the label map of a picture is."""
        return self.path / "labels" / f"{index:06d}.png"

    def write_labels(self, progress: Progress) -> None:
        """Run the method on what is missing; a PNG of class indices with the classes' colours for each picture."""
        known = {index for index in self.work.frames if self.label_path(index).exists()}
        done = len(known)
        progress(done)
        ends = {clip.first + clip.length for clip in self.work.encode.clips}
        palette = bytes(np.array(self.classes.palette, np.uint8))
        for index, labels in self.work.labels(known.__contains__):
            picture = Image.fromarray(labels)
            picture.putpalette(palette)
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            write_atomically(self.label_path(index), buffer.getvalue())
            done += 1
            if index + 1 in ends:  # the answers of a group come together
                progress(done)

    def write_label_film(self, progress: Progress) -> None:
        """labels.mkv: the class indices as grey values, without loss (FFV1)."""
        pictures = (av.VideoFrame.from_ndarray(self._labels(i), format="gray") for i in self.work.frames)
        self._write_film("labels.mkv", "matroska", pictures, ("ffv1", "gray", {}), progress)

    def write_overlay(self, progress: Progress) -> None:
        """overlay.mp4: the classes' colours over the pictures."""
        pictures = (av.VideoFrame.from_ndarray(image, format="rgb24") for image in self._blended())
        self._write_film("overlay.mp4", "mp4", pictures, ("libx264", "yuv420p", {"crf": "20"}), progress)

    def _blended(self) -> Iterator[NDArray[np.uint8]]:
        file, palette = self.work.source.file, np.zeros((256, 3))
        palette[: len(self.classes)] = self.classes.palette
        frames = decode(file, motion=False)
        for index, frame in zip(self.work.frames, islice(frames, self.work.frames[0], None), strict=True):
            colours = palette[self._labels(index)]
            blended = (1 - OPACITY) * frame.image + OPACITY * colours
            rows, columns = (side - side % 2 for side in blended.shape[:2])  # what yuv420p can hold
            yield np.ascontiguousarray(blended[:rows, :columns].astype(np.uint8))

    def _labels(self, index: int) -> NDArray[np.uint8]:
        labels = read_label_values(self.label_path(index), colours=False)
        if labels.shape != self.work.source.size:
            raise InputError(
                f"{self.label_path(index)}: is {labels.shape}, the video {self.work.source.size}; delete it and run again"
            )
        return labels

    def _write_film(
        self,
        name: str,
        container: str,
        pictures: Iterator[av.VideoFrame],
        coding: tuple[str, str, dict[str, str]],
        progress: Progress,
    ) -> None:
        """One film at the mean rate of the video, complete or absent; left alone where it is there."""
        if (self.path / name).exists():
            return
        rate = Fraction(self.work.source.frame_rate_hz or 25).limit_denominator(1001)

        def fill(file: IO[bytes]) -> None:
            with av.open(file, "w", format=container) as film:
                stream: Any = film.add_stream(coding[0], rate=rate)
                stream.pix_fmt, stream.options = coding[1], coding[2]
                for count, picture in enumerate(pictures):
                    if count == 0:
                        stream.height, stream.width = picture.height, picture.width
                    picture.pts, picture.time_base = count, 1 / rate
                    film.mux(stream.encode(picture))
                    progress(count + 1)
                film.mux(stream.encode(None))

        write_atomically(self.path / name, fill)
