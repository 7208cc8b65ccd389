"""GFLOPs by the paper's counter (thop 0.0.31) of the methods that the paper knows, at any frame size."""

from __future__ import annotations

from dataclasses import replace

from vssbench.cost.paper_thop import SETTINGS, Setting, thop_count, thop_mean, with_local_attention
from vssbench.method import Method

FULL_WIDTH = 64


def thop_gop_mean(name: str, method: Method, size: tuple[int, int], interval: float) -> float | None:
    """1e9 counts per frame by the rule of thop 0.0.31 as the paper applies it, mean over `interval` frames.

    name: registered name. Known are constant resolution and AR-Seg's final variant on the paper's networks at full
    width; None for everything else, whose count by that rule nobody published. Source: specification 7.1 and 7.2.
    """
    options = method.options
    setting = _setting(str(getattr(options, "network", "")), method.context.classes, size)
    if setting is None or getattr(options, "width", FULL_WIDTH) != FULL_WIDTH:
        return None
    scale = float(getattr(options, "lr_scale", 1.0))
    if name == "constant":
        return float(thop_count(setting, size if scale == 1.0 else setting.lr_size(scale)).gmacs)
    if name == "ar-seg" and getattr(options, "variant", "") == "final":
        return float(thop_mean(setting, with_local_attention()(setting, scale), interval))
    return None


def _setting(network: str, classes: int, size: tuple[int, int]) -> Setting | None:
    known = next((one for one in SETTINGS.values() if one.network == network), None)
    if known is None:
        return None
    final = 11 if classes == 12 else classes  # the paper's hand-added term leaves out CamVid's void
    return replace(known, classes=classes, size=size, final_conv_classes=final)
