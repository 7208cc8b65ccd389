"""AR-Seg as a method: what it keeps between frames, what it does with each, and how it is trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vssbench.baselines.ar_seg.creff import CReFF
from vssbench.baselines.ar_seg.fusion import FusionNetwork
from vssbench.baselines.ar_seg.options import ARSegOptions
from vssbench.baselines.ar_seg.settings import CReFFSettings
from vssbench.baselines.ar_seg.training import TrainingStages
from vssbench.baselines.ar_seg.variants import VARIANTS
from vssbench.errors import ConfigError
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction, Stage
from vssbench.networks import create
from vssbench.ops import normalise_image, predict_labels, resize_input, scale_flow, scaled_size, warp
from vssbench.ops.losses import Scores


@dataclass(slots=True, eq=False)
class ARSegState:
    """What a clip carries from its keyframe on."""

    reference: Tensor | None = None
    """[N, C, H, W] HR map of the last keyframe at the cut; None before the first one."""


class ARSeg(Method):
    """Keyframes by the HR network; other frames by the LR network at lr_scale, fused with the warped keyframe feature.

    Source: specification sections 2, 3 and 6. Parts: 'hr', and 'lr' (network and fusion) unless the variant has no LR
    network. Raises ConfigError if lr_scale empties the input, the window does not fit the feature, or the network
    cannot be cut where the variant fuses.
    """

    Options = ARSegOptions
    budget_knob = ("lr_scale",)
    options: ARSegOptions

    def __init__(self, options: ARSegOptions, context: BuildContext) -> None:
        super().__init__(options, context)
        self.settings = CReFFSettings.for_mode(options.mode, options.switches)
        self.variant = VARIANTS[options.variant]
        self.hr = create(options.network, context.classes, width=options.width)
        self.hr.check_cut(self.variant.cut)
        scaled_size(context.size, options.lr_scale, size_rule=self.settings.lr_size)
        fusion = CReFF(
            self.hr.cut_channels(self.variant.cut),
            options.window,
            options.variant,
            settings=self.settings,
            initialisation=options.initialisation,
        )
        self._check_window(fusion)
        self.lr = FusionNetwork(create(options.network, context.classes, width=options.width), fusion)
        for part in (self.hr, self.lr):
            part.to(context.device).eval()

    def _check_window(self, fusion: CReFF) -> None:
        if fusion.variant.fusion not in ("local", "local-full"):
            return
        if fusion.variant.cut == "classifier":
            rows, columns = self.hr.feature_size(self.context.size)
        else:
            stride = 8 if fusion.variant.cut == "task" else 4
            rows, columns = (-(-length // stride) for length in self.context.size)
        if fusion.window > min(rows, columns):
            raise ConfigError(
                f"ar-seg: window {fusion.window} is larger than the {rows}x{columns} feature of {self.hr.name} for frames of "
                f"{self.context.size[0]}x{self.context.size[1]}; use a window of at most {min(rows, columns)} or larger frames"
            )

    @property
    def needs(self) -> Needs:
        """Pixels, and the flow to the keyframe if the variant warps."""
        moves = self.variant.moves
        return Needs(
            pixels=self.variant.uses_lr_network,
            flow_key=moves,
            flow_rule=self.settings.flow_rule,
            every_frame=False,
        )

    def parts(self) -> dict[str, nn.Module]:
        """'hr' and, where the variant runs it, 'lr'."""
        return {"hr": self.hr, "lr": self.lr} if self.variant.uses_lr_network else {"hr": self.hr}

    def lr_scale_of(self, part: str) -> float:
        """'lr' sees resized frames."""
        return self.options.lr_scale if part == "lr" else 1.0

    def start(self, batch: int) -> ARSegState:
        """Nothing is known before the keyframe."""
        return ARSegState()

    @torch.no_grad()
    def step(self, state: ARSegState, frame: Frame) -> list[Prediction]:
        """HR network on a keyframe; otherwise LR network and fusion with the reference."""
        if frame.is_key:
            scores, state.reference = self._keyframe(self._normalised(frame))
        elif state.reference is None:
            raise ValueError(f"ar-seg: frame {frame.index} came before any keyframe of its clip")
        else:
            scores = self._between(state.reference, frame)
        labels = predict_labels(scores, frame.size)
        return [Prediction(frame.index, labels, "key" if frame.is_key else "non_key")]

    def _keyframe(self, image: Tensor) -> tuple[Scores, Tensor]:
        """Output and the map at the cut."""
        partial = self.hr.partial(image, self.variant.cut)
        feature = self.hr.resume(partial, self.variant.cut).feature
        reference = partial.feature
        if reference.device.type == "cpu":
            # the layout that warping and fusion want, turned once and not for every frame
            reference = reference.contiguous(memory_format=torch.channels_last)
        return self.hr.inference_scores(feature, (image.shape[-2], image.shape[-1])), reference

    def _between(self, reference: Tensor, frame: Frame) -> Scores:
        if self.variant.moves:
            reference = self.warp_reference(reference, frame.flow_key)
        if not self.variant.uses_lr_network:
            return self.hr.inference_scores(reference, frame.size)
        return self.lr.inference_scores(self.lr_input(self._normalised(frame)), reference, frame.size)

    def _normalised(self, frame: Frame) -> Tensor:
        if frame.image is None:
            raise ValueError(f"ar-seg: frame {frame.index} carries no pixels although `needs` asks for them")
        return normalise_image(frame.image, self.normalisation)

    def lr_input(self, image: Tensor) -> Tensor:
        """Normalised images [N, 3, H, W] at lr_scale."""
        settings = self.settings
        return resize_input(
            image, self.options.lr_scale, size_rule=settings.lr_size, corners=settings.input_corners
        )

    def warp_reference(self, reference: Tensor, flow: Tensor | None, *, training: bool = False) -> Tensor:
        """Reference map [N, C, h, w] moved along the flow [N, 2, H, W] (pixels of the frame, towards the keyframe).

        Flow that counts as invalid is followed all the same: where a hop is missing the codec's chain stands still,
        which is the best guess, and training sees the same. Source: sections 3.3, 3.4.
        """
        if flow is None:
            raise ValueError(
                "ar-seg: a frame between keyframes carries no flow_key although `needs` asks for it"
            )
        settings = self.settings
        resample = settings.training_flow_resample if training else settings.flow_resample
        size = (reference.shape[-2], reference.shape[-1])
        scaled = scale_flow(flow, size, resample=resample, ratio=settings.flow_ratio)
        return warp(reference, scaled, sampling=settings.warp_sampling)

    def stages(self) -> list[Stage]:
        """'hr' (image), 'lr-image' (image, LR network alone with FST), 'fusion' (pair, with CReFF and FST)."""
        return TrainingStages(self).stages()
