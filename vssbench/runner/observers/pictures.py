"""Pictures of chosen cases, stored beside the records so that reports need neither dataset nor torch.

RUN/pictures/DATASET/CODEC/UNIT-dDD/case.json       what the files are
                                    decoded.png     RGB
                                    truth.png       class indices, 8 bit
                                    motion.npz      flow float16 [2, H, W] to the keyframe, valid bool [H, W]
                                    prediction-K.png   class indices of method K
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vssbench.records import ClassTable
from vssbench.results.store import RunFolder, slug, write_atomically
from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip
from vssbench.runner.plan import WorkItem


def _folder_name(item: WorkItem) -> str:
    assert item.picture is not None
    unit, distance = item.picture
    return (
        f"pictures/{slug(item.dataset)}/{slug(item.codec)}/{slug(item.sequence)}-{slug(unit)}-d{distance:02d}"
    )


def has_picture(folder: RunFolder, item: WorkItem) -> bool:
    """True if the picture of this item is complete (its case.json is written last)."""
    return (folder.path / _folder_name(item) / "case.json").exists()


def save_picture(
    folder: RunFolder,
    item: WorkItem,
    clip: DecodedClip,
    distance: int,
    truth: NDArray[np.uint8],
    results: dict[str, ClipResult],
    classes: ClassTable,
) -> None:
    """Store decoded frame, motion, truth and every method's prediction of one case. Raises StorageError."""
    base = folder.path / _folder_name(item)
    frame = clip.frames[distance]
    write_atomically(base / "decoded.png", _png(frame.image))
    write_atomically(base / "truth.png", _png(truth))
    predictions = {}
    for number, (title, result) in enumerate(results.items()):
        name = f"prediction-{number}.png"
        write_atomically(base / name, _png(result.predictions[distance].labels[0].cpu().numpy()))
        predictions[title] = name
    described: dict[str, Any] = {
        "dataset": item.dataset,
        "codec": item.codec,
        "sequence": item.sequence,
        "frame": clip.plan.first + distance,
        "distance": distance,
        "frame_type": frame.frame_type,
        "coded_bytes": frame.coded_bytes,
        "class_names": list(classes.names),
        "palette": [list(colour) for colour in classes.palette],
        "ignore_index": classes.ignore_index,
        "decoded": "decoded.png",
        "truth": "truth.png",
        "predictions": predictions,
        "motion": None,
    }
    if frame.motion is not None:
        flow = clip.flow_to_key(distance, "exact")
        buffer = io.BytesIO()
        np.savez_compressed(buffer, flow=flow.flow.astype(np.float16), valid=flow.valid)
        write_atomically(base / "motion.npz", buffer.getvalue())
        described["motion"] = "motion.npz"
    folder.write_json(f"{_folder_name(item)}/case.json", described)


def _png(array: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()
