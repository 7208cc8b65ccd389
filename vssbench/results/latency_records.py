"""What a stopwatch left in a run: RUN/latency/DATASET/METHOD.json (docs/latency.md), as types."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from vssbench.experiment.schema import InferenceOptions
from vssbench.records import HostConditions
from vssbench.results.basis import Basis
from vssbench.results.store import RunFolder, foreign, slug

Milliseconds = Annotated[float, Field(gt=0)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeSeries(_Record):
    """Milliseconds per frame: summaries beside the raw samples, unrounded (`cost.latency.LatencyResult.as_dict`)."""

    median_ms: Milliseconds
    quartiles_ms: tuple[float, float]
    p99_ms: float
    n: int
    first_call_ms: float
    device_median_ms: float | None
    launch_gap_ms: float | None
    stability: str
    """'stable: ...' or 'unstable: ...' with cause and remedy."""
    conditions: tuple[dict[str, Any], ...]
    samples_ms: tuple[float, ...]

    @property
    def stable(self) -> bool:
        """False where the series drifted or spread too much."""
        return self.stability.startswith("stable")


class Ratio(_Record):
    """How many times faster a method is than another, over the rounds in which both ran."""

    method: str
    quartiles: tuple[float, float, float]


class Throughput(_Record):
    """Frames per second with several clips in lockstep."""

    batch: int
    frames_per_second: float


class StageTime(_Record):
    """One stage of a frame."""

    median_ms: Annotated[float, Field(ge=0)]


class Energy(_Record):
    """Joules per frame."""

    total: float
    above_idle: float


class Effect(_Record):
    """What one inference option, by itself, changes in the labels."""

    option: str
    value: Any
    equal_labels: float
    """Share of equal pixels."""
    miou_change: float | None
    """None where no frame of the timed GOP has labels."""


class LatencyRecord(_Record):
    """Times of one method on one dataset, taken GOP by GOP in turns with the other methods."""

    dataset: str
    codec: str
    method: str
    size: tuple[int, int]
    """(H, W)."""
    keyframe_interval: int
    device: str
    torch: str
    inference: InferenceOptions
    frame_kinds: dict[str, TimeSeries]
    """By kind of step: key, non_key or partial."""
    gop_mean: TimeSeries
    """Per frame over whole groups of pictures; decoding and motion excluded."""
    host: HostConditions | None = None
    """What else the machine did meanwhile; None in records of before."""
    worst_frame_ms: float
    times_faster_than: Ratio
    """Against the dataset's first method."""
    throughput: Throughput
    waterfall: dict[str, dict[str, StageTime]]
    """Kind of step -> stage -> time, from compressed bytes to labels, nothing overlapping."""
    energy_j_per_frame: Energy | None
    effects: tuple[Effect, ...]


def latency_path(dataset: str, method: str) -> str:
    """Where a record is stored below the run folder; both by title."""
    return f"latency/{slug(dataset)}/{slug(method)}.json"


def latency_records(folder: RunFolder, basis: Basis) -> list[LatencyRecord]:
    """All latency records of a run, in a fixed order. Raises InputError at one that is damaged or from elsewhere."""
    found = []
    for dataset in sorted(basis.datasets):
        for path in sorted((folder.path / "latency" / slug(dataset)).glob("*.json")):
            relative = path.relative_to(folder.path).as_posix()
            record = folder.read_record(relative, LatencyRecord, basis.of_dataset(dataset))
            if latency_path(record.dataset, record.method) != relative:
                raise foreign(path)
            found.append(record)
    return found
