"""Frames that a run kept to look at: one archive per unit, or per single frame, written and read here.

RUN/frames/DATASET/CODEC/SEQUENCE-UNIT.zip         all scored frames of a unit; -dDD.zip: the frame at distance DD alone
    cases.json                 cases: the fields of `FrameCase`, one object per frame, by frame and distance; what the
                               archive belongs to (results/basis.py); digest over all of it and the other files
    N-decoded.webp             RGB as decoded by the codec, stored with loss: for looking at, not for scoring
    N-truth.png                class indices with the class colours as palette
    N-prediction-K.png         the same of method K
    N-motion.npz               flow to the keyframe, float16 [2, H/4, W/4] pixels at every fourth sample, valid bool
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.errors import InputError
from vssbench.files import write_atomically
from vssbench.metrics.confusion import count_pairs, mean_iou
from vssbench.records import ClassTable, FlowField
from vssbench.results.basis import Basis
from vssbench.results.store import foreign, slug

MOTION_STEP = 4
"""The motion of every fourth sample is kept: codecs move blocks of 4x4 samples at least."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""Archives carry no time, so that the same run gives the same bytes."""

Labels = NDArray[np.uint8]
Reader = Callable[[str], bytes]
"""Content of a picture by its name."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureCase:
    """One kept frame with everything that was seen and said about it, decoded."""

    dataset: str
    codec: str
    sequence: str
    frame: int
    distance: int
    frame_type: str
    coded_bytes: int | None
    class_names: tuple[str, ...]
    palette: NDArray[np.uint8]
    """[256, 3] RGB by label value; unused values are black."""
    ignore_index: int
    decoded: NDArray[np.uint8]
    """[H, W, 3]."""
    truth: Labels
    """[H, W] class indices."""
    predictions: dict[str, Labels]
    """Method -> [H, W] class indices."""
    flow: NDArray[np.float32] | None
    """[2, H, W] pixels towards the keyframe, None where the codec gives no motion."""
    valid: NDArray[np.bool_] | None

    @property
    def name(self) -> str:
        """How figures call it."""
        return f"{self.dataset}, {self.codec}: {self.sequence}, frame {self.frame}, d = {self.distance}"

    def frame_miou(self, method: str) -> float:
        """mIoU of this single frame: a hint where to look, not the benchmark's number."""
        counts = count_pairs(self.truth, self.predictions[method], len(self.class_names), self.ignore_index)
        return float(mean_iou(counts))


@dataclass(frozen=True, slots=True)
class FrameCase:
    """One kept frame; its pictures are read when they are asked for."""

    dataset: str
    codec: str
    sequence: str
    unit: str
    frame: int
    distance: int
    frame_type: str
    coded_bytes: int | None
    qp: float | None
    """Mean luma QP of the picture, None where the stream does not tell."""
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

    def archive_name(self, distance: int | None = None) -> str:
        """Archive that holds the case, with the frame at one distance alone or the whole unit."""
        return archive_name(self.dataset, self.codec, self.sequence, self.unit, distance)

    def labels(self, name: str) -> Labels:
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
            flow, valid = _dense(self.motion(), self.motion_step, truth.shape)
            predictions = {title: self.labels(name) for title, name in self.prediction_names.items()}
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.describe()}: a kept picture cannot be read ({error})") from error
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.palette)] = self.palette
        place = (self.dataset, self.codec, self.sequence, self.frame, self.distance, self.frame_type)
        return PictureCase(
            *place, self.coded_bytes, self.class_names, palette, self.ignore_index, decoded, truth, predictions,
            flow, valid,
        )  # fmt: skip

    def describe(self) -> str:
        """How messages call it."""
        return f"{self.dataset}, {self.codec}: {self.sequence}, frame {self.frame}, d = {self.distance}"


def _dense(
    motion: tuple[NDArray[np.float32], NDArray[np.bool_]] | None, step: int, size: tuple[int, ...]
) -> tuple[NDArray[np.float32] | None, NDArray[np.bool_] | None]:
    """Flow [2, H, W] and validity [H, W] from vectors kept at every `step`-th sample."""
    if motion is None:
        return None, None
    rows, columns = (
        np.minimum(np.arange(side) // step, motion[1].shape[i] - 1) for i, side in enumerate(size)
    )
    return motion[0][:, rows[:, None], columns], motion[1][rows[:, None], columns]


def archive_name(dataset: str, codec: str, sequence: str, unit: str, distance: int | None = None) -> str:
    """Archive of a unit, or of its frame at one distance, relative to the run folder."""
    alone = "" if distance is None else f"-d{distance:02d}"
    return f"frames/{slug(dataset)}/{slug(codec)}/{slug(sequence)}-{slug(unit)}{alone}.zip"


def read_frames(root: Path, basis: Basis, methods: Sequence[str]) -> tuple[list[FrameCase], list[str]]:
    """All kept frames of a run folder, predictions in the order of the titles `methods`; and what is wrong with archives.

    An archive that is damaged or from elsewhere is left out, with a sentence that says so.
    """
    rank = {title: place for place, title in enumerate(methods)}
    found, told = [], []
    for path in sorted((root / "frames").glob("*/*/*.zip")):
        try:
            for case in read_archive(path, basis):
                answers = sorted(case.prediction_names.items(), key=lambda item: rank.get(item[0], len(rank)))
                found.append(replace(case, prediction_names=dict(answers)))
        except InputError as error:
            told.append(f"{error}; `vssbench run` sets it aside and makes it again")
    return found, told


def read_archive(path: Path, basis: Basis) -> list[FrameCase]:
    """The frames of one archive. Raises InputError if it is damaged, every byte of it is checked, or from elsewhere."""
    stamp = path.stat().st_mtime_ns

    def read(name: str) -> bytes:
        return _opened(path, stamp).read(name)

    try:
        archive = _opened(path, stamp)
        packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        if packed:  # what is stored as it is cannot be larger than the file
            raise zipfile.BadZipFile(f"{packed[0]} is compressed")
        index = json.loads(read("cases.json"))
        names = sorted(set(archive.namelist()) - {"cases.json"})
        digest = _digest(index["cases"], index["belongs"], {name: read(name) for name in names})
        if digest != index["digest"]:
            raise ValueError("the content does not match its digest")
        cases = [_case(described, read) for described in index["cases"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, NotImplementedError,
            RuntimeError, OverflowError, zipfile.BadZipFile) as error:  # fmt: skip
        raise InputError(f"{path}: these frames cannot be read ({type(error).__name__}: {error})") from error
    place = path.relative_to(path.parents[3]).as_posix()
    for case in cases:
        names_of_unit = {case.archive_name(), case.archive_name(case.distance)}
        of_run = case.dataset in basis.datasets and basis.of_sequence(case.dataset, case.sequence)
        if place not in names_of_unit or not of_run or index["belongs"] not in of_run:
            raise foreign(path)
    return cases


def _digest(cases: Any, belongs: str, files: Mapping[str, bytes]) -> str:
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    text = json.dumps([cases, belongs, digests], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=2)
def _opened(path: Path, changed_ns: int) -> zipfile.ZipFile:
    """The archive in memory: pictures are asked for one by one, and its directory is not read again for each.

    changed_ns: when the file was written last; another time is another archive.
    """
    return zipfile.ZipFile(io.BytesIO(path.read_bytes()))


def _case(described: dict[str, Any], read: Reader) -> FrameCase:
    values = {
        **described,
        "class_names": tuple(described["class_names"]),
        "palette": tuple((int(r), int(g), int(b)) for r, g, b in described["palette"]),
        "prediction_names": dict(described["prediction_names"]),
    }
    return FrameCase(**values, read=read)


@dataclass(eq=False)
class FrameArchive:
    """Collects the frames of one archive, already packed, until `write`."""

    dataset: str
    codec: str
    sequence: str
    unit: str
    classes: ClassTable
    belongs: str
    """What the archive belongs to (results/basis.py)."""
    cases: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(
        self,
        *,
        frame: int,
        distance: int,
        frame_type: str,
        coded_bytes: int | None,
        qp: float | None,
        decoded: NDArray[np.uint8],
        truth: Labels,
        predictions: Mapping[str, Labels],
        motion: FlowField | None,
    ) -> None:
        """Keep one frame: RGB [H, W, 3], label maps [H, W], flow [2, H, W] to the keyframe."""
        stem = str(len(self.cases))
        names = {title: f"{stem}-prediction-{number}.png" for number, title in enumerate(predictions)}
        self.files[f"{stem}-decoded.webp"] = _webp(decoded)
        self.files[f"{stem}-truth.png"] = self._label_png(truth)
        for title, name in names.items():
            self.files[name] = self._label_png(predictions[title])
        if motion is not None:
            self.files[f"{stem}-motion.npz"] = _packed(motion)
        self.cases.append(
            {
                "dataset": self.dataset,
                "codec": self.codec,
                "sequence": self.sequence,
                "unit": self.unit,
                "frame": frame,
                "distance": distance,
                "frame_type": frame_type,
                "coded_bytes": coded_bytes,
                "qp": qp,
                "class_names": list(self.classes.names),
                "palette": [list(colour) for colour in self.classes.palette],
                "ignore_index": self.classes.ignore_index,
                "decoded_name": f"{stem}-decoded.webp",
                "truth_name": f"{stem}-truth.png",
                "prediction_names": names,
                "motion_name": None if motion is None else f"{stem}-motion.npz",
                "motion_step": MOTION_STEP,
            }
        )

    def write(self, path: Path) -> None:
        """Store the archive. Raises StorageError."""
        order = sorted(self.cases, key=lambda case: (case["frame"], case["distance"]))
        digest = _digest(order, self.belongs, self.files)
        described = {"cases": order, "belongs": self.belongs, "digest": digest}
        index = json.dumps(described, sort_keys=True, separators=(",", ":")).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {"cases.json": index, **self.files}.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), data)
        write_atomically(path, buffer.getvalue())

    def _label_png(self, labels: Labels) -> bytes:
        """A palette picture: its values are the class indices, its colours those of the class table, ignored is black.

        Palette pictures are stored without row filters, which is twice as fast as grey ones.
        """
        palette = np.zeros((256, 3), np.uint8)
        palette[: len(self.classes)] = self.classes.palette
        picture = Image.frombytes("P", (labels.shape[1], labels.shape[0]), labels.tobytes())
        picture.putpalette(palette.tobytes())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


def _webp(image: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=88, method=0)
    return buffer.getvalue()


def _packed(motion: FlowField) -> bytes:
    buffer = io.BytesIO()
    kept = slice(MOTION_STEP // 2, None, MOTION_STEP)
    flow = motion.flow[:, kept, kept].astype(np.float16)
    np.savez_compressed(buffer, flow=flow, valid=motion.valid[kept, kept])
    return buffer.getvalue()
