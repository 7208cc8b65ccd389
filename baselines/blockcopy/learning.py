"""Learning the policy by REINFORCE while it is used, without labels. Source: section 6 (Policy learning)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vssbench.baselines.blockcopy.policy import BlockPolicy

COST_MEMORY = 0.9
"""Share of the running cost that the past keeps."""


@dataclass(slots=True, eq=False)
class PolicyMemory:
    """What outlives clips: a copy of the policy that goes on learning, its optimiser, and the dice."""

    policy: BlockPolicy
    optimiser: torch.optim.Optimizer | None
    generator: torch.Generator
    frames: int = 0
    """Frames decided so far."""

    @staticmethod
    def fresh(policy: BlockPolicy, *, learns: bool, learning_rate: float, seed: int) -> PolicyMemory:
        """A memory that begins with the weights of `policy`, which itself is never changed."""
        own = copy.deepcopy(policy).requires_grad_(learns)
        own.train(learns)  # normalisation over the single frame, as published
        optimiser = (
            torch.optim.RMSprop(own.parameters(), lr=learning_rate, weight_decay=1e-3) if learns else None
        )
        return PolicyMemory(own, optimiser, torch.Generator().manual_seed(seed))


def information_gain(before: Tensor, now: Tensor, shape: tuple[int, int]) -> Tensor:
    """[rows, columns]: largest KL(before || now) / K of any position of each block, on outputs reduced to a quarter.

    before, now: logits [1, K, h, w]. Zero where a block was copied.
    """
    size = (max(shape[0], now.shape[-2] // 4), max(shape[1], now.shape[-1] // 4))
    old, new = (
        F.log_softmax(F.interpolate(maps, size, mode="bilinear", align_corners=False), dim=1)
        for maps in (before, now)
    )
    divergence = (old.exp() * (old - new)).mean(1)
    return F.adaptive_max_pool2d(divergence, shape)[0]


def update_running_cost(policy: BlockPolicy, share: float) -> float:
    """Moving mean of the executed share, after this frame."""
    with torch.no_grad():
        policy.running_cost.mul_(COST_MEMORY).add_((1 - COST_MEMORY) * share)
    return float(policy.running_cost)


def policy_loss(
    logits: Tensor, grid: Tensor, gain: Tensor, running_cost: float, *, target: float, weight: float
) -> Tensor:
    """-mean(reward log pi): executed blocks earn gain + weight * R, skipped ones its negative.

    logits, grid (bool), gain: [rows, columns]; R = -(c - target) |c - target| with the running cost c.
    """
    excess = running_cost - target
    reward = gain + weight * (-excess * abs(excess))
    grid = grid.to(logits.device)
    signed = torch.where(grid, reward, -reward)
    log_probability = torch.where(grid, F.logsigmoid(logits), F.logsigmoid(-logits))
    return -(signed.detach() * log_probability).mean()
