"""Several processes under `torchrun`: gradients are averaged, batch statistics are shared, one process writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from vssbench.training.trainer import Processes


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """The process group that `torchrun` describes in the environment; a single process without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), average_gradients)
    finally:
        dist.destroy_process_group()


def average_gradients(gradients: list[Tensor]) -> None:
    """Replace each gradient by its mean over all processes, in one message."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))
