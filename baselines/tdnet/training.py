"""TDNet's training: the paths alone, then windows of frames with the path rotating. Source: section 5 (Training)."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.baselines.tdnet.exchange import Exchange
from vssbench.baselines.tdnet.options import TDNetOptions
from vssbench.method import Stage, TrainingBatch
from vssbench.networks import SegmentationNetwork, TrainingOutput
from vssbench.ops.losses import AUXILIARY_WEIGHT as HEAD_WEIGHT
from vssbench.ops.losses import segmentation_loss
from vssbench.ops.resize import resize

SUB_WEIGHT = 0.5
"""Of the losses on the path's own value, without attention."""
AUXILIARY_WEIGHT = 0.1
"""Of the network's auxiliary heads. Kind 'cross-entropy', ours for slim networks, has them at 0.4 before."""


class Paths(Protocol):
    """What training asks of the method: its parts, and the two halves of a step."""

    options: TDNetOptions
    networks: list[SegmentationNetwork]
    exchange: Exchange
    teacher: SegmentationNetwork | None

    def encode(self, path: int, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encoded map and side maps."""

    def classify(self, path: int, gathered: Tensor, size: tuple[int, int]) -> Tensor:
        """Output of a path from its value."""


class TDNetTraining:
    """The stages of one TDNet method."""

    def __init__(self, method: Paths) -> None:
        self.method = method

    def stages(self) -> list[Stage]:
        """'image', and with more than one path 'window' and, with a teacher, 'distillation'."""
        paths = tuple(f"path{i}" for i in range(self.method.options.paths))
        stages = [Stage("image", "image", paths, self.image_loss)]
        if len(paths) == 1:
            return stages
        parts, window = (*paths, "exchange"), len(paths) - 1
        stages.append(Stage("window", "window", parts, self.window_loss, window=window))
        if self.method.teacher is not None:
            stages.append(Stage("distillation", "window", parts, self.distillation_loss, window=window))
        return stages

    def image_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Every path on the same image, as the network it is."""
        terms: dict[str, Tensor] = {}
        for index, network in enumerate(self.method.networks):
            for name, value in self._losses(network.forward_training(batch.image), batch).items():
                terms[f"path{index}_{name}"] = value / len(self.method.networks)
        return terms

    def window_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Loss of the labelled frame behind attention, and at half the weight without; the path rotates with the step."""
        output, sub = self._forward(batch)
        return self._labelled(output, sub, batch)

    def distillation_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """`window_loss` plus the teacher's distribution, on both outputs."""
        output, sub = self._forward(batch)
        teacher = self.method.teacher
        assert teacher is not None
        with torch.no_grad():
            wanted = F.log_softmax(teacher(batch.image), dim=1)
        return {
            **self._labelled(output, sub, batch),
            "teacher": _divergence(wanted, output.logits),
            "teacher_sub": SUB_WEIGHT * _divergence(wanted, sub),
        }

    def _labelled(self, output: TrainingOutput, sub: Tensor, batch: TrainingBatch) -> dict[str, Tensor]:
        """Terms against the label. CamVid PSPNet's image-level term keeps its own weight."""
        terms = self._losses(output, batch)
        named = {"segmentation": terms.pop("segmentation"), "sub": SUB_WEIGHT * self._plain(sub, batch)}
        if "presence" in terms:
            named["presence"] = terms.pop("presence")
        if terms:
            kind = self.method.options.loss_of(self.method.networks[0])
            carried = HEAD_WEIGHT if kind == "ce+aux" else 1.0  # it comes with the network's own weight
            named["auxiliary"] = AUXILIARY_WEIGHT / carried * torch.stack(list(terms.values())).sum()
        return named

    def _forward(self, batch: TrainingBatch) -> tuple[TrainingOutput, Tensor]:
        """Output behind attention with its auxiliary heads, and output of the value alone, of the labelled frame."""
        method, paths = self.method, self.method.options.paths
        size = (batch.image.shape[-2], batch.image.shape[-1])
        served = batch.step % paths  # so that the labelled frame is served by every path
        past = []
        for age, image in zip(range(len(batch.window), 0, -1), batch.window, strict=True):
            path = (served - age) % paths
            past.append(method.exchange.remember(path, method.encode(path, image)[0]))
        encoded, side = method.encode(served, batch.image)
        value, gathered = method.exchange.gather(served, encoded, past[-(paths - 1) :])
        auxiliary, class_logits = method.networks[served].heads(side, size)
        logits = method.classify(served, gathered, size)
        return TrainingOutput(logits, auxiliary, gathered, class_logits), method.classify(served, value, size)

    def _losses(self, output: TrainingOutput, batch: TrainingBatch) -> dict[str, Tensor]:
        kind = self.method.options.loss_of(self.method.networks[0])
        return output.losses(kind, batch.label, batch.class_weights)

    def _plain(self, logits: Tensor, batch: TrainingBatch) -> Tensor:
        """The same loss of an output that has no auxiliary heads."""
        kind = self.method.options.loss_of(self.method.networks[0])
        return segmentation_loss(kind, logits, batch.label, class_weights=batch.class_weights)["segmentation"]


def _divergence(wanted: Tensor, logits: Tensor) -> Tensor:
    """Mean over pixels of KL(teacher || output); `wanted` are the teacher's log-probabilities [N, K, h, w]."""
    own = F.log_softmax(resize(logits, (wanted.shape[-2], wanted.shape[-1])), dim=1)
    return (wanted.exp() * (wanted - own)).sum(1).mean()
