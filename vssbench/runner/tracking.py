"""Numbers of a run for an experiment tracker: one callback, no dependency."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from vssbench.analysis.run import Run

Track = Callable[[int, Mapping[str, float]], None]
"""(step, numbers by name): after each unit its count and the share that is done, at the end all results."""


def track_results(run: Run, track: Track) -> None:
    """The finite numbers of the summary, named DATASET/CODEC/METHOD/COLUMN; step is the number of stored units."""
    numbers = {}
    for row in run.summary.to_dict("records"):
        place = "/".join(str(row[key]) for key in ("dataset", "codec", "method"))
        for name, value in row.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                numbers[f"{place}/{name}"] = float(value)
    track(run.unit_count, numbers)
