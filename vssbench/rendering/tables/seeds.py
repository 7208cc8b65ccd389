"""The table over training seeds as text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vssbench.rendering.tables.columns import MISSING
from vssbench.analysis.run import Run


@dataclass(frozen=True, slots=True)
class SeedTextRow:
    """One method over its seeds, in percent and percentage points, ready to print."""

    dataset: str
    codec: str
    method: str
    seeds: str
    """'1, 2, 3'; '–' for a method without seeds."""
    miou: str
    over_seeds: str
    """Interval over seeds; '' for one seed."""
    over_frames: str
    """Interval over frames of the mean over seeds."""
    difference: str
    """Minus the reference, with its interval over seeds."""
    difference_frames: str
    """Interval over frames of that difference."""
    reference: str


HEADS = (
    "dataset",
    "codec",
    "method",
    "seeds",
    "mIoU",
    "over seeds",
    "over frames",
    "difference [over seeds]",
    "over frames",
    "minus",
)
NOTE = (
    "Mean over training seeds. Over seeds: 95 % Student's t, the randomness of training on these frames. Over frames: "
    "95 % bootstrap of the mean, the choice of frames for these trainings."
)


def seed_text_rows(run: Run) -> list[SeedTextRow]:
    """A row per method; empty for runs without seeds."""
    rows = []
    for row in run.over_seeds:
        named = [str(seed) for seed in row.seeds if seed is not None]
        gap, frames = row.difference, row.difference_frames
        rows.append(
            SeedTextRow(
                row.dataset,
                row.codec,
                row.method,
                ", ".join(named) or MISSING,
                f"{100 * row.miou.mean:.2f}",
                _ends(row.miou.low, row.miou.high, ""),
                _ends(row.frames.low, row.frames.high, "") if row.frames else "",
                f"{100 * gap.mean:+.2f} {_ends(gap.low, gap.high, '+')}".strip() if gap else "",
                _ends(frames.low, frames.high, "+") if frames else "",
                row.reference,
            )
        )
    return rows


def _ends(low: float, high: float, sign: str) -> str:
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{100 * low:{sign}.2f}, {100 * high:{sign}.2f}]"
