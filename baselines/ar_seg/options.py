"""Options of AR-Seg."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from vssbench.baselines.ar_seg.creff import Initialisation
from vssbench.baselines.ar_seg.settings import CReFFSettings, Mode
from vssbench.baselines.ar_seg.variants import VariantName
from vssbench.errors import ConfigError
from vssbench.method import CheckedNormalisation, MethodOptions
from vssbench.networks.adapter import NetworkChoice
from vssbench.ops.local_attention import check_window
from vssbench.ops.losses import SegmentationLoss

FeatureLoss = Literal["mse+shared", "none", "shared", "mse", "kl+shared"]
"""FST rows of Table 3: which feature loss, and whether the final 1x1 is the HR network's, frozen."""


class ARSegOptions(MethodOptions):
    """Options of AR-Seg. Parts for `weights`: 'hr' (the keyframe network) and 'lr' (LR network and CReFF)."""

    network: NetworkChoice = Field("bisenet18", description="registered network of both branches")
    width: int = Field(64, ge=1, description="base channels; 64 is the published network")
    lr_scale: float = Field(0.5, gt=0, le=4, description="alpha: resize factor of the LR branch's input")
    window: int = Field(7, description="side of the local attention's window, odd")
    variant: VariantName = Field("final", description="row of the paper's Table 3")
    mode: Mode = Field("paper", description="paper: as the released code; corrected: as the paper's text")
    switches: dict[str, str] = Field(
        default_factory=dict, description="single differences, on top of the mode"
    )
    normalisation: CheckedNormalisation | None = Field(
        None,
        description="mean, deviation and, where they differ, value_range (1 or 255) and channel_order (RGB or BGR); "
        "default: that of the weights, else the dataset's",
    )
    fst: FeatureLoss = Field(
        "mse+shared", description="feature similarity training: loss and shared classifier"
    )
    loss: SegmentationLoss | Literal["network"] = Field(
        "network", description="segmentation loss; default: the network's"
    )
    initialisation: Initialisation = Field(
        "kaiming", description="of CReFF; identity-like and balanced suit short trainings"
    )
    fusion_lr_multiplier: float | None = Field(
        None, gt=0, description="learning rate factor of CReFF; default 8 for kaiming, 1 for the others"
    )

    @field_validator("window")
    @classmethod
    def _window_is_odd(cls, value: int) -> int:
        try:
            check_window(value)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _switches_exist(self) -> ARSegOptions:
        try:
            CReFFSettings.for_mode(self.mode, self.switches)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self
