"""Starting a network from the ResNet-18 of another one of the same width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

BISENET_BACKBONE = "context.backbone."


class StartsFromBiSeNet(nn.Module):
    """Mixin for networks with a ResNet-18 called `backbone`: `load_state_dict` also takes a BiSeNet18's state.

    Of that only the context backbone is used, whose shapes are the same; everything else keeps its values. It is how
    short trainings begin (training notes, point 1).
    """

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As in any module, or the backbone of a BiSeNet18."""
        taken = {
            f"backbone.{key.removeprefix(BISENET_BACKBONE)}": value
            for key, value in state_dict.items()
            if key.startswith(BISENET_BACKBONE)
        }
        if taken:
            state_dict = {**self.state_dict(), **taken}
        return super().load_state_dict(state_dict, strict=strict, assign=assign)
