"""The small files of a run beside its units, as types: the size of the plan, the datasets, the costs.

RUN/plan.json  RUN/datasets.json  RUN/costs/DATASET/METHOD.json
RUN/costs/DATASET/CODEC/METHOD.json (streams as they are)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, RootModel

from vssbench.codec import SourceStream, read_source
from vssbench.codec.source import gop_lengths
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


class CodedRecord(_Document):
    """The bits of a sequence's own video file, where a codec setting takes them as they are."""

    codec: str
    digest: str
    """SHA-256 of the packets."""
    kbps: float
    frame_types: dict[str, int]
    """Pictures that are shown, by type."""
    before_first: int
    """Pictures before the first group, which are not run."""
    groups: int
    """Groups of pictures that begin where decoding can start."""
    group_frames: tuple[int, int]
    """Pictures of the shortest and of the longest."""
    mean_qp: dict[str, float]
    """Mean luma quantisation parameter by frame type; types that do not tell are absent."""
    encoder: str
    """As the stream or its container names it; '' where neither does."""

    @property
    def text(self) -> str:
        """One line for readers."""
        types = ", ".join(f"{count} {kind}" for kind, count in self.frame_types.items())
        low, high = self.group_frames
        qps = ", ".join(f"{kind} {qp:.1f}" for kind, qp in self.mean_qp.items())
        parts = (
            f"{self.codec} as it is, {self.kbps:.0f} kb/s, {types} pictures",
            f"{self.groups} groups of {low if low == high else f'{low} to {high}'}",
            f"the first {self.before_first} pictures precede the first group and are not run"
            if self.before_first
            else "",
            f"mean QP {qps}" if qps else "",
            f"encoder {self.encoder:.120}" if self.encoder else "",
            f"packets sha256 {self.digest[:16]}",
        )
        return "; ".join(part for part in parts if part)


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
    coded: CodedRecord | None = None
    """None where no codec setting takes its bits as they are."""


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


def describe_source(source: SourceStream) -> CodedRecord:
    """The record of a video file's own bits."""
    starts = [i for i, access in enumerate(source.access) if access] or [0]
    lengths = gop_lengths(tuple(starts), source.frame_count)
    qps: dict[str, list[float]] = {}
    for kind, qp in zip(source.frame_types, source.mean_qps, strict=True):
        if qp is not None:
            qps.setdefault(kind, []).append(qp)
    return CodedRecord(
        codec=source.codec,
        digest=source.digest,
        kbps=source.achieved_kbps,
        frame_types={kind: source.frame_types.count(kind) for kind in "IPB" if kind in source.frame_types},
        before_first=starts[0],
        groups=len(lengths),
        group_frames=(min(lengths), max(lengths)),
        mean_qp={kind: sum(qps[kind]) / len(qps[kind]) for kind in "IPB" if kind in qps},
        encoder=source.encoder,
    )


def describe_dataset(
    dataset: Dataset, sequences: Sequence[VideoSequence], as_they_are: bool = False
) -> DatasetRecord:
    """The record of an opened dataset and those of its sequences that take part.

    as_they_are: some codec setting takes the bits of their files as they are.
    """
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
                coded=describe_source(read_source(one.coded_file))
                if as_they_are and one.coded_file
                else None,
            )
            for one in sequences
        },
    )


def cost_path(dataset: str, method: str, codec: str = "") -> str:
    """Where the cost of a method on a dataset, or on a stream of it as it is, is stored below the run folder; by title."""
    return "/".join(("costs", slug(dataset), *([slug(codec)] if codec else []), f"{slug(method)}.json"))


def read_costs(folder: RunFolder) -> dict[tuple[str, str], CostRecord]:
    """(dataset, method) -> cost under all settings that encode, where counted. Raises InputError if a file is damaged."""
    return {(cost.dataset, cost.method): cost for cost in _costs(folder, "*/*.json")}


def read_source_costs(folder: RunFolder) -> dict[tuple[str, str, str], CostRecord]:
    """(dataset, method, codec) -> cost on streams as they are. Raises InputError if a file is damaged."""
    return {(cost.dataset, cost.method, cost.codec): cost for cost in _costs(folder, "*/*/*.json")}


def _costs(folder: RunFolder, pattern: str) -> list[CostRecord]:
    files = sorted((folder.path / "costs").glob(pattern))
    return [folder.read_record(str(file.relative_to(folder.path)), CostRecord) for file in files]
