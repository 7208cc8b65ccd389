"""Synthetic streets: procedural drives with exact labels and exact motion for every frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field

from vssbench.dataset import Dataset, DatasetOptions, Split, VideoSequence
from vssbench.datasets.synthetic.noise import mix
from vssbench.datasets.synthetic.sequence import GENERATOR_VERSION, StreetSequence
from vssbench.records import ClassTable, Finding

__all__ = ["GENERATOR_VERSION", "StreetSequence", "SyntheticOptions", "SyntheticStreets"]

CLASSES = ClassTable(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "signsymbol",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
)
"""The 11 classes of CamVid in its order and colours."""

_SPLIT_NUMBER: dict[Split, int] = {"train": 1, "val": 2, "test": 3}


Side = Annotated[int, Field(ge=1, le=8192)]


class SyntheticOptions(DatasetOptions):
    """What to generate."""

    size: tuple[Side, Side] = (360, 480)
    """(H, W) of the frames."""
    sequences: int | None = Field(default=None, ge=1)
    """Sequences per split; by default 64 for train, 8 for val and 8 for test."""
    frames: int = Field(default=36, ge=1)
    """Frames per sequence."""
    seed: int = Field(default=0, ge=0)
    """Names the world; the splits of one seed and of different seeds never share a scene."""
    frame_rate_hz: Literal[15, 30] = 30
    """Pictures per second."""
    noise: float = Field(default=1.5, ge=0, le=50)
    """Standard deviation of the sensor noise in grey levels of 255."""
    motion: float = Field(default=1.0, ge=0, le=4)
    """Scales the camera's speed and shake; 0 is a camera that stands still."""
    traffic: bool = True
    """Whether there are cars, pedestrians and bicyclists."""


class SyntheticStreets(Dataset):
    """Drives along procedural streets. Every frame is labelled and has exact motion towards the frame before it."""

    Options = SyntheticOptions
    classes = CLASSES

    def __init__(self, options: SyntheticOptions | None = None) -> None:
        self.options = options or SyntheticOptions()

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """The drives of a split, sorted by name."""
        options = self.options
        count = options.sequences or (64 if split == "train" else 8)
        number = _SPLIT_NUMBER[split]
        return [
            StreetSequence(
                f"{split}-{index:04d}",
                mix(mix(mix(options.seed) + number) + index) >> 24,
                options.frames,
                options.size,
                float(options.frame_rate_hz),
                options.noise,
                options.motion,
                options.traffic,
            )
            for index in range(count)
        ]

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Render the first and the last frame of each sequence; there are no files to check."""
        for name in (split,) if split else ("train", "val", "test"):
            for sequence in self.sequences(name):
                for index in sorted({0, len(sequence) - 1}):
                    sequence.label(index)
                yield Finding(
                    "ok", f"{name}/{sequence.name}", f"{len(sequence)} frames, all labelled, exact motion"
                )
