"""The shape of everything that looks at what the methods of a job answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from vssbench.engine.evaluate import ClipResult
from vssbench.engine.feed import DecodedClip

Labels = NDArray[np.uint8]
"""[H, W] class indices."""


class Observer:
    """Sees the clips of one job in the order of the stream and keeps what it is there for, unit by unit."""

    needs_motion = False
    """Whether the bitstream's motion must be decoded although no method asks for it."""

    def wants(self, unit: str) -> Collection[str]:
        """Titles of the methods whose answers on the clips of a unit it still has to see; none where it owes nothing."""
        return ()

    def see(self, clip: DecodedClip, labels: Mapping[int, Labels], results: Mapping[str, ClipResult]) -> None:
        """One scored clip: labels by position, results by method; more methods than it wants where others want them."""

    def finish(self, unit: str) -> None:
        """The unit's last clip was seen: store what belongs to it. Raises StorageError."""
