"""MACs of the methods of a run, as types: RUN/costs/DATASET/METHOD.json, and costs/DATASET/CODEC/METHOD.json of streams as they are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator

from vssbench.results.basis import Basis
from vssbench.results.documents import Document
from vssbench.results.store import RunFolder, foreign, slug

COUNTED_WHILE_RUNNING = "the frames of the run"
"""`CostRecord.counted_on` of a method whose work depends on the pictures."""
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number, NaN where it was not measured; null in the file."""


class CostRecord(Document):
    """MACs of one method on one dataset, in 1e9 per frame."""

    dataset: str
    method: str
    codec: str = ""
    """Of a stream as it is, whose groups of pictures decide the mean; '' for all settings that are encoded."""
    size: tuple[int, int]
    """(H, W) of the frames that it was counted for."""
    delay_frames: int
    """Frames between a picture and its answer."""
    keyframe_interval: float
    """Pictures per keyframe: a mean for a stream as it is."""
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


def cost_path(dataset: str, method: str, codec: str = "") -> str:
    """Where the cost of a method on a dataset is stored below the run folder, all by title; codec: of a stream as it is."""
    return "/".join(("costs", slug(dataset), *([slug(codec)] if codec else []), f"{slug(method)}.json"))


def read_costs(folder: RunFolder, basis: Basis) -> dict[tuple[str, str], CostRecord]:
    """(dataset, method) -> cost under the settings that encode. Raises InputError at one that is damaged or from elsewhere."""
    return {(cost.dataset, cost.method): cost for cost in _read(folder, basis, "*.json")}


def read_source_costs(folder: RunFolder, basis: Basis) -> dict[tuple[str, str, str], CostRecord]:
    """(dataset, method, codec) -> cost on streams as they are. Raises as `read_costs`."""
    return {(cost.dataset, cost.method, cost.codec): cost for cost in _read(folder, basis, "*/*.json")}


def _read(folder: RunFolder, basis: Basis, pattern: str) -> Iterator[CostRecord]:
    for dataset in basis.datasets:
        for file in sorted((folder.path / "costs" / slug(dataset)).glob(pattern)):
            relative = file.relative_to(folder.path).as_posix()
            cost = folder.read_record(relative, CostRecord, basis.of_dataset(dataset))
            if cost_path(cost.dataset, cost.method, cost.codec) != relative:
                raise foreign(file)
            yield cost
