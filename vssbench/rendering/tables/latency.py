"""Times per frame by stopwatch, for tables."""

from __future__ import annotations

from dataclasses import dataclass

from vssbench.analysis.run import Run
from vssbench.results.latency_records import latency_records


@dataclass(frozen=True, slots=True)
class FrameTime:
    """Time per frame of one method over whole groups of pictures; decoding and motion excluded."""

    median_ms: float
    device: str
    stable: bool
    """False where the series drifted or spread too much; the record says why."""


def frame_times(run: Run) -> dict[tuple[str, str], FrameTime]:
    """(dataset, method) -> time per frame by stopwatch; methods that were not timed are absent.

    Raises InputError if a record is damaged.
    """
    return {
        (record.dataset, record.method): FrameTime(
            record.gop_mean.median_ms, record.device, record.gop_mean.stable
        )
        for record in latency_records(run.folder)
    }
