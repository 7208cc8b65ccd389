"""The columns of the summary table, defined once for terminal, page, Markdown, LaTeX and CSV."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MISSING = "–"
"""Shown where a number does not exist."""

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True, slots=True)
class Column:
    """One measured column of the summary table."""

    key: str
    """Column of `Run.summary`, or of the rows derived from it."""
    heading: str
    unit: str
    """Printed behind the heading; '' for counts."""
    better: Better
    digits: int
    """Digits after the decimal point."""
    priority: int
    """Columns with larger numbers are dropped first where space is short; 0 is never dropped."""
    meaning: str
    """One sentence for readers of the report."""
    scale: float = 1.0
    """Shown value = stored value x scale."""

    def shown(self, value: float) -> float:
        """The value as printed: scaled and rounded; NaN stays NaN."""
        return round(value * self.scale, self.digits)

    def text(self, value: float) -> str:
        """The printed text, `MISSING` for NaN.

        >>> MIOU.text(0.67314), MIOU.text(float("nan"))
        ('67.31', '–')
        """
        if not math.isfinite(value):
            return MISSING
        return f"{value * self.scale:.{self.digits}f}"

    @property
    def title(self) -> str:
        """Heading with unit, for plain-text tables."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


MIOU = Column(
    "miou",
    "mIoU",
    "%",
    "higher",
    2,
    0,
    "Mean over the keyframe distances of mIoU_d, each from summed pixel counts.",
    100,
)
COLUMNS: tuple[Column, ...] = (
    MIOU,
    Column("miou_key", "mIoU d=0", "%", "higher", 2, 4, "mIoU of the keyframes.", 100),
    Column(
        "miou_last", "mIoU d=last", "%", "higher", 2, 2, "mIoU at the largest scored keyframe distance.", 100
    ),
    Column("key_gmacs", "GMACs key", "", "lower", 2, 6, "Multiply-accumulates of a keyframe, in 1e9."),
    Column(
        "non_key_gmacs",
        "GMACs non-key",
        "",
        "lower",
        2,
        7,
        "Multiply-accumulates of a frame after the keyframe, in 1e9.",
    ),
    Column(
        "gop_mean_gmacs",
        "GMACs/frame",
        "",
        "lower",
        2,
        1,
        "Multiply-accumulates per frame, mean over one group of pictures, in 1e9.",
    ),
    Column(
        "cost_share",
        "cost",
        "%",
        "lower",
        1,
        3,
        "GMACs per frame as a share of the most expensive constant-resolution method.",
        100,
    ),
    Column(
        "key_ms",
        "key step",
        "ms",
        "lower",
        1,
        8,
        "Mean wall time of one keyframe step, decoding and motion excluded.",
    ),
    Column(
        "non_key_ms",
        "non-key step",
        "ms",
        "lower",
        1,
        5,
        "Mean wall time of one step after the keyframe, decoding and motion excluded.",
    ),
    Column("frames", "frames", "", "neither", 0, 9, "Scored frames, counted once per keyframe distance."),
)
