"""What a stopwatch left in a run: RUN/latency/DATASET/METHOD.json (docs/latency.md), read for tables and figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vssbench.errors import InputError
from vssbench.analysis.run import Run


@dataclass(frozen=True, slots=True)
class FrameTime:
    """Time per frame of one method over whole groups of pictures; decoding and motion excluded."""

    median_ms: float
    device: str
    stable: bool
    """False where the series drifted or spread too much; the record says why."""


def latency_records(run: Run) -> Iterator[tuple[Path, dict[str, Any]]]:
    """All latency records of a run with their files, in a fixed order. Raises InputError if one is damaged."""
    for path in sorted((run.path / "latency").glob("*/*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            yield path, {**record, "dataset": str(record["dataset"]), "method": str(record["method"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> InputError:
    """The message for a record that cannot be understood."""
    return InputError(
        f"{path}: not a readable latency record ({error}); delete it and run the experiment again"
    )


def frame_times(run: Run) -> dict[tuple[str, str], FrameTime]:
    """(dataset, method) -> time per frame by stopwatch; methods that were not timed are absent.

    Raises InputError if a record is damaged.
    """
    found = {}
    for path, record in latency_records(run):
        held = record.get("gop_mean")
        if held is None:
            continue
        try:
            median = float(held["median_ms"])
            stable = str(held.get("stability", "")).startswith("stable")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise unreadable(path, error) from error
        if not (math.isfinite(median) and median > 0):
            raise unreadable(path, ValueError(f"gop_mean.median_ms is {median}, expected more than 0"))
        place = (record["dataset"], record["method"])
        found[place] = FrameTime(median, str(record.get("device", "")), stable)
    return found
