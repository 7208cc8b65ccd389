"""Batch normalisation folded into the convolution before it: one pass less over every map at inference."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_normalisation(network: nn.Module) -> int:
    """Fold every `norm*` of a `network` in eval mode into the `conv*` of the same suffix; the number of pairs.

    In modules of vssbench.networks that have `convK` and after it `normK` the second is applied to the result of the
    first, nothing in between; where the normalisation was registered first it comes before the convolution and stays.
    Other packages' modules promise nothing and stay as they are. Results change by rounding only (about 1e-6 of their
    size). The state dict changes: load weights before.
    Modules that are in training mode, pairs of other types and convolutions used twice stay as they are.
    """
    count = 0
    uses = _uses(network)
    for parent in list(network.modules()):
        if not type(parent).__module__.startswith("vssbench.networks."):
            continue
        earlier: dict[str, nn.Module] = {}
        for name, norm in list(parent.named_children()):
            conv = earlier.get(name.replace("norm", "conv", 1)) if name.startswith("norm") else None
            earlier[name] = norm
            if not isinstance(norm, nn.BatchNorm2d) or not isinstance(conv, nn.Conv2d):
                continue
            if norm.training or conv.training or norm.running_mean is None or uses[id(conv)] > 1:
                continue
            fused = fuse_conv_bn_eval(conv, norm)
            setattr(parent, name.replace("norm", "conv", 1), fused)
            setattr(parent, name, nn.Identity())
            count += 1
    return count


def _uses(network: nn.Module) -> dict[int, int]:
    """How many parents hold each module."""
    found: dict[int, int] = {}
    for parent in network.modules():
        for child in parent.children():
            found[id(child)] = found.get(id(child), 0) + 1
    return found
