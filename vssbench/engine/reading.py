"""What a dataset gives, whose code may be a plug-in's: what it raises names sequence and frame.

Every function raises InputError as the dataset does, and PluginError if its code fails; dataset: the title to name too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vssbench.dataset import VideoSequence
from vssbench.errors import in_plugin
from vssbench.records import FlowField

T = TypeVar("T")


def image_of(sequence: VideoSequence, index: int, dataset: str = "") -> NDArray[np.uint8]:
    """RGB [H, W, 3] of a frame."""
    return _read(sequence, index, dataset, sequence.image)


def label_of(sequence: VideoSequence, index: int, dataset: str = "") -> NDArray[np.uint8]:
    """Label map [H, W] of a frame."""
    return _read(sequence, index, dataset, sequence.label)


def exact_flow_of(sequence: VideoSequence, index: int, dataset: str = "") -> FlowField | None:
    """True motion towards the frame before, where the dataset knows it."""
    return _read(sequence, index, dataset, sequence.flow_to_previous)


def _read(sequence: VideoSequence, index: int, dataset: str, read: Callable[[int], T]) -> T:
    where = f"dataset {dataset}, " * bool(dataset) + f"sequence {sequence.name}, frame {index}"
    with in_plugin(type(sequence), where):
        return read(index)
