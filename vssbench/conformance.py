"""The checks every method must pass, reusable by third parties (`vssbench conformance METHOD`).

Each check builds the method afresh with random weights, pushes random clips through it and raises ConformanceError
with what it saw and what the contract says.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vssbench.engine.build import trained_method
from vssbench.errors import CapabilityError, VssbenchError
from vssbench.experiment.validation import validate
from vssbench.method import BuildContext, Frame, Method, Needs, Prediction, Stage, TrainingBatch
from vssbench.records import IGNORE_INDEX
from vssbench.registry import methods


class ConformanceError(VssbenchError):
    """A method breaks the contract."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked: a method with options, and the clips it is checked on."""

    name: str
    """Registered method name."""
    options: dict[str, Any]
    size: tuple[int, int] = (64, 96)
    classes: int = 4
    keyframe_interval: int = 4
    seed: int = 0

    def build(self) -> Method:
        """A fresh instance on the CPU in eval mode; parts for which the options name no weights depend on the seed."""
        context = BuildContext(
            self.classes, self.size, self.keyframe_interval, torch.device("cpu"), seed=self.seed
        )
        options = validate(methods.load(self.name).Options, self.options, where=f"method {self.name}")
        return trained_method(self.name, options, context, title=self.name)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of one check."""

    check: str
    summary: str
    problem: str = ""
    """Empty if the check passed."""


Check = Callable[[Subject], None]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConformanceError(message)


def make_clip(subject: Subject, needs: Needs, *, seed: int, gops: int = 1, batch: int = 1) -> list[Frame]:
    """Random frames of `gops` GOPs with everything that `needs` asks for, preceded by its history.

    A method that cannot bridge the end of a sequence gets the frames it waits for behind them.
    """
    generator = torch.Generator().manual_seed(seed)
    last = gops * subject.keyframe_interval + (0 if needs.bridges_end else needs.lookahead)
    return [_make_frame(subject, needs, index, generator, batch) for index in range(-needs.history, last)]


def _make_frame(subject: Subject, needs: Needs, index: int, generator: torch.Generator, batch: int) -> Frame:
    height, width = subject.size
    distance = index % subject.keyframe_interval
    key = distance == 0
    # flow points at an earlier picture, so the first one has none
    has_previous = index > -needs.history

    def flow(reach: float) -> Tensor:
        return (torch.rand(batch, 2, height, width, generator=generator) - 0.5) * 2 * reach

    image = torch.randint(0, 256, (batch, 3, height, width), generator=generator, dtype=torch.uint8)
    inside = 0 <= index < subject.keyframe_interval or not needs.lookahead
    flow_key = flow(3.0 * distance) if needs.flow_key and index >= 0 and inside else None
    flow_previous = flow(3.0) if needs.flow_previous and has_previous else None
    residual = torch.randint(-40, 41, (batch, 3, height, width), generator=generator, dtype=torch.int16)
    blocks = torch.randint(
        0, 3, (batch, -(-height // 4), -(-width // 4)), generator=generator, dtype=torch.uint8
    )
    valid = torch.rand(batch, height, width, generator=generator) > 0.1
    return Frame(
        index=index,
        keyframe_distance=distance,
        image=image if needs.pixels or key else None,
        frame_type="I" if key else "P",
        size=subject.size,
        flow_previous=flow_previous,
        flow_key=flow_key,
        flow_valid=valid if (flow_key is not None or flow_previous is not None) else None,
        residual=residual if needs.residual and index > 0 else None,
        block_types=blocks if needs.block_types else None,
        time=index,
    )


def run_clip(method: Method, frames: Sequence[Frame], memory: Any = None) -> list[Prediction]:
    """Push a clip through a fresh state and return every prediction in the order it came.

    memory: what outlives clips; None gives the clip one of its own.
    """
    batch = next(frame.image.shape[0] for frame in frames if frame.image is not None)
    state = method.begin(batch, memory)
    predictions = [prediction for frame in frames for prediction in method.step(state, frame)]
    return predictions + method.flush(state)


def _labels(predictions: Sequence[Prediction]) -> dict[int, Tensor]:
    return {prediction.index: prediction.labels for prediction in predictions if prediction.index >= 0}


def _same(first: dict[int, Tensor], second: dict[int, Tensor], message: str) -> None:
    for index in sorted(set(first) & set(second)):
        differing = int((first[index] != second[index]).sum())
        _require(
            differing == 0,
            f"{message}: frame {index} differs in {differing} of {first[index].numel()} pixels",
        )


def check_one_output_per_frame(subject: Subject) -> None:
    """One prediction per frame, in order, uint8 [N, H, W], classes in range."""
    method = subject.build()
    frames = make_clip(subject, method.needs, seed=1, gops=2)
    end = 2 * subject.keyframe_interval  # what comes behind is lookahead only
    predictions = [p for p in run_clip(method, frames) if 0 <= p.index < end]
    wanted = [frame.index for frame in frames if 0 <= frame.index < end]
    got = [prediction.index for prediction in predictions]
    _require(
        got == wanted, f"frames {wanted} were pushed, predictions came for {got}; expected one each, in order"
    )
    for prediction in predictions:
        labels = prediction.labels
        _require(
            labels.dtype == torch.uint8 and tuple(labels.shape) == (1, *subject.size),
            f"frame {prediction.index}: labels are {labels.dtype} {tuple(labels.shape)}, expected uint8 {(1, *subject.size)}",
        )
        _require(
            int(labels.max()) < subject.classes,
            f"frame {prediction.index}: label {int(labels.max())}, but classes are 0..{subject.classes - 1}",
        )
        _require(
            0 <= prediction.executed_share <= 1, f"executed_share {prediction.executed_share} is outside 0..1"
        )
        _require(
            prediction.executed_share == 1 or prediction.kind == "partial",
            f"frame {prediction.index}: executed_share {prediction.executed_share} of a {prediction.kind!r} step; "
            "only partial steps execute less",
        )
        _require(
            prediction.kind != "partial" or method.needs.adaptive,
            f"frame {prediction.index}: a partial step, but needs.adaptive is False, so its work would not be counted",
        )


def check_declared_latency(subject: Subject) -> None:
    """A prediction arrives at most `needs.lookahead` frames after its frame; only then may flush return any."""
    method = subject.build()
    needs = method.needs
    state = method.begin(1)
    for frame in make_clip(subject, needs, seed=2, gops=2):
        for prediction in method.step(state, frame):
            delay = frame.index - prediction.index
            _require(
                0 <= delay <= needs.lookahead,
                f"the prediction of frame {prediction.index} came with frame {frame.index}; declared lookahead is {needs.lookahead}",
            )
    owed = method.flush(state)
    _require(
        len(owed) <= needs.lookahead,
        f"flush returned {len(owed)} predictions; declared lookahead is {needs.lookahead}",
    )


def check_short_history(subject: Subject) -> None:
    """Frames are answered also where a sequence begins and there is less history than asked for."""
    method = subject.build()
    frames = make_clip(subject, method.needs, seed=13)
    for kept in range(method.needs.history):
        short = frames[method.needs.history - kept :]
        first = replace(short[0], flow_previous=None)  # nothing was decoded before it
        got = [p.index for p in run_clip(method, [first, *short[1:]]) if p.index >= 0]
        wanted = list(range(subject.keyframe_interval))
        _require(got[: len(wanted)] == wanted, f"with {kept} frames of history: predictions came for {got}")


def check_batch_refused(subject: Subject) -> None:
    """A method that takes one clip at a time refuses more before it works, naming itself."""
    method = subject.build()
    if method.needs.batchable:
        method.begin(2)
        return
    try:
        method.begin(2)
    except CapabilityError as error:
        _require(type(method).__name__ in str(error), f"the refusal does not name the method: {error}")
        return
    raise ConformanceError("declared batchable=False, but a batch of 2 was accepted")


def check_memory(subject: Subject) -> None:
    """What outlives clips lives in the memory: a fresh one forgets, the same history gives the same labels."""
    method = subject.build()
    first, second = (make_clip(subject, method.needs, seed=seed) for seed in (14, 15))
    alone = _labels(run_clip(method, second))
    lived = []
    for _ in range(2):
        memory = method.create_memory()
        if (memory is None) != (method.needs.memory == "none"):
            raise ConformanceError(
                f"needs.memory is {method.needs.memory!r}, but create_memory returns {type(memory).__name__}"
            )
        run_clip(method, first, memory)
        lived.append(_labels(run_clip(method, second, memory)))
    _same(lived[0], lived[1], "the same clips with a fresh memory each time")
    _same(alone, _labels(run_clip(method, second)), "a clip with a fresh memory, after others")


def check_clips_do_not_mix(subject: Subject) -> None:
    """Two clips pushed alternately give what each gives alone."""
    method = subject.build()
    clips = [make_clip(subject, method.needs, seed=seed) for seed in (3, 4)]
    alone = [_labels(run_clip(method, clip)) for clip in clips]
    states = [method.begin(1) for _ in clips]
    woven: list[list[Prediction]] = [[], []]
    for pair in zip(*clips, strict=True):
        for which, frame in enumerate(pair):
            woven[which] += method.step(states[which], frame)
    for which, state in enumerate(states):
        woven[which] += method.flush(state)
        _same(
            alone[which],
            _labels(woven[which]),
            "pushed alternately with another clip, a clip gives other labels",
        )


def check_batch_equals_single(subject: Subject) -> None:
    """Clips in lockstep give what each gives alone, up to rare rounding at class borders."""
    method = subject.build()
    if not method.needs.batchable:
        return
    clip = make_clip(subject, method.needs, seed=5, batch=2)
    together = _labels(run_clip(method, clip))
    for which in (0, 1):
        alone = _labels(run_clip(method, [_pick(frame, which) for frame in clip]))
        for index, labels in alone.items():
            share = float((labels[0] != together[index][which]).float().mean())
            _require(
                share < 0.002,
                f"clip {which} of a batch of 2 differs from the same clip alone in {share:.2%} of frame {index}",
            )


def _pick(frame: Frame, which: int) -> Frame:
    names = ("image", "flow_previous", "flow_key", "flow_valid", "residual", "block_types")
    parts = {name: getattr(frame, name) for name in names}
    return replace(
        frame, **{name: value[which : which + 1] for name, value in parts.items() if value is not None}
    )


def check_keyframes_alone(subject: Subject) -> None:
    """With L = 1 every frame is segmented as if it were the only one: no state leaks from one keyframe to the next."""
    short = replace(subject, keyframe_interval=1)
    method = short.build()
    if method.needs.history or method.needs.lookahead:
        return  # methods with memory across keyframes are not per-frame networks at L = 1
    frames = make_clip(short, method.needs, seed=6, gops=3)
    together = _labels(run_clip(method, frames))
    for frame in frames:
        only = run_clip(method, [replace(frame, index=0)])[0].labels
        _same({0: only}, {0: together[frame.index]}, f"at L = 1, keyframe {frame.index} after others")


def check_no_future_frame(subject: Subject) -> None:
    """Predictions that are due stay the same when every later frame is replaced by noise."""
    method = subject.build()
    lookahead = method.needs.lookahead
    frames = make_clip(subject, method.needs, seed=7)
    noise = make_clip(subject, method.needs, seed=8)
    clean = _labels(run_clip(method, frames))
    for position, frame in enumerate(frames):
        if frame.index < 0:
            continue
        poisoned = [*frames[: position + 1], *noise[position + 1 :]]
        due = {i: v for i, v in _labels(run_clip(method, poisoned)).items() if i <= frame.index - lookahead}
        _same(clean, due, f"noise after frame {frame.index} changes a prediction that was already due")


def check_skipping(subject: Subject) -> None:
    """A method that declares every_frame=False gives the same labels when frames between are skipped."""
    method = subject.build()
    if method.needs.every_frame:
        return
    frames = make_clip(subject, method.needs, seed=9)
    whole = _labels(run_clip(method, frames))
    history, clip = frames[: method.needs.history], frames[method.needs.history :]
    for frame in clip[1:]:
        skipped = _labels(run_clip(method, [*history, clip[0], frame]))
        _same(
            whole, skipped, "declared every_frame=False, but skipping the frames between changes the labels"
        )


def check_deterministic(subject: Subject) -> None:
    """Two builds with the same seed give the same labels."""
    frames = make_clip(subject, subject.build().needs, seed=10)
    first, second = (_labels(run_clip(subject.build(), frames)) for _ in range(2))
    _same(first, second, "two builds with the same seed")


def check_inputs_untouched(subject: Subject) -> None:
    """Frames are shared by all methods of a clip, so a method must not write into them; nor may weights change."""
    method = subject.build()
    frames = make_clip(subject, method.needs, seed=11)
    copies = copy.deepcopy(frames)
    weights = {n: copy.deepcopy(part.state_dict()) for n, part in method.parts().items()}
    run_clip(method, frames)
    for before, after in zip(copies, frames, strict=True):
        for name in ("image", "flow_previous", "flow_key", "flow_valid", "residual", "block_types"):
            first, second = getattr(before, name), getattr(after, name)
            _require(
                first is None or torch.equal(first, second),
                f"frame {after.index}: the method wrote into {name}",
            )
    for name, part in method.parts().items():
        changed = [
            key for key, value in part.state_dict().items() if not torch.equal(value, weights[name][key])
        ]
        _require(not changed, f"running a clip changed weights of part {name!r}: {', '.join(changed[:4])}")


def check_gradients(subject: Subject) -> None:
    """Every stage has a finite loss, and its gradients reach trainable parameters and no others."""
    method = subject.build()
    stages = method.stages()
    _require(
        len({stage.name for stage in stages}) == len(stages),
        f"stage names are not unique: {[s.name for s in stages]}",
    )
    for stage in stages:
        _check_stage(method, stage, subject)


def _check_stage(method: Method, stage: Stage, subject: Subject) -> None:
    parts = method.parts()
    _check_names(parts, stage)
    if stage.prepare is not None:
        stage.prepare()
    _set_trainable(parts, stage)
    torch.manual_seed(subject.seed)
    losses = stage.compute_loss(make_batch(subject, stage))
    total = torch.stack([value.float() for value in losses.values()]).sum()
    _require(bool(torch.isfinite(total)), f"stage {stage.name!r}: loss is {float(total.detach())}")
    total.backward()  # type: ignore[no-untyped-call]
    _check_reach(parts, stage)
    for module in parts.values():
        module.requires_grad_(True).eval()


def _check_names(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    unknown = set(stage.parts) - set(parts)
    _require(
        not unknown, f"stage {stage.name!r} trains unknown parts {sorted(unknown)}; parts are {sorted(parts)}"
    )
    names = [name for name, _ in _named_parameters(parts)]
    for prefix in (*stage.frozen, *stage.lr_multipliers):
        _require(
            any(name.startswith(prefix) for name in names),
            f"stage {stage.name!r}: no parameter begins with {prefix!r}",
        )


def _named_parameters(parts: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """Every parameter as 'part.parameter'."""
    for part, module in parts.items():
        for name, parameter in module.named_parameters():
            yield f"{part}.{name}", parameter


def _set_trainable(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    for part, module in parts.items():
        module.train(part in stage.parts)
        module.requires_grad_(True)  # so that a gradient in a frozen part would show
        module.zero_grad(set_to_none=True)
        for name, parameter in module.named_parameters():
            if part in stage.parts and f"{part}.{name}".startswith(stage.frozen or ("\0",)):
                parameter.requires_grad_(False)


def _check_reach(parts: Mapping[str, nn.Module], stage: Stage) -> None:
    """After the backward pass: gradients are in every part that trains, and in no other."""
    reached = {
        name
        for name, parameter in _named_parameters(parts)
        if parameter.grad is not None and bool((parameter.grad != 0).any())
    }
    foreign = sorted(name for name in reached if name.split(".")[0] not in stage.parts)
    _require(not foreign, f"stage {stage.name!r}: gradients reach frozen parts: {', '.join(foreign[:4])}")
    for part in stage.parts:
        _require(
            any(name.startswith(f"{part}.") for name in reached),
            f"stage {stage.name!r}: no gradient reaches {part!r}",
        )


def make_batch(subject: Subject, stage: Stage, *, batch: int = 2, window: int = 3) -> TrainingBatch:
    """A random training batch with everything the stage's recipe supplies; some pixels are unlabelled.

    `window` counts the frames before the labelled one where the stage does not say.
    """
    window = stage.window or window
    generator = torch.Generator().manual_seed(subject.seed + 12)
    height, width = subject.size

    def images() -> Tensor:
        return torch.randn(batch, 3, height, width, generator=generator)

    def flow() -> Tensor:
        return torch.randn(batch, 2, height, width, generator=generator) * 2

    label = torch.randint(0, subject.classes, (batch, height, width), generator=generator)
    label[:, : height // 8] = IGNORE_INDEX
    paired = stage.recipe in ("pair", "triplet")
    windowed = stage.recipe in ("window", "triplet", "online")
    return TrainingBatch(
        image=images(),
        label=label,
        reference=images() if paired else None,
        flow_key=flow() if paired else None,
        window=[images() for _ in range(window)] if windowed else (),
        window_flow=[flow() for _ in range(window)] if windowed else (),
        after=[images() for _ in range(2)] if stage.recipe == "triplet" else (),
        after_flow=[flow(), torch.zeros(batch, 2, height, width)] if stage.recipe == "triplet" else (),
    )


CHECKS: dict[str, Check] = {
    "one output per frame": check_one_output_per_frame,
    "declared latency": check_declared_latency,
    "short history": check_short_history,
    "batch refused": check_batch_refused,
    "memory": check_memory,
    "clips do not mix": check_clips_do_not_mix,
    "batch equals single": check_batch_equals_single,
    "keyframes alone": check_keyframes_alone,
    "no future frame": check_no_future_frame,
    "skipping frames": check_skipping,
    "deterministic": check_deterministic,
    "inputs untouched": check_inputs_untouched,
    "gradients": check_gradients,
}
"""Name -> check; each takes a Subject and raises ConformanceError."""


def run_checks(subject: Subject) -> list[CheckResult]:
    """Run every check on `subject`; a failed check does not stop the others. Raises ConfigError if it cannot be built."""
    subject.build()
    results = []
    for name, check in CHECKS.items():
        summary = (check.__doc__ or "").splitlines()[0]
        try:
            check(subject)
        except ConformanceError as error:
            results.append(CheckResult(name, summary, str(error)))
        except Exception as error:  # a plug-in may fail in any way; the report says how
            results.append(CheckResult(name, summary, f"{type(error).__name__}: {error}"))
        else:
            results.append(CheckResult(name, summary))
    return results
