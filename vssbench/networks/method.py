"""What the methods around segmentation networks have in common: options, the network as a part, its stage 'image'."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from vssbench.method import (
    CheckedNormalisation,
    FlowRule,
    Method,
    MethodOptions,
    Stage,
    TrainingBatch,
)
from vssbench.networks.network import SegmentationNetwork
from vssbench.ops.losses import SegmentationLoss


class NetworkOptions(MethodOptions):
    """Options of every method around segmentation networks; which ones it takes is the method's own to say."""

    width: int = Field(64, ge=1, description="base channels; 64 is the published network")
    normalisation: CheckedNormalisation | None = Field(
        None,
        description="mean, deviation and, where they differ, value_range (1 or 255) and channel_order (RGB or BGR); "
        "default: that of the weights, else the dataset's",
    )
    loss: SegmentationLoss | Literal["network"] = Field(
        "network", description="segmentation loss; default: the network's"
    )

    def loss_of(self, network: SegmentationNetwork) -> SegmentationLoss:
        """The chosen segmentation loss, or the network's own."""
        return network.loss if self.loss == "network" else self.loss


class FlowNetworkOptions(NetworkOptions):
    """Options of the methods that carry a keyframe's inner map along motion which a network may estimate."""

    cut: Literal["task", "classifier"] | None = Field(
        None,
        description="what is carried: the map before N_task (default where it exists) or before the final 1x1",
    )
    flow: Literal["network", "codec"] = Field(
        "network", description="motion: estimated from pixels, or the stream's own"
    )
    flow_network: str = Field("flownet-s", description="registered flow network")
    flow_width: int | None = Field(None, ge=1, description="its base channels; default: width")
    key_interval: int | None = Field(
        None,
        ge=1,
        description="n: frames between keyframes; default: the stream's keyframes. The budget knob",
    )
    flow_rule: FlowRule = Field("exact", description="of the codec's flow")
    flow_resample: Literal["nearest", "bilinear"] = Field("nearest", description="of the codec's flow")


class NetworkMethod(Method):
    """A method around one network. A subclass sets `network` when it is built."""

    options: NetworkOptions
    network: SegmentationNetwork

    def parts(self) -> dict[str, nn.Module]:
        """'network'."""
        return {"network": self.network}

    def stages(self) -> list[Stage]:
        """'image': the network on single full-resolution images."""
        return [Stage("image", "image", ("network",), self.image_loss)]

    def image_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Loss terms of the network on the batch's images alone."""
        output = self.network.forward_training(batch.image)
        return output.losses(self.options.loss_of(self.network), batch.label, batch.class_weights)
