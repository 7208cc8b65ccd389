"""The paper's cost formula: its counter on the plain networks plus hand-added CReFF terms.

Source: spec/ar-seg.md sections 7.1 and 7.2. The CReFF terms are not in the released code; they were fitted to the
published rows. One rule fits all of Table 1 and most of Table 3; `analysis.paper_costs` says for each row how well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor, nn

from vssbench.cost.blank import building_on
from vssbench.cost.ledger import MacsLedger
from vssbench.cost.macs import count_macs
from vssbench.metrics.gop import gop_mean
from vssbench.registry import networks

Size = tuple[int, int]
DEPTHWISE = 27
"""Products per element of CReFF's three depthwise 3x3 convolutions."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One network on one dataset, as the paper counted it."""

    dataset: str
    backbone: str
    network: str
    classes: int
    size: Size
    final_conv_classes: int
    """Classes in the hand-added final convolution term: 11 for CamVid although the networks have 12 outputs."""

    def lr_size(self, lr_scale: float) -> Size:
        """LR input, products truncated (spec section 1.1)."""
        return int(self.size[0] * lr_scale), int(self.size[1] * lr_scale)


_CAMVID, _CITYSCAPES = (720, 960), (1024, 2048)
SETTINGS: dict[tuple[str, str], Setting] = {
    (one.dataset, one.backbone): one
    for one in (
        Setting("camvid", "pspnet18", "pspnet18-camvid", 12, _CAMVID, 11),
        Setting("camvid", "bisenet18", "bisenet18", 12, _CAMVID, 11),
        Setting("cityscapes", "pspnet18", "pspnet18-cityscapes", 19, _CITYSCAPES, 19),
        Setting("cityscapes", "bisenet18", "bisenet18", 19, _CITYSCAPES, 19),
    )
}


@cache
def thop_count(setting: Setting, size: Size) -> MacsLedger:
    """T: the counter's figure for the plain network on an input of `size`."""
    return count_macs(_network(setting), _image(size), rule="thop-0.0.31")


def thop_hr(setting: Setting) -> float:
    """HR row in 1e9 counts."""
    return thop_count(setting, setting.size).gmacs


LrTerm = Callable[[Setting, float], float]
"""(setting, lr_scale) -> cost of a non-key frame in 1e9 counts."""


def with_local_attention(window: int = 7, *, encoder: int | None = None, final_conv: bool = True) -> LrTerm:
    """LR network, three encoders of `encoder` products per element (default: depthwise), k x k attention."""

    def cost(setting: Setting, lr_scale: float) -> float:
        channels, pixels, _ = _feature(setting, lr_scale)
        fusion = ((encoder or DEPTHWISE) + 2 * window * window) * channels * pixels / 1e9
        extra = _final_conv_difference(setting, lr_scale) if final_conv else 0.0
        return thop_count(setting, setting.lr_size(lr_scale)).gmacs + fusion + extra

    return cost


def without_fusion(setting: Setting, lr_scale: float) -> float:
    """The LR network alone."""
    return thop_count(setting, setting.lr_size(lr_scale)).gmacs


def nothing(setting: Setting, lr_scale: float) -> float:
    """Warp only: the counter sees nothing."""
    return 0.0


def with_convolution(setting: Setting, lr_scale: float) -> float:
    """One 3x3 convolution 2C -> C instead of attention."""
    channels, pixels, _ = _feature(setting, lr_scale)
    fusion = 9 * 2 * channels * channels * pixels / 1e9
    return without_fusion(setting, lr_scale) + fusion + _final_conv_difference(setting, lr_scale)


def with_global_attention(setting: Setting, lr_scale: float) -> float:
    """Depthwise encoders and 6 C^2 per pixel: a one-number fit, not the real cost of attention over 660 keys."""
    channels, pixels, _ = _feature(setting, lr_scale)
    fusion = (DEPTHWISE * channels + 6 * channels * channels) * pixels / 1e9
    return without_fusion(setting, lr_scale) + fusion + _final_conv_difference(setting, lr_scale)


def fused_before(cut: Literal["task", "feat"]) -> LrTerm:
    """LR network up to the cut, everything behind it at the HR feature's size, CReFF at the cut."""

    def cost(setting: Setting, lr_scale: float) -> float:
        network = _Split(_network(setting), cut)
        image, reference = _image(setting.lr_size(lr_scale)), _image(setting.size)
        with torch.no_grad():
            height, width = network.inner.partial(reference, cut).feature.shape[-2:]
        plain = count_macs(network, image, (height, width), rule="thop-0.0.31")
        channels = network.inner.cut_channels(cut)
        fusion: float = (DEPTHWISE + 2 * 7 * 7) * channels * height * width / 1e9
        return plain.gmacs + fusion

    return cost


class _Split(nn.Module):
    """A network cut in two with a resize between, as the thop rule needs it: one module, one call."""

    def __init__(self, network: Any, cut: Literal["task", "feat"]) -> None:
        super().__init__()
        self.inner = network
        self.cut = cut

    def forward(self, image: Tensor, size: Size) -> Tensor:
        partial = self.inner.partial(image, self.cut)
        enlarged = nn.functional.interpolate(partial.feature, size=size, mode="bilinear", align_corners=True)
        feature = self.inner.resume(type(partial)(enlarged, partial.side), self.cut).feature
        logits: Tensor = self.inner.classify(feature, None)
        return logits


def _final_conv_difference(setting: Setting, lr_scale: float) -> float:
    """The final 1x1 runs at the HR feature's size, not at the LR one's: n' C (S - S_lr)."""
    channels, pixels, lr_pixels = _feature(setting, lr_scale)
    return setting.final_conv_classes * channels * (pixels - lr_pixels) / 1e9


def _feature(setting: Setting, lr_scale: float) -> tuple[int, int, int]:
    """Channels of the feature, its pixels at full and at low resolution."""
    network = _network(setting)
    (height, width), (lr_height, lr_width) = (
        network.feature_size(size) for size in (setting.size, setting.lr_size(lr_scale))
    )
    return network.feature_channels, height * width, lr_height * lr_width


@cache
def _network(setting: Setting) -> Any:
    with building_on("meta"):
        return networks.load(setting.network)(setting.classes).eval()


def _image(size: Size) -> Tensor:
    return torch.empty(1, 3, *size, device="meta")


def thop_mean(setting: Setting, lr_cost: float, keyframe_interval: float = 12) -> float:
    """Mean over a GOP whose keyframe costs the HR figure, in 1e9 counts."""
    return gop_mean(thop_hr(setting), lr_cost, keyframe_interval)


def alias_excess(setting: Setting) -> float:
    """What counting aliased modules four times adds to the HR figure, in 1e9 counts."""
    aliases = _network(setting).reference_aliases
    excess = 0.0
    for module, macs in thop_count(setting, setting.size).per_module.items():
        parents = next((n for name, n in aliases.items() if f"{module}.".startswith(f"{name}.")), 1)
        excess += macs * (1 - 1 / parents**2)
    return excess / 1e9
