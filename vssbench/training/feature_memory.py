"""Features of frozen networks that are computed once per sample and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class FeatureMemory:
    """Keeps features of samples that come again, the least recently used go first when `limit_bytes` is reached.

    Every sample is computed alone, whether or not it is kept: what a training sees does not depend on the limit, on
    the order of samples or on an interruption.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[tuple[str, str], Tensor] = OrderedDict()

    def recall(
        self, name: str, keys: Sequence[str], images: Tensor, compute: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """compute(images) for images [N, ...] of samples `keys`, without gradients, stacked over N.

        `name` tells features of different networks or frames of one sample apart. Equal keys must mean equal images,
        and the network must not change while the memory is used.
        """
        with torch.no_grad():
            return torch.cat(
                [self._one((name, key), images[index : index + 1], compute) for index, key in enumerate(keys)]
            )

    def _one(self, key: tuple[str, str], image: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        if key in self._kept:
            self.hits += 1
            self._kept.move_to_end(key)
            return self._kept[key]
        self.misses += 1
        feature = compute(image)
        size = feature.numel() * feature.element_size()
        if size <= self.limit_bytes:
            self._kept[key] = feature.clone()  # not a view of something larger
            self.used_bytes += size
            while self.used_bytes > self.limit_bytes:
                _, oldest = self._kept.popitem(last=False)
                self.used_bytes -= oldest.numel() * oldest.element_size()
        return feature
