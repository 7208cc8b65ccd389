"""Whether a method can be trained with its maps in channels-last layout."""

from __future__ import annotations

import torch
from torch import nn

from vssbench.method import Method

FEWEST_CHANNELS = 8


def trains_channels_last(method: Method, device: torch.device) -> bool:
    """False where oneDNN would write past a buffer: the layout is for speed, without it the numbers are the same.

    Its AVX2 kernel for the weight gradient of a strided 1x1 convolution does so with fewer than 8 input channels
    (torch 2.13), which ends the process. Asked on every CPU, so that results do not depend on its instructions.
    """
    return device.type != "cpu" or not any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < FEWEST_CHANNELS
        for part in method.parts().values()
        for module in part.modules()
    )
