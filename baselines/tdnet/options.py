"""Options of TDNet."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vssbench.baselines.tdnet.exchange import Norm
from vssbench.baselines.tdnet.paths import Place
from vssbench.method import MethodOptions
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkOptions


class TeacherOptions(MethodOptions):
    """The network that the distillation stage learns from. Its weights go to the part 'teacher'."""

    network: NetworkChoice = Field("bisenet18", description="registered network")
    width: int = Field(64, ge=1, description="base channels")


class TDNetOptions(NetworkOptions):
    """Options of TDNet. Parts for `weights`: 'path0' .. 'path3', 'exchange' (and 'teacher' for training)."""

    network: NetworkChoice = Field("pspnet18-cityscapes", description="registered network of every path")
    exchange_at: Place = Field(
        "pyramid",
        description="pyramid: TDNet's own place and head, for BiSeNet18 and the PSPNets; feature: the network's feature p, "
        "with all layers before it paid, as the costs of AR-Seg's table imply",
    )
    paths: int = Field(
        4, ge=1, le=8, description="sub-networks in rotation: TD4 has 4, TD2 has 2; 1 is the network"
    )
    key_channels: int | None = Field(
        None, ge=1, description="channels of queries and keys; default: 64 times width / 64"
    )
    decimation: int = Field(3, ge=1, description="the memory keeps every n-th row and column")
    norm: Norm = Field(
        "instance",
        description="before the head; instance: over space with one affine per channel (the published layer has one per "
        "position and is tied to one input size); none",
    )
    initialisation: Literal["kaiming", "identity"] = Field(
        "kaiming", description="identity: begins as the single networks, for short trainings with norm=none"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="on what attention brings, in training")
    teacher: TeacherOptions | None = Field(None, description="network of the stage 'distillation'")
