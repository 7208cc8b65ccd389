"""The small files of a run beside its units, as types: the size of the plan, the datasets, the costs.

RUN/plan.json  RUN/datasets.json  RUN/costs/DATASET/METHOD.json
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, RootModel

from vssbench.dataset import Dataset, VideoSequence
from vssbench.results.store import RunFolder, slug

COUNTED_WHILE_RUNNING = "the frames of the run"
"""`CostRecord.counted_on` of a method whose work depends on the pictures."""
Colour = tuple[int, int, int]
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number, NaN where it was not measured; null in the file."""


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanSummary(_Document):
    """Size of a plan: how much a run holds when it is complete."""

    jobs: int
    units: int
    cases: int
    encodes: int
    encoded_frames: int


class SequenceRecord(_Document):
    """One sequence that takes part in a run."""

    frames: int
    labelled: int
    """Frames that have a label."""
    size: tuple[int, int]
    """(H, W)."""
    frame_rate_hz: float
    remarks: tuple[str, ...] = ()
    """How its frames were read, where that was a choice."""


class DatasetRecord(_Document):
    """What tables and figures must know of a dataset, so that they need not open it."""

    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore_index: int
    categories: tuple[str, ...] | None
    """That of each class; None where the dataset has none."""
    protocol_mark: str
    """Label convention shown beside every number; '' where there is only one."""
    sequences: dict[str, SequenceRecord]


class DatasetRecords(RootModel[dict[str, DatasetRecord]]):
    """Title -> dataset."""


class CostRecord(_Document):
    """MACs of one method on one dataset, in 1e9 per frame."""

    dataset: str
    method: str
    size: tuple[int, int]
    """(H, W) of the frames that it was counted for."""
    delay_frames: int
    """Frames between a picture and its answer."""
    keyframe_interval: int
    key_gmacs: Figure = math.nan
    non_key_gmacs: Figure = math.nan
    gop_mean_gmacs: Figure = math.nan
    gop_mean_thop_gmacs: Figure = math.nan
    """By the counting rule of thop 0.0.31, as the paper prints it."""
    rule: Literal["exact"] = "exact"
    counted_on: str = "blank frames"
    uncounted: tuple[str, ...] = ()
    """Work that the counter cannot see (numpy, operators without a formula): the figures are lower bounds then."""

    @property
    def while_running(self) -> bool:
        """True where the method's work depends on the pictures, so that it was counted on those of the run."""
        return self.counted_on == COUNTED_WHILE_RUNNING


def describe_dataset(dataset: Dataset, sequences: Sequence[VideoSequence]) -> DatasetRecord:
    """The record of an opened dataset and those of its sequences that take part."""
    table = dataset.classes
    return DatasetRecord(
        class_names=table.names,
        palette=table.palette,
        ignore_index=table.ignore_index,
        categories=table.categories or None,
        protocol_mark=dataset.protocol_mark,
        sequences={
            one.name: SequenceRecord(
                frames=len(one),
                labelled=len(one.labelled),
                size=one.size,
                frame_rate_hz=one.frame_rate_hz,
                remarks=tuple(one.remarks()),
            )
            for one in sequences
        },
    )


def cost_path(dataset: str, method: str) -> str:
    """Where the cost of a method on a dataset is stored below the run folder; both by title."""
    return f"costs/{slug(dataset)}/{slug(method)}.json"


def read_costs(folder: RunFolder) -> dict[tuple[str, str], CostRecord]:
    """(dataset, method) -> cost, of all that were counted. Raises InputError if a file is damaged."""
    found = {}
    for file in sorted((folder.path / "costs").glob("*/*.json")):
        cost = folder.read_record(str(file.relative_to(folder.path)), CostRecord)
        found[cost.dataset, cost.method] = cost
    return found
