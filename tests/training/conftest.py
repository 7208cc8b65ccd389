"""A tiny dataset and a tiny method, registered for the tests of this folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vssbench.dataset import Dataset, DatasetOptions, Split, VideoSequence
from vssbench.method import Frame, Method, MethodOptions, Needs, Prediction, Stage, TrainingBatch
from vssbench.ops import normalise_image
from vssbench.records import ClassTable, Finding
from vssbench.registry import Entry, datasets, methods

SIZE = (32, 48)


class BoxOptions(DatasetOptions):
    sequences: int = 2
    frames: int = 8
    labelled_every: int = 1
    ignored: bool = False
    labelled_columns: int = SIZE[1]
    """From the left; the others are ignored."""
    bad_label: bool = False


class BoxSequence(VideoSequence):
    """A bright textured square moves 2 pixels a frame over a dark ground; class 1 is the square."""

    frame_rate_hz = 10.0
    size = SIZE

    def __init__(self, number: int, options: BoxOptions) -> None:
        self.name = f"box-{number}"
        self._number, self._options = number, options

    def __len__(self) -> int:
        return self._options.frames

    @property
    def labelled(self) -> Sequence[int]:
        return range(0, self._options.frames, self._options.labelled_every)

    def _corner(self, index: int) -> tuple[int, int]:
        return 4 + 3 * self._number, 4 + 2 * index

    def image(self, index: int) -> NDArray[np.uint8]:
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        ground = 40 + 20 * ((x // 4 + y // 4) % 2)
        picture = np.stack([ground] * 3, -1).astype(np.uint8)
        top, left = self._corner(index)
        grain = np.random.default_rng(self._number).integers(150, 255, (12, 12, 3))
        picture[top : top + 12, left : left + 12] = grain
        return picture

    def label(self, index: int) -> NDArray[np.uint8]:
        label = np.zeros(SIZE, np.uint8)
        top, left = self._corner(index)
        label[top : top + 12, left : left + 12] = 7 if self._options.bad_label else 1
        label[:, self._options.labelled_columns :] = 255
        return np.full_like(label, 255) if self._options.ignored else label

    @property
    def identity(self) -> str:
        return f"box {self._number} {self._options}"


class Boxes(Dataset):
    Options = BoxOptions
    classes = ClassTable(names=("ground", "car"), palette=((0, 0, 0), (255, 255, 255)))

    def __init__(self, options: BoxOptions) -> None:
        self.options = options

    def sequences(self, split: Split = "val") -> Sequence[VideoSequence]:
        return [BoxSequence(number, self.options) for number in range(self.options.sequences)]

    def verify(self, split: Split | None = None) -> Iterator[Finding]:
        return iter(())


class TinyOptions(MethodOptions):
    dropout: float = 0.2
    explode_at: int = -1
    """Optimiser step at which the loss becomes NaN."""
    shortcut: bool = False
    """Adds a part 'shortcut' that only every second step uses."""


class Tiny(Method):
    """Per-frame network with dropout and batch normalisation (part 'network') and a frozen part 'teacher'.

    Stage 'image' trains the network alone; stage 'pair' also sees the keyframe and its motion.
    """

    Options = TinyOptions

    def __init__(self, options: Any, context: Any) -> None:
        super().__init__(options, context)
        self.network = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout2d(options.dropout),
            nn.Conv2d(8, context.classes, 1),
        )
        self.teacher = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.shortcut = nn.Conv2d(3, context.classes, 1) if options.shortcut else None
        self.calls = 0
        self.prepared = 0
        self.batches: list[TrainingBatch] = []

    @property
    def needs(self) -> Needs:
        return Needs(every_frame=False, stateless=True)

    def parts(self) -> dict[str, nn.Module]:
        optional = {"shortcut": self.shortcut} if self.shortcut is not None else {}
        return {"network": self.network, "teacher": self.teacher, **optional}

    def start(self, batch: int) -> None:
        return None

    def step(self, state: None, frame: Frame) -> list[Prediction]:
        assert frame.image is not None
        scores = self.network(normalise_image(frame.image, self.normalisation))
        return [Prediction(frame.index, scores.argmax(1).byte(), "key")]

    def _loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        self.batches.append(batch)
        scores = self.network(batch.image)
        if self.shortcut is not None and batch.step % 2:
            scores = scores + self.shortcut(batch.image)
        loss = nn.functional.cross_entropy(scores, batch.label, weight=batch.class_weights, ignore_index=255)
        if self.calls == self.options.explode_at:
            loss = loss * float("nan")
        self.calls += 1
        return {"segmentation": loss, "distance": 0.01 * self.teacher(batch.image).square().mean()}

    def _prepare(self) -> None:
        self.prepared += 1

    def stages(self) -> list[Stage]:
        trained = ("network", "shortcut") if self.shortcut is not None else ("network",)
        return [
            Stage("image", "image", trained, self._loss, frozen=("network.4.bias",)),
            Stage(
                "pair",
                "pair",
                ("network",),
                self._loss,
                prepare=self._prepare,
                monitors=lambda b: {"seen": float(b.image.sum())},
            ),
        ]


@pytest.fixture(autouse=True)
def _tiny_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.entries, "boxes", Entry("boxes", f"{__name__}:Boxes", "test"))
    monkeypatch.setitem(methods.entries, "tiny", Entry("tiny", f"{__name__}:Tiny", "test"))
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__, _this_module()))


def _this_module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__.update(globals())
    return module


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def experiment_text(**changes: Any) -> dict[str, Any]:
    """A small training experiment over the boxes, with top-level keys replaced by `changes`."""
    document: dict[str, Any] = {
        "name": "small",
        "seed": 3,
        "precision": "float32",  # "auto" depends on the processor, tolerances must not
        "dataset": {"name": "boxes"},
        "codecs": [{"codec": "h264", "qp": 24, "references": 1}],
        "pairs": {"keyframe_interval": 4},
        "augmentation": {"jitter": 0.1},
        "validation": {"every": 4, "clips": 1, "distances": [0, 3]},
        "contestants": [
            {
                "name": "tiny",
                "label": "a",
                "stages": {"image": {"steps": 6, "batch": 2, "learning_rate": 0.02}},
            }
        ],
    }
    return {**document, **changes}


@pytest.fixture
def write_experiment(tmp_path: Path) -> Any:
    """Function that writes an experiment with changed top-level keys and returns its path."""
    import json

    def write(**changes: Any) -> str:
        path = tmp_path / "experiment.yaml"
        path.write_text(json.dumps(experiment_text(**changes)))  # JSON is YAML; no aliases
        return str(path)

    return write
