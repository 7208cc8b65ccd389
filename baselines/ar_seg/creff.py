"""CReFF: fuses a warped high-resolution feature with a low-resolution one. Source: AR-Seg specification section 2."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from vssbench.baselines.ar_seg.settings import CReFFSettings, Mode
from vssbench.baselines.ar_seg.variants import VARIANTS, VariantName
from vssbench.errors import ConfigError, nearest
from vssbench.ops.local_attention import check_window, local_attention
from vssbench.ops.projected_attention import projected_attention, suits_projection
from vssbench.ops.resize import resize

Initialisation = Literal["kaiming", "identity-like", "balanced"]

LOW_SHARE = 0.25
"""Initialisation 'balanced': the LR feature's share of the fused one; the warped reference gives the rest."""

GLOBAL_DOWNSCALE = 32
"""Variant 'global-attention': keys and values lie on a grid this many times coarser than the feature."""
_QUERIES_AT_ONCE = 16384
"""Pixels whose scores over all keys are held at one time."""


class CReFF(nn.Module):
    """Cross-resolution feature fusion: forward(reference, low) -> fused feature of the reference's size.

    reference [N, C, H, W] is the keyframe's feature, already warped to the current frame; low [N, C, h, w] is the LR
    network's. 'final': U = low enlarged to H x W, Q = conv(U), K and V = conv(reference), result U + attention(Q, K, V)
    over a window around each pixel. `variant` selects a row of the paper's Table 3, `mode` the released code ('paper')
    or the paper's text ('corrected'), `settings` single switches instead of a mode.
    Raises ConfigError for an unknown variant or an even window.
    """

    def __init__(
        self,
        channels: int,
        window: int = 7,
        variant: VariantName = "final",
        mode: Mode = "paper",
        *,
        settings: CReFFSettings | None = None,
        initialisation: Initialisation = "kaiming",
        global_downscale: int = GLOBAL_DOWNSCALE,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ConfigError(f"ar-seg: unknown variant {variant!r}; {nearest(variant, list(VARIANTS))}")
        self.channels = channels
        self.variant = VARIANTS[variant]
        self.window = self.variant.window or window
        check_window(self.window)
        self.settings = settings or CReFFSettings.for_mode(mode)
        self.global_downscale = global_downscale
        self._build()
        self._initialise(initialisation)

    def _build(self) -> None:
        channels, fusion = self.channels, self.variant.fusion
        if fusion in ("local", "local-full", "global"):
            groups = 1 if fusion == "local-full" else channels
            self.query_conv, self.key_conv, self.value_conv = (
                nn.Conv2d(channels, channels, 3, padding=1, groups=groups) for _ in range(3)
            )
        if fusion == "global":
            self.attention = GlobalAttention(channels)
        if fusion == "conv":
            self.conv = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def _initialise(self, initialisation: Initialisation) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        if initialisation != "kaiming" and self.variant.fusion in ("local", "local-full", "global"):
            passes_all = initialisation == "balanced" and self.variant.direct
            self._initialise_near_identity((1 - LOW_SHARE, 0.0) if passes_all else (1.0, -1.0 / 9.0))

    def _initialise_near_identity(self, value: tuple[float, float]) -> None:
        """Query and key compare features as they are; the value convolution is (centre, box) of `value`.

        'identity-like': identity minus box filter, the reference's detail. 'balanced': a share of the reference itself.

        With Kaiming initialisation short trainings leave the reference unused for hundreds of steps
        (training notes, point 2).
        """
        with torch.no_grad():
            for conv, centre, box in (
                (self.query_conv, 0.3, 0.0),
                (self.key_conv, 0.3, 0.0),
                (self.value_conv, *value),
            ):
                nn.init.normal_(conv.weight, std=0.01 / math.sqrt(conv.weight.shape[1]))
                own = torch.arange(self.channels)
                source = own if conv.groups == 1 else torch.zeros_like(own)
                conv.weight[own, source] += box
                conv.weight[own, source, 1, 1] += centre

    def forward(self, reference: Tensor, low: Tensor) -> Tensor:
        """Fused feature [N, C, H, W]; see the class."""
        fusion = self.variant.fusion
        if fusion == "reference":
            return reference
        size = (reference.shape[-2], reference.shape[-1])
        if low.device.type == "cpu" and not torch.is_grad_enabled():
            # depthwise convolutions and resizes of channels-last maps take a third of the time, and the small map is
            # the cheapest to turn
            low = low.contiguous(memory_format=torch.channels_last)
        enlarged = resize(low, size, corners=self.settings.feature_corners)
        if fusion == "upsample":
            return enlarged
        if fusion == "conv":
            joined: Tensor = self.conv(torch.cat([enlarged, reference], dim=1))
            return joined
        if fusion == "global":
            attended = self._attend_globally(reference, enlarged)
            return enlarged + attended if self.variant.direct else attended
        return self._attend(reference, enlarged)

    def _attend(self, reference: Tensor, enlarged: Tensor) -> Tensor:
        scale = self.channels**-0.5 if self.settings.attention_scale == "sqrt-channels" else 1.0
        border = self.settings.border
        projections = (self.query_conv, self.key_conv, self.value_conv)
        if self.variant.direct and suits_projection(enlarged, reference, projections, self.window):
            return projected_attention(
                enlarged, reference, projections, self.window, scale=scale, border=border
            )
        query, key, value = self.query_conv(enlarged), self.key_conv(reference), self.value_conv(reference)
        attended = local_attention(query, key, value, self.window, scale=scale, border=border)
        return enlarged + attended if self.variant.direct else attended

    def _attend_globally(self, reference: Tensor, enlarged: Tensor) -> Tensor:
        height, width = reference.shape[-2:]
        coarse = (height // self.global_downscale, width // self.global_downscale)
        if min(coarse) < 1:
            raise ConfigError(
                f"ar-seg: variant 'global-attention' needs features of at least {self.global_downscale} rows and columns, "
                f"got {height}x{width}; use larger frames or another variant"
            )
        value = self.value_conv(reference)
        # the released code feeds the key convolution with the value map (sections 2.1 and 8.15)
        key = self.key_conv(value if self.settings.global_key == "value" else reference)
        attended: Tensor = self.attention(
            self.query_conv(enlarged), resize(key, coarse), resize(value, coarse)
        )
        return attended


class GlobalAttention(nn.Module):
    """One-head attention of every query pixel over all key pixels, with linear projections of everything."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(channels, channels) for _ in range(4))
        # one Xavier draw for the stacked input projections, as a torch MultiheadAttention has it
        stacked = nn.init.xavier_uniform_(torch.empty(3 * channels, channels))
        with torch.no_grad():
            for projection, weight in zip((self.query, self.key, self.value), stacked.chunk(3), strict=True):
                projection.weight.copy_(weight)
                nn.init.zeros_(projection.bias)
        nn.init.zeros_(self.output.bias)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query [N, C, H, W], key and value [N, C, h, w] -> [N, C, H, W]."""
        batch, channels, height, width = query.shape
        keys = self.key(key.flatten(2).transpose(1, 2)).transpose(1, 2) * channels**-0.5
        values = self.value(value.flatten(2).transpose(1, 2))
        tokens = query.flatten(2).transpose(1, 2)
        attended = torch.cat(
            [
                self.output(torch.bmm(torch.softmax(torch.bmm(self.query(part), keys), dim=-1), values))
                for part in torch.split(tokens, _QUERIES_AT_ONCE, dim=1)
            ],
            dim=1,
        )
        return attended.transpose(1, 2).reshape(batch, channels, height, width)
