"""Several processes under `torchrun`: gradients are averaged, batch statistics are shared, one process writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from vssbench.training.trainer import Processes

PATIENCE = timedelta(hours=6)
"""How long processes wait for the one that validates."""


def local_device(device: str) -> str:
    """'cuda' is this process's own GPU under torchrun; every other name stays as it is."""
    return f"cuda:{os.environ['LOCAL_RANK']}" if device == "cuda" and "LOCAL_RANK" in os.environ else device


@contextmanager
def joined_processes(device: str) -> Iterator[Processes]:
    """The process group that `torchrun` describes in the environment; a single process without it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), average_gradients, share_norms, dist.barrier)
    finally:
        dist.destroy_process_group()


def average_gradients(gradients: list[Tensor]) -> None:
    """Replace each gradient by its mean over all processes, in one message."""
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):  # type: ignore[no-untyped-call]
        gradient.copy_(mean.view_as(gradient))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation over the samples of all processes; torch's own SyncBatchNorm refuses CPU tensors."""

    def forward(self, maps: Tensor) -> Tensor:
        """[N, C, H, W]; statistics over N of every process, H and W while training."""
        if not self.training:
            return super().forward(maps)
        kind, axes = maps.dtype, (0, 2, 3)
        maps = maps.float()  # as torch's own, also under autocast
        count = torch.full((1,), maps.numel() / maps.shape[1], dtype=maps.dtype, device=maps.device)
        packed: Tensor = all_reduce(torch.cat([maps.sum(axes), count]))  # type: ignore[no-untyped-call]
        mean = packed[:-1] / packed[-1]
        centred = maps - mean.view(1, -1, 1, 1)
        squares: Tensor = all_reduce(centred.square().sum(axes))  # type: ignore[no-untyped-call]
        self._track(mean.detach(), squares.detach(), float(packed[-1]))
        scale = self.weight * torch.rsqrt(squares / packed[-1] + self.eps)
        normed: Tensor = centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normed.to(kind)

    def _track(self, mean: Tensor, squares: Tensor, count: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(squares / max(count - 1, 1), momentum)


def share_norms(part: nn.Module) -> None:
    """Turn every BatchNorm2d of `part` into a SharedBatchNorm2d in place; parameters and names stay."""
    for module in part.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
