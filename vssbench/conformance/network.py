"""The suite every segmentation network must pass (`vssbench conformance --network NAME`)."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vssbench.conformance.building import modules_within
from vssbench.conformance.outcome import Check, CheckResult, examine, require
from vssbench.networks import create
from vssbench.networks.adapter import AdaptedNetwork, NetworkChoice
from vssbench.networks.network import SegmentationNetwork
from vssbench.ops.resize import Corners, resize
from vssbench.registry import networks

TOLERANCE = 1e-4
"""Relative difference that other kernels make: of a batch of two, or of the pieces of a network."""
LONG = 4096
"""A side so long that what rounding and padding add to its feature does not matter."""
STRIDE_MARGIN = 0.02
CORNERS: tuple[Corners, ...] = ("half-pixel", "align-corners")


@dataclass(frozen=True, slots=True)
class NetworkSubject:
    """What is checked: a network of some width, on images of some size."""

    name: NetworkChoice
    """Registered network, or the module of a factory that takes `classes`."""
    width: int = 8
    size: tuple[int, int] = (64, 96)
    classes: int = 4
    seed: int = 0

    def build(self, classes: int | None = None) -> SegmentationNetwork:
        """A fresh instance in eval mode with weights that depend on the seed only."""
        torch.manual_seed(self.seed)
        return create(self.name, classes or self.classes, width=self.width).eval()

    def image(self, batch: int = 1, size: tuple[int, int] | None = None) -> Tensor:
        """Normalised random images."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return torch.randn(batch, 3, *(size or self.size), generator=generator)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """The subject's size and one that nothing divides."""
        yield self.size
        yield self.size[0] + 3, self.size[1] + 5


def _forward(network: nn.Module, image: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = network(image)
    return output


def _near(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= TOLERANCE * (1 + one.abs().max()))


def shape_of_output(subject: NetworkSubject) -> None:
    """[N, classes, h, w] finite floats for every number of classes and side."""
    for classes in (2, subject.classes, 19):
        for size in subject.sizes():
            output = _forward(subject.build(classes), subject.image(2, size))
            require(
                isinstance(output, Tensor) and output.ndim == 4 and tuple(output.shape[:2]) == (2, classes),
                f"output of {size[0]}x{size[1]} images is {_said(output)}, expected [2, {classes}, h, w]",
            )
            require(output.is_floating_point(), f"output is {output.dtype}, expected floating point")
            require(bool(torch.isfinite(output).all()), f"output of {size[0]}x{size[1]} images is not finite")


def _said(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def pieces(subject: NetworkSubject) -> None:
    """Partial, resume and classify put together are the network, at every cut."""
    network, image = subject.build(), subject.image()
    whole = _forward(network, image)
    for cut in network.cuts:
        with torch.no_grad():
            partial = network.partial(image, cut)
            joined = network.classify(network.resume(partial, cut).feature, subject.size)
        require(
            partial.feature.shape[1] == network.cut_channels(cut),
            f"the map before {cut!r} has {partial.feature.shape[1]} channels, cut_channels says {network.cut_channels(cut)}",
        )
        require(
            _near(whole, joined), f"cut before {cut!r} and put together, the network gives another output"
        )


def feature(subject: NetworkSubject) -> None:
    """The feature has the channels, size and stride that the network says."""
    network = subject.build()
    for size in subject.sizes():
        with torch.no_grad():
            found = network.features(subject.image(size=size))
        wanted = (network.feature_channels, *network.feature_size(size))
        require(
            tuple(found.shape[1:]) == wanted,
            f"the feature of {size[0]}x{size[1]} images is {tuple(found.shape[1:])}, the network says {wanted}",
        )
    for length in network.feature_size((LONG, LONG)):
        require(
            abs(length * network.feature_stride / LONG - 1) <= STRIDE_MARGIN,
            f"a side of {LONG} becomes {length}, but feature_stride is {network.feature_stride}",
        )


def last_convolution(subject: NetworkSubject) -> None:
    """The classifier is a convolution from the feature to the classes that keeps the size."""
    network = subject.build()
    last = network.classifier
    require(isinstance(last, nn.Conv2d), f"classifier is {type(last).__name__}, expected torch.nn.Conv2d")
    kept = last(torch.zeros(1, last.in_channels, 7, 9)).shape[-2:]
    require(
        tuple(kept) == (7, 9), f"classifier makes {kept[0]}x{kept[1]} of a 7x9 feature, expected its size"
    )
    require(
        last.out_channels == subject.classes,
        f"classifier gives {last.out_channels} classes of {subject.classes}",
    )


def same_every_time(subject: NetworkSubject) -> None:
    """One output for one image: after other images, in a new build, and untouched itself."""
    network, image = subject.build(), subject.image()
    before, weights = image.clone(), copy.deepcopy(network.state_dict())
    first = _forward(network, image)
    require(torch.equal(image, before), "the network wrote into its image")
    _forward(network, 3 * subject.image() + 1)
    torch.manual_seed(99)
    require(
        torch.equal(first, _forward(network, image)), "another output for the same image, after another image"
    )
    require(
        torch.equal(first, _forward(subject.build(), image)), "another output of a build with the same seed"
    )
    changed = [k for k, v in network.state_dict().items() if not torch.equal(v, weights[k])]
    require(not changed, f"running it changed {', '.join(changed[:4])}")


def images_apart(subject: NetworkSubject) -> None:
    """Each image of a batch gets what it gets alone."""
    network, image = subject.build(), subject.image(2)
    together = _forward(network, image)
    for which in (0, 1):
        alone = _forward(network, image[which : which + 1])
        require(
            _near(alone[0], together[which]), f"image {which} of a batch of 2 gets another output than alone"
        )


def described(subject: NetworkSubject) -> None:
    """Name, width and classes are what the network was built with, and its weights load into a new one."""
    network = subject.build()
    for key, found, wanted in (
        ("name", network.name, str(subject.name)),
        ("width", network.width, subject.width),
        ("classes", network.classes, subject.classes),
    ):
        require(found == wanted, f"{key} is {found!r}, expected {wanted!r}")
    unknown = [one for one in network.training_only if one not in dict(network.named_children())]
    require(not unknown, f"training_only names {unknown}, which are no modules of the network")
    twin = NetworkSubject(
        subject.name, subject.width, subject.size, subject.classes, subject.seed + 7
    ).build()
    twin.load_state_dict(network.state_dict())
    image = subject.image()
    require(
        torch.equal(_forward(network, image), _forward(twin, image)),
        "its state does not carry all that it is",
    )
    for place, module in modules_within(list(network.children())):
        modes = [name for name, inner in module.named_modules() if inner.training]
        require(not modes, f"after eval(), {place} {', '.join(modes[:3])} is in training mode")


def own_output(subject: NetworkSubject) -> None:
    """What an adapted module does behind its final convolution is a resize and no more."""
    network = subject.build()
    if not isinstance(network, AdaptedNetwork):
        return
    image = subject.image()
    with torch.no_grad():
        own, logits = network.own_output(image), network.classify(network.features(image), None)
    size = (own.shape[-2], own.shape[-1])
    resized = [logits] if size == logits.shape[-2:] else [resize(logits, size, corners=c) for c in CORNERS]
    require(
        own.shape[1] == logits.shape[1] and any(_near(own, one) for one in resized),
        f"the module's own output {_said(own)} is not that of the convolution at the cut {_said(logits)}, resized: "
        "choose the convolution that its scores come from, without softmax or further layers behind it",
    )


def trains(subject: NetworkSubject) -> None:
    """Its training output has a finite loss whose gradient reaches every parameter."""
    network = subject.build().train()
    generator = torch.Generator().manual_seed(subject.seed + 2)
    label = torch.randint(0, subject.classes, (2, *subject.size), generator=generator)
    output = network.forward_training(subject.image(2))
    total = torch.stack(list(output.losses(network.loss, label).values())).sum()
    require(bool(torch.isfinite(total)), f"loss is {float(total.detach())}")
    total.backward()  # type: ignore[no-untyped-call]
    unreached = [name for name, p in network.named_parameters() if p.requires_grad and p.grad is None]
    require(not unreached, f"no gradient reaches {', '.join(unreached[:4])}")


CHECKS: dict[str, Check[NetworkSubject]] = {
    check.name: check
    for check in (
        Check("shape of output", "Normalised images [N, 3, H, W] of any side give [N, classes, h, w].", shape_of_output, "classify"),
        Check("pieces", "partial, resume and classify put together are the network.", pieces, "partial"),
        Check("feature", "The feature p has feature_channels channels and feature_size sides.", feature, "partial"),
        Check("last convolution", "classifier is the final convolution and keeps the size.", last_convolution, "__init__"),
        Check("same every time", "In eval mode the output depends on the image alone.", same_every_time, "partial"),
        Check("images apart", "Images of a batch do not touch one another.", images_apart, "partial"),
        Check("described", "A network knows its registered name, width and classes, and its state is all it is.", described, "__init__"),
        Check("own output", "Behind the cut of an adapted module there is a resize and no more.", own_output, "own_output"),
        Check("trains", "forward_training gives what the losses need.", trains, "forward_training"),
    )
}  # fmt: skip


def run_network_checks(subject: NetworkSubject) -> list[CheckResult]:
    """Run every check; a failed one does not stop the others. Raises ConfigError if the network cannot be built."""
    subject.build()
    kind = networks.load(subject.name) if isinstance(subject.name, str) else AdaptedNetwork
    return examine(list(CHECKS.values()), subject, kind)
