"""Frames of chosen units, kept for the report's viewer: one archive per unit, written when the unit is complete.

RUN/frames/DATASET/CODEC/SEQUENCE-UNIT.zip
    cases.json                 what the entries are, one object per scored frame, in the order of the frames
    N-decoded.webp             RGB as decoded by the codec, stored with loss: for looking at, not for scoring
    N-truth.png                class indices with the class colours as palette
    N-prediction-K.png         the same of method K
    N-motion.npz               flow to the keyframe, float16 [2, H/4, W/4] pixels at every fourth sample, valid bool
"""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.records import ClassTable, DecodedFrame
from vssbench.results.store import RunFolder, slug, write_atomically
from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip
from vssbench.runner.plan import WorkItem

MOTION_STEP = 4
"""The motion of every fourth sample is kept: codecs move blocks of 4x4 samples at least."""
_DATE = (1980, 1, 1, 0, 0, 0)
"""Archives carry no time, so that the same run gives the same bytes."""


def frames_path(item: WorkItem, unit: str) -> str:
    """Archive of a unit, relative to the run folder."""
    return f"frames/{slug(item.dataset)}/{slug(item.codec)}/{slug(item.sequence)}-{slug(unit)}.zip"


def missing_units(folder: RunFolder, item: WorkItem) -> set[str]:
    """Units of an item that the viewer is to show and that are not stored yet."""
    return {unit for unit in item.viewer_units if not (folder.path / frames_path(item, unit)).exists()}


@dataclass(eq=False)
class FrameKeeper:
    """Collects the scored frames of one unit, already packed, until the unit is complete."""

    item: WorkItem
    unit: str
    classes: ClassTable
    cases: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(
        self,
        clip: DecodedClip,
        labels: dict[int, NDArray[np.uint8]],
        results: dict[str, ClipResult],
        qps: list[float | None],
    ) -> None:
        """Keep every scored picture of a clip; labels by position, qps by position in the bitstream."""
        for position in clip.plan.scored:
            frame = clip.frames[position]
            stem = str(len(self.cases))
            self.files[f"{stem}-decoded.webp"] = _webp(frame)
            self.files[f"{stem}-truth.png"] = label_png(labels[position], self.classes)
            predictions = {}
            for number, (title, result) in enumerate(results.items()):
                name = f"{stem}-prediction-{number}.png"
                answer = result.predictions[position].labels[0].cpu().numpy()
                self.files[name] = label_png(answer, self.classes)
                predictions[title] = name
            motion = None
            if frame.motion is not None:
                motion = f"{stem}-motion.npz"
                self.files[motion] = _motion(clip, position)
            qp = qps[frame.index] if frame.index < len(qps) else None
            self.cases.append(
                self._described(clip, position, frame, qp)
                | {
                    "decoded": f"{stem}-decoded.webp",
                    "truth": f"{stem}-truth.png",
                    "predictions": predictions,
                    "motion": motion,
                }
            )

    def _described(
        self, clip: DecodedClip, position: int, frame: DecodedFrame, qp: float | None
    ) -> dict[str, Any]:
        return {
            "dataset": self.item.dataset,
            "codec": self.item.codec,
            "sequence": self.item.sequence,
            "unit": self.unit,
            "frame": clip.plan.first + position,
            "distance": position,
            "frame_type": frame.frame_type,
            "coded_bytes": frame.coded_bytes,
            "qp": qp,
            "motion_step": MOTION_STEP,
            "class_names": list(self.classes.names),
            "palette": [list(colour) for colour in self.classes.palette],
            "ignore_index": self.classes.ignore_index,
        }

    def write(self, folder: RunFolder) -> None:
        """Store the archive. Raises StorageError."""
        order = sorted(self.cases, key=lambda case: (case["frame"], case["distance"]))
        index = json.dumps(order, sort_keys=True, separators=(",", ":")).encode()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            for name, data in {"cases.json": index, **self.files}.items():
                archive.writestr(zipfile.ZipInfo(name, _DATE), data)
        write_atomically(folder.path / frames_path(self.item, self.unit), buffer.getvalue())


def _webp(frame: DecodedFrame) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame.image).save(buffer, "WEBP", quality=88, method=0)
    return buffer.getvalue()


def label_png(labels: NDArray[np.uint8], classes: ClassTable) -> bytes:
    """A palette picture: its values are the class indices, its colours those of the class table, ignored is black.

    Palette pictures are stored without row filters, which is twice as fast as grey ones.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(classes)] = classes.palette
    picture = Image.frombytes("P", (labels.shape[1], labels.shape[0]), labels.tobytes())
    picture.putpalette(palette.tobytes())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _motion(clip: DecodedClip, position: int) -> bytes:
    found = clip.flow_to_key(position, "exact")
    step = MOTION_STEP
    buffer = io.BytesIO()
    flow = found.flow[:, step // 2 :: step, step // 2 :: step].astype(np.float16)
    np.savez_compressed(buffer, flow=flow, valid=found.valid[step // 2 :: step, step // 2 :: step])
    return buffer.getvalue()
