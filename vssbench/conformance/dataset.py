"""The suite every dataset must pass on its files (`vssbench conformance --dataset NAME --set root=DIR`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from vssbench.conformance.outcome import Check, CheckResult, examine, require
from vssbench.dataset import Dataset, Split, VideoSequence, safe_name
from vssbench.experiment.validation import validate
from vssbench.records import FlowField
from vssbench.registry import datasets

MOST_SEQUENCES = 3
MOST_FRAMES = 4


@dataclass(frozen=True, slots=True)
class DatasetSubject:
    """What is checked: a dataset with options, and the split whose files are there."""

    name: str
    """Registered dataset name."""
    options: dict[str, Any]
    split: Split = "val"

    def build(self) -> Dataset:
        """A fresh instance."""
        kind = datasets.load(self.name)
        made: Dataset = kind(validate(kind.Options, self.options, where=f"dataset {self.name}"))
        return made

    def sequences(self) -> list[VideoSequence]:
        """The first few sequences of a fresh instance."""
        return list(self.build().sequences(self.split))[:MOST_SEQUENCES]


def _some(count: int) -> list[int]:
    """First, last and a few frames between, backwards, so that order of access shows."""
    return sorted(
        {round(i * (count - 1) / max(1, MOST_FRAMES - 1)) for i in range(MOST_FRAMES)}, reverse=True
    )


def class_table(subject: DatasetSubject) -> None:
    """Names are distinct, colours RGB, the ignored value is no class, the normalisation is of RGB in 0..1."""
    dataset = subject.build()
    table = dataset.classes
    doubled = [name for name, times in Counter(table.names).items() if times > 1]
    require(not doubled, f"class names {doubled} appear twice")
    require(len(table) >= 2, f"{len(table)} classes, expected at least 2")
    bad = [c for c in table.palette if len(c) != 3 or not all(0 <= v <= 255 for v in c)]
    require(not bad, f"palette entries {bad[:3]} are no RGB of 0..255")
    require(
        0 <= table.ignore_index <= 255 and table.ignore_index >= len(table),
        f"ignore_index {table.ignore_index} is a class or no 8-bit value; classes are 0..{len(table) - 1}",
    )
    problem = dataset.normalisation.problem
    require(not problem, f"normalisation: {problem}")


def names(subject: DatasetSubject) -> None:
    """Sequences are sorted by names of their own; identities differ and stay."""
    sequences = list(subject.build().sequences(subject.split))
    require(bool(sequences), f"split {subject.split!r} has no sequences")
    found = [sequence.name for sequence in sequences]
    require(
        len(set(found)) == len(found),
        f"names appear twice: {[n for n, t in Counter(found).items() if t > 1][:3]}",
    )
    alike = [name for name, times in Counter(name.lower() for name in found).items() if times > 1]
    require(
        not alike, f"names that differ in capitals alone: {alike[:3]}; some file systems take them for one"
    )
    unsafe = [name for name in found if safe_name(name) != name]
    require(
        not unsafe,
        f"sequence name {(unsafe or [''])[0]!r} is no file name; vssbench.dataset.safe_name makes one",
    )
    require(found == sorted(found), f"sequences are not sorted by name: {found[:4]}")
    identities = [sequence.identity for sequence in sequences]
    require(
        len(set(identities)) == len(identities),
        "two sequences have one identity: their bitstreams would be mixed up",
    )
    again = [sequence.identity for sequence in subject.build().sequences(subject.split)]
    require(
        identities == again, "identities differ between two instances: nothing would be found in the cache"
    )


def frames(subject: DatasetSubject) -> None:
    """Every picture is uint8 [H, W, 3] of the sequence's size; reading a frame again, in any order, gives the same."""
    for sequence in subject.sequences():
        require(len(sequence) > 0, f"sequence {sequence.name} has no frames")
        require(
            sequence.frame_rate_hz > 0, f"sequence {sequence.name}: frame rate {sequence.frame_rate_hz} Hz"
        )
        first = {index: sequence.image(index) for index in _some(len(sequence))}
        for index, image in first.items():
            wanted = (*sequence.size, 3)
            require(
                image.dtype == np.uint8 and image.shape == wanted,
                f"sequence {sequence.name}, frame {index}: {image.dtype} {image.shape}, expected uint8 {wanted}",
            )
        fresh = next(s for s in subject.sequences() if s.name == sequence.name)
        for index in sorted(first):
            require(
                np.array_equal(first[index], fresh.image(index)),
                f"sequence {sequence.name}, frame {index} differs when it is read again in another order",
            )


def labels(subject: DatasetSubject) -> None:
    """Labelled indices ascend inside the sequence; label maps are uint8 [H, W] of classes or the ignored value."""
    table = subject.build().classes
    for sequence in subject.sequences():
        labelled = list(sequence.labelled)
        require(
            labelled == sorted(set(labelled)) and all(0 <= i < len(sequence) for i in labelled),
            f"sequence {sequence.name}: labelled {labelled[:6]} do not ascend inside 0..{len(sequence) - 1}",
        )
        for position in _some(len(labelled)) if labelled else ():
            index = labelled[position]
            label = sequence.label(index)
            require(
                label.dtype == np.uint8 and label.shape == sequence.size,
                f"sequence {sequence.name}, label {index}: {label.dtype} {label.shape}, expected uint8 {sequence.size}",
            )
            strange = sorted(set(np.unique(label).tolist()) - {*range(len(table)), table.ignore_index})
            require(
                not strange,
                f"sequence {sequence.name}, label {index}: values {strange[:5]} are neither classes 0..{len(table) - 1} nor "
                f"the ignored {table.ignore_index}",
            )
            require(
                np.array_equal(label, sequence.label(index)),
                f"sequence {sequence.name}, label {index} differs when it is read again",
            )


def exact_flow(subject: DatasetSubject) -> None:
    """Where motion is known it is float32 [2, H, W] with a mask, and there is none before the first frame."""
    for sequence in subject.sequences():
        if len(sequence) < 2 or (found := sequence.flow_to_previous(1)) is None:
            continue
        require(
            isinstance(found, FlowField),
            f"sequence {sequence.name}: flow is {type(found).__name__}, expected a FlowField",
        )
        require(
            sequence.flow_to_previous(0) is None,
            f"sequence {sequence.name}, frame 0: there is motion towards a frame before the first",
        )
        require(
            found.flow.shape == (2, *sequence.size),
            f"sequence {sequence.name}: flow {found.flow.shape}, expected {(2, *sequence.size)}",
        )
        require(
            bool(np.isfinite(found.flow[:, found.valid]).all()),
            f"sequence {sequence.name}: flow is not finite",
        )


def verified(subject: DatasetSubject) -> None:
    """verify agrees with reading: no error where everything can be read."""
    errors = [f for f in subject.build().verify(subject.split) if f.level == "error"]
    require(
        not errors,
        f"verify finds {len(errors)} errors in what can be read: {errors[0].message if errors else ''}",
    )


CHECKS: dict[str, Check[DatasetSubject]] = {
    check.name: check
    for check in (
        Check("class table", "classes has distinct names, RGB colours and an ignored value beside the classes.", class_table, "classes"),
        Check("names", "Sequences are sorted by unique names and have an identity that changes whenever the frames could.", names, "sequences"),
        Check("frames", "image(index) is uint8 [H, W, 3] of the sequence's size, the same whenever it is read.", frames, "sequences"),
        Check("labels", "label(index) is uint8 [H, W]: class index or ignore_index, for the ascending indices of labelled.", labels, "sequences"),
        Check("exact flow", "flow_to_previous is the exact motion towards the frame before, or None.", exact_flow, "sequences"),
        Check("verified", "verify finds what reading would refuse, and nothing else.", verified, "verify"),
    )
}  # fmt: skip


def run_dataset_checks(subject: DatasetSubject) -> list[CheckResult]:
    """Run every check; a failed one does not stop the others. Raises ConfigError or InputError if it cannot be built."""
    subject.build()
    return examine(list(CHECKS.values()), subject, datasets.load(subject.name))
