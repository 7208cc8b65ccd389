"""Batches as a pure function of (seed, step): nothing to store for an exact resume, nothing to drift.

samples 5, batch 2:   step 0 1 2 | 3 4 ...   takes positions 0-1, 2-3, 4-5 | 6-7, ... of the endless order
epoch 0 epoch 1 ...                          (position p is entry permutation(epoch = p // 5)[p % 5])
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from vssbench.experiment.training import Augmentation
from vssbench.method import Recipe, SampleMemory, TrainingBatch
from vssbench.records import IGNORE_INDEX, Normalisation
from vssbench.training.augment import Sample, augment
from vssbench.training.pairs import PairEntry, PairStore
from vssbench.training.windows import WindowEntry, WindowStore


@dataclass(frozen=True, slots=True, eq=False)
class NamedBatch:
    """One micro-batch with the origin of its samples, for messages."""

    batch: TrainingBatch
    origins: tuple[str, ...]

    @property
    def all_ignored(self) -> bool:
        """True if no pixel of the batch is labelled."""
        return not bool((self.batch.label != IGNORE_INDEX).any())


Entry = PairEntry | WindowEntry

MONITOR_KEY = 0


class BatchSource:
    """Micro-batches of one stage. `micro_batch(step, part)` depends on its arguments and the constructor's only."""

    def __init__(
        self,
        store: PairStore | WindowStore,
        recipe: Recipe,
        entries: Sequence[Entry],
        augmentation: Augmentation,
        *,
        batch: int,
        accumulate: int,
        seed: int,
        stage_key: int,
        original_share: float,
        normalisation: Normalisation,
        device: torch.device,
        ignore_index: int = IGNORE_INDEX,
        channels_last: bool = True,
        class_weights: Tensor | None = None,
        rank: int = 0,
        world_size: int = 1,
        memory: SampleMemory | None = None,
        drop_last: bool = False,
        pixels: Literal["decoded", "original"] = "decoded",
    ) -> None:
        self.pixels = pixels
        count = len(entries)
        self.epoch_length = count - count % batch if drop_last else count
        """Samples of one pass; with drop_last those that do not fill a batch are left out."""
        self.memory = memory
        """Where features of repeated samples are kept."""
        self.store, self.recipe, self.entries, self.augmentation = store, recipe, list(entries), augmentation
        self.batch, self.accumulate, self.seed, self.stage_key = batch, accumulate, seed, stage_key
        self.original_share = original_share if recipe == "image" else 0.0
        self.device, self.ignore_index = device, ignore_index
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.class_weights = class_weights
        self.rank, self.world_size = rank, world_size
        self.normalisation = Normalisation(*normalisation)
        to_bytes = 255 / self.normalisation.value_range
        mean, deviation = (torch.tensor(v).view(1, 3, 1, 1) * to_bytes for v in self.normalisation[:2])
        self._mean, self._inverse_deviation = mean.to(device), (1 / deviation).to(device)
        self._order: tuple[int, np.ndarray] | None = None

    def entry(self, position: int) -> Entry:
        """The entry at `position` of the endless shuffled order; every epoch shows each entry once."""
        return self.entries[self._index(position)]

    def _index(self, position: int) -> int:
        epoch, index = divmod(position, self.epoch_length)
        order = self._order
        if order is None or order[0] != epoch:
            rng = np.random.default_rng([self.seed, self.stage_key, 1, epoch])
            order = self._order = (epoch, rng.permutation(len(self.entries)))
        return int(order[1][index])

    def _draws(self, position: int) -> list[int]:
        """Seed of everything drawn for the sample: new at each visit, or one of the sample's `variants` in turn."""
        variants = self.augmentation.variants
        if variants is None:
            return [self.seed, self.stage_key, 2, position]
        epoch = position // self.epoch_length
        return [self.seed, self.stage_key, 4, self._index(position), epoch % variants]

    def _keys(self, positions: range) -> tuple[str, ...]:
        """Names of samples that come again; none where they do not, or where the recipe draws samples otherwise."""
        if not self.augmentation.repeats or self.original_share or self.recipe == "triplet":
            return ()
        variants = self.augmentation.variants or 1
        return tuple(
            f"{self._index(position)}-{position // self.epoch_length % variants}" for position in positions
        )

    def sample(self, position: int) -> tuple[Sample, str]:
        """The augmented sample at `position` and its origin."""
        return self._load(self.entry(position), position)

    def _load(self, entry: Entry, position: int) -> tuple[Sample, str]:
        rng = np.random.default_rng(self._draws(position))
        original = rng.random() < self.original_share
        if isinstance(entry, WindowEntry):
            assert isinstance(self.store, WindowStore)
            raw = self.store.sample(entry)
        else:
            assert isinstance(self.store, PairStore)
            raw = (
                self.store.pair(entry, pixels=self.pixels)
                if self.recipe == "pair"
                else self.store.image(entry, original=original)
            )
        return augment(raw, self.augmentation, rng), entry.origin

    def _alike(self, positions: range) -> list[Entry]:
        """Entries whose frames can be stacked: triplets of one batch lie equally far from their keyframes.

        The first entry of the step is that of the endless order; the others are drawn among those with its position in
        the GOP. Parts and processes take theirs of the same draw.
        """
        if self.recipe != "triplet":
            return [self.entry(position) for position in positions]
        start = positions[0] - positions[0] % self.batch
        first = self.entry(start)
        assert isinstance(first, WindowEntry)
        like = [e for e in self.entries if isinstance(e, WindowEntry) and e.position == first.position]
        rng = np.random.default_rng([self.seed, self.stage_key, 3, start])
        drawn = [first, *(like[int(k)] for k in rng.integers(0, len(like), self.batch - 1))]
        return [drawn[position - start] for position in positions]

    def micro_batch(self, step: int, part: int = 0) -> NamedBatch:
        """Samples [part] of the `accumulate` parts of optimiser step `step`, this rank's share, on the device."""
        size = self.batch // self.accumulate
        first = step * self.batch + part * size
        positions = range(first + self.rank, first + size, self.world_size)
        entries = self._alike(positions)
        samples, origins = zip(
            *(self._load(entry, position) for entry, position in zip(entries, positions, strict=True)),
            strict=True,
        )
        label = torch.from_numpy(np.stack([s.label for s in samples])).to(self.device, torch.int64)
        if self.ignore_index != IGNORE_INDEX:
            label = torch.where(label == self.ignore_index, IGNORE_INDEX, label)
        image = self._normalise([s.image for s in samples])
        if self.recipe == "image":
            batch = TrainingBatch(
                image,
                label,
                class_weights=self.class_weights,
                step=step,
                keys=self._keys(positions),
                memory=self.memory,
            )
            return NamedBatch(batch, tuple(origins))
        if self.recipe != "pair":
            return NamedBatch(self._windows(samples, entries[0], image, label, step), tuple(origins))
        reference = self._normalise([s.reference for s in samples])
        flow = torch.from_numpy(np.stack([s.flow for s in samples])).to(self.device)
        batch = TrainingBatch(
            image,
            label,
            reference=reference,
            flow_key=flow,
            class_weights=self.class_weights,
            step=step,
            keys=self._keys(positions),
            memory=self.memory,
        )
        return NamedBatch(batch, tuple(origins))

    def monitor_batch(self) -> TrainingBatch:
        """Samples that depend on the seed alone: every step and every contestant is measured on the same."""
        common = copy.copy(self)
        # features in memory are those of this stage's own draws
        common.stage_key, common.memory, common._order = MONITOR_KEY, None, None
        return common.micro_batch(0).batch

    def _windows(
        self, samples: Sequence[Sample], entry: Entry, image: Tensor, label: Tensor, step: int
    ) -> TrainingBatch:
        """The frames before and after with their one-step flows; all samples have as many of them as the first."""
        assert isinstance(entry, WindowEntry)
        frames = [self._normalise([s.others[i] for s in samples]) for i in range(len(samples[0].others))]
        flows = [
            torch.from_numpy(np.stack([s.other_flows[i] for s in samples])).to(self.device)
            for i in range(len(samples[0].other_flows))
        ]
        before = entry.before
        return TrainingBatch(
            image,
            label,
            reference=frames[0] if self.recipe == "triplet" else None,
            window=frames[:before],
            window_flow=flows[:before],
            after=frames[before:],
            after_flow=flows[before:],
            class_weights=self.class_weights,
            step=step,
        )

    def _normalise(self, images: list[np.ndarray | None]) -> Tensor:
        stacked = torch.from_numpy(np.stack([image for image in images if image is not None]))
        pixels = stacked.to(self.device).permute(0, 3, 1, 2).float()
        if self.normalisation.channel_order == "BGR":
            pixels = pixels.flip(1)
        normalised = (pixels - self._mean) * self._inverse_deviation
        return normalised.contiguous(memory_format=self.memory_format)


class Prefetcher:
    """Reads one micro-batch ahead in a single thread; the order and content are those of the source."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._ahead: tuple[tuple[int, int], Future[NamedBatch]] | None = None

    def take(self, step: int, part: int, *, following: tuple[int, int] | None) -> NamedBatch:
        """Micro-batch (step, part); starts reading `following` in the background."""
        if self._ahead is not None and self._ahead[0] == (step, part):
            current = self._ahead[1].result()
        else:
            current = self.source.micro_batch(step, part)
        self._ahead = None
        if following is not None:
            self._ahead = (following, self._pool.submit(self.source.micro_batch, *following))
        return current

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def class_weights(label_counts: np.ndarray) -> Tensor:
    """Weights float32 [K] proportional to 1/sqrt(frequency), mean 1 over pixels; classes never seen get weight 0.

    counts 90, 10:  1/sqrt -> 1.054, 3.162  ->  divided by 0.9*1.054 + 0.1*3.162 = 1.265  ->  0.833, 2.5
    """
    counts = np.asarray(label_counts, np.float64)
    share = counts / counts.sum()
    raw = np.divide(1.0, np.sqrt(share), out=np.zeros_like(share), where=share > 0)
    return torch.tensor(raw / (raw * share).sum(), dtype=torch.float32)
