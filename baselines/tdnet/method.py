"""What a frame gets from its path and from the frames before. Source: baselines specification section 5."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vssbench.baselines.tdnet.exchange import Exchange, Memory
from vssbench.baselines.tdnet.options import TDNetOptions
from vssbench.baselines.tdnet.paths import decode_path, encode_path, path_shape
from vssbench.baselines.tdnet.training import TDNetTraining
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction, Stage, StepKind
from vssbench.networks import SegmentationNetwork, create
from vssbench.ops import normalise_image, predict_labels


@dataclass(slots=True, eq=False)
class TDNetState:
    """The FIFO."""

    past: deque[Memory] = field(default_factory=deque)
    """The last paths - 1 frames, oldest first."""


class TDNet(Method):
    """Every frame runs one of `paths` shallow networks, chosen by its position in the sequence, and costs the same.

    The state is no key and no motion, only what the last paths - 1 frames left; until it is full (at the start of a
    sequence) frames are answered from their own path alone.
    Raises ConfigError for networks that have no recipe as a path.
    """

    Options = TDNetOptions
    budget_knob = ("paths",)
    options: TDNetOptions

    def __init__(self, options: TDNetOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.networks: list[SegmentationNetwork] = [
            create(options.network, context.classes, width=options.width).to(context.device).eval()
            for _ in range(options.paths)
        ]
        self.exchange = self._exchange().to(context.device).eval()
        self.teacher: SegmentationNetwork | None = None
        if options.teacher is not None:
            teacher = options.teacher
            self.teacher = create(teacher.network, context.classes, width=teacher.width)
            self.teacher.to(context.device).eval()

    def _exchange(self) -> Exchange:
        options, first = self.options, self.networks[0]
        shape = path_shape(first, options.paths, options.exchange_at)
        keys = options.key_channels or max(1, options.width)
        head = None if shape.own_head else (max(1, 2 * options.width), self.context.classes)
        exchange = Exchange(
            options.paths, shape.encoded, keys, options.decimation, options.norm, head, options.dropout
        )
        if options.initialisation == "identity":
            for index in range(options.paths):
                exchange.path(index).start_as_identity()
        return exchange

    @property
    def needs(self) -> Needs:
        """Pixels of every frame, and those of the frames that fill the FIFO."""
        return Needs(history=self.options.paths - 1, every_frame=self.options.paths > 1)

    def parts(self) -> dict[str, nn.Module]:
        """'path0' ..., 'exchange' where there is more than one path, 'teacher' where one is named."""
        parts: dict[str, nn.Module] = {f"path{i}": network for i, network in enumerate(self.networks)}
        if self.options.paths > 1:
            parts["exchange"] = self.exchange
        if self.teacher is not None:
            parts["teacher"] = self.teacher
        return parts

    def start(self, batch: int) -> TDNetState:
        """An empty FIFO."""
        return TDNetState(deque(maxlen=max(1, self.options.paths - 1)))

    @torch.no_grad()
    def step(self, state: TDNetState, frame: Frame) -> list[Prediction]:
        """Encode with the frame's path, gather from the FIFO if it is full, classify, remember."""
        if frame.image is None:
            raise ValueError(f"tdnet: frame {frame.index} carries no pixels although `needs` asks for them")
        path = frame.clock % self.options.paths
        image = normalise_image(frame.image, self.normalisation)
        if self.options.paths == 1:
            labels = predict_labels(self.networks[0](image), frame.size)
            return [Prediction(frame.index, labels, _kind(frame))]
        encoded, _ = self.encode(path, image)
        answer = []
        if frame.index >= 0:  # nobody asks for the labels of history
            past = list(state.past) if len(state.past) == self.options.paths - 1 else []
            gathered = self.exchange.gather(path, encoded, past)[1]
            size = (frame.image.shape[-2], frame.image.shape[-1])
            answer = [
                Prediction(
                    frame.index, predict_labels(self.classify(path, gathered, size), frame.size), _kind(frame)
                )
            ]
        state.past.append(self.exchange.remember(path, encoded))
        return answer

    def encode(self, path: int, image: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encoded map z and side maps of a normalised image by path `path`."""
        return encode_path(self.networks[path], image, path, self.options.paths, self.options.exchange_at)

    def classify(self, path: int, gathered: Tensor, size: tuple[int, int]) -> Tensor:
        """Output [N, K, h, w] of path `path` from its value with or without what attention brought."""
        layers = self.exchange.path(path)
        maps: Tensor = layers.norm(gathered)
        if layers.head is None:
            return decode_path(self.networks[path], maps, size, self.options.exchange_at)
        logits: Tensor = layers.head(maps)
        return logits

    def stages(self) -> list[Stage]:
        """'image' (the paths as single networks), 'window', and 'distillation' where a teacher is named."""
        return TDNetTraining(self).stages()


def _kind(frame: Frame) -> StepKind:
    return "key" if frame.is_key else "non_key"
