"""Which frames AR-Seg's fusion is worth its cost on, and which the moved keyframe feature answers alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from pydantic import Field, ValidationError, model_validator
from torch import nn

from vssbench.baselines.scheduled.predictor import STREETS, GainPredictor, signals_of
from vssbench.cost.blank import building_on
from vssbench.cost.steps import MethodCost, count_method_macs
from vssbench.errors import ConfigError
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

CORRECTION = 24
"""Frames in which the adaptive schedule makes up for what it spent too much or too little."""
_OF_AR_SEG = ("network", "width", "lr_scale", "window", "mode", "switches", "normalisation", "padding")


class ScheduledOptions(MethodOptions):
    """Options of the schedule, and those of AR-Seg that decide what a step does. Parts for `weights`: AR-Seg's 'hr' and 'lr'."""

    schedule: Literal["distance", "adaptive"] = Field(
        "distance",
        description="distance: frames behind `carry_until` are fused; adaptive: frames whose decoder signals promise most",
    )
    carry_until: int = Field(
        3,
        ge=0,
        description="distance: frames up to this keyframe distance are carried, later ones fused: 0 is ar-seg, L - 1 its "
        "variant mv-only. The budget knob",
    )
    target: float = Field(
        0.1,
        gt=0,
        allow_inf_nan=False,
        description="adaptive: mean MACs of the frames between keyframes, as a share of a keyframe's. The budget knob",
    )
    predictor: GainPredictor | None = Field(
        None,
        description="adaptive: what a frame's signals promise, fitted by reports/results/fit_schedule.py; default: as fitted "
        "on the synthetic streets",
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


@lru_cache(maxsize=32)
def _cost(options: str, context: BuildContext) -> MethodCost:
    """MACs of AR-Seg with options as JSON, counted once for all that are built alike."""
    ar_seg = methods.load("ar-seg")
    with building_on("meta"):
        return count_method_macs(ar_seg(ar_seg.Options.model_validate_json(options), context))


@dataclass(slots=True)
class Account:
    """What the adaptive schedule has spent in a sequence."""

    frames: int = 0
    """Frames between keyframes so far."""
    fused: int = 0

    def share_due(self, wanted: float) -> float:
        """Share of frames to fuse from here on, so that `wanted` of all are after `CORRECTION` more; may leave 0..1."""
        return wanted + (wanted * self.frames - self.fused) / CORRECTION


@dataclass(slots=True, eq=False)
class ScheduledState:
    """What a clip carries from its keyframe on."""

    ar_seg: Any
    account: Account
    bits: int = 0
    """Of the pictures behind the keyframe."""


class Scheduled(Method):
    """AR-Seg with two kinds of frames between keyframes: carried and fused.

    carry_until = 2:  distance 0 1 2 3 4 5  ->  key carry carry fuse fuse fuse

    The adaptive schedule fuses a frame whose expected gain is among the best of the share that `target` pays for,
    decided before any network runs on it.

    A carried frame is AR-Seg's variant 'mv-only' (the HR classifier on the warped keyframe feature), a fused one its
    variant 'final'; both read the same keyframe feature, so the weights are AR-Seg's as they are. Each choice
    is a 'partial' step: a carried frame executes a share of 0 of the network, a fused one the share lr_scale ** 2 of its
    pixels. This method is the project's own.
    Raises ConfigError as AR-Seg does, and for a target that no choice of frames reaches.
    """

    Options = ScheduledOptions
    budget_knob = ("carry_until", "target")
    options: ScheduledOptions

    def __init__(self, options: ScheduledOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        ar_seg = methods.load("ar-seg")
        self.fusing: Method = ar_seg(options.of_ar_seg("final"), context)
        self.carrying: Any = ar_seg(options.of_ar_seg("mv-only"), context)
        self.hr, self.lr = self.fusing.parts()["hr"], self.fusing.parts()["lr"]
        self.carrying.hr, self.carrying.lr = self.hr, self.lr
        self.adapts = options.schedule == "adaptive"
        self.fused_share = self._fused_share() if self.adapts else math.nan

    def _fused_share(self) -> float:
        """The share of frames between keyframes that may be fused, so that their mean is the target."""
        context = replace(self.context, keyframe_interval=2, device=torch.device("meta"))
        carry, fuse = (
            _cost(self.options.of_ar_seg(variant).model_dump_json(), context)
            for variant in ("mv-only", "final")
        )
        low, high = carry.non_key / carry.key, fuse.non_key / fuse.key
        if not low <= self.options.target <= high:
            raise ConfigError(
                f"scheduled: target {self.options.target} of a keyframe's MACs is out of reach; carrying takes {low:.4f} of "
                f"them and fusing {high:.4f}: choose between"
            )
        return (self.options.target - low) / (high - low)

    @property
    def needs(self) -> Needs:
        """AR-Seg's, of every frame: what a step costs depends on its distance, so each is counted where it runs.

        The adaptive schedule asks for the decoder's signals, and its account lives through a sequence.
        """
        return replace(
            self.fusing.needs,
            every_frame=True,
            adaptive=True,
            block_types=self.adapts,
            qp=self.adapts,
            batchable=not self.adapts,
            memory="sequence" if self.adapts else "none",
        )

    def parts(self) -> dict[str, nn.Module]:
        """AR-Seg's 'hr' and 'lr'."""
        return {"hr": self.hr, "lr": self.lr}

    def lr_scale_of(self, part: str) -> float:
        """'lr' sees resized frames."""
        return self.fusing.lr_scale_of(part)

    def create_memory(self) -> Account | None:
        """An empty account, of the adaptive schedule."""
        return Account() if self.adapts else None

    def start(self, batch: int) -> ScheduledState:
        """A clip with an account of its own."""
        return self.start_with(batch, Account())

    def start_with(self, batch: int, memory: Account | None) -> ScheduledState:
        """A clip that spends from an account; the schedule by distance keeps none."""
        return ScheduledState(self.fusing.start(batch), memory or Account())

    @torch.no_grad()
    def step(self, state: ScheduledState, frame: Frame) -> list[Prediction]:
        """HR network on a keyframe; otherwise carry or fuse its feature."""
        if frame.is_key:
            state.bits = 0
            return self.fusing.step(state.ar_seg, frame)
        fuses = self._fuses(state, frame)
        method, share = (self.fusing, min(1.0, self.options.lr_scale**2)) if fuses else (self.carrying, 0.0)
        return [
            replace(one, kind="partial", executed_share=share) for one in method.step(state.ar_seg, frame)
        ]

    def _fuses(self, state: ScheduledState, frame: Frame) -> bool:
        if not self.adapts:
            return frame.keyframe_distance > self.options.carry_until
        if frame.coded_bits is None:
            raise ValueError(f"scheduled: frame {frame.index} does not say its coded bits")
        state.bits += int(frame.coded_bits)
        predictor, account = self.options.predictor or STREETS, state.account
        gain = predictor.gain(signals_of(frame, state.bits))
        fuses = gain > predictor.threshold(account.share_due(self.fused_share))
        account.frames += 1
        account.fused += fuses
        return fuses
