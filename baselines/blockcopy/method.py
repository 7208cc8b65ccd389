"""Which blocks of a frame are executed, and what that gives. Source: baselines specification section 6."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field, field_validator
from torch import Tensor, nn

from vssbench.baselines.blockcopy.blocks import BlockExecution, BlockGrid, Stored
from vssbench.baselines.blockcopy.learning import (
    PolicyMemory,
    information_gain,
    policy_loss,
    update_running_cost,
)
from vssbench.baselines.blockcopy.policy import BlockPolicy, observe
from vssbench.method import BuildContext, Frame, Needs, Prediction, Stage, TrainingBatch
from vssbench.networks import create
from vssbench.networks.adapter import NetworkChoice
from vssbench.networks.method import NetworkMethod, NetworkOptions
from vssbench.ops import normalise_image, predict_labels

PolicyName = Literal["learned", "threshold", "random", "difference", "residual", "all", "none"]
GROUPS = 16
"""`quantise`: executed counts are multiples of the blocks over this."""


class BlockCopyOptions(NetworkOptions):
    """Options of BlockCopy. Parts for `weights`: 'network', and 'policy' for the policies that have one."""

    network: NetworkChoice = Field("swiftnet18", description="registered network, used as it is")
    block: int = Field(
        128, description="side of a block in pixels, a multiple of 32; frames are padded to whole blocks"
    )
    policy: PolicyName = Field(
        "learned",
        description="learned: sampled, as published; threshold: learned, executed where the probability exceeds 1/2; random, "
        "difference (largest change of pixels), residual (largest codec residual): share `target` of the blocks; all; none",
    )
    policy_width: int = Field(32, ge=1, description="channels of the policy's first layer; 32 is published")
    target: float = Field(0.5, gt=0, le=1, description="share of blocks to execute: the budget knob")
    cost_weight: float = Field(5.0, ge=0, description="weight of the share's deviation in the reward")
    learn: bool = Field(True, description="learned: go on learning while segmenting, as published")
    train_interval: int = Field(4, ge=1, description="frames between two updates of the policy")
    learning_rate: float = Field(1e-4, gt=0, description="of the online updates (RMSprop)")
    policy_reset: Literal["clip", "sequence"] = Field(
        "sequence",
        description="what the policy has learnt is forgotten after every clip, or after every pass over a sequence",
    )
    quantise: bool = Field(
        False, description="round the executed count up to a multiple of 1/16 of the blocks, by chance"
    )
    clip_frames: int = Field(12, ge=2, description="frames of a training window of the stage 'policy'")

    @field_validator("block")
    @classmethod
    def _multiple_of_32(cls, value: int) -> int:
        if value < 32 or value % 32:
            raise ValueError(f"block {value} is no positive multiple of 32, the stride of the deepest maps")
        return value


@dataclass(slots=True, eq=False)
class BlockCopyState:
    """What a clip's blocks were when each was last executed."""

    memory: PolicyMemory | None
    generator: torch.Generator
    stored: Stored = field(default_factory=Stored)
    output: Tensor | None = None
    """Logits [1, K, h, w] of the padded frame."""
    frame_state: Tensor | None = None
    """Normalised pixels [1, 3, H, W] of each block when it was last executed."""
    grid: Tensor | None = None
    """The previous decision, bool [rows, columns]; decisions stay on the CPU, where shares are counted."""


class BlockCopy(NetworkMethod):
    """The network runs on chosen blocks only; the rest of every map and of the output is copied.

    Emulated densely with equal numbers (`blocks.py`); ledgers are told the executed share of every convolution.
    """

    Options = BlockCopyOptions
    budget_knob = ("target",)
    options: BlockCopyOptions

    def __init__(self, options: BlockCopyOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.network = create(options.network, context.classes, width=options.width).to(context.device).eval()
        self.layout = BlockGrid.over(context.size, options.block)
        self.policy: BlockPolicy | None = None
        if options.policy in ("learned", "threshold"):
            self.policy = BlockPolicy(context.classes, width=options.policy_width, target=options.target)
            self.policy.to(context.device).eval()

    @property
    def needs(self) -> Needs:
        """Pixels of every frame; one clip at a time, as each has its own blocks."""
        memory = self.options.policy_reset if self.policy is not None else "none"
        residual = self.options.policy == "residual"
        return Needs(adaptive=True, batchable=False, memory=memory, residual=residual)

    def parts(self) -> dict[str, nn.Module]:
        """'network', and 'policy' where one is learned."""
        return super().parts() | ({"policy": self.policy} if self.policy is not None else {})

    def create_memory(self) -> PolicyMemory | None:
        """A policy that goes on learning from the trained weights; None for the fixed policies."""
        if self.policy is None:
            return None
        options = self.options
        return PolicyMemory.fresh(
            self.policy, learns=options.learn, learning_rate=options.learning_rate, seed=self.context.seed
        )

    def start(self, batch: int) -> BlockCopyState:
        """A clip with a memory of its own."""
        return self.start_with(batch, self.create_memory())

    def start_with(self, batch: int, memory: PolicyMemory | None) -> BlockCopyState:
        """Nothing is stored yet; the keyframe fills everything."""
        own = torch.Generator().manual_seed(self.context.seed)
        return BlockCopyState(memory, own if memory is None else memory.generator)

    @torch.no_grad()
    def step(self, state: BlockCopyState, frame: Frame) -> list[Prediction]:
        """Decide, execute the chosen blocks, copy the rest, and now and then learn from what changed."""
        if frame.image is None:
            raise ValueError(
                f"blockcopy: frame {frame.index} carries no pixels although `needs` asks for them"
            )
        image = self.pad(normalise_image(frame.image, self.normalisation))
        if frame.is_key:
            state.stored, state.output = Stored(), None
        elif state.output is None:
            raise ValueError(f"blockcopy: frame {frame.index} came before any keyframe of its clip")
        if state.output is None:
            self.execute(state, image, torch.ones(self.layout.shape, dtype=torch.bool))
        else:
            self._decide_and_execute(state, image, frame)
        assert state.output is not None
        assert state.grid is not None
        share = float(state.grid.float().mean())
        labels = predict_labels(self._cropped(state.output, frame.size), frame.size)
        if frame.is_key:
            return [Prediction(frame.index, labels, "key")]
        return [Prediction(frame.index, labels, "partial", share)]

    def execute(self, state: BlockCopyState, image: Tensor, grid: Tensor) -> None:
        """Bring output, frame state and decision of `state` up to date for the executed blocks of `image`."""
        padded = (image.shape[-2], image.shape[-1])
        if bool(grid.any()):
            with BlockExecution(self.layout, grid, state.stored):
                output = self.network.classify(self.network.features(image), None)
            mask = self._output_mask(grid, output)
            state.output = output if state.output is None else torch.where(mask, output, state.output)
        fresh = self.layout.spread(grid, padded).to(image.device)
        state.frame_state = (
            image if state.frame_state is None else torch.where(fresh, image, state.frame_state)
        )
        state.grid = grid

    def _output_mask(self, grid: Tensor, output: Tensor) -> Tensor:
        size = (output.shape[-2], output.shape[-1])
        return (F.interpolate(grid[None, None].float(), size, mode="nearest")[0, 0] > 0.5).to(output.device)

    def _decide_and_execute(self, state: BlockCopyState, image: Tensor, frame: Frame) -> None:
        memory = state.memory
        if memory is None:
            self.execute(state, image, self._fixed_grid(state, image, frame))
            return
        memory.frames += 1
        learns = memory.optimiser is not None and memory.frames % self.options.train_interval == 0
        loss = self.rollout_step(state, image, memory.policy, memory.generator, gradients=learns)
        if learns and loss is not None and memory.optimiser is not None:
            memory.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            memory.optimiser.step()

    def rollout_step(
        self,
        state: BlockCopyState,
        image: Tensor,
        policy: BlockPolicy,
        generator: torch.Generator,
        *,
        gradients: bool,
    ) -> Tensor | None:
        """One frame under `policy`: decide, execute, reward. Returns the loss to minimise if `gradients`."""
        assert state.output is not None
        assert state.frame_state is not None
        assert state.grid is not None
        before = state.output
        seen = observe(image, state.frame_state, before, state.grid, self.layout.shape)
        with torch.set_grad_enabled(gradients):
            logits = policy(seen)[0]
        grid = self._sampled(logits.detach(), generator)
        with torch.no_grad():
            self.execute(state, image, grid)
            gain = information_gain(before, state.output, self.layout.shape)
        cost = update_running_cost(policy, float(grid.float().mean()))
        if not gradients:
            return None
        options = self.options
        with torch.enable_grad():
            return policy_loss(logits, grid, gain, cost, target=options.target, weight=options.cost_weight)

    def _sampled(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        probability = torch.sigmoid(logits).cpu()  # the dice lie on the CPU: the same ones on every device
        if self.options.policy == "threshold":
            grid = probability > 0.5
        else:
            grid = torch.rand(probability.shape, generator=generator) < probability
        return self._quantised(grid, generator) if self.options.quantise else grid

    def _quantised(self, grid: Tensor, generator: torch.Generator) -> Tensor:
        """Executed count rounded up to a multiple of a sixteenth of the blocks by switching on random ones."""
        unit = max(1, self.layout.count // GROUPS)
        executed = int(grid.sum())
        missing = min(-executed % unit, self.layout.count - executed)
        order = torch.randperm(self.layout.count, generator=generator)
        flat = grid.flatten().clone()
        idle = order[~flat[order]]
        flat[idle[:missing]] = True
        return flat.view_as(grid)

    def _fixed_grid(self, state: BlockCopyState, image: Tensor, frame: Frame) -> Tensor:
        """Decision of the policies that learn nothing: the `target` share with the largest value, all, or none."""
        kind, shape = self.options.policy, self.layout.shape
        if kind in ("all", "none"):
            return torch.full(shape, kind == "all")
        if kind == "random":
            value = torch.rand(shape, generator=state.generator)
        elif kind == "difference":
            assert state.frame_state is not None
            value = F.adaptive_avg_pool2d((image - state.frame_state).abs().sum(1), shape)[0]
        else:
            if frame.residual is None:
                raise ValueError(
                    f"blockcopy: frame {frame.index} carries no residual although `needs` asks for it"
                )
            value = F.adaptive_avg_pool2d(
                self.pad(frame.residual.float().abs().sum(1, keepdim=True))[:, 0], shape
            )[0]
        chosen = value.cpu().flatten().topk(executed_blocks(self.options.target, self.layout.count)).indices
        grid = torch.zeros(self.layout.count, dtype=torch.bool)
        grid[chosen] = True
        return grid.view(shape)

    def pad(self, maps: Tensor) -> Tensor:
        """[N, C, H, W] continued by its last row and column to whole blocks."""
        rows, columns = (want - have for want, have in zip(self.layout.padded, maps.shape[-2:], strict=True))
        return F.pad(maps, (0, columns, 0, rows), mode="replicate") if rows or columns else maps

    def _cropped(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        """The part of the padded frame's output that belongs to the frame, enlarged to it."""
        whole = F.interpolate(output, self.layout.padded, mode="bilinear", align_corners=False)
        return whole[:, :, : size[0], : size[1]]

    def stages(self) -> list[Stage]:
        """'image' (the base network), and 'policy' (online, without labels) where one is learned."""
        stages = super().stages()
        if self.policy is not None:
            window = self.options.clip_frames - 1
            stages.append(Stage("policy", "online", ("policy",), self._policy_loss, window=window))
        return stages

    def _policy_loss(self, batch: TrainingBatch) -> dict[str, Tensor]:
        """Mean loss over the frames of each window after its first, the policy acting as it will in evaluation."""
        assert self.policy is not None
        frames = [*batch.window, batch.image]
        size = (batch.image.shape[-2], batch.image.shape[-1])
        layout, self_layout = BlockGrid.over(size, self.options.block), self.layout
        generator = torch.Generator().manual_seed(self.context.seed * 1_000_003 + batch.step)
        losses = []
        try:
            self.layout = layout  # training crops have a grid of their own
            for n in range(batch.image.shape[0]):
                losses += self._rollout([frame[n : n + 1] for frame in frames], generator)
        finally:
            self.layout = self_layout
        return {"policy": torch.stack(losses).mean()}

    def _rollout(self, frames: list[Tensor], generator: torch.Generator) -> list[Tensor]:
        assert self.policy is not None
        state = BlockCopyState(None, generator)
        with torch.no_grad():
            self.execute(state, self.pad(frames[0]), torch.ones(self.layout.shape, dtype=torch.bool))
        losses = []
        for image in frames[1:]:
            loss = self.rollout_step(state, self.pad(image), self.policy, generator, gradients=True)
            assert loss is not None
            losses.append(loss)
        return losses


def executed_blocks(target: float, count: int) -> int:
    """Blocks that the fixed policies execute: (0.5, 20) -> 10, never none."""
    return max(1, math.floor(target * count + 0.5))
