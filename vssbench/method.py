"""The contract a segmentation method implements: frames are pushed in, label maps come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from vssbench.dataset import IMAGENET
from vssbench.errors import CapabilityError
from vssbench.records import Normalisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

StepKind = Literal["key", "non_key", "partial"]
FlowRule = Literal["paper", "exact"]
Recipe = Literal["image", "pair", "window", "triplet", "online"]
MemoryScope = Literal["none", "clip", "sequence"]


def _usable(value: Normalisation) -> Normalisation:
    if value.problem:
        raise ValueError(value.problem)
    return value


CheckedNormalisation = Annotated[Normalisation, AfterValidator(_usable)]
"""An option's value: mean, deviation, value range and channel order; a plain pair is mean and deviation of RGB in 0..1."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a method wants to be fed. The loader computes only this and refuses up front what the codec lacks."""

    pixels: bool = True
    """Pixels of every frame; if False only keyframes carry pixels."""
    flow_previous: bool = False
    """Flow towards the previous picture in display order."""
    flow_key: bool = False
    """Flow towards the clip's keyframe."""
    flow_rule: FlowRule = "exact"
    """'paper': integer hops as AR-Seg merges them (spec section 3.2); 'exact': sub-pel, intra marked invalid."""
    residual: bool = False
    """Prediction residual of each picture, int16."""
    block_types: bool = False
    """Intra / inter / skip map on the 4x4 grid."""
    qp: bool = False
    """Luma quantisation parameter on the 4x4 grid; HEVC and H.264 only."""
    history: int = 0
    """Frames before the keyframe that are pushed first (their predictions are not scored). At the start of a sequence
    there are fewer, or none."""
    lookahead: int = 0
    """Output delay in frames: the prediction of frame t may arrive with frame t + lookahead."""
    bridges_end: bool = False
    """Where a sequence ends before the lookahead does: True, `flush` answers what is owed without the missing frames;
    False, such clips are refused before work starts."""
    every_frame: bool = True
    """False: state depends on the last keyframe only, so unscored frames between may be skipped."""
    stateless: bool = False
    """True: every frame is answered from itself alone, so only scored frames are pushed."""
    size_multiple: int = 1
    """Frame height and width must be multiples of this."""
    batchable: bool = True
    """False: refuses more than one clip at a time."""
    adaptive: bool = False
    """True: how much work a step does depends on the pictures (blocks executed, regions redone, keyframes chosen by the
    method). The runner then counts the MACs of every step it makes, on the real frames."""
    memory: MemoryScope = "none"
    """What outlives a step's clip (see `Method.create_memory`): 'clip', it is made anew for every clip; 'sequence', one
    memory sees all clips of one pass over a sequence, in order, every frame of them."""

    @property
    def flow(self) -> bool:
        """Whether flow of any kind is needed."""
        return self.flow_key or self.flow_previous

    @property
    def motion(self) -> bool:
        """Whether the bitstream's motion must be decoded."""
        return self.flow or self.residual or self.block_types or self.qp


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One time step of N clips in lockstep, on the method's device."""

    index: int
    """Position in the clip: 0 is the keyframe, negative positions are history."""
    keyframe_distance: int
    """Pictures since the last keyframe; 0 for the keyframe itself."""
    image: Tensor | None
    """uint8 [N, 3, H, W] RGB."""
    frame_type: str
    """'I', 'P' or 'B', equal for all clips of the batch."""
    size: tuple[int, int]
    """(H, W) of the frames, padding included, also when pixels are absent."""
    flow_previous: Tensor | None = None
    """float32 [N, 2, H, W] pixels, x then y."""
    flow_key: Tensor | None = None
    """float32 [N, 2, H, W] pixels, x then y; zero at the keyframe."""
    flow_valid_key: Tensor | None = None
    """bool [N, H, W]: False where `flow_key` does not exist (rule 'exact')."""
    flow_valid_previous: Tensor | None = None
    """bool [N, H, W]: False where `flow_previous` does not exist (rule 'exact')."""
    residual: Tensor | None = None
    """int16 [N, 3, H, W]."""
    block_types: Tensor | None = None
    """uint8 [N, ceil(H/4), ceil(W/4)]: records.MODE_INTRA, MODE_INTER, MODE_SKIP."""
    qp: Tensor | None = None
    """int8 [N, ceil(H/4), ceil(W/4)] luma quantisation parameter of the block."""
    coded_bits: Tensor | None = None
    """int64 [N] bits of the picture's packet."""
    display_order: int | None = None
    """Rank among the pictures that the stream shows, from 0; of a batch the first clip's."""
    decode_order: int | None = None
    """Rank of the picture's packet in the stream, from 0; of a batch the first clip's."""
    time: int | None = None
    """Position in the sequence, for methods whose work rotates over frames; None where it is unknown."""

    @property
    def flow_valid(self) -> Tensor | None:
        """`flow_valid_key`, or `flow_valid_previous` where the frame has no flow towards the keyframe."""
        return self.flow_valid_previous if self.flow_valid_key is None else self.flow_valid_key

    @property
    def clock(self) -> int:
        """`time`, or `index` where the position in the sequence is unknown."""
        return self.index if self.time is None else self.time

    @property
    def is_key(self) -> bool:
        """True for the keyframe of the clip."""
        return self.keyframe_distance == 0

    def is_key_every(self, interval: int | None) -> bool:
        """True for the clip's keyframe, and for every frame that many pictures on (None: for no other).

        interval = 4:  distance 0 1 2 3 4 5 6 7 8 -> True for 0, 4 and 8
        """
        return self.is_key or (interval is not None and self.keyframe_distance % interval == 0)


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Label maps of one time step."""

    index: int
    """Which `Frame.index` this answers."""
    labels: Tensor
    """uint8 [N, H, W] class indices."""
    kind: StepKind
    """Which cost the step had: full keyframe work, the lighter step between, or something data-dependent."""
    executed_share: float = 1.0
    """Share of the network's work that was executed, for partial steps."""


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a method learns about its task when it is built."""

    classes: int
    size: tuple[int, int]
    """(H, W) of the frames that the method sees, padding included."""
    keyframe_interval: int
    device: torch.device
    normalisation: Normalisation = IMAGENET
    """Of the weights, where they say it; else the dataset's."""
    seed: int = 0


class MethodOptions(BaseModel):
    """Base of every method's options; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    weights: dict[str, str] = Field(
        default_factory=dict,
        description="part of the method -> packaged weight name or path of a .safetensors file; absent parts stay untrained",
    )
    class_map: str | dict[str, str] | None = Field(
        None,
        description="class of the weights -> class of the dataset, or the name of such a table (cityscapes-camvid); "
        "default: they are the same",
    )
    padding: Literal["network", "none"] = Field(
        "network",
        description="network: frames are padded to the sides that the networks need at lr_scale (mode paper: never); "
        "none: they are not",
    )

    @property
    def networks(self) -> tuple[tuple[str, int | None], ...]:
        """(registered name, width) of the segmentation networks, that of the frames between keyframes first.

        Methods are compared with constant resolution by it. Options that name networks otherwise than by `network` and
        `width` override it.
        """
        name = getattr(self, "network", "")
        return ((str(name), getattr(self, "width", None)),) if name else ()

    @property
    def own_normalisation(self) -> Normalisation | None:
        """What the network's own description says of its pixels, where it has one."""
        found: Normalisation | None = getattr(getattr(self, "network", None), "normalisation", None)
        return found


class SampleMemory(Protocol):
    """What `TrainingBatch.without_gradient` asks."""

    def recall(
        self, name: str, keys: Sequence[str], images: Tensor, compute: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """compute(images), sample by sample, or what it gave before under the same name and key."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TrainingBatch:
    """One mini-batch, already augmented, on the training device."""

    image: Tensor
    """float32 [N, 3, H, W], normalised."""
    label: Tensor
    """int64 [N, H, W] with IGNORE_INDEX where unlabelled."""
    reference: Tensor | None = None
    """float32 [N, 3, H, W] keyframe of each image (recipe 'pair'), normalised."""
    flow_key: Tensor | None = None
    """float32 [N, 2, H, W] pixels from image towards reference."""
    window: Sequence[Tensor] = ()
    """Frames [N, 3, H, W] before `image`, oldest first. Recipes 'window' and 'online': `Stage.window` frames;
    'triplet': all from the keyframe on."""
    window_flow: Sequence[Tensor] = ()
    """Flow of each frame after window[0] towards its predecessor; the last entry belongs to `image`. Zero where the
    codec gives none (keyframes)."""
    after: Sequence[Tensor] = ()
    """Frames after `image` up to and including the next keyframe (recipe 'triplet')."""
    after_flow: Sequence[Tensor] = ()
    """Flow of each frame of `after` towards its predecessor; that of the next keyframe is zero, as it has none."""
    class_weights: Tensor | None = None
    """float32 [K]: weight of each class in a stage's segmentation loss; None weights all equally."""
    step: int = 0
    """Optimiser step, for methods whose work rotates over frames."""
    keys: tuple[str, ...] = ()
    """One name per sample: equal names are equal samples, augmentation included. Empty where samples never repeat."""
    memory: SampleMemory | None = None
    """Keeps what a frozen network gave for a sample; None where samples never repeat or no room was given."""

    def without_gradient(self, name: str, images: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """compute(images) of a network that does not train in this stage, from memory where there is one.

        `name` tells what is computed, for example 'hr-image'; images [N, ...] belong to the samples of the batch.
        """
        import torch

        if self.memory is not None and self.keys and not torch.is_inference_mode_enabled():
            return self.memory.recall(name, self.keys, images, compute)
        with torch.no_grad():
            return compute(images)


@dataclass(frozen=True, slots=True)
class Stage:
    """One training phase of a method. What differs between experiments (steps, rate) is set in the experiment."""

    name: str
    recipe: Recipe
    parts: tuple[str, ...]
    """Parts (keys of `Method.parts()`) whose parameters train; every other part is frozen and in eval mode."""
    compute_loss: Callable[[TrainingBatch], dict[str, Tensor]]
    """Named loss terms; the trainer minimises their sum and logs each."""
    frozen: tuple[str, ...] = ()
    """Parameter names 'part.parameter' (prefixes) inside `parts` that do not train."""
    window: int = 0
    """Frames before the labelled one that recipes 'window' and 'online' supply."""
    lr_multipliers: Mapping[str, float] = field(default_factory=dict)
    """Parameter-name prefix 'part.module' -> factor on the learning rate."""
    prepare: Callable[[], None] | None = None
    """Called once when the stage begins, after weights are loaded and before anything trains or is validated
    (AR-Seg copies the HR classifier into the LR network)."""
    monitors: Callable[[TrainingBatch], dict[str, float]] | None = None
    """Extra figures to log at validation time (for AR-Seg: feature MSE of LR, warped and fused against HR)."""
    predictor: Method | None = None
    """What validation runs during this stage; None: the method itself. For stages that train a part of it (AR-Seg's LR
    network alone is validated alone)."""


class Method(ABC):
    """An online segmentation algorithm. Constructed as `Method(options, context)`; weights are loaded by the caller.

    The object holds networks only. Everything that belongs to a clip lives in the state that `start` returns.
    """

    Options: ClassVar[type[MethodOptions]]
    budget_knob: ClassVar[tuple[str, ...]] = ()
    """Options that move the method along its curve of accuracy against cost. Entries of an experiment that differ in
    these alone are one curve, of which the report gives Bjontegaard values."""

    label: str = "method"
    """How messages name it; set by who builds it."""
    untrained: tuple[str, ...] = ()
    """Parts with parameters but without weights; set by who loads the weights."""
    remarks: tuple[str, ...] = ()
    """What a reader of the method's numbers must know of its weights; set by who loads them."""

    def __init__(self, options: Any, context: BuildContext) -> None:
        self.options = options
        self.context = context
        chosen = getattr(options, "normalisation", None)
        self.normalisation = Normalisation(*(chosen or context.normalisation))
        """How `ops.normalise_image` makes the network's input: as the option says, else as the context."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What the loader must supply with these options."""

    @abstractmethod
    def parts(self) -> dict[str, nn.Module]:
        """Named networks: the unit in which weights are loaded, trained and saved."""

    def lr_scale_of(self, part: str) -> float:
        """Resize factor of the pictures that `part` sees; weights carry it, and a run at another one is remarked."""
        return 1.0

    @abstractmethod
    def start(self, batch: int) -> Any:
        """State for `batch` clips in lockstep."""

    def create_memory(self) -> Any:
        """What outlives clips (an online policy with its optimiser), freshly made; None where nothing does.

        The runner owns it and makes it anew as `Needs.memory` says; a method never keeps it.
        """
        return None

    def start_with(self, batch: int, memory: Any) -> Any:
        """State for `batch` clips that learn into `memory`. Methods with a memory implement this beside `start`."""
        return self.start(batch)

    def begin(self, batch: int, memory: Any = None) -> Any:
        """State for `batch` clips; without `memory` the clips get one of their own. Callers use this, not `start`.

        Raises CapabilityError naming the method if it is asked for a batch that it cannot serve.
        """
        if batch != 1 and not self.needs.batchable:
            raise CapabilityError(
                f"{type(self).__name__} takes one clip at a time (needs.batchable is False), got a batch of {batch}"
            )
        return self.start_with(batch, self.create_memory() if memory is None else memory)

    @abstractmethod
    def step(self, state: Any, frame: Frame) -> list[Prediction]:
        """Consume one frame (updating `state` in place) and return the predictions that are ready."""

    def flush(self, state: Any) -> list[Prediction]:
        """Predictions still owed when the clip ends; only methods with lookahead have any."""
        return []

    def stages(self) -> list[Stage]:
        """Training plan, in order; empty for methods that train nothing."""
        return []
