"""The contract a dataset implements: labelled frame sequences with a class table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from vssbench.records import ClassTable, Finding, FlowField, Normalisation

Split = Literal["train", "val", "test"]

IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class DatasetOptions(BaseModel):
    """Base of every dataset's options; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VideoSequence(ABC):
    """Ordered frames of one camera take. Frames are read on demand; nothing large is kept."""

    name: str
    """Unique inside its dataset and split; letters, digits, '-', '_' and '.' only (it becomes a file name)."""
    frame_rate_hz: float
    size: tuple[int, int]
    """(H, W) of every frame."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @property
    @abstractmethod
    def labelled(self) -> Sequence[int]:
        """Ascending indices of the frames that have a label."""

    @abstractmethod
    def image(self, index: int) -> NDArray[np.uint8]:
        """RGB frame uint8 [H, W, 3]. Raises InputError naming the file if it cannot be read."""

    @abstractmethod
    def label(self, index: int) -> NDArray[np.uint8]:
        """Label map uint8 [H, W]: class index or `ClassTable.ignore_index`. Raises InputError."""

    def flow_to_previous(self, index: int) -> FlowField | None:
        """Exact motion towards frame index-1 with its occlusion mask, where the dataset knows it."""
        return None

    @property
    @abstractmethod
    def identity(self) -> str:
        """Stable text that changes whenever the frames could: generator version and seed, or path, size and time.

        It keys the bitstream cache, so it must be cheap and need no decoding.
        """


class Dataset(ABC):
    """A named collection of sequences. Constructed as `Dataset(options)` from its validated options."""

    Options: ClassVar[type[DatasetOptions]]
    classes: ClassTable
    normalisation: Normalisation = IMAGENET
    """For networks trained on this dataset, and for weights that do not say theirs."""
    protocol_mark: str = ""
    """Label convention shown beside every number (for CamVid 'paper' or 'standard'), '' where there is only one."""

    @abstractmethod
    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        """Sequences of a split, sorted by name. Raises InputError if the files are not there."""

    @abstractmethod
    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        """Check files, sizes, label values and pairing; yields findings as it goes."""
