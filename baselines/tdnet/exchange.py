"""What the paths exchange: queries, keys and values on a coarse grid, and the chained attention that gathers them.

Source: baselines specification section 5, steps 3 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vssbench.networks.network import DescribedNetwork

Norm = Literal["instance", "none"]
_QUERIES_AT_ONCE = 8192
"""Queries whose scores over all keys are held at one time."""
SMALL = 0.01
"""Deviation of the attention's output layers at the 'identity' start: nearly nothing, but with a gradient."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """One frame of the FIFO, on the decimated grid of P tokens."""

    query: Tensor
    """[N, P, d]."""
    key: Tensor
    """[N, P, d]."""
    value: Tensor
    """[N, P, C]."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k' / sqrt(d)) v for query [N, Q, d], key [N, P, d], value [N, P, C]; [N, Q, C]."""
    scale = 1.0 / math.sqrt(query.shape[-1])
    parts = [
        torch.softmax(torch.matmul(part, key.transpose(1, 2)) * scale, dim=-1) @ value
        for part in torch.split(query, _QUERIES_AT_ONCE, dim=1)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


class _Query(nn.Module):
    """1x1, normalisation, leaky ReLU, 1x1."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 1)

    def forward(self, maps: Tensor) -> Tensor:
        return self.second(F.leaky_relu(self.norm(self.first(maps)), 0.01))  # type: ignore[no-any-return]


class PathExchange(nn.Module):
    """The layers of one path: encodings, one output layer per attention of the chain, normalisation, optional head."""

    def __init__(
        self, channels: int, key_channels: int, links: int, norm: Norm, head: tuple[int, int] | None
    ) -> None:
        super().__init__()
        self.query = _Query(channels, key_channels)
        self.key = _Query(channels, key_channels)
        self.value = nn.Conv2d(channels, channels, 1)
        self.links = nn.ModuleList(nn.Linear(channels, channels) for _ in range(links))
        self.norm = nn.InstanceNorm2d(channels, affine=True) if norm == "instance" else nn.Identity()
        self.head = _Head(channels, *head) if head is not None else None

    def start_as_identity(self) -> None:
        """Value passes z on and the attention adds nearly nothing, so that trained heads keep working."""
        with torch.no_grad():
            nn.init.dirac_(self.value.weight)
            nn.init.zeros_(self.value.bias)  # type: ignore[arg-type]
            for link in self.links:
                assert isinstance(link, nn.Linear)
                nn.init.normal_(link.weight, 0.0, SMALL)
                nn.init.zeros_(link.bias)


class _Head(nn.Module):
    """3x3, normalisation, ReLU, dropout, 1x1."""

    def __init__(self, channels: int, inner: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, inner, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(inner)
        self.classifier = nn.Conv2d(inner, classes, 1)

    def forward(self, maps: Tensor) -> Tensor:
        inner = F.relu(self.norm(self.conv(maps)), inplace=True)
        return self.classifier(F.dropout2d(inner, 0.1, self.training))  # type: ignore[no-any-return]


class Exchange(DescribedNetwork):
    """All paths' layers, and the chain over the frames that are remembered."""

    name = "tdnet-exchange"

    def __init__(
        self,
        paths: int,
        channels: int,
        key_channels: int,
        decimation: int,
        norm: Norm,
        head: tuple[int, int] | None,
        dropout: float,
    ) -> None:
        super().__init__()
        self.width, self.classes = channels, head[1] if head is not None else 0
        self.decimation, self.dropout = decimation, dropout
        self.paths = nn.ModuleList(
            PathExchange(channels, key_channels, paths - 1, norm, head) for _ in range(paths)
        )

    def path(self, index: int) -> PathExchange:
        """Layers of one path."""
        found = self.paths[index]
        assert isinstance(found, PathExchange)
        return found

    def remember(self, index: int, encoded: Tensor) -> Memory:
        """What path `index` leaves in the FIFO: every `decimation`-th position of z, encoded."""
        layers, step = self.path(index), self.decimation
        coarse = encoded[:, :, ::step, ::step]
        return Memory(
            _tokens(layers.query(coarse)), _tokens(layers.key(coarse)), _tokens(layers.value(coarse))
        )

    def gather(self, index: int, encoded: Tensor, past: Sequence[Memory]) -> tuple[Tensor, Tensor]:
        """Own value v [N, C, h, w] of path `index`, and v plus what the chain over `past` (oldest first) brings.

        a = A(q2, k1, v1); a = A(q3, k2, v2 + a); ...; A(q, k_last, v_last + a), each A with an output layer of its own.
        An empty `past` brings nothing.
        """
        layers = self.path(index)
        value: Tensor = layers.value(encoded)
        if not past:
            return value, value
        brought: Tensor | None = None
        queries = [*(memory.query for memory in past[1:]), _tokens(layers.query(encoded))]
        for link, memory, query in zip(layers.links, past, queries, strict=True):
            carried = memory.value if brought is None else memory.value + brought
            attended = link(attend(query, memory.key, carried))
            brought = F.dropout(attended, self.dropout, self.training)
        assert brought is not None
        rows, columns = encoded.shape[-2:]
        return value, value + brought.transpose(1, 2).reshape(value.shape[0], -1, rows, columns)


def _tokens(maps: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, h w, C]."""
    return maps.flatten(2).transpose(1, 2)


def attention_macs(
    size: tuple[int, int], channels: int, key_channels: int, paths: int, decimation: int
) -> dict[str, int]:
    """Multiply-accumulates of one frame's exchange on a map of `size` = (h, w), by part; the analytic formula.

    P = ceil(h / s) ceil(w / s) tokens: paths - 2 products of P x P, one of (h w) x P, each for d scores and C values.
    """
    positions = size[0] * size[1]
    tokens = math.ceil(size[0] / decimation) * math.ceil(size[1] / decimation)
    query = channels * key_channels + key_channels * key_channels
    links = paths - 1
    if links == 0:
        return {"encoding": 0, "memory": 0, "products": 0, "links": 0}
    pairs = (links - 1) * tokens * tokens + positions * tokens
    return {
        "encoding": positions * (query + channels * channels),
        "memory": tokens * (2 * query + channels * channels),
        "products": pairs * (key_channels + channels),
        "links": ((links - 1) * tokens + positions) * channels * channels,
    }
