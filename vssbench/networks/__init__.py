"""Image segmentation networks, split into feature and classifier, and their weights."""

from __future__ import annotations

from typing import Any

from vssbench.errors import ConfigError
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
    "Partial",
    "SegmentationNetwork",
    "TrainingOutput",
    "create",
    "create_flow_network",
    "load_ar_seg_checkpoint",
    "load_weights",
    "save_weights",
]


def create(name: str, classes: int, *, width: int = 64, **options: Any) -> SegmentationNetwork:
    """Build the registered network `name` with fresh weights, in training mode.

    width 64 is the published network; every channel count scales with width / 64. Raises ConfigError for an unknown
    name, fewer than two classes, a width below 1, or an option the network does not have.
    """
    network = networks.load(name)
    try:
        built = network(classes, width=width, **options)
    except TypeError as error:
        raise ConfigError(f"network {name!r} does not accept these options: {error}") from error
    assert isinstance(built, SegmentationNetwork)
    return built
