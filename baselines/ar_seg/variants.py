"""The rows of AR-Seg's ablation (paper Table 3) by name. Source: specification section 2.1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from vssbench.networks.network import Cut

VariantName = Literal[
    "final",
    "window-3",
    "window-11",
    "without-creff",
    "mv-only",
    "la-only",
    "la-full",
    "global-attention",
    "conv",
    "without-direct",
    "before-classifier",
    "before-task",
    "before-feat",
]

Fusion = Literal["local", "local-full", "global", "conv", "upsample", "reference"]


@dataclass(frozen=True, slots=True)
class Variant:
    """How non-keyframes combine the warped HR feature R and the enlarged LR feature U."""

    summary: str
    fusion: Fusion = "local"
    window: int | None = None
    """Fixed window of the local attention; None takes the method's option."""
    direct: bool = True
    """Add U to the attention's result (the direct connection)."""
    cut: Cut = "classifier"
    """Where the networks are cut for the fusion."""
    moves: bool = True
    """Warp the reference along the motion."""

    @property
    def uses_reference(self) -> bool:
        """Whether non-keyframes look at the keyframe's feature at all."""
        return self.fusion != "upsample"

    @property
    def uses_lr_network(self) -> bool:
        """Whether non-keyframes run the LR network."""
        return self.fusion != "reference"


VARIANTS: dict[VariantName, Variant] = {
    "final": Variant("motion warping and 7x7 local attention (the method)"),
    "window-3": Variant("3x3 local attention", window=3),
    "window-11": Variant("11x11 local attention", window=11),
    "without-creff": Variant("enlarged LR feature alone", "upsample", moves=False),
    "mv-only": Variant("+W_MV: HR classifier on the warped HR feature, no LR network", "reference"),
    "la-only": Variant("+F_LA: local attention on the unwarped HR feature", moves=False),
    "la-full": Variant(
        "LA*: local attention behind full instead of depthwise 3x3 convolutions", "local-full"
    ),
    "global-attention": Variant("GA 1/32: attention over the whole map at 1/32 size", "global"),
    "conv": Variant("F_Conv: one 3x3 convolution over both features", "conv"),
    "without-direct": Variant("w/o DC: local attention without adding the LR feature", direct=False),
    "before-classifier": Variant("fused before the final 1x1 (equals 'final')"),
    "before-task": Variant("fused before N_task", cut="task"),
    "before-feat": Variant("fused before N_feat", cut="feat"),
}
assert set(VARIANTS) == set(get_args(VariantName))
