"""Image segmentation networks, split into feature and classifier, and their weights."""

from __future__ import annotations

from typing import Any

from vssbench.errors import ConfigError
from vssbench.networks.adapter import NetworkChoice, NetworkFactory, adapt, create_adapted
from vssbench.networks.checkpoints import load_ar_seg_checkpoint
from vssbench.networks.flow import FlowEstimate, FlowNetwork, create_flow_network
from vssbench.networks.network import (
    Cut,
    DescribedNetwork,
    Partial,
    SegmentationNetwork,
    TrainingOutput,
)
from vssbench.networks.weights import load_weights, save_weights
from vssbench.registry import networks

__all__ = [
    "Cut",
    "DescribedNetwork",
    "FlowEstimate",
    "FlowNetwork",
    "NetworkFactory",
    "Partial",
    "SegmentationNetwork",
    "TrainingOutput",
    "adapt",
    "create",
    "create_flow_network",
    "load_ar_seg_checkpoint",
    "load_weights",
    "save_weights",
]


def create(name: NetworkChoice, classes: int, *, width: int = 64, **options: Any) -> SegmentationNetwork:
    """Build the registered network `name`, or adapt the module of a factory, with fresh weights, in training mode.

    width 64 is the published network; every channel count scales with width / 64. Raises ConfigError for an unknown
    name, fewer than two classes, a width below 1, or an option the network does not have.
    """
    if not isinstance(name, str):
        return create_adapted(name, classes, width)
    network = networks.load(name)
    try:
        built = network(classes, width=width, **options)
    except TypeError as error:
        raise ConfigError(f"network {name!r} does not accept these options: {error}") from error
    assert isinstance(built, SegmentationNetwork)
    return built
