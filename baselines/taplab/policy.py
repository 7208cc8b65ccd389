"""TapLab's two decisions: when a whole frame is segmented again, and which block otherwise.

Source: baselines specification section 7. Energies are sums over colour channels, per pixel, so that thresholds do not
depend on the frame size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vssbench.errors import ConfigError

PUBLISHED_PIXELS = 1024 * 2048
FRAME_THRESHOLD = 3.6e7 / PUBLISHED_PIXELS
"""Published threshold on one frame's energy: 17.2 per pixel."""
SUM_THRESHOLD = 1e8 / PUBLISHED_PIXELS
"""Published threshold on the energy since the last full segmentation: 47.7 per pixel."""
BLOCK_MULTIPLE = 32


def default_block(size: tuple[int, int]) -> int:
    """Half the frame's height, rounded up to a multiple of 32: 512 for 1024 rows, 384 for 720."""
    half = -(-size[0] // 2)
    return min(-(-half // BLOCK_MULTIPLE) * BLOCK_MULTIPLE, *size)


def candidates(size: tuple[int, int], block: int) -> list[tuple[int, int]]:
    """(top, left) of overlapping blocks at half their side apart; the last of a row or column touches the border.

    720 rows, block 384:  0 192 336        960 columns:  0 192 384 576
    Raises ConfigError if a block does not fit the frame.
    """
    if block > min(size):
        raise ConfigError(
            f"taplab: block {block} is larger than frames of {size[0]}x{size[1]}; use at most {min(size)}"
        )

    def starts(length: int) -> list[int]:
        last = length - block
        return sorted({*range(0, last, max(1, block // 2)), last})

    return [(top, left) for top in starts(size[0]) for left in starts(size[1])]


def block_energies(energy: Tensor, blocks: list[tuple[int, int]], side: int) -> Tensor:
    """Energy sums float64 [J] of the candidate blocks of one energy map [H, W]."""
    exact = energy.to(torch.float64)
    return torch.stack([exact[top : top + side, left : left + side].sum() for top, left in blocks])


@dataclass(slots=True)
class RefreshRule:
    """RGFS: a whole frame is due when one frame's energy, or the sum since the last full segmentation, is too high."""

    scale: float
    """Factor on both thresholds: the budget knob. 0 segments every frame that changed, infinity none."""
    gathered: float = 0.0
    """Energy per pixel since the last full segmentation."""

    def is_due(self, energy: float) -> bool:
        """Add one frame's mean energy per pixel; True resets the sum."""
        self.gathered += energy
        due = energy > self.scale * FRAME_THRESHOLD or self.gathered > self.scale * SUM_THRESHOLD
        if due:
            self.gathered = 0.0
        return due
