"""A zoo of networks, each of which breaks one sentence of the contract, and the check that must catch it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vssbench.conformance import NetworkSubject, run_network_checks
from vssbench.conformance.network import CHECKS
from vssbench.networks.network import Partial, SegmentationNetwork
from vssbench.registry import networks


class Honest(SegmentationNetwork):
    """Stride 2, one cut more than the classifier."""

    name = "zoo"
    feature_stride = 2
    loss = "cross-entropy"
    training_only = ()
    cuts = ("classifier", "task")

    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.head = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Conv2d(width, classes, 1)

    def cut_channels(self, cut):
        return self.width

    def partial(self, image, cut="classifier"):
        found = Partial(self.head(image))
        return found if cut == "task" else self.resume(found, "task")

    def resume(self, partial, cut):
        return Partial(self.norm(partial.feature).relu()) if cut == "task" else partial

    def classify(self, feature, size):
        return self.classifier(feature)


ZOO = []


def caught_by(check, words):
    """Put a class into the zoo: the check that must catch it, and what it must say."""

    def put(kind):
        ZOO.append(pytest.param(kind, check, words, id=kind.__name__))
        return kind

    return put


@caught_by("shape of output", r"expected \[2, 2, h, w\]")
class OneClassMore(Honest):
    def classify(self, feature, size):
        scores = super().classify(feature, size)
        return torch.cat([scores, scores[:, :1]], 1)


@caught_by("shape of output", "not finite")
class Infinite(Honest):
    def classify(self, feature, size):
        return super().classify(feature, size) / 0


@caught_by("shape of output", "RuntimeError")
class EvenSidesOnly(Honest):
    def resume(self, partial, cut):
        feature = super().resume(partial, cut).feature
        if cut == "task":
            feature = feature + nn.functional.interpolate(feature[:, :, ::2, ::2], scale_factor=2)
        return Partial(feature)


@caught_by("pieces", "put together, the network gives another output")
class PiecesDisagree(Honest):
    def forward(self, image):
        return super().forward(image) * 1.01


@caught_by("pieces", "cut_channels says 9")
class WrongCutChannels(Honest):
    def cut_channels(self, cut):
        return self.width + 1


@caught_by("feature", r"the network says \(8, 8, 12\)")
class WrongFeatureSize(Honest):
    def feature_size(self, size):
        return size[0] // 2, size[1] // 2

    def partial(self, image, cut="classifier"):
        return super().partial(nn.functional.pad(image, (0, 2, 0, 2)), cut)


@caught_by("feature", "feature_stride is 8")
class WrongStride(Honest):
    feature_stride = 8

    def feature_size(self, size):
        return -(-size[0] // 2), -(-size[1] // 2)


@caught_by("feature", r"the network says \(16, ")
class WrongFeatureChannels(Honest):
    @property
    def feature_channels(self):
        return 2 * self.width


@caught_by("last convolution", "makes 5x7 of a 7x9 feature")
class ClassifierOfThree(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.classifier = nn.Conv2d(width, classes, 3)


@caught_by("last convolution", "classifier is Sequential")
class ClassifierIsASequence(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.classifier = nn.Sequential(self.classifier)


@caught_by("same every time", "another output for the same image")
class Noise(Honest):
    def resume(self, partial, cut):
        feature = super().resume(partial, cut).feature
        return Partial(nn.functional.dropout(feature, 0.01) if cut == "task" else feature)


@caught_by("same every time", "another output for the same image, after another image")
class RemembersImages(Honest):
    mean = 0.0

    def partial(self, image, cut="classifier"):
        self.mean = 0.999 * self.mean + 0.001 * float(image.mean())
        return super().partial(image + self.mean, cut)


@caught_by("same every time", "wrote into its image")
class WritesImage(Honest):
    def partial(self, image, cut="classifier"):
        return super().partial(image.clamp_(-1, 1), cut)


@caught_by("same every time", "running it changed count")
class CountsCalls(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.register_buffer("count", torch.zeros(()))

    def partial(self, image, cut="classifier"):
        self.count += 1
        return super().partial(image, cut)


@caught_by("images apart", "image 0 of a batch of 2")
class MeanOfTheBatch(Honest):
    def partial(self, image, cut="classifier"):
        return super().partial(image - image.mean((0, 2, 3), keepdim=True), cut)


@caught_by("described", "its state does not carry")
class StateOutsideTheState(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.scale = torch.rand(1, width, 1, 1)

    def partial(self, image, cut="classifier"):
        return Partial(super().partial(image, cut).feature * self.scale)


@caught_by("described", "name is 'zu'")
class NameLie(Honest):
    name = "zu"


@caught_by("described", "width is 16")
class WidthLie(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.width = 2 * width


@caught_by("described", "training_only names")
class UnknownTrainingOnly(Honest):
    training_only = ("auxiliary",)


@caught_by("described", "is in training mode")
class StaysInTrainingMode(Honest):
    def eval(self):
        super().eval()
        self.norm.train()
        return self


@caught_by("trains", "no gradient reaches spare.weight")
class UnreachedParameters(Honest):
    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.spare = nn.Conv2d(3, 3, 1, bias=False)


@caught_by("trains", "no gradient reaches")
class DetachedHead(Honest):
    def resume(self, partial, cut):
        return super().resume(Partial(partial.feature.detach()), cut)


@caught_by("trains", "loss is nan")
class NaNWhenItTrains(Honest):
    def training_scores(self, feature, size):
        return self.classify(feature, size) * float("nan")


@pytest.fixture
def subject_of(monkeypatch):
    def make(kind):
        monkeypatch.setattr(networks, "load", lambda name: kind)
        return NetworkSubject("zoo", 8, (16, 24))

    return make


@pytest.mark.parametrize(("kind", "check", "words"), ZOO)
def test_a_wrong_network_is_caught(subject_of, assert_caught, kind, check, words):
    assert_caught(CHECKS[check], subject_of(kind), kind, words)


class HonestPadded(Honest):
    """Pads its images to multiples of eight, so that sides over the stride are far from what the feature has."""

    def feature_size(self, size):
        return tuple(-(-side // 8) * 4 for side in size)

    def partial(self, image, cut="classifier"):
        height, width = image.shape[-2:]
        return super().partial(nn.functional.pad(image, (0, -width % 8, 0, -height % 8)), cut)


class WithWideClassifier(Honest):
    """A classifier that looks at the neighbours, as that of the light feature pyramid."""

    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.classifier = nn.Conv2d(width, classes, 3, padding=1)


@pytest.mark.parametrize("kind", [Honest, HonestPadded, WithWideClassifier])
def test_an_honest_network_passes_every_check(subject_of, kind):
    assert {one.check: one.problem for one in run_network_checks(subject_of(kind)) if one.problem} == {}
