"""The small files of a run beside its units, as types: the size of the plan, the datasets and the environment.

RUN/plan.json  RUN/datasets.json  RUN/environment.json
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from vssbench.codec import SourceStream, read_source
from vssbench.codec.source import gop_lengths
from vssbench.dataset import Dataset, VideoSequence
from vssbench.engine.data_digests import FileDigests, data_digests

EXPERIMENT_FILE = "experiment.json"
Colour = tuple[int, int, int]


class Document(BaseModel):
    """Base of what a run folder holds as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FrozenExperiment(BaseModel):
    """RUN/experiment.json: the experiment as it was given (experiment/schema.py)."""

    model_config = ConfigDict(extra="allow", frozen=True)


class PlanSummary(Document):
    """Size of a plan: how much a run holds when it is complete."""

    jobs: int
    units: int
    cases: int
    encodes: int
    encoded_frames: int


class CodedRecord(Document):
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


class SequenceRecord(Document):
    """One sequence that takes part in a run."""

    frames: int
    labelled: int
    """Frames that have a label."""
    size: tuple[int, int]
    """(H, W)."""
    frame_rate_hz: float
    frames_digest: str
    """Of everything that decides a pixel of its frames (engine/data_digests.py)."""
    labels_digest: str
    """Of the labels, or of what decides the answers that stand in for them: method, options, weights, code."""
    remarks: tuple[str, ...] = ()
    """How its frames were read, where that was a choice."""
    coded: CodedRecord | None = None
    """None where no codec setting takes its bits as they are."""

    def digest(self, kind: str) -> str:
        """Of 'frames' or 'labels'."""
        return self.frames_digest if kind == "frames" else self.labels_digest


class DatasetRecord(Document):
    """What tables and figures must know of a dataset, so that they need not open it."""

    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ignore_index: int
    categories: tuple[str, ...] | None
    """That of each class; None where the dataset has none."""
    protocol_mark: str
    """Label convention shown beside every number; '' where there is only one."""
    sequences: dict[str, SequenceRecord]

    def differences(self, now: DatasetRecord, truth: str = "labels") -> list[str]:
        """What is other data than before: 'the class table', 'labels of drive', 'frames and labels of drive', ...

        truth: what stands for the labels, see `Roster.truth_name`.
        """
        table = ("class_names", "palette", "ignore_index", "categories")
        found = ["the class table"] if any(getattr(self, n) != getattr(now, n) for n in table) else []
        for name in sorted({*self.sequences, *now.sequences}):
            before, after = self.sequences.get(name), now.sequences.get(name)
            if before is None or after is None:
                found.append(f"sequence {name}, which {'is new' if before is None else 'is gone'}")
                continue
            kinds = ["frames"] if before.frames_digest != after.frames_digest else []
            kinds += [truth] if before.labels_digest != after.labels_digest else []
            if (before.frames, before.size, before.frame_rate_hz) != (
                after.frames,
                after.size,
                after.frame_rate_hz,
            ):
                kinds.append("number, size or rate of frames")
            if kinds:
                found.append(f"{' and '.join(kinds)} of {name}")
        return found


class DatasetRecords(Document):
    """RUN/datasets.json."""

    datasets: dict[str, DatasetRecord]
    """By title."""


class EnvironmentRecord(Document):
    """RUN/environment.json: where the run was begun, and where it went on by force."""

    code: dict[str, str]
    """Module -> digest."""
    bits: dict[str, Any]
    """Everything that decides pixels and predictions (runner/environment.py)."""
    machine: dict[str, Any]
    """What decides times."""
    forced: tuple[tuple[str, ...], ...] = ()
    """What was other in sessions that went on by force, 'key: before -> now' each."""
    forced_bits: tuple[dict[str, Any], ...] = ()
    """The bits of these sessions."""

    other_processors: tuple[str, ...] = ()
    """Models of CPU on which units were made in later sessions."""

    @property
    def processors(self) -> tuple[str, ...]:
        """Models of all CPUs on which units were made."""
        return tuple(sorted({str(self.machine.get("processor", "")), *self.other_processors}))

    @property
    def all_bits(self) -> list[dict[str, Any]]:
        """The bits under which records of the run may have been made."""
        return [self.bits, *self.forced_bits]


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
    dataset: Dataset,
    sequences: Sequence[VideoSequence],
    files: FileDigests,
    as_they_are: bool = False,
    truth_digest: str = "",
) -> DatasetRecord:
    """The record of an opened dataset and those of its sequences that take part. Raises InputError.

    as_they_are: some codec setting takes the bits of their files as they are. truth_digest: of the method whose answers
    stand in for labels, '' where labels are read.
    """
    digests = {one.name: data_digests(one, files) for one in sequences}
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
                labelled=len(one) if truth_digest else len(one.labelled),
                size=one.size,
                frame_rate_hz=one.frame_rate_hz,
                frames_digest=digests[one.name][0],
                labels_digest=truth_digest or digests[one.name][1],
                remarks=tuple(one.remarks()),
                coded=describe_source(read_source(one.coded_file))
                if as_they_are and one.coded_file
                else None,
            )
            for one in sequences
        },
    )
