"""Frames that a run kept for the viewer, read one by one: who, when, how coded, and where its pictures are."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.errors import InputError
from vssbench.rendering.images.colours import IGNORED, PictureCase, motion_dense
from vssbench.analysis.run import Run

Reader = Callable[[str], bytes]
"""Content of a picture by its name."""


@dataclass(frozen=True, slots=True)
class FrameCase:
    """One kept frame; its pictures are read when they are asked for."""

    dataset: str
    codec: str
    sequence: str
    frame: int
    distance: int
    frame_type: str
    coded_bytes: int | None
    qp: float | None
    """Mean luma QP of the picture, None where the run did not keep it."""
    class_names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ignore_index: int
    decoded_name: str
    truth_name: str
    prediction_names: dict[str, str]
    """Method -> name of its label map."""
    motion_name: str | None
    motion_step: int
    """Samples between two kept motion vectors."""
    read: Reader

    @property
    def place(self) -> tuple[str, str, str, int, int]:
        """What makes a case unique."""
        return (self.dataset, self.codec, self.sequence, self.frame, self.distance)

    def labels(self, name: str) -> NDArray[np.uint8]:
        """Class indices [H, W] of a stored label map."""
        with Image.open(io.BytesIO(self.read(name))) as picture:
            return np.asarray(picture)

    def motion(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
        """Flow to the keyframe [2, H/step, W/step] in pixels and where it holds; None without motion."""
        if self.motion_name is None:
            return None
        with np.load(io.BytesIO(self.read(self.motion_name))) as stored:
            return stored["flow"].astype(np.float32), stored["valid"]

    def picture(self) -> PictureCase:
        """Everything decoded, for drawing figures. Raises InputError if a picture is damaged."""
        try:
            with Image.open(io.BytesIO(self.read(self.decoded_name))) as picture:
                decoded = np.asarray(picture.convert("RGB"))
            truth = self.labels(self.truth_name)
            flow, valid = motion_dense(self.motion(), self.motion_step, truth.shape)
            palette = np.zeros((256, 3), np.uint8)
            palette[: len(self.palette)] = self.palette
            predictions = {title: self.labels(name) for title, name in self.prediction_names.items()}
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{self.describe()}: a kept picture cannot be read ({error})") from error
        place = (self.dataset, self.codec, self.sequence, self.frame, self.distance, self.frame_type)
        return PictureCase(
            *place, self.coded_bytes, self.class_names, palette, self.ignore_index, decoded, truth, predictions,
            flow, valid,
        )  # fmt: skip

    def describe(self) -> str:
        """How messages call it."""
        return f"{self.dataset}, {self.codec}: {self.sequence}, frame {self.frame}, d = {self.distance}"


@dataclass(frozen=True, slots=True)
class Track:
    """Kept frames of one sequence under one codec setting, by frame and distance: what the viewer scrubs through."""

    dataset: str
    codec: str
    sequence: str
    cases: tuple[FrameCase, ...]


def tracks(run: Run) -> list[Track]:
    """All kept frames of a run by dataset, codec and sequence, in the order of the experiment.

    Cases kept as single pictures join the track of their sequence. Raises InputError if an archive is damaged.
    """
    titles = run.plan["titles"]
    found: dict[tuple[str, str, str, int, int], FrameCase] = {}
    for case in (*_archived(run.path, titles["methods"]), *_single(run.path, titles["methods"])):
        found.setdefault(case.place, case)
    grouped: dict[tuple[str, str, str], list[FrameCase]] = {}
    for case in sorted(found.values(), key=lambda c: (c.sequence, c.frame, c.distance)):
        grouped.setdefault((case.dataset, case.codec, case.sequence), []).append(case)
    made = [Track(*place, tuple(cases)) for place, cases in grouped.items()]

    def rank(track: Track) -> tuple[int, int, int]:
        datasets, codecs = titles["datasets"], titles["codecs"]
        return (_rank(datasets, track.dataset), _rank(codecs, track.codec), -len(track.cases))

    return sorted(made, key=rank)


def _rank(titles: Sequence[str], title: str) -> int:
    return titles.index(title) if title in titles else len(titles)


def _archived(root: Path, methods: Sequence[str]) -> Iterable[FrameCase]:
    """Cases of RUN/frames."""
    for path in sorted((root / "frames").glob("*/*/*.zip")):
        reader = _archive_reader(path)
        try:
            described = json.loads(reader("cases.json"))
            yield from [_case(one, methods, reader) for one in described]
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: these frames cannot be read ({type(error).__name__}: {error}); delete the file and run the "
                "experiment again to make it anew"
            ) from error


def _archive_reader(path: Path) -> Reader:
    return lambda name: _opened(path, path.stat().st_mtime_ns).read(name)


@lru_cache(maxsize=2)
def _opened(path: Path, changed_ns: int) -> zipfile.ZipFile:
    """The archive in memory: pictures are asked for one by one, and its directory is not read again for each.

    changed_ns: when the file was written last; another time is another archive.
    """
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def _single(root: Path, methods: Sequence[str]) -> Iterable[FrameCase]:
    """Cases of RUN/pictures, which older runs have alone."""
    for path in sorted((root / "pictures").glob("*/*/*/case.json")):
        try:
            described = json.loads(path.read_text(encoding="utf-8"))
            yield _case(described, methods, _folder_reader(path.parent))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: this picture cannot be read ({type(error).__name__}: {error}); "
                "delete its folder and run the experiment again to make it anew"
            ) from error


def _folder_reader(base: Path) -> Reader:
    return lambda name: (
        base / Path(name).name
    ).read_bytes()  # .name: a record cannot point outside its folder


def _case(described: dict[str, Any], methods: Sequence[str], read: Reader) -> FrameCase:
    answers = sorted(described["predictions"].items(), key=lambda item: _rank(methods, item[0]))
    return FrameCase(
        **{
            key: described[key] for key in ("dataset", "codec", "sequence", "frame", "distance", "frame_type")
        },
        coded_bytes=described["coded_bytes"],
        qp=described.get("qp"),
        class_names=tuple(described["class_names"]),
        palette=tuple((int(r), int(g), int(b)) for r, g, b in described["palette"]),
        ignore_index=int(described["ignore_index"]),
        decoded_name=described["decoded"],
        truth_name=described["truth"],
        prediction_names=dict(answers),
        motion_name=described["motion"],
        motion_step=int(described.get("motion_step", 1)),
        read=read,
    )


def palette_bytes(case: FrameCase) -> bytes:
    """The palette of a label picture: class colours, ignored and unknown values black."""
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(case.palette)] = case.palette
    palette[case.ignore_index] = IGNORED
    return palette.tobytes()
