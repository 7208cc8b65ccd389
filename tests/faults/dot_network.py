"""A network of two convolutions, so that building and counting it takes no time."""

from __future__ import annotations

from torch import nn

from vssbench.networks.network import Partial, SegmentationNetwork


class Dot(SegmentationNetwork):
    """A convolution of stride 2 and the classifier."""

    name = "dot"
    feature_stride = 2
    loss = "cross-entropy"
    training_only = ()

    def __init__(self, classes, *, width=64):
        super().__init__(classes, width=width)
        self.head = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.classifier = nn.Conv2d(width, classes, 1)

    def partial(self, image, cut="classifier"):
        return Partial(self.head(image).relu())

    def resume(self, partial, cut):
        return partial

    def classify(self, feature, size):
        return self.classifier(feature)
