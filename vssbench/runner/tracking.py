"""Numbers of a run for an experiment tracker: one callback, no dependency."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from vssbench.analysis.run import Run

if TYPE_CHECKING:
    from vssbench.runner.session import Listener

Track = Callable[[int, Mapping[str, float]], None]
"""(step, numbers by name): after each unit its count and the share that is done, at the end all results."""


def tracked(listener: Listener, track: Track) -> Listener:
    """A listener that also tells `track` of each unit: step is the number of units done in this session."""
    done, owed = 0, 0

    def on_plan(summary: object, number: int) -> None:
        nonlocal owed
        owed = number
        listener.on_plan(summary, number)  # type: ignore[arg-type]

    def on_unit() -> None:
        nonlocal done
        done += 1
        track(done, {"units": float(done), "share_done": done / max(owed, 1)})
        listener.on_unit()

    return replace(listener, on_plan=on_plan, on_unit=on_unit)


def track_results(run: Run, track: Track) -> None:
    """The finite numbers of the summary, named DATASET/CODEC/METHOD/COLUMN; step is the number of stored units."""
    numbers = {}
    for row in run.summary.to_dict("records"):
        place = "/".join(str(row[key]) for key in ("dataset", "codec", "method"))
        for name, value in row.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                numbers[f"{place}/{name}"] = float(value)
    track(run.unit_count, numbers)
