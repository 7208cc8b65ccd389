"""Frames and labels of a dataset, whose code may be a plug-in's: what it raises names dataset, sequence and frame."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vssbench.dataset import VideoSequence
from vssbench.errors import in_plugin


def image_of(dataset: str, sequence: VideoSequence, index: int) -> NDArray[np.uint8]:
    """RGB [H, W, 3] of a frame; dataset: its title. Raises InputError as the dataset, PluginError if its code fails."""
    return _read(dataset, sequence, index, sequence.image)


def label_of(dataset: str, sequence: VideoSequence, index: int) -> NDArray[np.uint8]:
    """Label map [H, W] of a frame, likewise."""
    return _read(dataset, sequence, index, sequence.label)


def _read(
    dataset: str, sequence: VideoSequence, index: int, read: Callable[[int], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    with in_plugin(type(sequence), f"dataset {dataset}, sequence {sequence.name}, frame {index}"):
        return read(index)
