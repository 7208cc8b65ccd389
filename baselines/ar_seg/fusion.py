"""The LR branch: a segmentation network with CReFF at one of its cuts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from vssbench.baselines.ar_seg.creff import CReFF
from vssbench.networks.network import Partial, SegmentationNetwork, TrainingOutput
from vssbench.ops.losses import Scores


@dataclass(frozen=True, slots=True, eq=False)
class FusedOutput:
    """Result of a non-keyframe."""

    logits: Tensor
    """[N, K, h, w] output of the network behind the fusion, before the method's resize to the frame."""
    feature: Tensor
    """[N, C, H, W] fused map at the cut."""


class FusionNetwork(nn.Module):
    """LR network plus CReFF. A plain network's state dict loads into the network part, which is how training starts it."""

    def __init__(self, network: SegmentationNetwork, fusion: CReFF) -> None:
        super().__init__()
        self.network = network
        self.fusion = fusion

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As in any module; the state dict of a plain network (a contestant's 'network') goes to the network part."""
        if state_dict and not any(key.startswith("network.") for key in state_dict):
            state_dict = {f"network.{key}": value for key, value in state_dict.items()}
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def forward(self, image: Tensor, reference: Tensor, frame_size: tuple[int, int]) -> FusedOutput:
        """Segment the LR image [N, 3, h, w] with the warped reference [N, C, H, W] of frames of `frame_size`."""
        final, fused, size = self._run(image, reference, frame_size)
        return FusedOutput(self.network.classify(final.feature, size), fused)

    def inference_scores(self, image: Tensor, reference: Tensor, frame_size: tuple[int, int]) -> Scores:
        """As `forward`'s logits, perhaps not enlarged yet: what `predict_labels` takes."""
        final, _, size = self._run(image, reference, frame_size)
        return self.network.inference_scores(final.feature, size)

    def forward_training(
        self, image: Tensor, reference: Tensor, frame_size: tuple[int, int]
    ) -> TrainingOutput:
        """As `forward`, with the LR network's auxiliary outputs; `feature` is the fused map."""
        final, fused, size = self._run(image, reference, frame_size)
        auxiliary, class_logits = self.network.heads(final.side, (image.shape[-2], image.shape[-1]))
        scores = self.network.training_scores(final.feature, size)
        return TrainingOutput(scores, auxiliary, fused, class_logits)

    def _run(
        self, image: Tensor, reference: Tensor, frame_size: tuple[int, int]
    ) -> tuple[Partial, Tensor, tuple[int, int] | None]:
        """The map before the final 1x1, the fused map, and the size that the network's own output resize aims at."""
        cut = self.fusion.variant.cut
        low = self.network.partial(image, cut)
        fused = self.fusion(reference, low.feature)
        final = self.network.resume(Partial(fused, low.side), cut)
        size = self.output_size((reference.shape[-2], reference.shape[-1]), frame_size)
        return final, fused, size

    def output_size(
        self, reference_size: tuple[int, int], frame_size: tuple[int, int]
    ) -> tuple[int, int] | None:
        """What the network's own output resize aims at; None leaves it out. Specification sections 1.2, 1.3, 2.1."""
        if self.fusion.settings.location_output == "image-size":
            return frame_size
        return reference_size if self.network.fused_output == "reference-size" else None
