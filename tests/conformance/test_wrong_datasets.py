"""A zoo of datasets, each of which breaks one sentence of the contract, and the check that must catch it."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from vssbench.conformance import DatasetSubject, run_dataset_checks
from vssbench.conformance.dataset import CHECKS
from vssbench.dataset import Dataset, DatasetOptions, VideoSequence
from vssbench.records import ClassTable, Finding, FlowField, Normalisation
from vssbench.registry import datasets

SIZE = (8, 12)


class Take(VideoSequence):
    """Eight frames of noise, of which the third and the last are labelled."""

    frame_rate_hz = 25.0
    size = SIZE
    labelled = (2, 7)

    def __init__(self, name):
        self.name = name

    def __len__(self):
        return 8

    def _noise(self, index):
        return np.random.default_rng([index, *self.name.encode()])

    def image(self, index):
        return self._noise(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)

    def label(self, index):
        return self._noise(index).choice(np.array([0, 1, 255], np.uint8), SIZE)

    def flow_to_previous(self, index):
        return FlowField(np.ones((2, *SIZE), np.float32), np.ones(SIZE, bool)) if index else None

    @property
    def identity(self):
        return f"noise of {self.name}"


class Honest(Dataset):
    """Two sequences of `Kind`."""

    Options = DatasetOptions
    classes = ClassTable(("road", "rest"), ((0, 0, 0), (255, 0, 0)))
    Kind = Take
    names = ("a", "b")

    def __init__(self, options):
        self.options = options

    def sequences(self, split="val"):
        return [self.Kind(name) for name in self.names]

    def verify(self, split=None):
        for sequence in self.sequences():
            yield Finding("ok", sequence.name, "8 frames")


ZOO = []


def caught_by(check, words):
    """Put a class into the zoo: the check that must catch it, and what it must say."""

    def put(kind):
        ZOO.append(pytest.param(kind, check, words, id=kind.__name__))
        return kind

    return put


@caught_by("names", r"names appear twice: \['a'\]")
class DoubledNames(Honest):
    names = ("a", "a")


@caught_by("names", "names that differ in capitals alone")
class NamesOfOneFile(Honest):
    names = ("A", "a")


@caught_by("names", r"not sorted by name: \['b', 'a'\]")
class Unsorted(Honest):
    names = ("b", "a")


@caught_by("names", "no sequences")
class Empty(Honest):
    names = ()


@caught_by("names", "'a/b' is no file name")
class NameWithAFolder(Honest):
    names = ("a/b", "c")


@caught_by("names", "two sequences have one identity")
class OneIdentity(Honest):
    class Kind(Take):
        identity = "noise"


@caught_by("names", "identities differ between two instances")
class IdentityThatChanges(Honest):
    class Kind(Take):
        number = itertools.count()

        @property
        def identity(self):
            return f"noise {next(self.number)}"


@caught_by("frames", r"sequence a, frame 7: float64")
class WrongType(Honest):
    class Kind(Take):
        def image(self, index):
            return super().image(index) / 255


@caught_by("frames", r"sequence a, frame 7: uint8 \(12, 8, 3\), expected uint8 \(8, 12, 3\)")
class SidesSwapped(Honest):
    class Kind(Take):
        def image(self, index):
            return super().image(index).transpose(1, 0, 2)


@caught_by("frames", "frame 0 differs when it is read again")
class RandomImages(Honest):
    class Kind(Take):
        def _noise(self, index):
            return np.random.default_rng()


@caught_by("frames", "differs when it is read again in another order")
class ReadsOnFromWhereItStands(Honest):
    class Kind(Take):
        position = 0

        def image(self, index):
            self.position += 1
            return super().image(self.position - 1)


@caught_by("frames", "has no frames")
class NoFrames(Honest):
    class Kind(Take):
        def __len__(self):
            return 0


@caught_by("frames", "frame rate 0")
class NoRate(Honest):
    class Kind(Take):
        frame_rate_hz = 0


@caught_by("labels", r"label 7: values \[2\] are neither classes 0\.\.1")
class LabelOutsideClasses(Honest):
    class Kind(Take):
        def label(self, index):
            return np.full(SIZE, 2, np.uint8)


@caught_by("labels", "label 7: int64")
class WrongLabelType(Honest):
    class Kind(Take):
        def label(self, index):
            return super().label(index).astype(np.int64)


@caught_by("labels", r"labelled \[7, 2\] do not ascend")
class LabelledDescends(Honest):
    class Kind(Take):
        labelled = (7, 2)


@caught_by("labels", r"labelled \[2, 8\] do not ascend inside 0\.\.7")
class LabelledBeyondTheEnd(Honest):
    class Kind(Take):
        labelled = (2, 8)


@caught_by("labels", "label 7 differs when it is read again")
class RandomLabels(Honest):
    class Kind(Take):
        def label(self, index):
            return np.random.default_rng().integers(0, 2, SIZE, dtype=np.uint8)


@caught_by("class table", "ignore_index 1 is a class")
class IgnoresAClass(Honest):
    class Table(SimpleNamespace):
        def __len__(self):
            return 2

    classes = Table(names=("a", "b"), palette=((0, 0, 0),) * 2, ignore_index=1)


@caught_by("class table", r"class names \['road'\] appear twice")
class DoubledClasses(Honest):
    classes = ClassTable(("road", "road"), ((0, 0, 0), (255, 0, 0)))


@caught_by("class table", "no RGB of 0..255")
class ColoursBeyondBytes(Honest):
    classes = ClassTable(("road", "rest"), ((0, 0, 0), (256, 0, 0)))


@caught_by("class table", "normalisation: ")
class DividesByNothing(Honest):
    normalisation = Normalisation((0.5, 0.5, 0.5), (0.0, 0.5, 0.5))


@caught_by("exact flow", "expected a FlowField")
class FlowIsAnArray(Honest):
    class Kind(Take):
        def flow_to_previous(self, index):
            return np.ones((2, *SIZE), np.float32)


@caught_by("exact flow", r"flow \(2, 4, 6\), expected \(2, 8, 12\)")
class FlowOfHalfSize(Honest):
    class Kind(Take):
        def flow_to_previous(self, index):
            return FlowField(np.ones((2, 4, 6), np.float32), np.ones((4, 6), bool)) if index else None


@caught_by("exact flow", "flow is not finite")
class FlowIsNaN(Honest):
    class Kind(Take):
        def flow_to_previous(self, index):
            return FlowField(np.full((2, *SIZE), np.nan, np.float32), np.ones(SIZE, bool)) if index else None


@caught_by("exact flow", "sequence a, frame 0: there is motion towards a frame before the first")
class FlowBeforeTheFirst(Honest):
    class Kind(Take):
        def flow_to_previous(self, index):
            return super().flow_to_previous(1)


@caught_by("verified", "verify finds 2 errors in what can be read: looks damaged")
class VerifyFindsErrors(Honest):
    def verify(self, split=None):
        for name in self.names:
            yield Finding("error", name, "looks damaged")


@caught_by("verified", "NotImplementedError")
class VerifyIsNotWritten(Honest):
    def verify(self, split=None):
        raise NotImplementedError


@pytest.fixture
def subject_of(monkeypatch):
    def make(kind):
        monkeypatch.setattr(datasets, "load", lambda name: kind)
        return DatasetSubject("zoo", {})

    return make


@pytest.mark.parametrize(("kind", "check", "words"), ZOO)
def test_a_wrong_dataset_is_caught(subject_of, assert_caught, kind, check, words):
    assert_caught(CHECKS[check], subject_of(kind), kind, words)


def test_an_honest_dataset_passes_every_check(subject_of):
    assert {one.check: one.problem for one in run_dataset_checks(subject_of(Honest)) if one.problem} == {}
