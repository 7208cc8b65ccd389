"""Which frames AR-Seg's fusion is worth its cost on, and which the moved keyframe feature answers alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import nn

from vssbench.method import (
    BuildContext,
    CheckedNormalisation,
    Frame,
    Method,
    MethodOptions,
    Needs,
    Prediction,
)
from vssbench.networks.adapter import NetworkChoice
from vssbench.registry import methods

_OF_AR_SEG = ("network", "width", "lr_scale", "window", "mode", "switches", "normalisation", "padding")


class ScheduledOptions(MethodOptions):
    """Options of the schedule, and those of AR-Seg that decide what a step does. Parts for `weights`: AR-Seg's 'hr' and 'lr'."""

    carry_until: int = Field(
        3,
        ge=0,
        description="frames up to this keyframe distance are carried, later ones fused: 0 is ar-seg, L - 1 its variant "
        "mv-only. The budget knob",
    )
    network: NetworkChoice = Field("bisenet18", description="registered network of both branches")
    width: int = Field(64, ge=1, description="base channels; 64 is the published network")
    lr_scale: float = Field(0.5, gt=0, le=4, description="alpha: resize factor of a fused frame's LR input")
    window: int = Field(7, description="side of the local attention's window, odd")
    mode: Literal["paper", "corrected"] = Field(
        "paper", description="of AR-Seg: as the released code, or as the paper's text"
    )
    switches: dict[str, str] = Field(
        default_factory=dict, description="single differences, on top of the mode"
    )
    normalisation: CheckedNormalisation | None = Field(
        None,
        description="mean, deviation and, where they differ, value_range (1 or 255) and channel_order (RGB or BGR); "
        "default: that of the weights, else the dataset's",
    )

    def of_ar_seg(self, variant: str) -> Any:
        """AR-Seg's own options for one of its variants."""
        shared = {name: getattr(self, name) for name in _OF_AR_SEG}
        return methods.load("ar-seg").Options(variant=variant, **shared)

    @model_validator(mode="after")
    def _ar_seg_takes_them(self) -> ScheduledOptions:
        try:
            self.of_ar_seg("final")
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from error
        return self


class Scheduled(Method):
    """AR-Seg with two kinds of frames between keyframes: carried and fused.

    carry_until = 2:  distance 0 1 2 3 4 5  ->  key carry carry fuse fuse fuse

    A carried frame is AR-Seg's variant 'mv-only' (the HR classifier on the warped keyframe feature), a fused one its
    variant 'final'; both read the same keyframe feature, so the weights are AR-Seg's as they are. Each choice
    is a 'partial' step: a carried frame executes a share of 0 of the network, a fused one the share lr_scale ** 2 of its
    pixels. This method is the project's own.
    Raises ConfigError as AR-Seg does.
    """

    Options = ScheduledOptions
    budget_knob = ("carry_until",)
    options: ScheduledOptions

    def __init__(self, options: ScheduledOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        ar_seg = methods.load("ar-seg")
        self.fusing: Method = ar_seg(options.of_ar_seg("final"), context)
        self.carrying: Any = ar_seg(options.of_ar_seg("mv-only"), context)
        self.hr, self.lr = self.fusing.parts()["hr"], self.fusing.parts()["lr"]
        self.carrying.hr, self.carrying.lr = self.hr, self.lr

    @property
    def needs(self) -> Needs:
        """AR-Seg's, of every frame: what a step costs depends on its distance, so each is counted where it runs."""
        return replace(self.fusing.needs, every_frame=True, adaptive=True)

    def parts(self) -> dict[str, nn.Module]:
        """AR-Seg's 'hr' and 'lr'."""
        return {"hr": self.hr, "lr": self.lr}

    def lr_scale_of(self, part: str) -> float:
        """'lr' sees resized frames."""
        return self.fusing.lr_scale_of(part)

    def start(self, batch: int) -> Any:
        """AR-Seg's state: the keyframe's feature."""
        return self.fusing.start(batch)

    @torch.no_grad()
    def step(self, state: Any, frame: Frame) -> list[Prediction]:
        """HR network on a keyframe; otherwise carry or fuse its feature."""
        if frame.is_key:
            return self.fusing.step(state, frame)
        carries = frame.keyframe_distance <= self.options.carry_until
        method, share = (self.carrying, 0.0) if carries else (self.fusing, min(1.0, self.options.lr_scale**2))
        return [replace(one, kind="partial", executed_share=share) for one in method.step(state, frame)]
